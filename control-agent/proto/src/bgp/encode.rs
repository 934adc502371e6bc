//! Routes to UPDATEs of at most 4096 bytes, as many routes to a message as fit.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::community::{ExtendedCommunity, UnknownExtendedCommunity};
use netgauze_bgp_pkt::nlri::{
    EthernetSegmentIdentifier, EthernetTag, InclusiveMulticastEthernetTagRoute,
    Ipv4MplsVpnUnicastAddress, Ipv4Unicast, Ipv6MplsVpnUnicastAddress, Ipv6Unicast, L2EvpnAddress,
    L2EvpnIpPrefixRoute, L2EvpnIpv4PrefixRoute, L2EvpnIpv6PrefixRoute, L2EvpnRoute,
    LabeledIpv4NextHop, LabeledIpv6NextHop, LabeledNextHop, MacAddress, MacIpAdvertisement,
    MplsLabel, RouteDistinguisher,
};
use netgauze_bgp_pkt::path_attribute::{
    As2PathSegment, As4Path, As4PathSegment, AsPath, AsPathSegmentType, ExtendedCommunities,
    LocalPreference, MpReach, MpUnreach, MultiExitDiscriminator, Origin as LibraryOrigin,
    PathAttribute, PathAttributeValue, UnknownAttribute,
};
use netgauze_bgp_pkt::update::BgpUpdateMessage;
use netgauze_parse_utils::WritablePdu;

use super::attribute::code;
use super::family::Family;
use super::message::MAX_MESSAGE;
use super::route::{
    Attributes, Destination, FloodTunnel, IpPrefix, Membership, Origin, Rd, Relation, RouteKey,
    Segment,
};

/// Octets of an AS number in paths (RFC 6793).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AsWidth {
    /// A peer without the four-octet capability.
    Two,
    /// Everybody else.
    Four,
}

/// What writing depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Our AS.
    pub local_as: u32,
    /// Where the peer is. To another AS, ours goes in front of the path, and the local preference stays at home.
    pub relation: Relation,
    /// Octets of an AS in paths.
    pub as_width: AsWidth,
    /// It takes VPNv4 routes whose next hop is IPv6 (RFC 8950); others are not told those.
    pub extended_next_hop: bool,
}

impl Sender {
    /// Whether a route of this family with this next hop may be told.
    pub(crate) fn takes(self, family: Family, next_hop: IpAddr) -> bool {
        family != Family::Vpn4 || next_hop.is_ipv4() || self.extended_next_hop
    }
}

/// Bytes kept free for the header, the two length fields and the frame of MP_REACH with the longest next hop.
const FIXED: usize = 23 + 4 + 5 + 24;

/// The messages that announce `routes` with their label fields; all share `attributes` and `family`.
pub fn encode_announcements(
    sender: Sender,
    family: Family,
    attributes: &Attributes,
    routes: &[(RouteKey, [u8; 3])],
) -> Vec<Vec<u8>> {
    let shared = shared_attributes(sender, attributes);
    let used: usize = FIXED + shared.iter().map(WritablePdu::len).sum::<usize>();
    let room = MAX_MESSAGE.saturating_sub(used);
    chunks(routes, room, |(key, _)| entry_size(key))
        .filter_map(|chunk| {
            let mut list = shared.clone();
            list.push(mp(PathAttributeValue::MpReach(reach(family, attributes.next_hop, chunk)?))?);
            Some(update(list))
        })
        .collect()
}

/// The messages that withdraw `routes`, all of `family`.
pub fn encode_withdrawals(family: Family, routes: &[RouteKey]) -> Vec<Vec<u8>> {
    chunks(routes, MAX_MESSAGE - FIXED, entry_size)
        .filter_map(|chunk| Some(update(vec![mp(unreach(family, chunk))?])))
        .collect()
}

/// End-of-RIB (RFC 4724 section 2).
pub fn encode_end_of_rib(family: Family) -> Vec<u8> {
    update(mp(unreach(family, &[])).into_iter().collect())
}

