//! `vxlan --create VNID --nh NH`.

use api::{NhId, Object, Op, VniEntry};

use crate::tool::{Failure, Session};

pub(super) fn run(number: u32, next_hop: NhId, session: &mut Session<'_>) -> Result<(), Failure> {
    let vni = super::number(number)?;
    session.operate(vec![Op::Put(Object::Vni(VniEntry { vni, next_hop }))])
}
