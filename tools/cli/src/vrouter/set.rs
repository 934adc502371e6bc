//! `vrouter --SETTING VALUE` and what is logged.

use api::{Client, Request, VrouterValue};

use super::Id;
use crate::options::{Given, Number};
use crate::tool::{Failure, Session};

pub(super) fn run(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    for (id, word) in &given.0 {
        check_word(*id, word)?;
    }
    let mut client = session.connect()?;
    for (id, text) in &given.0 {
        let (value, to) = match id {
            Id::Set(knob) => (knob.value(), Number::read(text).index()),
            Id::SetLogLevel => (VrouterValue::LogLevel, place(&VrouterValue::LOG_LEVELS, text) + 1),
            Id::EnableLogType => (VrouterValue::LogTypes, types(&mut client)? | bit(text)),
            _ => (VrouterValue::LogTypes, types(&mut client)? & !bit(text)),
        };
        client.done(&Request::Set { value, to })?;
    }
    session.done()
}

fn check_word(id: Id, word: &str) -> Result<(), Failure> {
    let bad = |what| Err(Failure::Explained(format!("vrouter: Invalid log {what}: '{word}'\n")));
    match id {
        Id::SetLogLevel if !VrouterValue::LOG_LEVELS.contains(&word) => bad("level"),
        Id::EnableLogType | Id::DisableLogType if !VrouterValue::LOG_TYPES.contains(&word) => {
            bad("type")
        }
        _ => Ok(()),
    }
}

fn types(client: &mut Client) -> Result<u32, Failure> {
    Ok(client.vrouter()?.value(VrouterValue::LogTypes))
}

fn bit(word: &str) -> u32 {
    1 << place(&VrouterValue::LOG_TYPES, word)
}

/// Where a word that is known to be there stands.
fn place(words: &[&str], word: &str) -> u32 {
    let place = words.iter().position(|known| *known == word).unwrap_or_default();
    u32::try_from(place).unwrap_or_default()
}
