//! Sessions: made once, held while somebody uses them, reused afterwards, by several threads at once.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::thread;

use tables::flow::*;
use tables::{FlowDropReason, Judgement, NhId, RuleId, Verdict, VifId, VrfId};

fn key(port: u16) -> FlowKey {
    let addresses = FlowAddresses::V4 {
        source: Ipv4Addr::new(10, 0, 0, 1),
        destination: Ipv4Addr::new(10, 0, 0, 2),
    };
    FlowKey { scope: NhId(1), protocol: 17, ports: u32::from(port) << 16 | 53, addresses }
}

fn session(port: u16) -> NewSession {
    let flow = |key| NewFlow { key, flags: FlowFlags::default() };
    NewSession {
        flows: (flow(key(port)), Some(flow(key(port).reversed(NhId(2))))),
        flags: SessionFlags::LOG,
        ends: (Some(VifId(3)), None),
        vrfs: (VrfId(1), VrfId(2)),
        judgement: Judgement {
            verdict: Verdict::Pass,
            network_rule: RuleId(1 << 100 | 7),
            group_rule: RuleId(9),
            log: true,
            mirrors: [None; 2],
            reason: FlowDropReason::Unknown,
        },
        now: 77,
    }
}

fn quota(limit: Option<u32>) -> Quota {
    Quota { vif: (VifId(3), limit), vrf: (VrfId(1), None) }
}

#[test]
fn a_session_is_found_by_both_keys_and_says_what_it_was_told() {
    let sessions = Sessions::new(4, 1, 1).unwrap();
    let mut slots = FreeSlots::default();
    let id = sessions.create(0, &mut slots, &quota(None), &session(5)).unwrap();
    assert_eq!(sessions.find(&sessions.pack(&key(5))), Some(id));
    assert_eq!(sessions.find(&sessions.pack(&key(5).reversed(NhId(2)))), Some(id.other()));
    assert_eq!(sessions.find(&sessions.pack(&key(6))), None);
    let (flow, found) = (sessions.flow(id).unwrap(), sessions.session(id).unwrap());
    assert_eq!((flow.key(), flow.seen(), flow.ends()), (key(5), 77, (Some(VifId(3)), None)));
    assert_eq!(found.rules(), (RuleId(1 << 100 | 7), RuleId(9)));
    assert_eq!((found.vrfs(), found.created()), ((VrfId(1), VrfId(2)), 77));
    assert!(found.flags().contains(SessionFlags::LOG));
    assert!(id.index() > 1, "tools cannot name 0");
}

#[test]
fn a_slot_is_free_only_when_nobody_holds_its_session() {
    let sessions = Sessions::new(1, 2, 1).unwrap();
    let mut slots = FreeSlots::default();
    let id = sessions.create(0, &mut slots, &quota(None), &session(5)).unwrap();
    let [there, back] = [key(5), key(5).reversed(NhId(2))].map(|key| sessions.pack(&key));
    assert_eq!(sessions.claim(id, &back, 0), Claim::Gone, "another key");
    assert_eq!(sessions.claim(id, &there, 0), Claim::Own);
    assert_eq!(sessions.claim(id.other(), &back, 1), Claim::Own);
    assert_eq!(sessions.claim(id.other(), &back, 0), Claim::Others(1));
    sessions.let_go(id);
    assert!(sessions.end(id, 0) && !sessions.end(id, 1), "one ends it");
    assert_eq!(sessions.find(&sessions.pack(&key(5))), None);
    sessions.leave(id, 0);
    assert!(sessions.create(0, &mut slots, &quota(None), &session(6)).is_err(), "still held");
    sessions.leave(id.other(), 1);
    let next = sessions.create(0, &mut slots, &quota(None), &session(6)).unwrap();
    assert_eq!(next, id, "the same slot");
    assert_eq!(sessions.flow(next).unwrap().state().generation(), 2);
    assert_eq!(sessions.of_vif(VifId(3)), 2);
}

#[test]
fn a_copy_of_a_session_is_like_it_and_leaves_it_alone() {
    let sessions = Sessions::new(4, 1, 1).unwrap();
    let mut slots = FreeSlots::default();
    let id = sessions.create(0, &mut slots, &quota(None), &session(5)).unwrap();
    let flow = sessions.flow(id).unwrap();
    flow.set_target(NhId(21), Some(300));
    flow.set_ecmp(Some(2));
    flow.count(60, 99);
    let copies = sessions.like(8).unwrap();
    assert_eq!(copies.of_vif(VifId(3)), 2);
    assert_eq!(copies.pack(&key(5)).hash(), sessions.pack(&key(5)).hash());
    let copy = copies.copy(&sessions, id.other(), &mut FreeSlots::default()).unwrap();
    assert_eq!(copies.find(&copies.pack(&key(5))), Some(copy));
    let (like, found) = (copies.flow(copy).unwrap(), copies.session(copy).unwrap());
    assert_eq!((like.target(), like.counts(), like.seen()), ((NhId(21), Some(300)), (1, 60), 99));
    assert_eq!(like.state().ecmp(), Some(2));
    assert_eq!(found.rules(), (RuleId(1 << 100 | 7), RuleId(9)));
    assert_eq!(copies.of_vif(VifId(3)), 2, "it was counted");
    like.count(60, 100);
    copies.end(copy, 0);
    copies.let_go(copy);
    assert_eq!(copies.of_vif(VifId(3)), 0);
    assert_eq!((flow.counts(), sessions.of_vif(VifId(3))), ((1, 60), 2));
    assert_eq!(sessions.find(&sessions.pack(&key(5))), Some(id));
}

