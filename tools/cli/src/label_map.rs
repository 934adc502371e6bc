//! The options of `mpls` and `vxlan`, which are the same: tables from a number to a next hop.

use api::NhId;

use crate::options::{Given, Number, Opt};
use crate::tool::Failure;

/// An option of either.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Dump,
    Get,
    Create,
    Delete,
    NextHop,
    ShortGet,
    ShortNumber,
    ProgrammingHelp,
}

/// The options of either.
pub(crate) const OPTIONS: &[Opt<Id>] = &[
    Opt::flag(Id::Dump, "dump", "b", "all of them"),
    Opt::valued(Id::Get, "get", "", "NUMBER", "one of them (also: -g -l NUMBER)"),
    Opt::flag(Id::ShortGet, "", "g", ""),
    Opt::valued(Id::ShortNumber, "", "l", "NUMBER", ""),
    Opt::valued(Id::Create, "create", "", "NUMBER", "create or replace one"),
    Opt::valued(Id::NextHop, "nh", "n", "NH", "what it means here"),
    Opt::valued(Id::Delete, "delete", "", "NUMBER", "delete one"),
    Opt::flag(Id::ProgrammingHelp, "cmd", "", "this text"),
];

/// What is to be done.
pub(crate) enum Verb {
    Dump,
    Get(u32),
    Create(u32, NhId),
    Delete(u32),
}

/// The one operation that was given.
pub(crate) fn verb(given: &Given<Id>) -> Result<Verb, Failure> {
    let operation =
        |id: &Id| matches!(id, Id::Dump | Id::Get | Id::ShortGet | Id::Create | Id::Delete);
    let mut operations = given.0.iter().filter(|(id, _)| operation(id));
    let (Some((operation, value)), None, false) =
        (operations.next(), operations.next(), given.has(Id::ProgrammingHelp))
    else {
        return Err(Failure::Usage);
    };
    let number = Number::read(value).index();
    let next_hop = given.number(Id::NextHop).map(|number| NhId(number.index()));
    match (operation, next_hop) {
        (Id::Create, Some(next_hop)) => Ok(Verb::Create(number, next_hop)),
        (Id::Create, None) | (_, Some(_)) => Err(Failure::Usage),
        (Id::Dump, None) => Ok(Verb::Dump),
        (Id::Get, None) => Ok(Verb::Get(number)),
        (Id::Delete, None) => Ok(Verb::Delete(number)),
        (_, None) => {
            let number = given.number(Id::ShortNumber).ok_or(Failure::Usage)?;
            Ok(Verb::Get(number.index()))
        }
    }
}
