//! `vifdump stop ID`: takes away a monitoring interface that somebody left.

use api::{Client, Key, Op, VifKind};

use super::index;
use crate::vif::{all, first_line};

pub(super) fn run(mut client: Client, id: &str) -> Result<(), String> {
    let rows = all(&mut client, None).map_err(|error| error.to_string())?;
    let named = |name: &str| rows.iter().find(|row| row.name == name);
    let row = match index(id) {
        Some(id) => rows.iter().find(|row| row.id == id),
        None => named(id),
    };
    let row = row.filter(|row| row.kind == VifKind::Monitoring);
    let row = row.ok_or_else(|| "Invalid Monitoring Interface Id".to_owned())?;
    print!("{}", first_line(row));
    println!("Deleting vif {}...", row.id);
    let deleted = client.operate(vec![Op::Delete(Key::Vif(row.id))]);
    deleted.map(|_| ()).map_err(|error| error.to_string())
}
