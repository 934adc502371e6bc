//! In which epoch each connected client puts, and what a sweep keeps.
//!
//! An epoch belongs to the client that began it and ends with its connection: a sweep spares what clients still
//! connected have put in theirs, so two agents never delete each other's objects, and takes what an agent that is gone
//! has left.

use std::sync::{Arc, Weak};

use tables::Epoch;

/// A connected client. Its connection holds it; others only look whether it is still there.
#[derive(Debug)]
pub(crate) struct Client;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    last: u32,
    /// The latest of each client that began one.
    begun: Vec<(Weak<Client>, Epoch)>,
}

impl Epochs {
    /// A new epoch of this client; its former one is kept no longer.
    pub(crate) fn begin(&mut self, client: &Arc<Client>) -> Epoch {
        self.last = self.last.wrapping_add(1).max(1);
        let epoch = Epoch(self.last);
        self.begun.retain(|(other, _)| is_alive(other) && !is(other, client));
        self.begun.push((Arc::downgrade(client), epoch));
        epoch
    }

    /// What this client puts in; [`Epoch`] 0 when it began none.
    pub(crate) fn of(&self, client: &Arc<Client>) -> Epoch {
        let own = self.begun.iter().find(|(other, _)| is(other, client));
        own.map_or(Epoch(0), |(_, epoch)| *epoch)
    }

    /// Whether a sweep leaves what was put in this epoch.
    pub(crate) fn is_kept(&self, epoch: Epoch) -> bool {
        self.begun.iter().any(|(client, begun)| *begun == epoch && is_alive(client))
    }
}

fn is(known: &Weak<Client>, client: &Arc<Client>) -> bool {
    std::ptr::eq(known.as_ptr(), Arc::as_ptr(client)) && is_alive(known)
}

fn is_alive(client: &Weak<Client>) -> bool {
    client.strong_count() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_ends_with_its_client_and_with_its_next() {
        let mut epochs = Epochs::default();
        let (first, second) = (Arc::new(Client), Arc::new(Client));
        assert_eq!(epochs.of(&first), Epoch(0));
        assert!(!epochs.is_kept(Epoch(0)));
        let (a, b) = (epochs.begin(&first), epochs.begin(&second));
        assert_eq!((epochs.of(&first), epochs.of(&second)), (a, b));
        assert!(epochs.is_kept(a) && epochs.is_kept(b));
        let again = epochs.begin(&second);
        assert!(!epochs.is_kept(b) && epochs.is_kept(again));
        drop(first);
        assert!(!epochs.is_kept(a) && epochs.is_kept(again));
    }
}
