//! `mpls --create LABEL --nh NH`.

use api::{LabelEntry, NhId, Object, Op};

use crate::tool::{Failure, Session};

pub(super) fn run(number: u32, next_hop: NhId, session: &mut Session<'_>) -> Result<(), Failure> {
    let label = super::number(number)?;
    session.operate(vec![Op::Put(Object::Label(LabelEntry { label, next_hop }))])
}
