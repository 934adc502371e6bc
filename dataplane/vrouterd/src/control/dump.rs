//! Pages and single rows of the tables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::{
    ApiError, BridgeInfo, Core, Cursor, ErrorCode, LabelInfo, Lookup, Page, RouteInfo, Rows,
    Stitched, Table, VifInfo, VniInfo, VrfInfo, VrfStats,
};
use engine::CounterReader;
use tables::{
    BridgeSlot, ClassId, Family, Fib, Key, MirrorId, Model, NextHop, NhId, QosMapId, Route,
    RouteFlags, Vif, VifId, VrfId, limits,
};
use wire::{Label, Mac, Prefix, Vni};

use super::route_log::route_row;
use super::rows::{bridge_row, class_row, map_row, mirror_row};

/// Rows on a page: large enough to be quick, small enough that other clients are not kept waiting.
const PAGE: usize = 1024;

/// What a row of an interface needs beside the tables.
pub(crate) trait VifFacts {
    /// Adds device, port and counters to a row.
    fn complete(&self, row: &mut VifInfo, core: Option<Core>);

    /// The vif on the kernel device with this index.
    fn by_os_index(&self, os_index: u32) -> Option<VifId>;

    /// What the workers have counted.
    fn counters(&self) -> Option<&CounterReader>;
}

/// The tables as they are shown.
pub(crate) struct View<'a, F> {
    pub(crate) model: &'a Model,
    pub(crate) fib: &'a Fib,
    pub(crate) facts: F,
}

