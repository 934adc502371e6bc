//! What a peer was told, and the difference to what it should be told.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::encode::{Sender, encode_announcements, encode_withdrawals};
use super::family::Family;
use super::route::{Attributes, RouteKey};

/// A label field with the attributes it goes with.
type Told = ([u8; 3], Arc<Attributes>);

/// The routes of one message, before it is cut to size.
type Group = (Arc<Attributes>, Vec<(RouteKey, [u8; 3])>);

/// Adj-RIB-Out of one session.
#[derive(Debug, Default)]
pub struct AdjOut {
    told: BTreeMap<RouteKey, Told>,
}

impl AdjOut {
    /// Forgets everything: the session is new.
    pub fn reset(&mut self) {
        self.told.clear();
    }

    /// Forgets a family, so that the next difference tells it again (route refresh).
    pub fn forget(&mut self, family: Family) {
        self.told.retain(|key, _| key.family != family);
    }

    /// The messages that turn what was told into `wanted`, as far as it is of `families`. Withdrawals come first.
    pub fn difference(
        &mut self,
        sender: Sender,
        families: &[Family],
        wanted: &BTreeMap<RouteKey, Told>,
    ) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let takes = |key: &RouteKey| {
            wanted.get(key).is_some_and(|(_, told)| sender.takes(key.family, told.next_hop))
        };
        for family in families {
            let gone: Vec<RouteKey> = self
                .told
                .keys()
                .filter(|key| key.family == *family && !takes(key))
                .copied()
                .collect();
            messages.extend(encode_withdrawals(*family, &gone));
            for key in gone {
                self.told.remove(&key);
            }
            for (attributes, routes) in self.take_news(sender, *family, wanted) {
                messages.extend(encode_announcements(sender, *family, &attributes, &routes));
            }
        }
        messages
    }

    /// What is new or other in a family, by shared attributes; it counts as told from here on.
    fn take_news(
        &mut self,
        sender: Sender,
        family: Family,
        wanted: &BTreeMap<RouteKey, Told>,
    ) -> Vec<Group> {
        let mut groups: BTreeMap<usize, Group> = BTreeMap::new();
        for (key, told) in wanted.iter().filter(|(key, _)| key.family == family) {
            if self.told.get(key) == Some(told) || !sender.takes(family, told.1.next_hop) {
                continue;
            }
            let (label, attributes) = told;
            groups
                .entry(Arc::as_ptr(attributes) as usize)
                .or_insert_with(|| (Arc::clone(attributes), Vec::new()))
                .1
                .push((*key, *label));
            self.told.insert(*key, (*label, Arc::clone(attributes)));
        }
        groups.into_values().collect()
    }
}
