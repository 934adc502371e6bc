//! `flow --get`: one flow, and what its addresses and next hops are (reference cli.md section 7.7).

use std::fmt::Write as _;
use std::net::IpAddr;

use api::{
    Client, ClientError, Core, DropReason, DropScope, DropStats, ErrorCode, FlowAction, FlowInfo,
    Lookup, Mac, NextHopDetail, NextHopInfo, NhFlags, NhId, RouteInfo, Rows, VifId, VrfId,
};

use super::render::{letters, reason};
use crate::rt::masked;
use crate::tool::Failure;

/// Columns of a field's name; what goes on begins there.
const FIELD: usize = 30;
/// A member chain that leads to itself ends here.
const DEPTH: usize = 4;

/// The text of a flow; what it refers to is looked up.
pub(super) fn text(client: &mut Client, flow: &FlowInfo) -> Result<String, Failure> {
    let reverse = match flow.reverse {
        Some(index) if flow.action == FlowAction::Nat => one_flow(client, index)?,
        _ => None,
    };
    let mut out = Detail { client, text: String::new(), member: flow.ecmp };
    out.key(flow);
    out.action(flow, reverse.as_ref());
    out.name("Expected Source");
    out.next_hop(flow.source_next_hop, Way::In)?;
    out.name("Source Information");
    let end = End { vrf: flow.vrf, address: flow.source, station: "SourceMAC", way: Way::In };
    out.end(&end)?;
    out.name("Destination Information");
    let translated = flow.flags & FlowInfo::DNAT != 0;
    let address = reverse.filter(|_| translated).map_or(flow.destination, |reverse| reverse.source);
    let vrf = flow.destination_vrf.unwrap_or(flow.vrf);
    out.end(&End { vrf, address, station: "DestinationMAC", way: Way::Out })?;
    out.line("\n");
    out.flags(flow);
    out.mirrors(flow)?;
    out.statistics(flow)?;
    Ok(out.text)
}

/// What of ours the original has no words for.
pub(super) fn rules(flow: &FlowInfo) -> String {
    let owner = flow.owner.map_or("none".to_owned(), |Core(core)| core.to_string());
    [
        ("Network Policy Rule", flow.network_rule.to_string()),
        ("Security Group Rule", flow.group_rule.to_string()),
        ("Age, Idle", format!("{} s, {} s", flow.age, flow.idle)),
        ("Core", owner),
    ]
    .map(|(name, value)| format!("{:FIELD$}{value}\n", format!("{name}:")))
    .concat()
}

/// Which way packets of the flow pass an interface.
#[derive(Clone, Copy)]
enum Way {
    In,
    Out,
}

impl Way {
    fn word(self) -> &'static str {
        match self {
            Way::In => "Ingress",
            Way::Out => "Egress",
        }
    }
}

struct End {
    vrf: VrfId,
    address: IpAddr,
    /// What its MAC is called.
    station: &'static str,
    way: Way,
}

struct Detail<'c> {
    client: &'c mut Client,
    text: String,
    /// The flow's member in an ECMP group.
    member: Option<u8>,
}

