//! `qosmap --dump-qos`, `--get-qos`, `--set-qos` and `--delete-qos`.

use std::collections::BTreeMap;

use api::{
    ClassId, Client, ClientError, ErrorCode, Key, Lookup, Object, Op, QosMap, QosMapId, QosMapInfo,
    Rows, Table,
};

use super::{Id, number, render};
use crate::options::Given;
use crate::tool::{Failure, Session};

const GET: &str = "Invalid arguments to --get-qos";
const SET: &str = "Invalid options to --set-qos";

pub(super) fn dump(session: &mut Session<'_>) -> Result<(), Failure> {
    let mut client = session.connect()?;
    session.dump(&mut client, Table::QosMap, render::maps)
}

pub(super) fn get(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let index = number(given, Id::GetMap, u16::MAX, GET)?;
    let rows = session.connect()?.get(Lookup::QosMap(index.into()))?;
    session.show(&rows, render::maps)
}

pub(super) fn set(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let id = QosMapId(number(given, Id::SetMap, u16::MAX, SET)?);
    let class = number(given, Id::Class, 255, SET)?;
    let marks = [(Id::Dscp, 63), (Id::MplsQos, 7), (Id::DotOneP, 7)];
    let mut chosen = marks.into_iter().filter(|(mark, _)| given.has(*mark));
    let (Some((mark, most)), None) = (chosen.next(), chosen.next()) else {
        return Err(Failure::Ended(SET.to_owned(), 22));
    };
    let byte = |number: u16| u8::try_from(number).unwrap_or(0);
    let (value, class) = (byte(number(given, mark, most, SET)?), ClassId(byte(class)));
    let mut client = session.connect()?;
    let mut map = known(&mut client, id)?;
    let entries = match mark {
        Id::Dscp => &mut map.dscp,
        Id::MplsQos => &mut map.exp,
        _ => &mut map.dot1p,
    };
    entries.insert(value, class);
    client.operate(vec![Op::Put(Object::QosMap(map))])?;
    session.done()
}

pub(super) fn delete(given: &Given<Id>, session: &mut Session<'_>) -> Result<(), Failure> {
    let id = QosMapId(number(given, Id::DeleteMap, u16::MAX, "Invalid options")?);
    session.operate(vec![Op::Delete(Key::QosMap(id))])
}

/// The map as it is, or an empty one.
fn known(client: &mut Client, id: QosMapId) -> Result<QosMap, Failure> {
    let row = match client.get(Lookup::QosMap(id.0.into())) {
        Ok(Rows::QosMap(rows)) => rows.into_iter().next(),
        Ok(_) => None,
        Err(ClientError::Refused(refusal)) if refusal.code == ErrorCode::NotFound => None,
        Err(error) => return Err(error.into()),
    };
    let QosMapInfo { dscp, mpls_qos, dotonep, .. } = row.unwrap_or_default();
    let entries = |pairs: Vec<(u8, u8)>| -> BTreeMap<u8, ClassId> {
        pairs.into_iter().map(|(mark, class)| (mark, ClassId(class))).collect()
    };
    Ok(QosMap { id, dscp: entries(dscp), exp: entries(mpls_qos), dot1p: entries(dotonep) })
}
