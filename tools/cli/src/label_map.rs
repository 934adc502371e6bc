//! The options of `mpls` and `vxlan`, which are the same: tables from a number to a next hop.

use crate::options::{Given, Number, Opt};
use crate::tool::Failure;

/// An option of either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Dump,
    Get,
    ShortGet,
    ShortNumber,
    ProgrammingHelp,
}

/// The options of either.
pub(crate) const OPTIONS: &[Opt<Id>] = &[
    Opt::flag(Id::Dump, "dump", "b"),
    Opt::valued(Id::Get, "get", ""),
    Opt::flag(Id::ShortGet, "", "g"),
    Opt::valued(Id::ShortNumber, "", "l"),
    Opt::flag(Id::ProgrammingHelp, "cmd", ""),
];

/// What is to be done.
pub(crate) enum Verb {
    Dump,
    Get(u32),
}

/// The one operation that was given.
pub(crate) fn verb(given: &Given<Id>) -> Result<Verb, Failure> {
    let mut operations =
        given.iter().filter(|(id, _)| matches!(id, Id::Dump | Id::Get | Id::ShortGet));
    let short_number = given.iter().rev().find(|(id, _)| *id == Id::ShortNumber);
    let help = given.iter().any(|(id, _)| *id == Id::ProgrammingHelp);
    let (Some((operation, value)), None, false) = (operations.next(), operations.next(), help)
    else {
        return Err(Failure::Usage);
    };
    let number = match (operation, short_number) {
        (Id::Dump, _) => return Ok(Verb::Dump),
        (Id::Get, _) => value,
        (_, Some((_, number))) => number,
        (_, None) => return Err(Failure::Usage),
    };
    Ok(Verb::Get(Number::read(number).index()))
}