#[test]
fn quotas_are_exact() {
    let sessions = Sessions::new(10, 1, 1).unwrap();
    let mut slots = FreeSlots::default();
    for port in 1..=3 {
        sessions.create(0, &mut slots, &quota(Some(6)), &session(port)).unwrap();
    }
    assert_eq!(sessions.create(0, &mut slots, &quota(Some(6)), &session(4)), Err(None));
    assert_eq!((sessions.of_vif(VifId(3)), sessions.of_vrf(VrfId(1))), (6, 6));
    assert_eq!(sessions.counts(0).refused, 1);
}

/// Whoever is refused, for whatever reason, does not count as one that waits for an agent.
#[test]
fn what_waits_for_an_agent_is_counted_once_and_not_when_it_is_refused() {
    let sessions = Sessions::new(2, 1, 1).unwrap();
    let mut slots = FreeSlots::default();
    let made = |port| Made {
        key: key(port),
        answers: key(port).reversed(NhId(2)),
        ends: (Some(VifId(3)), None),
        vrfs: (VrfId(1), VrfId(1)),
        now: 0,
    };
    let mut make = |port| sessions.make_for(0, &mut slots, &made(port));
    let first = make(1).unwrap();
    assert_eq!(make(1), Err(Some(first)), "there is one");
    assert_eq!(sessions.undecided().flows(), 1);
    let second = make(2).unwrap();
    assert_eq!((make(3), sessions.undecided().flows()), (Err(None), 2), "there is no room");
    sessions.settle(first);
    sessions.settle(first);
    assert_eq!(sessions.undecided().flows(), 1);
    for id in [first, second] {
        sessions.end(id, 0);
        sessions.leave(id, 0);
    }
    assert_eq!((sessions.undecided().flows(), sessions.of_vif(VifId(3))), (0, 0));
    let held =
        NewSession { flows: (NewFlow { key: key(9), flags: FlowFlags::HELD }, None), ..session(9) };
    sessions.undecided().admit(VifId(3), 0).unwrap();
    let nothing = quota(Some(0));
    assert_eq!(sessions.create(0, &mut FreeSlots::default(), &nothing, &held), Err(None));
    assert_eq!(sessions.undecided().flows(), 0, "no quota");
}

#[test]
fn memory_is_at_most_256_bytes_a_direction() {
    // The directory and a worker's index are of a kind: a word each, a third to two thirds of the places filled.
    let directory = 8 * 3;
    let own_index = 8 * 3;
    let free = 16 / 2;
    assert!(FlowSlab::SLOT_BYTES / 2 + directory + own_index + free <= 256);
}

/// Workers make, claim and end the same few sessions at once. Nothing is lost: at the end all slots are free.
#[test]
fn threads_that_meet_over_the_same_sessions_lose_none() {
    const WORKERS: u8 = 4;
    let sessions = Arc::new(Sessions::new(64, usize::from(WORKERS), 1).unwrap());
    let threads: Vec<_> = (0..WORKERS)
        .map(|worker| {
            let sessions = Arc::clone(&sessions);
            thread::spawn(move || {
                let mut slots = FreeSlots::default();
                for round in 0..20_000u32 {
                    let port = u16::try_from(round * 7 % 5 + 1).unwrap();
                    // Odd workers meet the answers first.
                    let new = session(port);
                    let wanted = match worker % 2 {
                        0 => new.flows.0.key,
                        _ => new.flows.1.unwrap().key,
                    };
                    let packed = sessions.pack(&wanted);
                    let (id, claim) = match sessions.find(&packed) {
                        Some(id) => (id, sessions.claim(id, &packed, worker)),
                        None => match sessions.create(worker, &mut slots, &quota(None), &new) {
                            Ok(forward) => {
                                let id = if worker % 2 == 0 { forward } else { forward.other() };
                                let claim = sessions.claim(id, &packed, worker);
                                sessions.let_go(forward);
                                (id, claim)
                            }
                            Err(Some(id)) => (id, sessions.claim(id, &packed, worker)),
                            Err(None) => continue,
                        },
                    };
                    if claim == Claim::Own {
                        let flow = sessions.flow(id).unwrap();
                        assert!(flow.is(&packed), "what is owned is what was looked for");
                        if round % 3 == 0 {
                            sessions.end(id, worker);
                        }
                        sessions.leave(id, worker);
                    }
                }
                // What a worker has at hand goes with it.
                slots
            })
        })
        .collect();
    let _slots: Vec<FreeSlots> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for port in 1..=5 {
        while let Some(id) = sessions.find(&sessions.pack(&key(port))) {
            assert!(sessions.hold(id));
            sessions.end(id, 0);
            sessions.let_go(id);
        }
    }
    assert_eq!(sessions.flows(), 0);
    assert_eq!((sessions.of_vif(VifId(3)), sessions.of_vrf(VrfId(1))), (0, 0));
}
