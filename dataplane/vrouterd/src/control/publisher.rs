//! The model, the snapshots made of it, and the barriers that wait for workers to see them.

use std::time::{Duration, Instant};

use api::RouteChange;
use tables::{
    Changes, Epoch, Fib, Generation, Model, ModelError, Op, Owner, Reader, VrfId, Writer,
};
use wire::Mac;

use super::route_log::RouteLog;
use crate::touched::Touched;

/// Snapshots are at least this far apart: changes that come faster share one.
const SPACING: Duration = Duration::from_millis(1);

/// Applies transactions and publishes what they add up to. `W` is what a barrier wakes.
pub(crate) struct Publisher<W> {
    model: Model,
    writer: Writer,
    changes: Changes,
    touched: Touched,
    route_log: RouteLog,
    dirty: bool,
    last: Option<Instant>,
    barriers: Vec<(Generation, W)>,
}

impl<W> Publisher<W> {
    pub(crate) fn new() -> Publisher<W> {
        Publisher {
            model: Model::new(),
            writer: Writer::new(),
            changes: Changes::default(),
            touched: Touched::default(),
            route_log: RouteLog::default(),
            dirty: false,
            last: None,
            barriers: Vec::new(),
        }
    }

    /// A view of the snapshots for one more worker.
    pub(crate) fn reader(&mut self) -> Reader {
        self.writer.reader()
    }

    pub(crate) fn model(&self) -> &Model {
        &self.model
    }

    pub(crate) fn fib(&self) -> &Fib {
        self.writer.fib()
    }

    /// Both: what is published, and what was asked for.
    pub(crate) fn tables(&self) -> (&Fib, &Model) {
        (self.writer.fib(), &self.model)
    }

    /// Makes a transaction part of the model, all or nothing. Gives the generation that will contain it.
    ///
    /// # Errors
    /// What is wrong with it; nothing was changed.
    pub(crate) fn apply(&mut self, ops: &[Op], owner: Owner) -> Result<Generation, ModelError> {
        let before = self.route_log.before(&self.model, ops);
        let changes = self.model.apply(ops, owner)?;
        if let Some(before) = before {
            self.route_log.note(&self.model, ops, before, &changes);
        }
        self.dirty |= !changes.is_empty();
        self.touched.note(changes.keys());
        self.changes.merge(changes);
        Ok(self.pending())
    }

    /// Marks a station's entry as moved, whoever owns it.
    pub(crate) fn note_moved(&mut self, vrf: VrfId, mac: Mac) {
        let changes = self.model.note_moved(vrf, mac);
        self.dirty |= !changes.is_empty();
        self.changes.merge(changes);
    }

    /// From now on what `owner` puts is marked as put in this epoch.
    pub(crate) fn set_epoch(&mut self, owner: Owner, epoch: Epoch) {
        self.model.set_epoch(owner, epoch);
    }

    /// Deletes what `owner` has put in no epoch that is kept.
    ///
    /// # Errors
    /// As [`Publisher::apply`].
    pub(crate) fn sweep(
        &mut self,
        owner: Owner,
        is_kept: impl Fn(Epoch) -> bool,
    ) -> Result<Generation, ModelError> {
        let stale = self.model.sweep(owner, is_kept);
        self.apply(&stale, owner)
    }

    /// Changes of routes behind a place in their log, and the place behind them.
    pub(crate) fn route_changes(&mut self, after: Option<u64>) -> (Vec<RouteChange>, u64) {
        self.route_log.after(after)
    }

    /// What the changes since the last call mean outside the tables.
    pub(crate) fn take_touched(&mut self) -> Touched {
        std::mem::take(&mut self.touched)
    }

    /// The generation that contains all that was applied so far.
    pub(crate) fn pending(&self) -> Generation {
        let published = self.writer.generation();
        if self.dirty { Generation(published.0 + 1) } else { published }
    }

    /// When to publish; `None` when there is nothing to.
    pub(crate) fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        self.dirty.then(|| self.last.map_or(now, |last| last + SPACING))
    }

    /// Publishes what is pending.
    pub(crate) fn publish(&mut self) {
        if self.dirty {
            let changes = std::mem::take(&mut self.changes);
            self.writer.publish(&self.model, &changes);
            self.dirty = false;
            self.last = Some(Instant::now());
        }
    }

    /// Wakes `who` once every worker forwards by all that was applied so far.
    pub(crate) fn wait(&mut self, who: W) {
        self.barriers.push((self.pending(), who));
    }

    /// Those whose wait is over.
    pub(crate) fn reached(&mut self) -> Vec<(Generation, W)> {
        let writer = &self.writer;
        let published = writer.generation();
        self.barriers
            .extract_if(.., |(generation, _)| {
                published >= *generation && writer.reached(*generation)
            })
            .collect()
    }

    /// Whether somebody waits, or a snapshot nobody uses is still to be freed.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.barriers.is_empty() || self.writer.retired() > 0
    }

    /// Frees old snapshots.
    pub(crate) fn collect(&mut self) {
        self.writer.collect();
    }
}
