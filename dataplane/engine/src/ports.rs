//! The ports a worker owns, and which worker has those it does not own.

use std::sync::Arc;

use port::{Burst, Frame, FramePool, Port, PortInfo};
use tables::{DropReason, Fib, VifId, VrfId, limits};

use crate::hand_off::{Parcel, Peers, WorkerId};
use crate::packet::Meta;
use crate::worker::Tick;

/// Nanoseconds after which also ports that nothing happened to are flushed: they may hold completed frames, or have got
/// fewer frames to receive into than they want.
const ALL_PORTS: u64 = 1_000_000;

/// One queue of an interface.
pub(crate) struct Bound {
    pub(crate) vif: VifId,
    queue: u16,
    port: Box<dyn Port>,
    /// Something was received or sent since the last flush, or that flush left it without frames to receive into.
    dirty: bool,
}

impl Bound {
    #[inline]
    pub(crate) fn receive(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize {
        let count = self.port.receive(pool, burst);
        self.dirty |= count != 0;
        count
    }
}

/// Who took a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// A port of this worker.
    Port,
    /// Another worker's ring.
    Peer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    None,
    Port(u16),
    /// A port that takes trains: segments are joined before they leave by it.
    Joining(u16),
    Peer(WorkerId),
}

/// By whose port a frame leaves, and who counts it: a sub-interface sends by its parent's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    /// Whose port.
    pub(crate) vif: VifId,
    /// Who counts.
    pub(crate) counted: VifId,
}

impl Exit {
    /// By its own.
    pub(crate) fn own(vif: VifId) -> Exit {
        Exit { vif, counted: vif }
    }
}

/// All ports this worker knows of.
pub(crate) struct Ports {
    bound: Vec<Bound>,
    elsewhere: Vec<(VifId, u16, WorkerId)>,
    by_vif: Box<[Way]>,
    /// The same for interfaces that nothing is to be done for: none for those of `indirect`.
    direct: Box<[Way]>,
    indirect: Arc<[VifId]>,
    /// When all ports were flushed.
    flushed: Tick,
}

impl Ports {
    pub(crate) fn new() -> Ports {
        Ports {
            bound: Vec::with_capacity(64),
            elsewhere: Vec::with_capacity(64),
            by_vif: std::iter::repeat_n(Way::None, limits::VIFS).collect(),
            direct: std::iter::repeat_n(Way::None, limits::VIFS).collect(),
            indirect: Arc::new([]),
            flushed: Tick::default(),
        }
    }

    /// The worker's own ports, to receive from.
    #[inline]
    pub(crate) fn bound_mut(&mut self) -> &mut [Bound] {
        &mut self.bound
    }

    pub(crate) fn bound(&self) -> impl Iterator<Item = &dyn Port> {
        self.bound.iter().map(|bound| &*bound.port)
    }

    /// Whether a frame for this interface would find a port here or elsewhere.
    pub(crate) fn reaches(&self, vif: VifId) -> bool {
        self.by_vif.get(vif.index()).is_some_and(|way| *way != Way::None)
    }

    /// Whether the interface's port is here and takes trains, so that segments are to be joined for it.
    pub(crate) fn joins(&self, vif: VifId) -> bool {
        matches!(self.by_vif.get(vif.index()), Some(Way::Joining(_)))
    }

    /// Whether the interface's port is here and wants trains cut.
    pub(crate) fn cuts(&self, vif: VifId) -> bool {
        matches!(self.by_vif.get(vif.index()), Some(Way::Port(_)))
    }

    /// Takes note of the interfaces that something is to be done for, if they are others than before.
    #[inline]
    pub(crate) fn follow(&mut self, fib: &Fib) {
        if !Arc::ptr_eq(&self.indirect, fib.indirect()) {
            self.indirect = Arc::clone(fib.indirect());
            self.rebuild();
        }
    }

    /// Whether something is to be done for what leaves by an interface before [`Ports::send_by`].
    pub(crate) fn is_indirect(&self, vif: VifId) -> bool {
        self.indirect.binary_search(&vif).is_ok()
    }

    /// Queues a frame on the interface's port or on the ring to the worker that has one.
    ///
    /// # Errors
    /// The frame again, and why: no port (`InterfaceTxDiscard`), or a full port or ring (`InterfaceDrop`). Also when it has
    /// to be joined with others first, see [`Ports::joins`], and when it is [`Ports::is_indirect`].
    #[inline]
    pub(crate) fn send(
        &mut self,
        frame: Frame,
        vif: VifId,
        meta: &Meta,
        peers: &mut Peers,
    ) -> Result<Sent, (Frame, DropReason)> {
        let way = self.direct.get(vif.index()).copied().unwrap_or(Way::None);
        self.take(way, frame, Exit::own(vif), (meta.rx_vif, meta.vrf), peers)
    }

    /// The same for what everything has been done for. `from` is where the frame came in and the VRF it was in.
    ///
    /// # Errors
    /// As [`Ports::send`].
    pub(crate) fn send_by(
        &mut self,
        frame: Frame,
        exit: Exit,
        from: (VifId, VrfId),
        peers: &mut Peers,
    ) -> Result<Sent, (Frame, DropReason)> {
        let way = self.by_vif.get(exit.vif.index()).copied().unwrap_or(Way::None);
        self.take(way, frame, exit, from, peers)
    }

