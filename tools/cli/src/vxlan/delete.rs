//! `vxlan --delete VNID`. One that does not exist is no error.

use api::{Key, Op};

use crate::tool::{Failure, Session};

pub(super) fn run(number: u32, session: &mut Session<'_>) -> Result<(), Failure> {
    session.operate(vec![Op::Delete(Key::Vni(super::number(number)?))])
}
