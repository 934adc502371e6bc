//! `vif --create NAME`: a vhost device. The dataplane makes it, a TAP, with the interface itself.

use api::{Mac, Object, Op, Vif, VifId, VifKind};

use super::list::all;
use crate::tool::{Failure, Session};

/// Lower indexes are for physical interfaces, except that vhost0 has always been 1.
const USUAL: u16 = 1;

pub(super) fn run(name: &str, mac: Option<&str>, session: &mut Session<'_>) -> Result<(), Failure> {
    let mac = match mac {
        Some(text) => text.parse().map_err(|_| Failure::Usage)?,
        None => Mac([0x02, 0, 0, 0, 0, 0x01]),
    };
    let mut client = session.connect()?;
    let known = all(&mut client, None)?;
    let bound = known.iter().find(|row| row.name == name).map(|row| row.id);
    let free = (USUAL..u16::MAX).map(VifId).find(|id| known.iter().all(|row| row.id != *id));
    let id = bound.or(free).unwrap_or(VifId(USUAL));
    let vif = Vif { mac, ..Vif::new(id, name, VifKind::Host) };
    client.operate(vec![Op::Put(Object::Vif(vif))])?;
    session.done()
}