    #[inline]
    fn take(
        &mut self,
        way: Way,
        frame: Frame,
        exit: Exit,
        (rx_vif, vrf): (VifId, VrfId),
        peers: &mut Peers,
    ) -> Result<Sent, (Frame, DropReason)> {
        match way {
            Way::Port(index) => self.send_on(frame, index).map(|()| Sent::Port),
            Way::Peer(worker) => {
                let parcel = Parcel::Transmit { frame, exit, rx_vif, vrf };
                match peers.push(worker, parcel) {
                    Ok(()) => Ok(Sent::Peer),
                    Err(parcel) => Err((parcel.into_frame(), DropReason::InterfaceDrop)),
                }
            }
            Way::None | Way::Joining(_) => Err((frame, DropReason::InterfaceTxDiscard)),
        }
    }

    /// Queues a frame on a port of this worker.
    ///
    /// # Errors
    /// As [`Ports::send`].
    #[inline]
    pub(crate) fn send_own(&mut self, frame: Frame, vif: VifId) -> Result<(), (Frame, DropReason)> {
        match self.by_vif.get(vif.index()) {
            Some(Way::Port(index)) => self.send_on(frame, *index),
            _ => Err((frame, DropReason::InterfaceTxDiscard)),
        }
    }

    /// Queues a frame on a port of this worker that takes trains.
    ///
    /// # Errors
    /// As [`Ports::send`].
    pub(crate) fn send_whole(
        &mut self,
        frame: Frame,
        vif: VifId,
    ) -> Result<(), (Frame, DropReason)> {
        match self.by_vif.get(vif.index()) {
            Some(Way::Joining(index)) => self.send_on(frame, *index),
            _ => Err((frame, DropReason::InterfaceTxDiscard)),
        }
    }

    #[inline]
    fn send_on(&mut self, frame: Frame, index: u16) -> Result<(), (Frame, DropReason)> {
        let Some(bound) = self.bound.get_mut(usize::from(index)) else {
            return Err((frame, DropReason::InterfaceTxDiscard));
        };
        // Also when it is full: a flush is what makes room again.
        bound.dirty = true;
        bound.port.transmit(frame).map_err(|frame| (frame, DropReason::InterfaceDrop))
    }

    /// Flushes what was used in this turn, what still waits to leave and what has nothing to receive into, and every
    /// millisecond all ports; returns how many frames wait.
    pub(crate) fn flush(&mut self, pool: &mut FramePool, now: Tick) -> usize {
        let all = now.0.saturating_sub(self.flushed.0) >= ALL_PORTS;
        if all {
            self.flushed = now;
        }
        let mut pending = 0;
        for bound in &mut self.bound {
            if all || bound.dirty || bound.port.pending() != 0 {
                bound.port.flush(pool);
                bound.dirty = bound.port.starved();
                pending += bound.port.pending();
            }
        }
        pending
    }

    /// Flushes every port: returns completed frames that an idle port still holds.
    pub(crate) fn flush_all(&mut self, pool: &mut FramePool) {
        self.bound.iter_mut().for_each(|bound| bound.port.flush(pool));
    }

    /// Whether some port would receive if there were frames.
    pub(crate) fn starved(&self) -> bool {
        self.bound().any(Port::starved)
    }

    /// Frames that wait to leave.
    pub(crate) fn pending(&self) -> usize {
        self.bound().map(Port::pending).sum()
    }

    /// Takes a port over. The one it replaces, if any, is given back.
    pub(crate) fn add(
        &mut self,
        vif: VifId,
        queue: u16,
        port: Box<dyn Port>,
    ) -> Option<Box<dyn Port>> {
        let old = self.remove(vif, queue);
        self.bound.push(Bound { vif, queue, port, dirty: true });
        self.rebuild();
        old
    }

    /// Lets go of a port.
    pub(crate) fn remove(&mut self, vif: VifId, queue: u16) -> Option<Box<dyn Port>> {
        let at = self.bound.iter().position(|bound| bound.vif == vif && bound.queue == queue)?;
        let bound = self.bound.remove(at);
        self.rebuild();
        Some(bound.port)
    }

    /// Any port, to end with.
    pub(crate) fn remove_any(&mut self) -> Option<Box<dyn Port>> {
        self.bound.pop().map(|bound| bound.port)
    }

    /// Notes that another worker has this queue.
    pub(crate) fn add_elsewhere(&mut self, vif: VifId, queue: u16, worker: WorkerId) {
        self.remove_elsewhere(vif, queue);
        self.elsewhere.push((vif, queue, worker));
        self.rebuild();
    }

    /// Forgets that another worker has this queue.
    pub(crate) fn remove_elsewhere(&mut self, vif: VifId, queue: u16) {
        self.elsewhere.retain(|(other, at, _)| (*other, *at) != (vif, queue));
        self.rebuild();
    }

    /// What a port is and has counted.
    pub(crate) fn info(&self, vif: VifId, queue: u16) -> Option<PortInfo> {
        let bound = self.bound.iter().find(|bound| bound.vif == vif && bound.queue == queue)?;
        Some(bound.port.info())
    }

    /// An own port before another worker's, the lowest queue first.
    fn rebuild(&mut self) {
        self.by_vif.fill(Way::None);
        for (vif, _, worker) in self.elsewhere.iter().rev() {
            if let Some(way) = self.by_vif.get_mut(vif.index()) {
                *way = Way::Peer(*worker);
            }
        }
        for (index, bound) in self.bound.iter().enumerate().rev() {
            if let Some(way) = self.by_vif.get_mut(bound.vif.index()) {
                let joins = bound.port.takes_trains();
                let by = if joins { Way::Joining } else { Way::Port };
                *way = u16::try_from(index).map_or(Way::None, by);
            }
        }
        self.direct.copy_from_slice(&self.by_vif);
        for vif in self.indirect.iter() {
            if let Some(way) = self.direct.get_mut(vif.index()) {
                *way = Way::None;
            }
        }
    }
}
