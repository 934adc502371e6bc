//! `vif --delete INDEX` or `vif --delete NAME`.

use api::{ApiError, ClientError, ErrorCode, Key, Op, VifId};

use super::list::all;
use crate::options::{Number, is_digits};
use crate::tool::{Failure, Session};

pub(super) fn run(which: &str, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    let id = if is_digits(which) {
        VifId(Number::read(which).index())
    } else {
        let named = all(&mut client, None)?.into_iter().find(|row| row.name == which);
        let absent =
            || ApiError::new(ErrorCode::NoDevice, format!("vif {which}"), "does not exist");
        named.ok_or_else(|| ClientError::Refused(absent()))?.id
    };
    client.operate(vec![Op::Delete(Key::Vif(id))])?;
    session.done()
}
