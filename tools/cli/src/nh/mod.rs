//! `nh`: next hops (reference cli.md section 3).

mod create;
mod delete;
mod get;
mod list;
mod render;

use std::process::ExitCode;

use api::NhId;

use crate::options::{Given, Number, Opt};
use crate::tool::{self, Failure, Session, Tool};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Id {
    List,
    Get,
    ProgrammingHelp,
    Create,
    Delete,
    Type,
    Vrf,
    Policy,
    RelaxedPolicy,
    Bridge,
    Multicast,
    Indirect,
    RouteLookup,
    MacLearn,
    EtreeRoot,
    Oif,
    SourceMac,
    DestinationMac,
    L3Vxlan,
    Source,
    Destination,
    Udp,
    SourcePort,
    DestinationPort,
    Vxlan,
    Pbb,
    Component,
    Label,
    Mcast,
    Fabric,
    Encap,
    Evpn,
    Tor,
    Ecmp,
    UnicastFlood,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "nh",
    about: "next hops",
    synopsis: &[
        "--list | --get ID",
        "--create ID --type 1 --vrf VRF --oif VIF                                    (receive)",
        "--create ID --type 2 --vrf VRF --oif VIF --smac MAC --dmac MAC [--l3_vxlan MAC] (encap)",
        "--create ID --type 3 --vrf VRF --oif VIF[,VIF[,VIF]] --smac MAC[,..] --dmac MAC[,..] --sip ADDRESS \
         --dip ADDRESS [--udp [--sport N --dport N] | --vxlan [--sport N --dport N] [--l3_vxlan MAC]] (tunnel)",
        "--create ID --type 3 --vrf VRF --pbb --cni ID --lbl LABEL --dmac MAC         (PBB)",
        "--create ID --type 4|5|8 --vrf VRF                             (resolve, discard, L2 receive)",
        "--create ID --type 6 --vrf VRF [--cni ID [--lbl LABEL]].. --cmc|--cfa|--cen|--cevpn|--tor|--ecmp \
         (composite)",
        "--create ID --type 7 --vrf VRF [--uucf] [--vxlan]                           (VRF translate)",
        "--delete ID",
    ],
    options: &[
        Opt::flag(Id::List, "list", "", "every next hop; of a composite the first 16 members"),
        Opt::valued(
            Id::Get,
            "get",
            "",
            "ID",
            "one next hop and, if it has members, each of them in turn",
        ),
        Opt::flag(Id::ProgrammingHelp, "cmd", "", "this text"),
        Opt::valued(Id::Create, "create", "", "ID", "create or replace a next hop"),
        Opt::valued(Id::Delete, "delete", "", "ID", "delete a next hop"),
        Opt::valued(Id::Type, "type", "", "N", "what it does, 1 to 8 as above"),
        Opt::valued(
            Id::Vrf,
            "vrf",
            "",
            "VRF",
            "the VRF it belongs to; the target of a translation",
        ),
        Opt::flag(Id::Policy, "pol", "", "flow lookup for what it delivers"),
        Opt::flag(Id::RelaxedPolicy, "rpol", "", "relaxed policy"),
        Opt::flag(Id::Bridge, "l2", "", "of family bridge: a frame lies under its label"),
        Opt::flag(Id::Multicast, "mc", "", "multicast"),
        Opt::flag(Id::Indirect, "ind", "", "indirect"),
        Opt::flag(Id::RouteLookup, "rlkup", "", "look the route up again"),
        Opt::flag(Id::MacLearn, "ml", "", "learn source MACs"),
        Opt::flag(Id::EtreeRoot, "root", "", "e-tree root"),
        Opt::valued(Id::Oif, "oif", "", "VIF", "out of this interface; of several by the flow"),
        Opt::valued(Id::SourceMac, "smac", "", "MAC", "outer source MAC"),
        Opt::valued(Id::DestinationMac, "dmac", "", "MAC", "outer destination MAC"),
        Opt::valued(Id::L3Vxlan, "l3_vxlan", "", "MAC", "inner destination MAC of routed VXLAN"),
        Opt::valued(Id::Source, "sip", "", "ADDRESS", "outer source address"),
        Opt::valued(Id::Destination, "dip", "", "ADDRESS", "outer destination address"),
        Opt::flag(Id::Udp, "udp", "", "MPLS over UDP; with ports plain UDP"),
        Opt::valued(Id::SourcePort, "sport", "", "N", "source port"),
        Opt::valued(Id::DestinationPort, "dport", "", "N", "destination port"),
        Opt::flag(Id::Vxlan, "vxlan", "", "VXLAN"),
        Opt::flag(Id::Pbb, "pbb", "", "provider backbone bridging"),
        Opt::valued(Id::Component, "cni", "", "ID", "a member, up to 32; of PBB where it goes on"),
        Opt::valued(Id::Label, "lbl", "", "LABEL", "the label of the member at the same place"),
        Opt::flag(Id::Mcast, "cmc", "", "top of a multicast tree"),
        Opt::flag(Id::Fabric, "cfa", "", "tree through the fabric"),
        Opt::flag(Id::Encap, "cen", "", "local ports"),
        Opt::flag(Id::Evpn, "cevpn", "", "EVPN flood list"),
        Opt::flag(Id::Tor, "tor", "", "ToR flood list"),
        Opt::flag(Id::Ecmp, "ecmp", "", "one member for each flow"),
        Opt::flag(Id::UnicastFlood, "uucf", "", "flood unknown unicast"),
    ],
    sock_dir: "",
    usage_status: 234,
    lost_status: 1,
    run,
};

/// The command `nh`.
pub fn nh() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let id = |number: Number| NhId(number.index());
    if given.has(Id::List) && given.only(&[Id::List]) {
        list::run(session)
    } else if let (Some(number), true) = (given.number(Id::Get), given.only(&[Id::Get])) {
        get::run(id(number), session)
    } else if let (Some(number), true) = (given.number(Id::Delete), given.only(&[Id::Delete])) {
        delete::run(id(number), session)
    } else if let Some(number) = given.number(Id::Create) {
        create::run(id(number), given, session)
    } else {
        Err(Failure::Usage)
    }
}
