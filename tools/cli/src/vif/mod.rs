//! `vif`: interfaces (reference cli.md section 2).

mod add;
mod clear;
mod create;
mod delete;
mod device;
mod flags;
mod get;
mod list;
mod port;
mod rate;
mod render;
mod set;
mod terminal;

use std::process::ExitCode;

use api::{Core, VifId};

pub(crate) use get::fetch;
pub(crate) use list::all;

use crate::options::{Given, Layout, Number, Offer, Opt, Quality, is_digits};
use crate::tool::{self, Failure, Session, Tool, system_text};

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    List,
    Get,
    Core,
    Rate,
    GetDropStats,
    Kernel,
    Port,
    Clear,
    Index,
    Add,
    Mac,
    Vrf,
    Type,
    Transport,
    Xconnect,
    Policy,
    VhostPhys,
    DhcpEnable,
    Pmd,
    Pci,
    Monitored,
    Delete,
    Set,
    Vlan,
    Create,
}

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "vif",
    about: "interfaces",
    synopsis: &[
        "--list [--core N] [--rate]",
        "--get INDEX [--kernel] [--core N] [--rate] [--get-drop-stats] [--port]",
        "--clear [--id INDEX] [--core N]",
        "--add NAME --mac MAC --vrf VRF --type TYPE [--transport TRANSPORT] [--xconnect NAMES] [--policy] \
         [--vhost-phys] [--dhcp-enable] [--pmd] [--id INDEX]",
        "--add NAME --type monitoring --vif INDEX [--id INDEX]",
        "--delete INDEX|NAME",
        "--set INDEX --vlan VLAN --vrf VRF",
        "--create NAME [--mac MAC]",
    ],
    options: &[
        Opt::flag(Id::List, "list", "lb", "all interfaces"),
        Opt::valued(Id::Get, "get", "g", "INDEX", "one interface"),
        Opt::valued(Id::Core, "core", "C", "N", "counters of one core, counted from 0"),
        Opt::flag(Id::Rate, "rate", "", "counters per second, until q or a signal"),
        Opt::flag(Id::GetDropStats, "get-drop-stats", "", "behind it why its packets were dropped"),
        Opt::flag(Id::Kernel, "kernel", "k", "INDEX is the kernel's (as in ip link)"),
        Opt::flag(
            Id::Port,
            "port",
            "",
            "three more lines: what its port got from the kernel (XDP mode, copies, queues, memory) and the \
             statistics of its AF_XDP sockets",
        )
        .extension(),
        Opt::flag(Id::Clear, "clear", "", "set counters to zero"),
        Opt::valued(Id::Index, "id", "i", "INDEX", "of this interface; to add: the index it gets"),
        Opt::valued(Id::Add, "add", "a", "NAME", "add an interface; of its device if there is one")
            .offering(Offer::Device),
        Opt::valued(Id::Mac, "mac", "m", "MAC", "the MAC the vRouter has on it"),
        Opt::valued(Id::Vrf, "vrf", "v", "VRF", "where its traffic is routed"),
        Opt::valued(Id::Type, "type", "t", "TYPE", "what it is").offering(Offer::Words(&add::TYPES)),
        Opt::valued(Id::Transport, "transport", "T", "TRANSPORT", "how frames reach it")
            .offering(Offer::Words(&add::TRANSPORTS)),
        Opt::valued(Id::Xconnect, "xconnect", "", "NAMES", "of vhost: its physical interfaces, up to three"),
        Opt::flag(Id::Policy, "policy", "", "its packets are subject to policy (short: -p with any argument)"),
        Opt::valued(Id::Policy, "", "p", "X", ""),
        Opt::flag(Id::VhostPhys, "vhost-phys", "", "it is paired with a vhost"),
        Opt::flag(Id::DhcpEnable, "dhcp-enable", "", "DHCP from it goes to the agent"),
        Opt::flag(Id::Pmd, "pmd", "D", "it is shown by its port number"),
        Opt::flag(Id::Pci, "pci", "P", "it is named by a PCI address"),
        Opt::valued(Id::Monitored, "vif", "", "INDEX", "of monitoring: whose packets it gets copies of"),
        Opt::valued(Id::Delete, "delete", "d", "INDEX|NAME", "delete an interface"),
        Opt::valued(Id::Set, "set", "", "INDEX", "of a service interface: give a VLAN a VRF"),
        Opt::valued(Id::Vlan, "vlan", "", "VLAN", "that VLAN"),
        Opt::valued(Id::Create, "create", "c", "NAME", "make a vhost device for the host's own traffic"),
    ],
    sock_dir: "s",
    usage_status: 0,
    lost_status: 244,
    run,
};

