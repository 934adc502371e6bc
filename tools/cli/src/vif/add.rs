//! `vif --add NAME`.

use api::{Mac, Object, Op, Transport, Vif, VifFlags, VifId, VifKind, VrfId};

use super::list::all;
use super::{Id, device};
use crate::options::{Given, Number};
use crate::tool::{Failure, Session};

/// Words of `--type`. One is known by what an argument begins with, the longer first.
pub(super) const TYPES: [&str; 9] = [
    "vhost",
    "agent",
    "physical",
    "virtual-vlan",
    "virtual",
    "xenll",
    "gateway",
    "stats",
    "monitoring",
];
const KINDS: [VifKind; 9] = [
    VifKind::Host,
    VifKind::Agent,
    VifKind::Physical,
    VifKind::VirtualVlan,
    VifKind::Virtual,
    VifKind::XenLl,
    VifKind::Gateway,
    VifKind::Stats,
    VifKind::Monitoring,
];
/// Words of `--transport`.
pub(super) const TRANSPORTS: [&str; 5] = ["eth", "pmd", "virtual", "socket", "tap"];
const MEANS: [Transport; 5] =
    [Transport::Ethernet, Transport::Pmd, Transport::Virtual, Transport::Socket, Transport::Tap];
/// What a monitoring interface has.
const MONITOR_MAC: Mac = Mac([2, 0, 0, 0, 0, 0]);
/// A cross-connected interface has at most so many partners.
const PARTNERS: usize = 3;

/// The numbers among the arguments.
#[derive(Clone, Copy)]
pub(super) struct Numbers {
    pub(super) id: Option<VifId>,
    pub(super) vrf: Option<Number>,
    pub(super) monitored: Option<Number>,
}

pub(super) fn run(
    given: &Given<Id>,
    numbers: Numbers,
    session: &mut Session<'_>,
) -> Result<(), Failure> {
    let name = given.last(Id::Add).ok_or(Failure::Usage)?;
    let kind = word(given.last(Id::Type), &TYPES, &KINDS)?.ok_or(Failure::Usage)?;
    let transport = word(given.last(Id::Transport), &TRANSPORTS, &MEANS)?;
    let monitors = numbers.monitored.map(|vif| VifId(vif.index()));
    let (vrf, mac) = match (kind, monitors) {
        (VifKind::Monitoring, Some(_)) => (VrfId(0), MONITOR_MAC),
        (VifKind::Monitoring, None) => return Err(Failure::Usage),
        _ => {
            let mac = given.last(Id::Mac).and_then(|text| text.parse().ok());
            (VrfId(numbers.vrf.ok_or(Failure::Usage)?.index()), mac.ok_or(Failure::Usage)?)
        }
    };
    let partners = given.last(Id::Xconnect);
    if kind == VifKind::Host && partners.is_none() {
        return Err(Failure::Usage);
    }
    let mut client = session.connect()?;
    let known = all(&mut client, None)?;
    let bound = || known.iter().find(|row| row.name == name).map(|row| row.id);
    let device = || device::index(name).and_then(|index| u16::try_from(index).ok()).map(VifId);
    let id = numbers.id.or_else(bound).or_else(device).unwrap_or(VifId(u16::MAX));
    let named = |name: &str| known.iter().find(|row| row.name == name).map(|row| row.id);
    let xconnect: Vec<VifId> = partners
        .into_iter()
        .flat_map(|names| names.split(','))
        .map_while(named)
        .take(PARTNERS)
        .collect();
    let vif = Vif {
        transport: transport.unwrap_or(Transport::Virtual),
        vrf,
        mac,
        mtu: device::mtu(name).unwrap_or(Vif::MTU),
        flags: flags(given),
        monitors: monitors.filter(|_| kind == VifKind::Monitoring),
        xconnect,
        ..Vif::new(id, name, kind)
    };
    client.operate(vec![Op::Put(Object::Vif(vif))])?;
    session.done()
}

/// Flags as given. Without L3 and L2 an interface is both.
fn flags(given: &Given<Id>) -> VifFlags {
    let bits = [
        (Id::Policy, VifFlags::POLICY),
        (Id::VhostPhys, VifFlags::VHOST_PHYS),
        (Id::DhcpEnable, VifFlags::DHCP),
        (Id::Pmd, VifFlags::PMD),
        (Id::Xconnect, VifFlags::XCONNECT),
    ];
    let set = bits.iter().filter(|(id, _)| given.has(*id));
    set.fold(VifFlags::default(), |flags, (_, bit)| flags.with(*bit))
}

/// What a word stands for: the first that the argument begins with.
fn word<T: Copy>(text: Option<&str>, words: &[&str], meanings: &[T]) -> Result<Option<T>, Failure> {
    let Some(text) = text else { return Ok(None) };
    let found = words.iter().zip(meanings).find(|(word, _)| text.starts_with(**word));
    found.map(|(_, meaning)| Some(*meaning)).ok_or(Failure::Usage)
}
