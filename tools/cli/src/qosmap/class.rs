//! `qosmap --dump-fc`, `--get-fc` and `--set-fc`.

use api::{ClassId, ForwardingClass, Lookup, Object, Op, Table};

use super::{Id, number, render};
use crate::options::Given;
use crate::tool::{Failure, Session};

const GET: &str = "Invalid arguments for --get-fc";
const SET: &str = "Invalid options to --set-fc";

pub(super) fn dump(session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    session.text(render::CLASSES)?;
    session.dump(&mut client, Table::ForwardingClass, render::classes)
}

pub(super) fn get(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let id = number(given, Id::GetClass, u16::MAX, GET)?;
    let rows = session.connect()?.get(Lookup::ForwardingClass(id.into()))?;
    session.text(render::CLASSES)?;
    session.show(&rows, render::classes)
}

pub(super) fn set(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let byte = |id, most| Ok::<u8, Failure>(number(given, id, most, SET)?.try_into().unwrap_or(0));
    if !given.only(&[Id::SetClass, Id::Dscp, Id::MplsQos, Id::DotOneP, Id::Queue]) {
        return Err(Failure::Ended(SET.to_owned(), 22));
    }
    let class = ForwardingClass {
        id: ClassId(byte(Id::SetClass, 255)?),
        dscp: byte(Id::Dscp, 63)?,
        exp: byte(Id::MplsQos, 7)?,
        dot1p: byte(Id::DotOneP, 7)?,
        queue: byte(Id::Queue, 255)?,
    };
    session.operate(vec![Op::Put(Object::Class(class))])
}