impl Detail<'_> {
    fn line(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Begins a field.
    fn name(&mut self, name: &str) {
        let _ = write!(self.text, "{:FIELD$}", format!("{name}:"));
    }

    fn field(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        let _ = writeln!(self.text, "{value}");
    }

    /// Begins a line of the field before.
    fn more(&mut self) {
        let _ = write!(self.text, "{:FIELD$}", "");
    }

    fn key(&mut self, flow: &FlowInfo) {
        let protocol = match flow.protocol {
            6 => "TCP",
            17 => "UDP",
            1 => "ICMP",
            58 => "ICMPv6",
            132 => "SCTP",
            _ => "UNKNOWN",
        };
        self.field("Flow Index", flow.index);
        self.field("Flow Generation ID", flow.generation);
        self.field("Reverse Flow Index", flow.reverse.map_or(-1, i64::from));
        self.field("VRF", flow.vrf);
        self.field("Destination VRF", flow.destination_vrf.unwrap_or(flow.vrf));
        self.field("Flow Source", format!("[{}]:{:<5}", flow.source, flow.source_port));
        let destination = format!("[{}]:{:<5}", flow.destination, flow.destination_port);
        self.field("Flow Destination", destination);
        self.field("Flow Protocol", protocol);
        if let Some(uplink) = flow.underlay_ecmp {
            self.field("Flow Underlay ECMP Index", uplink);
        }
    }

    fn action(&mut self, flow: &FlowInfo, reverse: Option<&FlowInfo>) {
        let action = match flow.action {
            FlowAction::Forward => "FORWARD".to_owned(),
            FlowAction::Hold => "HOLD".to_owned(),
            FlowAction::Unknown => "Unknown".to_owned(),
            FlowAction::Drop => format!("DROP:{:FIELD$}{}", "", reason(flow.drop_reason)),
            FlowAction::Nat => format!("NAT: {}", letters(flow.flags, &NAT)),
        };
        self.field("Flow Action", action);
        if let Some(reverse) = reverse {
            // What its answers are sent to is what it comes from, and the other way round.
            let end = |address, port| format!("[{address}]:{port:<5}");
            let (source, destination) = (
                end(reverse.destination, reverse.destination_port),
                end(reverse.source, reverse.source_port),
            );
            self.more();
            let ends = format!("{}, {}", source.trim_end(), destination.trim_end());
            let _ = writeln!(self.text, "NAT(Source, Destination): {ends}");
        }
    }

    /// The route to an address, and to its station.
    fn end(&mut self, end: &End) -> Result<(), Failure> {
        let _ = writeln!(self.text, "VRF: {}", end.vrf);
        let Some(route) = route(self.client, end.vrf, end.address)? else { return Ok(()) };
        self.more();
        self.line("Layer 3 Route Information\n");
        self.more();
        let base = masked(end.address, route.length);
        let _ = writeln!(self.text, "Matching Route: {base}/{:<2}", route.length);
        self.more();
        self.next_hop(route.next_hop, end.way)?;
        let Some(stitched) = route.stitched else { return Ok(()) };
        self.line("\n");
        self.more();
        self.line("Layer 2 Route Information\n");
        self.more();
        let _ = writeln!(self.text, "{}: {}", end.station, stitched.mac.unpadded());
        let next_hop = station(self.client, end.vrf, stitched.mac)?;
        self.more();
        match next_hop {
            Some(next_hop) => self.next_hop(next_hop, end.way),
            None => Ok(()),
        }
    }

    /// Describes a next hop, behind the columns of a field. Some kinds have no description: their line ends later.
    fn next_hop(&mut self, id: NhId, way: Way) -> Result<(), Failure> {
        self.describe(id, way, DEPTH)
    }

    fn describe(&mut self, id: NhId, way: Way, depth: usize) -> Result<(), Failure> {
        let Some(row) = next_hop(self.client, id)? else { return Ok(()) };
        let (kind, vif) = match &row.detail {
            NextHopDetail::Receive { vif } => ("RECEIVE", *vif),
            NextHopDetail::Encap { vif, .. } => ("ENCAP", *vif),
            NextHopDetail::Tunnel { underlay, .. } => {
                ("TUNNEL", underlay.first().and_then(|hop| hop.vif))
            }
            NextHopDetail::Composite { .. } if row.flags.contains(NhFlags::COMPOSITE_ECMP) => {
                ("COMPOSITE", None)
            }
            _ => return Ok(()),
        };
        let vrf = row.vrf.map_or(-1, |vrf| i32::from(vrf.0));
        let _ = writeln!(self.text, "NextHop(Index, VRF, Type): {id}, {vrf}, {kind}");
        match &row.detail {
            NextHopDetail::Composite { members, .. } => {
                return self.members(members, way, depth);
            }
            NextHopDetail::Tunnel { destination, .. } => {
                self.more();
                let _ = writeln!(self.text, "Tunnel Source: {destination}");
            }
            _ => {}
        }
        match vif {
            Some(vif) => self.interface(vif, way),
            None => Ok(()),
        }
    }

    /// The members of an ECMP group, the flow's marked and described.
    fn members(
        &mut self,
        members: &[Option<api::Member>],
        way: Way,
        depth: usize,
    ) -> Result<(), Failure> {
        self.more();
        self.line("ECMP ");
        let chosen = self.member.map(usize::from);
        let mut found = None;
        for (at, member) in members.iter().enumerate() {
            let Some(member) = member else { continue };
            let mark = if chosen == Some(at) { "*" } else { "" };
            let _ = write!(self.text, "{}{mark}, ", member.next_hop);
            if chosen == Some(at) {
                found = Some(member.next_hop);
            }
        }
        self.line("\n");
        match found {
            Some(next_hop) if depth > 1 => {
                self.more();
                self.describe(next_hop, way, depth - 1)
            }
            _ => Ok(()),
        }
    }

    fn interface(&mut self, id: VifId, way: Way) -> Result<(), Failure> {
        let Some(row) = interface(self.client, id)? else { return Ok(()) };
        self.more();
        let vrf = row.vrf.map_or(-1, |vrf| i32::from(vrf.0));
        let device = row.os_name.as_deref().unwrap_or_default();
        let word = way.word();
        let _ = writeln!(self.text, "{word} Interface(Index, VRF, OS): vif0/{id}, {vrf}, {device}");
        self.more();
        let (out, within) = (row.tx.packets, row.rx.packets);
        let errors = row.rx.errors + row.tx.errors;
        let _ =
            writeln!(self.text, "Interface Statistics(Out, In, Errors): {out}, {within}, {errors}");
        Ok(())
    }

    fn flags(&mut self, flow: &FlowInfo) {
        self.field("Flow Flags", letters(flow.flags, &FLAGS));
        if flow.protocol == 6 {
            self.field("TCP FLAGS", letters(flow.tcp_flags, &TCP));
        }
        self.field("UDP Source Port", flow.udp_source_port);
    }

    fn mirrors(&mut self, flow: &FlowInfo) -> Result<(), Failure> {
        if flow.flags & FlowInfo::MIRROR == 0 {
            return Ok(());
        }
        self.line("\n");
        self.name("Mirror Index");
        let [first, second] = flow.mirrors;
        first.into_iter().for_each(|mirror| self.line(&mirror.to_string()));
        second.into_iter().for_each(|mirror| self.line(&format!(", {mirror}, ")));
        for (name, mirror) in [("Primary Mirror", first), ("Secondary Mirror", second)] {
            if let Some(mirror) = mirror {
                self.mirror(name, mirror.into(), flow.vrf)?;
            }
        }
        Ok(())
    }

    fn mirror(&mut self, name: &str, index: u32, own: VrfId) -> Result<(), Failure> {
        let found = found(self.client.get(Lookup::Mirror(index)))?;
        let Some(Rows::Mirror(rows)) = found else { return Ok(()) };
        let Some(row) = rows.into_iter().next() else { return Ok(()) };
        self.field(name, format!("NextHop {}", row.next_hop));
        let Some(next_hop) = next_hop(self.client, row.next_hop)? else { return Ok(()) };
        let NextHopDetail::Tunnel { source, destination, .. } = next_hop.detail else {
            return Ok(());
        };
        let place = match next_hop.vrf {
            Some(vrf) if vrf != own => format!("in VRF {vrf}"),
            _ => format!("in the same VRF ({own})"),
        };
        self.more();
        let _ = writeln!(self.text, "To Destination {destination} {place}");
        self.more();
        let _ = match source.is_unspecified() {
            true => writeln!(self.text, "Tunnel Source IP from packet"),
            false => writeln!(self.text, "Tunnel Source IP {source} "),
        };
        Ok(())
    }

    fn statistics(&mut self, flow: &FlowInfo) -> Result<(), Failure> {
        let drops = self.client.drops(DropScope::System, None)?;
        self.line("\n");
        self.field("Flow Statistics", format!("{}/{}", flow.packets, flow.bytes));
        self.field("System Wide Packet Drops", system_wide(&drops));
        self.more();
        let failures = drops.count(DropReason::InvalidSource);
        let _ = writeln!(self.text, "Reverse Path Failures: {failures}");
        self.more();
        let blocked: u64 = BLOCKED.iter().map(|reason| drops.count(*reason)).sum();
        let _ = writeln!(self.text, "Flow Block Drops: {blocked}");
        Ok(())
    }
}