/// The command `vif`.
pub fn vif() -> ExitCode {
    tool::main(&TOOL)
}

/// The line that names an interface, as this host's platform shows it.
pub(crate) fn first_line(row: &api::VifInfo) -> String {
    render::first_line(row, Layout::of_this_host())
}

/// What goes together with `--add`.
const ADDING: &[Id] = &[
    Id::Add,
    Id::Mac,
    Id::Vrf,
    Id::Type,
    Id::Transport,
    Id::Xconnect,
    Id::Policy,
    Id::VhostPhys,
    Id::DhcpEnable,
    Id::Pmd,
    Id::Pci,
    Id::Monitored,
    Id::Index,
];
const GETTING: &[Id] = &[Id::Get, Id::Core, Id::Rate, Id::GetDropStats, Id::Kernel, Id::Port];

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let digits = |id, what| given.last(id).map(|text| index(text, what)).transpose();
    let get = digits(Id::Get, "vif --get")?;
    let set = digits(Id::Set, "vif --set")?;
    let vlan = digits(Id::Vlan, "vif set --vlan")?;
    let vrf = digits(Id::Vrf, "vif set --vrf")?;
    let monitored = digits(Id::Monitored, "vif add --vif")?;
    let id = digits(Id::Index, "vif add --id")?.map(|id| VifId(id.index()));
    let core = given.last(Id::Core).map(read_core).transpose()?;

    if given.has(Id::List) && given.only(&[Id::List, Id::Core, Id::Rate]) {
        if given.has(Id::Rate) { rate::list(core, session) } else { list::run(core, session) }
    } else if let (Some(index), true) = (get, given.only(GETTING)) {
        let lookup = if given.has(Id::Kernel) {
            api::Lookup::VifByOsIndex { os_index: index.index(), core }
        } else {
            api::Lookup::Vif { id: VifId(index.index()), core }
        };
        if given.has(Id::Rate) {
            return rate::get(lookup, core, session);
        }
        let extra = get::Extra { drops: given.has(Id::GetDropStats), port: given.has(Id::Port) };
        get::run(lookup, core, extra, session)
    } else if given.has(Id::Clear) && given.only(&[Id::Clear, Id::Core, Id::Index]) {
        clear::run(id, core, session)
    } else if given.has(Id::Add) && given.only(ADDING) {
        let numbers = add::Numbers { id, vrf, monitored };
        add::run(given, numbers, session)
    } else if let (Some(name), true) = (given.last(Id::Delete), given.only(&[Id::Delete])) {
        delete::run(name, session)
    } else if let (Some(vif), Some(vlan), Some(vrf), true) =
        (set, vlan, vrf, given.only(&[Id::Set, Id::Vlan, Id::Vrf]))
    {
        set::run(VifId(vif.index()), vlan.index(), api::VrfId(vrf.index()), session)
    } else if let (Some(name), true) = (given.last(Id::Create), given.only(&[Id::Create, Id::Mac]))
    {
        create::run(name, given.last(Id::Mac), session)
    } else {
        Err(Failure::Usage)
    }
}

/// An index: digits only. The complaint is not an error to the shell.
fn index(text: &str, what: &str) -> Result<Number, Failure> {
    if is_digits(text) {
        Ok(Number::read(text))
    } else {
        Err(Failure::Ended(format!("Invalid arguments for {what} "), 0))
    }
}

fn read_core(text: &str) -> Result<Core, Failure> {
    const ERANGE: i32 = 34;
    let number = Number::read(text);
    match u32::try_from(number.value) {
        Ok(core) if number.quality != Quality::OutOfRange => Ok(Core(core)),
        _ => Err(Failure::Explained(format!("Error parsing core {text}: {}", system_text(ERANGE)))),
    }
}
