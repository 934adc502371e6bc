//! `rt --dump VRF`.

use api::{Table, VrfId};

use super::{Family, render};
use crate::tool::{Failure, Session};

pub(super) fn run(vrf: VrfId, family: Family, session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    session.text(&render::header(vrf, family))?;
    let table = match family {
        Family::Inet => Table::Inet { vrf },
        Family::Inet6 => Table::Inet6 { vrf },
        Family::Bridge => Table::Bridge { vrf },
    };
    session.dump(&mut client, table, render::rows)
}
