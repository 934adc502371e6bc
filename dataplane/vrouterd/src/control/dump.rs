//! Pages and single rows of the tables.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::{
    ApiError, BridgeInfo, Core, Cursor, ErrorCode, LabelInfo, Lookup, NextHopDetail, NextHopInfo,
    Page, Pbb, RouteInfo, Rows, Stitched, Table, UnderlayHop, VifInfo, VlanStation, VlanTag,
    VlanVrf, VniInfo, VrfInfo, VrfStats,
};
use tables::{
    BridgeSlot, Family, Fib, Key, Model, NextHop, NextHopKind, NhId, Rewrite, Route, RouteFlags,
    RouteHit, SubInterface, TunnelEncap, Uplink, Vif, VifId, VrfId, limits,
};
use wire::{Label, Mac, Prefix, Vni};

/// Rows on a page: large enough to be quick, small enough that other clients are not kept waiting.
const PAGE: usize = 1024;
/// Shown as the family of every encap next hop, as the original's agent sends it (ARP).
const SHOWN_ETHER_TYPE: u16 = 0x0806;

/// What a row of an interface needs beside the tables.
pub(crate) trait VifFacts {
    /// Adds device, port and counters to a row.
    fn complete(&self, row: &mut VifInfo, core: Option<Core>);

