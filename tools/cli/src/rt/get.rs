//! `rt --get`.

use std::net::IpAddr;

use api::{Lookup, Rows, VrfId};

use super::address::{Asked, masked};
use super::{Family, render};
use crate::tool::{Failure, Session};

pub(super) fn run(asked: &Asked, vrf: VrfId, session: &mut Session<'_>) -> Result<(), Failure> {
    let (family, lookup) = match *asked {
        Asked::Prefix(IpAddr::V4(address), length) => {
            (Family::Inet, Lookup::Inet { vrf, address, length })
        }
        Asked::Prefix(IpAddr::V6(address), length) => {
            (Family::Inet6, Lookup::Inet6 { vrf, address, length })
        }
        Asked::Station(mac) => (Family::Bridge, Lookup::Bridge { vrf, mac }),
    };
    let mut client = session.connect()?;
    session.text(&render::title(asked, vrf))?;
    session.text(&render::header(vrf, family))?;
    let mut rows = client.get(lookup)?;
    // The original shows the network and never a parent length here, whatever was answered.
    if let Rows::Route(routes) = &mut rows {
        for route in routes {
            route.address = masked(route.address, route.length);
            route.parent_length = 0;
        }
    }
    session.show(&rows, render::rows)
}
