//! `vif --set INDEX --vlan VLAN --vrf VRF`: the VRF of a VLAN of a service interface.

use api::{Object, Op, VifId, VrfAssign, VrfId};

use crate::tool::{Failure, Session};

pub(super) fn run(
    vif: VifId,
    vlan: u16,
    vrf: VrfId,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let assign = VrfAssign { vif, vlan, vrf, next_hop: None };
    session.operate(vec![Op::Put(Object::VrfAssign(assign))])
}
