//! `mirror --create INDEX --nh NH`.

use api::{Mirror, MirrorFlags, NhId, Object, Op, Vni};

use crate::tool::{Failure, Session};

/// What a mirror can be told beside its next hop.
pub(super) struct Options {
    pub(super) vni: Option<u32>,
    pub(super) dynamic: bool,
}

pub(super) fn run(
    index: u32,
    next_hop: NhId,
    options: Options,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let id = super::delete::id(index)?;
    let vni = options.vni.map(Vni::try_from).transpose();
    let vni =
        vni.map_err(|error| Failure::invalid(format!("mirror {index}: vni"), error.to_string()))?;
    let flags = if options.dynamic { MirrorFlags::DYNAMIC } else { MirrorFlags::default() };
    let mirror = Mirror { id, next_hop, vni, vlan: 0, flags };
    session.operate(vec![Op::Put(Object::Mirror(mirror))])
}
