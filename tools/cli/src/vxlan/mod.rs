//! `vxlan`: incoming VXLAN network identifiers (reference cli.md section 6).

mod create;
mod delete;
mod dump;
mod get;
mod render;

use std::process::ExitCode;

use crate::label_map::{Id, OPTIONS, Verb, verb};
use crate::options::Given;
use crate::tool::{self, Failure, Session, Tool};

pub(crate) const TOOL: Tool<Id> = Tool {
    name: "vxlan",
    about: "incoming VXLAN network identifiers",
    synopsis: &["--dump | --get VNID", "--create VNID --nh NH | --delete VNID"],
    options: OPTIONS,
    sock_dir: "s",
    usage_status: 1,
    lost_status: 1,
    run,
};

/// The command `vxlan`.
pub fn vxlan() -> ExitCode {
    tool::main(&TOOL)
}

fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    match verb(given)? {
        Verb::Dump => dump::run(session),
        Verb::Get(number) => get::run(number, session),
        Verb::Create(number, next_hop) => create::run(number, next_hop, session),
        Verb::Delete(number) => delete::run(number, session),
    }
}

/// A number that can be one; others are refused as the dataplane would.
fn number(number: u32) -> Result<api::Vni, Failure> {
    api::Vni::try_from(number)
        .map_err(|error| Failure::invalid(format!("vni {number}"), error.to_string()))
}