/// Cuts `items` so that each piece takes at most `room` bytes, and at least one item.
fn chunks<T>(items: &[T], room: usize, size: impl Fn(&T) -> usize) -> impl Iterator<Item = &[T]> {
    let mut rest = items;
    std::iter::from_fn(move || {
        let mut used = 0;
        let fitting = rest
            .iter()
            .take_while(|item| {
                used += size(item);
                used <= room
            })
            .count()
            .clamp(1.min(rest.len()), rest.len());
        let (head, tail) = rest.split_at_checked(fitting)?;
        rest = tail;
        (!head.is_empty()).then_some(head)
    })
}

fn entry_size(key: &RouteKey) -> usize {
    let bytes = |address: IpAddr| if address.is_ipv4() { 4 } else { 16 };
    match (key.family, key.destination) {
        (_, Destination::Station { address, .. }) => 2 + 33 + address.map_or(0, bytes),
        (_, Destination::Flood { router }) => 2 + 13 + bytes(router),
        (Family::Evpn, Destination::Prefix(IpPrefix::V4(_))) => 2 + 34,
        (Family::Evpn, Destination::Prefix(IpPrefix::V6(_))) => 2 + 58,
        (_, Destination::Prefix(prefix)) => {
            let length = match prefix {
                IpPrefix::V4(prefix) => prefix.length(),
                IpPrefix::V6(prefix) => prefix.length(),
            };
            1 + 3 + 8 + usize::from(length.div_ceil(8))
        }
    }
}

fn update(attributes: Vec<PathAttribute>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let message = BgpMessage::Update(BgpUpdateMessage::new(vec![], attributes, vec![]));
    // Writing to a vector cannot fail, and the sizes were checked.
    let written = message.write(&mut bytes);
    debug_assert!(written.is_ok(), "{written:?}");
    debug_assert!(bytes.len() <= MAX_MESSAGE, "{}", bytes.len());
    bytes
}

fn shared_attributes(sender: Sender, attributes: &Attributes) -> Vec<PathAttribute> {
    let mut path = attributes.as_path.clone();
    if sender.relation == Relation::External {
        match path.first_mut() {
            Some(Segment::Sequence(list)) if list.len() < 255 => list.insert(0, sender.local_as),
            _ => path.insert(0, Segment::Sequence(vec![sender.local_as])),
        }
    }
    let origin = match attributes.origin {
        Origin::Igp => LibraryOrigin::IGP,
        Origin::Egp => LibraryOrigin::EGP,
        Origin::Incomplete => LibraryOrigin::Incomplete,
    };
    let mut list = Vec::new();
    let mut well_known = |value| list.extend(PathAttribute::from(false, true, false, false, value));
    well_known(PathAttributeValue::Origin(origin));
    well_known(PathAttributeValue::AsPath(as_path(&path, sender.as_width)));
    if sender.relation == Relation::Internal {
        let preference = attributes.local_preference.unwrap_or(100);
        well_known(PathAttributeValue::LocalPreference(LocalPreference::new(preference)));
    }
    if let Some(med) = attributes.med {
        let value = PathAttributeValue::MultiExitDiscriminator(MultiExitDiscriminator::new(med));
        list.extend(PathAttribute::from(true, false, false, false, value));
    }
    let communities = communities(attributes);
    if !communities.is_empty() {
        let value = PathAttributeValue::ExtendedCommunities(ExtendedCommunities::new(communities));
        list.extend(PathAttribute::from(true, true, false, true, value));
    }
    if let Some(tunnel) = attributes.flood {
        let value = PathAttributeValue::UnknownAttribute(flood_tunnel(tunnel));
        list.extend(PathAttribute::from(true, true, false, false, value));
    }
    if sender.as_width == AsWidth::Two && needs_four_octets(&path) {
        let value = PathAttributeValue::As4Path(As4Path::new(wide(&path)));
        list.extend(PathAttribute::from(true, true, false, true, value));
    }
    list
}

/// A PMSI tunnel attribute for ingress replication, which the library does not know.
fn flood_tunnel(tunnel: FloodTunnel) -> UnknownAttribute {
    let mut value = vec![0, 6];
    value.extend(tunnel.raw_label);
    match tunnel.endpoint {
        IpAddr::V4(address) => value.extend(address.octets()),
        IpAddr::V6(address) => value.extend(address.octets()),
    }
    UnknownAttribute::new(code::PMSI_TUNNEL, value)
}

fn needs_four_octets(path: &[Segment]) -> bool {
    path.iter().any(|segment| match segment {
        Segment::Set(list) | Segment::Sequence(list) => list.iter().any(|a| *a > 0xffff),
    })
}