    /// The vif on the kernel device with this index.
    fn by_os_index(&self, os_index: u32) -> Option<VifId>;
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
            Table::Mirror => self.nothing(Rows::Mirror(Vec::new())),
            Table::ForwardingClass => self.nothing(Rows::ForwardingClass(Vec::new())),
            Table::QosMap => self.nothing(Rows::QosMap(Vec::new())),
            Table::VrfStats => self.nothing(Rows::VrfStats(Vec::new())),
            Table::DropLog { .. } => self.nothing(Rows::DropLog(Vec::new())),
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
                Rows::Bridge(vec![bridge_row(mac, hit.ok_or_else(missing)?)])
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
            Lookup::VrfStats(number) => {
                let id = within("vrf", number, limits::VRFS, ErrorCode::Invalid)?;
                Rows::VrfStats(vec![VrfStats { vrf: Some(VrfId(id)), ..VrfStats::default() }])
            }
            Lookup::Mirror(number) => {
                within("mirror", number, 255, ErrorCode::NoDevice)?;
                return Err(ApiError::not_found(format!("mirror {number}")));
            }
            Lookup::ForwardingClass(number) => {
                return Err(ApiError::not_found(format!("forwarding class {number}")));
            }
            Lookup::QosMap(number) => {
                return Err(ApiError::not_found(format!("qos map {number}")));
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
            (named.is_some() || used).then(|| VrfInfo {
                id,
                name: named.map_or_else(String::new, |vrf| vrf.name.clone()),
                hbs_left: None,
                hbs_right: None,
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

    fn vif(&self, vif: &Vif, core: Option<Core>) -> VifInfo {
        let mut row = VifInfo {
            transport: vif.transport,
            next_hop: vif.next_hop,
            mac: vif.mac,
            ip: vif.ip,
            ip6: vif.ip6,
            vrf: Some(vif.vrf),
            mcast_vrf: vif.mcast_vrf,
            mtu: vif.mtu,
            flags: self.model.vif_flags(vif),
            references: self.model.vif_references(vif.id),
            vlan: vif.sub.as_ref().map(|sub| self.tag(vif.vrf, sub)),
            monitors: vif.monitors,
            parent: vif.sub.as_ref().map(|sub| sub.parent),
            qos_map: vif.qos_map.map(|map| map.0),
            mirror: vif.mirror.map(|mirror| mirror.0.into()),
            isid: vif.isid,
            bmac: vif.bmac,
            ingress_mirror_metadata: vif.ingress_metadata.clone(),
            egress_mirror_metadata: vif.egress_metadata.clone(),
            fat_flow_rules: vif.fat_flow_rules.clone(),
            fat_flow_exclude: vif.fat_flow_exclude.iter().map(Prefix::address).collect(),
            fat_flow_exclude6: vif.fat_flow_exclude6.iter().map(Prefix::address).collect(),
            vlan_vrfs: self
                .model
                .assignments(vif.id)
                .map(|assign| VlanVrf { vlan: assign.vlan, vrf: assign.vrf })
                .collect(),
            ..VifInfo::new(vif.id, vif.name.clone(), vif.kind)
        };
        self.facts.complete(&mut row, core);
        row
    }

    fn next_hop(&self, hop: &NextHop) -> NextHopInfo {
        NextHopInfo {
            id: hop.id,
            family: Some(hop.family),
            vrf: hop.vrf,
            references: self.model.next_hop_references(hop.id),
            flags: hop.wire_flags(),
            direct: match &hop.kind {
                NextHopKind::Pbb { direct, .. } => Some(*direct),
                _ => None,
            },
            detail: self.detail(&hop.kind),
        }
    }

    fn detail(&self, kind: &NextHopKind) -> NextHopDetail {
        match kind {
            NextHopKind::Dead => NextHopDetail::Dead,
            NextHopKind::Receive(vif) => NextHopDetail::Receive { vif: Some(*vif) },
            NextHopKind::Encap { vif, rewrite } => NextHopDetail::Encap {
                ether_type: SHOWN_ETHER_TYPE,
                vif: Some(*vif),
                rewrite: rewrite.clone(),
            },
            NextHopKind::Tunnel { source, destination, encap, rewrite } => {
                let (crypt_vif, plain) = match rewrite {
                    Rewrite::Encrypted(vif, plain) => (*vif, &**plain),
                    plain => (None, plain),
                };
                NextHopDetail::Tunnel {
                    source: *source,
                    destination: *destination,
                    underlay: self.underlay(*destination, plain),
                    ports: match encap {
                        TunnelEncap::Udp { source, destination } => Some((*source, *destination)),
                        _ => None,
                    },
                    l3_vxlan_mac: match encap {
                        TunnelEncap::VxlanL3(mac) => Some(*mac),
                        _ => None,
                    },
                    pbb: None,
                    transport_label: match encap {
                        TunnelEncap::MplsOverMplsOverGre(label)
                        | TunnelEncap::MplsOverMplsOverUdp(label) => Some(label.get()),
                        _ => None,
                    },
                    crypt_vif,
                }
            }
            NextHopKind::Pbb { mac, direct } => {
                let mut detail = NextHopDetail::no_tunnel();
                if let NextHopDetail::Tunnel { pbb, .. } = &mut detail {
                    *pbb = Some(Pbb { mac: *mac, label: direct.label });
                }
                detail
            }
            NextHopKind::Resolve => NextHopDetail::Resolve,
            NextHopKind::Discard => NextHopDetail::Discard,
            NextHopKind::Composite { kind, members } => NextHopDetail::Composite {
                hash: match kind {
                    tables::CompositeKind::Ecmp(fields) => *fields,
                    _ => 0,
                },
                members: members.clone(),
            },
            NextHopKind::Translate(vrf) => NextHopDetail::Translate { vrf: *vrf },
            NextHopKind::L2Receive => NextHopDetail::L2Receive,
        }
    }

    fn tag(&self, vrf: VrfId, sub: &SubInterface) -> VlanTag {
        let station = |mac: &Mac| {
            let slot = self.model.bridge_slot(vrf, *mac);
            VlanStation { mac: *mac, bridge_index: slot.map_or(0, BridgeSlot::index) }
        };
        let stations = sub.stations.iter().map(station).collect();
        VlanTag { outer: sub.tx_vlan, inner: sub.rx_vlan, stations }
    }

    /// The ways out: one, or as many as there are places for uplinks when there are several.
    fn underlay(&self, destination: IpAddr, rewrite: &Rewrite) -> Vec<UnderlayHop> {
        let given = |vif: VifId, bytes: &[u8]| UnderlayHop {
            vif: Some(vif),
            valid: true,
            rewrite: bytes.to_vec(),
        };
        let one = match rewrite {
            Rewrite::Given(vif, bytes) => given(*vif, bytes),
            Rewrite::Uplinks(uplinks) => {
                let places = (0..limits::UPLINKS).map(|place| uplinks.get(place)?.as_ref());
                let hop = |uplink: &Uplink| given(uplink.vif, &uplink.rewrite);
                return places.map(|uplink| uplink.map(hop).unwrap_or_default()).collect();
            }
            Rewrite::Encrypted(_, plain) => return self.underlay(destination, plain),
            Rewrite::Underlay => match self.model.adjacency(destination) {
                Some(adjacency) => {
                    let ether_type: [u8; 2] =
                        if destination.is_ipv4() { [0x08, 0x00] } else { [0x86, 0xdd] };
                    let (to, from) = (&adjacency.neighbor.0[..], &adjacency.source.0[..]);
                    let rewrite = [to, from, &ether_type].concat();
                    UnderlayHop { vif: Some(adjacency.vif), valid: true, rewrite }
                }
                None => UnderlayHop::default(),
            },
        };
        vec![one]
    }

    fn leaf(&self, address: IpAddr, length: u8, hit: &RouteHit) -> RouteInfo {
        let stitched = hit.bridge.and_then(|slot| {
            let mac = self.fib.station(slot)?.mac;
            Some(Stitched { mac, index: slot.index() })
        });
        RouteInfo {
            address,
            length,
            parent_length: hit.prefix_len,
            flags: hit.flags,
            label: hit.label,
            next_hop: hit.nh,
            stitched,
        }
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
            Some(route) => self.route_row(route),
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

    fn route_row<A: Family + Into<IpAddr>>(&self, route: &Route<A>) -> RouteInfo {
        let stitched = route.mac.map(|mac| {
            let index = self.model.bridge_slot(route.vrf, mac).map_or(0, BridgeSlot::index);
            Stitched { mac, index }
        });
        RouteInfo {
            address: route.prefix.address().into(),
            length: route.prefix.length(),
            parent_length: 0,
            flags: route.flags,
            label: route.label.map(Vni::get),
            next_hop: route.next_hop,
            stitched,
        }
    }

    fn stations(&self, vrf: VrfId, from: u32) -> impl Iterator<Item = BridgeInfo> + '_ {
        (from..).map_while(BridgeSlot::new).filter_map(move |slot| {
            let station = self.fib.station(slot).filter(|station| station.vrf == vrf)?;
            Some(bridge_row(station.mac, self.fib.bridge(vrf, station.mac)?))
        })
    }
}

fn cursor_of_route(row: &RouteInfo) -> Cursor {
    match row.address {
        IpAddr::V4(address) => Cursor::Inet(address, row.length),
        IpAddr::V6(address) => Cursor::Inet6(address, row.length),
    }
}

fn bridge_row(mac: Mac, hit: tables::BridgeHit) -> BridgeInfo {
    BridgeInfo {
        index: hit.slot.index(),
        mac,
        flags: hit.flags,
        label: hit.label,
        next_hop: hit.nh,
        packets: 0,
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

/// A number as an index of a table of that size.
fn within(what: &str, number: u32, size: usize, code: ErrorCode) -> Result<u16, ApiError> {
    let index = u16::try_from(number).ok().filter(|index| usize::from(*index) < size);
    let message = || format!("is beyond the table of {size}");
    index.ok_or_else(|| ApiError::new(code, format!("{what} {number}"), message()))
}

fn beyond(what: &str, number: u32, error: impl std::fmt::Display) -> ApiError {
    ApiError::new(ErrorCode::Invalid, format!("{what} {number}"), error.to_string())
}
