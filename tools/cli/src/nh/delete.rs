//! `nh --delete ID`.

use api::{Key, NhId, Op};

use crate::tool::{Failure, Session};

pub(super) fn run(id: NhId, session: &mut Session<'_>) -> Result<(), Failure> {
    session.operate(vec![Op::Delete(Key::NextHop(id))])
}
