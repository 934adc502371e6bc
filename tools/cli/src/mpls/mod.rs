//! `mpls`: incoming MPLS labels (reference cli.md section 5).

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
    name: "mpls",
    about: "incoming labels",
    synopsis: &["--dump | --get LABEL", "--create LABEL --nh NH | --delete LABEL"],
    options: OPTIONS,
    sock_dir: "s",
    usage_status: 1,
    lost_status: 1,
    run,
};

/// The command `mpls`.
pub fn mpls() -> ExitCode {
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
fn number(number: u32) -> Result<api::Label, Failure> {
    api::Label::try_from(number)
        .map_err(|error| Failure::invalid(format!("label {number}"), error.to_string()))
}