fn system_wide(drops: &DropStats) -> u64 {
    let counted = DropReason::ALL.iter().filter(|reason| !LEFT_OUT.contains(reason));
    counted.map(|reason| drops.count(*reason)).sum()
}

/// What the original's sum of drops does not count.
const LEFT_OUT: [DropReason; 7] = [
    DropReason::FlowEvict,
    DropReason::LeafToLeaf,
    DropReason::BmacIsidMismatch,
    DropReason::InvalidHbsPkt,
    DropReason::NoFragEntry,
    DropReason::IcmpError,
    DropReason::CloneFail,
];

/// Drops that flows are the cause of.
const BLOCKED: [DropReason; 9] = [
    DropReason::FlowQueueLimitExceeded,
    DropReason::FlowNoMemory,
    DropReason::FlowInvalidProtocol,
    DropReason::FlowNatNoRflow,
    DropReason::FlowActionDrop,
    DropReason::FlowActionInvalid,
    DropReason::FlowUnusable,
    DropReason::FlowTableFull,
    DropReason::NewFlows,
];

const NAT: [(u16, &str); 5] = [
    (FlowInfo::SNAT, "SourceNAT, "),
    (FlowInfo::SPAT, "SourcePortNAT, "),
    (FlowInfo::DNAT, "DestinationNAT, "),
    (FlowInfo::DPAT, "DestinationPortNAT, "),
    (FlowInfo::LINK_LOCAL, "LinkLocalNAT, "),
];

