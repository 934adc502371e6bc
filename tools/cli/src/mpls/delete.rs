//! `mpls --delete LABEL`. One that does not exist is no error.

use api::{Key, Op};

use crate::tool::{Failure, Session};

pub(super) fn run(number: u32, session: &mut Session<'_>) -> Result<(), Failure> {
    session.operate(vec![Op::Delete(Key::Label(super::number(number)?))])
}