fn wide(path: &[Segment]) -> Vec<As4PathSegment> {
    path.iter()
        .map(|segment| {
            let (kind, list) = parts(segment);
            As4PathSegment::new(kind, list.clone())
        })
        .collect()
}

fn as_path(path: &[Segment], width: AsWidth) -> AsPath {
    match width {
        AsWidth::Four => AsPath::as4_path_segments(wide(path)),
        AsWidth::Two => {
            let narrow = |number: &u32| u16::try_from(*number).unwrap_or(23456);
            let segments: Vec<_> = path
                .iter()
                .map(|segment| {
                    let (kind, list) = parts(segment);
                    As2PathSegment::new(kind, list.iter().map(narrow).collect::<Vec<_>>())
                })
                .collect();
            AsPath::as2_path_segments(segments)
        }
    }
}

fn parts(segment: &Segment) -> (AsPathSegmentType, &Vec<u32>) {
    match segment {
        Segment::Set(list) => (AsPathSegmentType::AsSet, list),
        Segment::Sequence(list) => (AsPathSegmentType::AsSequence, list),
    }
}

fn communities(attributes: &Attributes) -> Vec<ExtendedCommunity> {
    let mut list: Vec<[u8; 8]> = attributes.targets.iter().map(|target| target.0).collect();
    for encapsulation in &attributes.encapsulations {
        let [high, low] = encapsulation.tunnel_type().to_be_bytes();
        list.push([3, 0x0c, 0, 0, 0, 0, high, low]);
    }
    if let Some(mac) = attributes.router_mac {
        let [a, b, c, d, e, g] = mac.0;
        list.push([6, 3, a, b, c, d, e, g]);
    }
    if let Some(mobility) = attributes.mobility {
        let [a, b, c, d] = mobility.sequence.to_be_bytes();
        list.push([6, 0, u8::from(mobility.sticky), 0, a, b, c, d]);
    }
    let Membership { as_number, network, groups } = &attributes.membership;
    let [high, low] = as_number.to_be_bytes();
    let numbered = network.iter().map(|id| (0x71, id)).chain(groups.iter().map(|id| (0x04, id)));
    for (sub_type, id) in numbered {
        let [a, b, c, d] = id.to_be_bytes();
        list.push([0x80, sub_type, high, low, a, b, c, d]);
    }
    list.into_iter()
        .map(|[code, sub_type, value @ ..]| {
            ExtendedCommunity::Unknown(UnknownExtendedCommunity::new(code, sub_type, value))
        })
        .collect()
}

fn mp(value: PathAttributeValue) -> Option<PathAttribute> {
    PathAttribute::from(true, false, false, true, value).ok()
}

fn reach(family: Family, next_hop: IpAddr, routes: &[(RouteKey, [u8; 3])]) -> Option<MpReach> {
    let zero = RouteDistinguisher::As2Administrator { asn2: 0, number: 0 };
    let labelled =
        |address: Ipv6Addr| LabeledNextHop::Ipv6(LabeledIpv6NextHop::new(zero, address, None));
    Some(match family {
        Family::Vpn4 => MpReach::Ipv4MplsVpnUnicast {
            next_hop: match next_hop {
                IpAddr::V4(v4) => LabeledNextHop::Ipv4(LabeledIpv4NextHop::new(zero, v4)),
                IpAddr::V6(v6) => labelled(v6),
            },
            nlri: routes.iter().filter_map(|(key, label)| vpn4(key, *label)).collect(),
        },
        Family::Vpn6 => MpReach::Ipv6MplsVpnUnicast {
            // Over an IPv4 core the next hop is written mapped (RFC 4659 section 3.2.1.2).
            next_hop: labelled(match next_hop {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            }),
            nlri: routes.iter().filter_map(|(key, label)| vpn6(key, *label)).collect(),
        },
        Family::Evpn => MpReach::L2Evpn {
            next_hop,
            nlri: routes.iter().filter_map(|(key, label)| evpn(key, *label)).collect(),
        },
    })
}