const FLAGS: [(u16, &str); 5] = [
    (FlowInfo::EVICTED, "EVICTED "),
    (FlowInfo::EVICT_CANDIDATE, "EVICT CANDIDATE "),
    (FlowInfo::NEW, "NEW "),
    (FlowInfo::MODIFIED, "MODIFIED "),
    (FlowInfo::MIRROR, "MIRROR "),
];

const TCP: [(u16, &str); 9] = [
    (0x08, "SYN, "),
    (0x10, "SYN(REVERSE), "),
    (0x20, "ESTABLISHED, "),
    (0x40, "ESTABLISHED(REVERSE), "),
    (0x01, "FIN, "),
    (0x04, "FIN(REVERSE), "),
    (0x80, "RESET, "),
    (0x02, "HALFCLOSED, "),
    (0x8000, "DEAD, "),
];

/// What is not there is `None`.
fn found(answer: Result<Rows, ClientError>) -> Result<Option<Rows>, Failure> {
    match answer {
        Ok(rows) => Ok(Some(rows)),
        Err(ClientError::Refused(refusal))
            if matches!(refusal.code, ErrorCode::NotFound | ErrorCode::NoDevice) =>
        {
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn one_flow(client: &mut Client, index: u32) -> Result<Option<FlowInfo>, Failure> {
    match found(client.get(Lookup::Flow(index)))? {
        Some(Rows::Flow(rows)) => Ok(rows.into_iter().next()),
        _ => Ok(None),
    }
}

fn route(client: &mut Client, vrf: VrfId, address: IpAddr) -> Result<Option<RouteInfo>, Failure> {
    let lookup = match address {
        IpAddr::V4(address) => Lookup::Inet { vrf, address, length: 32 },
        IpAddr::V6(address) => Lookup::Inet6 { vrf, address, length: 128 },
    };
    match found(client.get(lookup))? {
        Some(Rows::Route(rows)) => Ok(rows.into_iter().next()),
        _ => Ok(None),
    }
}

fn station(client: &mut Client, vrf: VrfId, mac: Mac) -> Result<Option<NhId>, Failure> {
    match found(client.get(Lookup::Bridge { vrf, mac }))? {
        Some(Rows::Bridge(rows)) => Ok(rows.first().map(|row| row.next_hop)),
        _ => Ok(None),
    }
}

fn next_hop(client: &mut Client, id: NhId) -> Result<Option<NextHopInfo>, Failure> {
    match found(client.get(Lookup::NextHop(id)))? {
        Some(Rows::NextHop(rows)) => Ok(rows.into_iter().next()),
        _ => Ok(None),
    }
}

fn interface(client: &mut Client, id: VifId) -> Result<Option<api::VifInfo>, Failure> {
    match found(client.get(Lookup::Vif { id, core: None }))? {
        Some(Rows::Vif(rows)) => Ok(rows.into_iter().next()),
        _ => Ok(None),
    }
}
