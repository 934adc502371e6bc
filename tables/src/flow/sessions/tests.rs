//! All interleavings of what workers and the agent do with a session.

use std::net::Ipv4Addr;

use loom::sync::Arc;

use super::*;
use crate::NhId;
use crate::flow::FlowAddresses;

/// All interleavings with up to three preemptions.
fn check(scene: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.max_branches = 100_000;
    model.check(scene);
}

fn key(port: u16) -> FlowKey {
    let [source, destination] = [1, 2].map(|host| Ipv4Addr::new(10, 0, 0, host));
    let addresses = FlowAddresses::V4 { source, destination };
    FlowKey { scope: NhId(1), protocol: 17, ports: u32::from(port) << 16 | 53, addresses }
}

fn answers(port: u16) -> FlowKey {
    key(port).reversed(NhId(2))
}

fn session(port: u16) -> NewSession {
    let flow = |key| NewFlow { key, flags: FlowFlags::default() };
    NewSession {
        flows: (flow(key(port)), Some(flow(answers(port)))),
        flags: SessionFlags::default(),
        ends: (None, None),
        vrfs: (VrfId(1), VrfId(1)),
        judgement: NOT_JUDGED,
        now: 0,
    }
}

fn quota() -> Quota {
    Quota { vif: (VifId(3), None), vrf: (VrfId(1), None) }
}

/// What a worker does with a packet of this key: finds the session or makes it, and owns the packet's direction.
fn meet(
    sessions: &Sessions,
    worker: u8,
    slots: &mut FreeSlots,
    (port, is_answer): (u16, bool),
) -> Option<FlowId> {
    let key = sessions.pack(&if is_answer { answers(port) } else { key(port) });
    let claimed = |id| (sessions.claim(id, &key, worker) == Claim::Own).then_some(id);
    let id = match sessions.find(&key) {
        Some(id) => claimed(id),
        None => match sessions.create(worker, slots, &quota(), &session(port)) {
            Ok(forward) => {
                let id = if is_answer { forward.other() } else { forward };
                let id = claimed(id);
                sessions.let_go(forward);
                id
            }
            Err(Some(faster)) => claimed(faster),
            Err(None) => None,
        },
    };
    if let Some(id) = id {
        let is = sessions.flow(id).is_some_and(|flow| flow.is(&key));
        assert!(is, "what is owned is what was looked for, as long as it is owned");
    }
    id
}

fn nothing_is_left(sessions: &Sessions, slots: usize, in_hand: &[FreeSlots]) {
    assert_eq!(sessions.flows(), 0, "a key was left behind");
    assert_eq!((sessions.of_vif(VifId(3)), sessions.of_vrf(VrfId(1))), (0, 0));
    let in_hand: usize = in_hand.iter().map(|slots| slots.slots.len()).sum();
    assert_eq!(sessions.free.len() + in_hand, slots, "a slot was lost, or is there twice");
}

/// Packets of both directions on two workers, one of which ends what it owns at once.
#[test]
fn loom_a_session_that_two_workers_make_and_one_ends_leaves_nothing() {
    check(|| {
        let sessions = Arc::new(Sessions::new(4, 2, 1).expect("memory"));
        let others = Arc::clone(&sessions);
        let other = loom::thread::spawn(move || {
            let mut slots = FreeSlots::default();
            if let Some(id) = meet(&others, 1, &mut slots, (5, true)) {
                others.end(id, 1);
                others.leave(id, 1);
            }
            slots
        });
        let mut slots = FreeSlots::default();
        let id = meet(&sessions, 0, &mut slots, (5, false));
        let others = other.join().expect("its assertions hold");
        if let Some(id) = id {
            sessions.end(id, 0);
            sessions.leave(id, 0);
        }
        nothing_is_left(&sessions, 4, &[slots, others]);
    });
}

/// One slot: a worker that found a session by its key meanwhile sees it end, and another begin in its place.
#[test]
fn loom_a_slot_is_not_used_again_while_somebody_owns_a_flow_of_it() {
    check(|| {
        let sessions = Arc::new(Sessions::new(1, 2, 1).expect("memory"));
        let mut slots = FreeSlots::default();
        let first = meet(&sessions, 0, &mut slots, (5, false)).expect("room");
        let others = Arc::clone(&sessions);
        let other = loom::thread::spawn(move || {
            let mut slots = FreeSlots::default();
            // Its packets are answers of the first session.
            if let Some(id) = others.find(&others.pack(&answers(5)))
                && others.claim(id, &others.pack(&answers(5)), 1) == Claim::Own
            {
                let is = |id| others.flow(id).map(|flow| flow.key());
                assert_eq!(is(id), Some(answers(5)), "another's slot by now");
                others.leave(id, 1);
            }
            slots.slots.clear();
            slots
        });
        sessions.end(first, 0);
        sessions.leave(first, 0);
        let second = meet(&sessions, 0, &mut slots, (6, false));
        let others = other.join().expect("its assertions hold");
        if let Some(id) = second {
            sessions.end(id, 0);
            sessions.leave(id, 0);
        }
        nothing_is_left(&sessions, 1, &[slots, others]);
    });
}

/// An agent decides about a session while its owner ends it, because nobody had decided for too long.
#[test]
fn loom_a_session_that_is_decided_while_it_ends_leaves_nothing() {
    check(|| {
        let sessions = Arc::new(Sessions::new(2, 2, 1).expect("memory"));
        let mut slots = FreeSlots::default();
        let made = Made {
            key: key(5),
            answers: answers(5),
            ends: (Some(VifId(3)), None),
            vrfs: (VrfId(1), VrfId(1)),
            now: 0,
        };
        let id = sessions.make_for(0, &mut slots, &made).expect("room");
        let others = Arc::clone(&sessions);
        let other = loom::thread::spawn(move || {
            let action = Action::Forward { answers: None, behind: None };
            let decision = Decision { action, mirrors: [None; 2], ecmp: None };
            others.decide(id, &decision)
        });
        sessions.end(id, 0);
        sessions.leave(id, 0);
        let decided = other.join().expect("its assertions hold");
        assert!(matches!(decided, Ok(()) | Err(Undecidable::Gone)), "{decided:?}");
        assert_eq!(sessions.undecided().flows(), 0);
        nothing_is_left(&sessions, 2, &[slots]);
    });
}

/// A worker takes a flow over while its owner forgets it.
#[test]
fn loom_a_flow_that_changes_hands_is_held_by_one() {
    check(|| {
        let sessions = Arc::new(Sessions::new(1, 2, 1).expect("memory"));
        let mut slots = FreeSlots::default();
        let id = meet(&sessions, 0, &mut slots, (5, false)).expect("room");
        let others = Arc::clone(&sessions);
        let other = loom::thread::spawn(move || {
            if others.take_over(id, 0, 1) {
                others.end(id, 1);
                others.leave(id, 1);
                return true;
            }
            false
        });
        sessions.leave(id, 0);
        let taken = other.join().expect("its assertions hold");
        if !taken {
            // Nobody's: whoever meets it ends it.
            let key = sessions.pack(&key(5));
            assert_eq!(sessions.claim(id, &key, 0), Claim::Own);
            sessions.end(id, 0);
            sessions.leave(id, 0);
        }
        nothing_is_left(&sessions, 1, &[slots]);
    });
}
