//! Policy as packets meet it: rule sets compiled so that thousands of rules are asked at once, and the judgement of a
//! session's first packet (reference control-plane.md section 4.3).
//!
//! | module | holds |
//! |---|---|
//! | `bits` | sets of rules: a summary, and the words that are not zero |
//! | `ranges` | from a number to the set of rules that want it |
//! | `classifier` | a rule set, compiled |
//! | `judge` | network policy, then groups: the verdict, and what it is due to |

mod bits;
mod classifier;
mod judge;
mod ranges;

pub(crate) use classifier::Classifier;
pub use judge::{FlowDropReason, Judgement, Subject};
