//! `vrftable --create VRF --hbs-l VIF --hbs-r VIF`.

use api::{Object, Op, VifId, VrfTable};

use crate::tool::{Failure, Session};

pub(super) fn run(
    vrf: u32,
    left: VifId,
    right: VifId,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let vrf = super::delete::id(vrf)?;
    let table = VrfTable { vrf, hbs_left: Some(left), hbs_right: Some(right) };
    session.operate(vec![Op::Put(Object::VrfTable(table))])
}