fn unreach(family: Family, routes: &[RouteKey]) -> PathAttributeValue {
    // RFC 8277 section 2.4: the label of a withdrawal is 0x800000.
    const NONE: [u8; 3] = [0x80, 0, 0];
    PathAttributeValue::MpUnreach(match family {
        Family::Vpn4 => MpUnreach::Ipv4MplsVpnUnicast {
            nlri: routes.iter().filter_map(|key| vpn4(key, NONE)).collect(),
        },
        Family::Vpn6 => MpUnreach::Ipv6MplsVpnUnicast {
            nlri: routes.iter().filter_map(|key| vpn6(key, NONE)).collect(),
        },
        Family::Evpn => {
            MpUnreach::L2Evpn { nlri: routes.iter().filter_map(|key| evpn(key, [0; 3])).collect() }
        }
    })
}

fn vpn4(key: &RouteKey, label: [u8; 3]) -> Option<Ipv4MplsVpnUnicastAddress> {
    let Destination::Prefix(IpPrefix::V4(prefix)) = key.destination else { return None };
    let net = Ipv4Net::new(prefix.address(), prefix.length()).ok()?;
    let network = Ipv4Unicast::from_net(net).ok()?;
    let labels = vec![MplsLabel::new(label)];
    Some(Ipv4MplsVpnUnicastAddress::new_no_path_id(distinguisher(key.rd)?, labels, network))
}

fn vpn6(key: &RouteKey, label: [u8; 3]) -> Option<Ipv6MplsVpnUnicastAddress> {
    let Destination::Prefix(IpPrefix::V6(prefix)) = key.destination else { return None };
    let net = Ipv6Net::new(prefix.address(), prefix.length()).ok()?;
    let network = Ipv6Unicast::from_net(net).ok()?;
    let labels = vec![MplsLabel::new(label)];
    Some(Ipv6MplsVpnUnicastAddress::new_no_path_id(distinguisher(key.rd)?, labels, network))
}

fn evpn(key: &RouteKey, label: [u8; 3]) -> Option<L2EvpnAddress> {
    let rd = distinguisher(key.rd)?;
    let segment = EthernetSegmentIdentifier::new([0; 10]);
    let tag = EthernetTag::new(key.tag);
    let label = MplsLabel::new(label);
    let route = match key.destination {
        Destination::Prefix(IpPrefix::V4(prefix)) => {
            let net = Ipv4Net::new(prefix.address(), prefix.length()).ok()?;
            let gateway = Ipv4Addr::UNSPECIFIED;
            let route = L2EvpnIpv4PrefixRoute::new(rd, segment, tag, net, gateway, label);
            L2EvpnRoute::IpPrefixRoute(L2EvpnIpPrefixRoute::V4(route))
        }
        Destination::Prefix(IpPrefix::V6(prefix)) => {
            let net = Ipv6Net::new(prefix.address(), prefix.length()).ok()?;
            let gateway = Ipv6Addr::UNSPECIFIED;
            let route = L2EvpnIpv6PrefixRoute::new(rd, segment, tag, net, gateway, label);
            L2EvpnRoute::IpPrefixRoute(L2EvpnIpPrefixRoute::V6(route))
        }
        Destination::Station { mac, address } => {
            let mac = MacAddress::new(mac.0);
            let route = MacIpAdvertisement::new(rd, segment, tag, mac, address, label, None);
            L2EvpnRoute::MacIpAdvertisement(route)
        }
        Destination::Flood { router } => {
            let route = InclusiveMulticastEthernetTagRoute::new(rd, tag, router);
            L2EvpnRoute::InclusiveMulticastEthernetTagRoute(route)
        }
    };
    Some(L2EvpnAddress::new(None, route))
}

fn distinguisher(rd: Rd) -> Option<RouteDistinguisher> {
    let [_, kind, a, b, c, d, e, g] = rd.0;
    Some(match kind {
        0 => RouteDistinguisher::As2Administrator {
            asn2: u16::from_be_bytes([a, b]),
            number: u32::from_be_bytes([c, d, e, g]),
        },
        1 => RouteDistinguisher::Ipv4Administrator {
            ip: Ipv4Addr::new(a, b, c, d),
            number: u16::from_be_bytes([e, g]),
        },
        2 => RouteDistinguisher::As4Administrator {
            asn4: u32::from_be_bytes([a, b, c, d]),
            number: u16::from_be_bytes([e, g]),
        },
        _ => return None,
    })
}