impl<F: VifFacts> View<'_, F> {
    /// A page of a table.
    pub(crate) fn page(&self, table: Table, after: Option<Cursor>) -> Page {
        let from = match after {
            Some(Cursor::Index(index)) => index.saturating_add(1),
            _ => 0,
        };
        match table {
            Table::Vif { core } => {
                let from = VifId(u16::try_from(from).unwrap_or(u16::MAX));
                let rows = self.model.vifs(from..).map(|vif| self.vif(vif, core));
                self.cut(rows, Rows::Vif, |row| Cursor::Index(row.id.0.into()))
            }
            Table::NextHop => {
                let rows = self.model.next_hops(NhId(from)..).map(|hop| self.next_hop(hop));
                self.cut(rows, Rows::NextHop, |row| Cursor::Index(row.id.0))
            }
            Table::Inet { vrf } => {
                let after = match after {
                    Some(Cursor::Inet(address, length)) => Prefix::new(address, length).ok(),
                    _ => None,
                };
                let rows = self.fib.leaves::<Ipv4Addr>(vrf, after);
                let rows = rows
                    .map(|(prefix, hit)| self.leaf(prefix.address().into(), prefix.length(), &hit));
                self.cut(rows, Rows::Route, cursor_of_route)
            }
            Table::Inet6 { vrf } => {
                let after = match after {
                    Some(Cursor::Inet6(address, length)) => Prefix::new(address, length).ok(),
                    _ => None,
                };
                let rows = self.fib.leaves::<Ipv6Addr>(vrf, after);
                let rows = rows
                    .map(|(prefix, hit)| self.leaf(prefix.address().into(), prefix.length(), &hit));
                self.cut(rows, Rows::Route, cursor_of_route)
            }
            Table::Bridge { vrf } => {
                let rows = self.stations(vrf, from);
                self.cut(rows, Rows::Bridge, |row| Cursor::Index(row.index))
            }
            Table::Label => {
                let entries = Label::try_from(from).ok().map(|from| self.model.labels(from..));
                let rows = entries
                    .into_iter()
                    .flatten()
                    .map(|entry| LabelInfo { label: entry.label.get(), next_hop: entry.next_hop });
                self.cut(rows, Rows::Label, |row| Cursor::Index(row.label))
            }
            Table::Vni => {
                let entries = Vni::try_from(from).ok().map(|from| self.model.vnis(from..));
                let rows = entries
                    .into_iter()
                    .flatten()
                    .map(|entry| VniInfo { vni: entry.vni.get(), next_hop: entry.next_hop });
                self.cut(rows, Rows::Vni, |row| Cursor::Index(row.vni))
            }
            Table::Vrf => {
                let rows = self.vrfs(from);
                self.cut(rows, Rows::Vrf, |row| Cursor::Index(row.id.0.into()))
            }
            Table::Mirror => {
                let rows = narrow(from).map(|from| self.model.mirrors(MirrorId(from)..));
                let rows = rows.into_iter().flatten().map(mirror_row);
                self.cut(rows, Rows::Mirror, |row| Cursor::Index(row.index.into()))
            }
            Table::ForwardingClass => {
                let rows = narrow(from).map(|from| self.model.classes(ClassId(from)..));
                let rows = rows.into_iter().flatten().map(class_row);
                self.cut(rows, Rows::ForwardingClass, |row| Cursor::Index(row.id.into()))
            }
            Table::QosMap => {
                let rows = narrow(from).map(|from| self.model.qos_maps(QosMapId(from)..));
                let rows = rows.into_iter().flatten().map(map_row);
                self.cut(rows, Rows::QosMap, |row| Cursor::Index(row.index.into()))
            }
            Table::VrfStats => {
                let rows = self.vrf_stats(from);
                let cursor = |row: &VrfStats| Cursor::Index(vrf_index(row.vrf));
                self.cut(rows, Rows::VrfStats, cursor)
            }
            // Is no table of the model.
            Table::DropLog { .. } => self.nothing(Rows::DropLog(Vec::new())),
            Table::Flow => self.nothing(Rows::Flow(Vec::new())),
        }
    }

    /// A single row.
    ///
    /// # Errors
    /// The object does not exist, or its index lies beyond the table.
    pub(crate) fn get(&self, lookup: Lookup) -> Result<Page, ApiError> {
        let rows = match lookup {
            Lookup::Vif { id, core } => Rows::Vif(vec![self.vif(self.find_vif(id)?, core)]),
            Lookup::VifByOsIndex { os_index, core } => {
                let missing = || ApiError::not_found(format!("vif on device {os_index}"));
                let id = self.facts.by_os_index(os_index).ok_or_else(missing)?;
                Rows::Vif(vec![self.vif(self.find_vif(id)?, core)])
            }
            Lookup::NextHop(id) => Rows::NextHop(vec![self.next_hop(self.find_next_hop(id)?)]),
            Lookup::Inet { vrf, address, length } => {
                let found = |prefix| self.model.inet_route(vrf, &prefix);
                Rows::Route(vec![self.longest(vrf, address, length, found)?])
            }
            Lookup::Inet6 { vrf, address, length } => {
                let found = |prefix| self.model.inet6_route(vrf, &prefix);
                Rows::Route(vec![self.longest(vrf, address, length, found)?])
            }
            Lookup::Bridge { vrf, mac } => {
                let hit = self.fib.bridge(vrf, mac);
                let missing = || ApiError::not_found(Key::Bridge(vrf, mac).to_string());
                Rows::Bridge(vec![bridge_row(mac, hit.ok_or_else(missing)?, 0)])
            }
            Lookup::Label(number) => {
                let label =
                    Label::try_from(number).map_err(|error| beyond("label", number, error))?;
                let entry = self.model.label(label);
                let entry =
                    entry.ok_or_else(|| ApiError::not_found(Key::Label(label).to_string()))?;
                Rows::Label(vec![LabelInfo { label: number, next_hop: entry.next_hop }])
            }
            Lookup::Vni(number) => {
                let vni = Vni::try_from(number).map_err(|error| beyond("vni", number, error))?;
                let entry = self.model.vni(vni);
                let entry = entry.ok_or_else(|| ApiError::not_found(Key::Vni(vni).to_string()))?;
                Rows::Vni(vec![VniInfo { vni: number, next_hop: entry.next_hop }])
            }
            Lookup::Vrf(number) => {
                let id = within("vrf", number, limits::VRFS, ErrorCode::NoDevice)?;
                let mut rows = self.vrfs(number).take_while(|row| row.id.0 == id);
                let missing = || ApiError::not_found(Key::Vrf(VrfId(id)).to_string());
                Rows::Vrf(vec![rows.next().ok_or_else(missing)?])
            }
            Lookup::Flow(index) => return Err(ApiError::not_found(format!("flow {index}"))),
            Lookup::VrfStats(number) => {
                let id = within("vrf", number, limits::VRFS, ErrorCode::Invalid)?;
                Rows::VrfStats(vec![self.stats_of(Some(VrfId(id)))])
            }
            Lookup::Mirror(number) => {
                let id = within("mirror", number, limits::MIRRORS, ErrorCode::NoDevice)?;
                let mirror = narrow(id.into()).and_then(|id| self.model.mirror(MirrorId(id)));
                let missing = || ApiError::not_found(format!("mirror {number}"));
                Rows::Mirror(vec![mirror_row(mirror.ok_or_else(missing)?)])
            }
            Lookup::ForwardingClass(number) => {
                let class = narrow(number).and_then(|id| self.model.class(ClassId(id)));
                let missing = || ApiError::not_found(format!("forwarding class {number}"));
                Rows::ForwardingClass(vec![class_row(class.ok_or_else(missing)?)])
            }
            Lookup::QosMap(number) => {
                let map = narrow(number).and_then(|id| self.model.qos_map(QosMapId(id)));
                let missing = || ApiError::not_found(format!("qos map {number}"));
                Rows::QosMap(vec![map_row(map.ok_or_else(missing)?)])
            }
        };
        Ok(Page { rows, next: None, generation: self.fib.generation().0 })
    }

    fn cut<T>(
        &self,
        rows: impl Iterator<Item = T>,
        wrap: impl FnOnce(Vec<T>) -> Rows,
        cursor: impl Fn(&T) -> Cursor,
    ) -> Page {
        let rows: Vec<T> = rows.take(PAGE).collect();
        let next = if rows.len() == PAGE { rows.last().map(cursor) } else { None };
        Page { rows: wrap(rows), next, generation: self.fib.generation().0 }
    }

    fn nothing(&self, rows: Rows) -> Page {
        Page { rows, next: None, generation: self.fib.generation().0 }
    }

    /// The VRFs from this one on that somebody named, or that have a route.
    fn vrfs(&self, from: u32) -> impl Iterator<Item = VrfInfo> + '_ {
        let last = u16::try_from(limits::VRFS).unwrap_or(u16::MAX);
        let ids = (u16::try_from(from).unwrap_or(last)..last).map(VrfId);
        ids.filter_map(|id| {
            let named = self.model.vrf(id);
            let used = self.fib.has_table::<Ipv4Addr>(id) || self.fib.has_table::<Ipv6Addr>(id);
            let service = self.model.vrf_table(id);
            (named.is_some() || service.is_some() || used).then(|| VrfInfo {
                id,
                name: named.map_or_else(String::new, |vrf| vrf.name.clone()),
                hbs_left: service.and_then(|service| service.hbs_left),
                hbs_right: service.and_then(|service| service.hbs_right),
            })
        })
    }

    fn find_vif(&self, id: VifId) -> Result<&Vif, ApiError> {
        self.model.vif(id).ok_or_else(|| ApiError::not_found(Key::Vif(id).to_string()))
    }

    fn find_next_hop(&self, id: NhId) -> Result<&NextHop, ApiError> {
        if id.index() >= limits::NEXT_HOPS {
            return Err(ApiError::new(
                ErrorCode::NoDevice,
                Key::NextHop(id).to_string(),
                format!("is beyond the table of {}", limits::NEXT_HOPS),
            ));
        }
        self.model.next_hop(id).ok_or_else(|| ApiError::not_found(Key::NextHop(id).to_string()))
    }

    /// The longest route that covers a prefix, as `rt --get` shows it.
    fn longest<'m, A: Family + Into<IpAddr>>(
        &'m self,
        vrf: VrfId,
        address: A,
        length: u8,
        route: impl Fn(Prefix<A>) -> Option<&'m Route<A>>,
    ) -> Result<RouteInfo, ApiError> {
        let asked = Prefix::new(address, length).map_err(|_| {
            let message = format!("{length} is above {}", A::BITS);
            ApiError::new(ErrorCode::Invalid, format!("route {address}"), message)
                .in_field("length")
        })?;
        if !self.fib.has_table::<A>(vrf) {
            return Ok(artefact(address, asked.length()));
        }
        let mut covers = (0..=length).rev().filter_map(|length| Prefix::new(address, length).ok());
        let found = covers.find_map(route);
        Ok(match found {
            Some(route) => route_row(self.model, route),
            None => RouteInfo {
                address: A::from_bits128(0).into(),
                length: 0,
                parent_length: 0,
                flags: RouteFlags::default(),
                label: None,
                next_hop: NhId(0),
                stitched: None,
            },
        })
    }

    fn stations(&self, vrf: VrfId, from: u32) -> impl Iterator<Item = BridgeInfo> + '_ {
        (from..).map_while(BridgeSlot::new).filter_map(move |slot| {
            let station = self.fib.station(slot).filter(|station| station.vrf == vrf)?;
            let packets = self.facts.counters().map_or(0, |all| all.station(slot, *station));
            Some(bridge_row(station.mac, self.fib.bridge(vrf, station.mac)?, packets))
        })
    }
}

