//! What unusual interfaces do (reference dataplane.md sections 2, 9 and 18): a plain one pays one test for a run of
//! packets where they come in, and none where they leave.
//!
//! | module | holds |
//! |---|---|
//! | `rx` | sub-interfaces by VLAN and station, VRFs by VLAN, classes |
//! | `tx` | sub-interfaces, readdressing |
//! | `tag` | one tag on, off, or its priority rewritten |
//! | `mirror` | copies to a mirror or to a monitoring interface |
//! | `marking` | DSCP and ECN: classes, tunnels in and out |

pub(crate) mod marking;
pub(crate) mod mirror;
pub(crate) mod rx;
pub(crate) mod tag;
pub(crate) mod tx;
