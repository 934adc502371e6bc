//! Flows of a copy of the node: what is tried there finds the sessions of the node as they are, and changes copies of them.

use std::sync::Arc;

use tables::flow::{FlowId, Packed, Sessions};

use super::FlowTable;

/// Sessions a copy has room for: what one packet, and what is made of it, may need.
pub(crate) const SESSIONS: u32 = 64;

/// Where the copies come from.
pub(crate) struct Copied {
    from: Arc<Sessions>,
    /// A copied session's first flow here, and there.
    sessions: Vec<(FlowId, FlowId)>,
}

impl FlowTable {
    /// From now on what is not known here is looked up in `from`; the table is [like](Sessions::like) that.
    pub(crate) fn copy_from(&mut self, from: Arc<Sessions>) {
        self.copied = Some(Copied { from, sessions: Vec::new() });
    }

    /// Copies the session of a key, if this is a copy and the node knows it.
    pub(crate) fn recall(&mut self, packed: &Packed) {
        let Some(copied) = self.copied.as_mut() else { return };
        let Some(original) = copied.from.find(packed) else { return };
        let first = original.session().forward();
        // One that has ended here is not to live again.
        if copied.sessions.iter().any(|(_, known)| *known == first) {
            return;
        }
        if let Some(copy) = self.sessions.copy(&copied.from, original, &mut self.slots) {
            copied.sessions.push((copy, first));
        }
    }

    /// A flow as the node knows it: `None` for one that only the copy has.
    pub(crate) fn original(&self, id: FlowId) -> Option<FlowId> {
        let Some(copied) = &self.copied else { return Some(id) };
        let first = id.session().forward();
        let (_, original) = copied.sessions.iter().find(|(copy, _)| *copy == first)?;
        Some(if id.is_forward() { *original } else { original.other() })
    }
}