/// VRFs that do not exist come behind all others.
fn vrf_index(vrf: Option<VrfId>) -> u32 {
    vrf.map_or(u32::try_from(limits::VRFS).unwrap_or(u32::MAX), |vrf| vrf.0.into())
}

fn cursor_of_route(row: &RouteInfo) -> Cursor {
    match row.address {
        IpAddr::V4(address) => Cursor::Inet(address, row.length),
        IpAddr::V6(address) => Cursor::Inet6(address, row.length),
    }
}

/// What the original answers for a VRF without a table.
fn artefact(asked: impl Into<IpAddr>, length: u8) -> RouteInfo {
    RouteInfo {
        address: asked.into(),
        length,
        parent_length: 0,
        flags: RouteFlags::LABEL_VALID,
        label: Some(0),
        next_hop: NhId(0),
        stitched: Some(Stitched { mac: Mac::ZERO, index: 0 }),
    }
}

/// An index that fits, as where to go on in a small table.
fn narrow<N: TryFrom<u32>>(index: u32) -> Option<N> {
    N::try_from(index).ok()
}

/// A number as an index of a table of that size.
fn within(what: &str, number: u32, size: usize, code: ErrorCode) -> Result<u16, ApiError> {
    let index = u16::try_from(number).ok().filter(|index| usize::from(*index) < size);
    let message = || format!("is beyond the table of {size}");
    index.ok_or_else(|| ApiError::new(code, format!("{what} {number}"), message()))
}

fn beyond(what: &str, number: u32, error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::Invalid, format!("{what} {number}"), error.to_string())
}
