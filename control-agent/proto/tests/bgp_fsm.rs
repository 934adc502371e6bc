//! The session machine over a simulated wire, with a clock of ours.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;
use proto::Time;
use proto::bgp::{
    Action, Attributes, ConnectionId, Dialing, Encapsulation, Event, Family, Fsm, Membership,
    Notification, Open, Origin, Relation, Report, RouteKey, Settings, StopReason, Way,
    encode_end_of_rib,
};

fn settings(own: u8, peer_as: u32) -> Settings {
    Settings {
        local_as: 64512,
        router_id: Ipv4Addr::new(192, 0, 2, own),
        peer_as,
        hold_time: 90,
        families: vec![Family::Vpn4, Family::Evpn],
        dialing: Dialing::Active,
        restart_time: 120,
    }
}

const ID: ConnectionId = ConnectionId(1);
const LATER: ConnectionId = ConnectionId(2);

/// What the other side would send as OPEN.
fn open(own: u8, change: impl FnOnce(&mut Open)) -> Vec<u8> {
    let mut fsm = Fsm::new(settings(own, 64512));
    fsm.handle(Event::Start, Time(0));
    let actions = fsm.handle(Event::Connected(ID, Way::Out), Time(0));
    let [Action::Send(_, bytes)] = actions.as_slice() else { panic!("{actions:?}") };
    let Ok(Some((proto::bgp::Message::Open(mut open), _))) = proto::bgp::take_message(bytes) else {
        panic!()
    };
    change(&mut open);
    open.encode()
}

fn keepalive() -> Vec<u8> {
    let mut bytes = vec![0xff; 16];
    bytes.extend([0, 19, 4]);
    bytes
}

fn started() -> Fsm {
    let mut fsm = Fsm::new(settings(1, 64512));
    assert_eq!(fsm.handle(Event::Start, Time(0)), []);
    assert_eq!(fsm.handle(Event::Timer, Time(0)), [Action::Dial]);
    fsm
}

/// Established with 192.0.2.2 over `ID`.
fn established(change: impl FnOnce(&mut Open)) -> Fsm {
    let mut fsm = started();
    fsm.handle(Event::Connected(ID, Way::Out), Time(0));
    fsm.handle(Event::Received(ID, &open(2, change)), Time(0));
    let actions = fsm.handle(Event::Received(ID, &keepalive()), Time(0));
    assert!(matches!(actions[0], Action::Up(ID, _)), "{actions:?}");
    fsm
}

fn notification_of(actions: &[Action]) -> Option<(u8, u8)> {
    actions.iter().find_map(|action| match action {
        Action::Report(Report::Sent(Notification { code, subcode, .. }, _)) => {
            Some((*code, *subcode))
        }
        _ => None,
    })
}

#[test]
fn hold_time_is_the_lower_one_and_keepalives_go_out_at_a_third() {
    let mut fsm = established(|open| open.hold_time = 9);
    assert_eq!(fsm.deadline(), Some(Time(3_000)));
    let actions = fsm.handle(Event::Timer, Time(3_000));
    assert_eq!(actions, [Action::Send(ID, keepalive())]);
    fsm.handle(Event::Received(ID, &keepalive()), Time(5_000));
    fsm.handle(Event::Timer, Time(13_999));
    let actions = fsm.handle(Event::Timer, Time(14_000));
    assert_eq!(notification_of(&actions), Some((4, 0)));
    assert!(actions.contains(&Action::Down));
}

#[test]
fn hold_time_zero_means_no_keepalives() {
    let fsm = established(|open| open.hold_time = 0);
    assert_eq!(fsm.deadline(), None);
}

#[test]
fn opens_that_do_not_fit_are_refused_with_their_reason() {
    let refused = |bytes: Vec<u8>| {
        let mut fsm = started();
        fsm.handle(Event::Connected(ID, Way::Out), Time(0));
        let actions = fsm.handle(Event::Received(ID, &bytes), Time(0));
        assert!(actions.contains(&Action::Close(ID)), "{actions:?}");
        notification_of(&actions)
    };
    assert_eq!(refused(open(2, |open| open.as_number = 64513)), Some((2, 2)));
    assert_eq!(refused(open(1, |_| {})), Some((2, 3)));
    assert_eq!(refused(open(2, |open| open.families.clear())), Some((2, 7)));
    assert_eq!(refused(keepalive()), Some((5, 1)));
    assert_eq!(refused(vec![0; 19]), Some((1, 1)));
}

#[test]
fn calls_are_repeated_with_growing_pauses_and_not_at_all_when_passive() {
    let mut fsm = started();
    let mut now = Time(0);
    let mut pauses = Vec::new();
    for _ in 0..5 {
        assert_eq!(fsm.handle(Event::DialFailed, now), []);
        let next = fsm.deadline().unwrap();
        pauses.push(next.since(now).as_millis());
        now = next;
        assert_eq!(fsm.handle(Event::Timer, now), [Action::Dial]);
    }
    assert_eq!(pauses, [500, 1000, 2000, 4000, 4000]);
    let mut passive = Fsm::new(Settings { dialing: Dialing::Passive, ..settings(1, 64512) });
    passive.handle(Event::Start, Time(0));
    assert_eq!(passive.deadline(), None);
    let actions = passive.handle(Event::Connected(ID, Way::In), Time(0));
    assert!(matches!(actions[..], [Action::Send(ID, _)]));
}

#[test]
fn no_call_is_placed_while_the_peers_call_stands() {
    let mut fsm = started();
    fsm.handle(Event::DialFailed, Time(0));
    fsm.handle(Event::Connected(ID, Way::In), Time(100));
    assert_eq!(fsm.handle(Event::Timer, Time(600)), []);
    fsm.handle(Event::Closed(ID), Time(700));
    assert!(fsm.deadline().is_some(), "but after it");
}

/// RFC 4271 section 6.8: the connection called by the higher identifier survives.
#[test]
fn of_two_crossing_connections_the_higher_identifiers_survives() {
    for (peer, survivor) in [(2, Way::In), (0, Way::Out)] {
        for first in [Way::Out, Way::In] {
            let second = if first == Way::Out { Way::In } else { Way::Out };
            let mut fsm = started();
            fsm.handle(Event::Connected(ID, first), Time(0));
            fsm.handle(Event::Connected(LATER, second), Time(0));
            fsm.handle(Event::Received(ID, &open(peer, |_| {})), Time(0));
            let actions = fsm.handle(Event::Received(LATER, &open(peer, |_| {})), Time(0));
            let loser = if first == survivor { LATER } else { ID };
            assert!(actions.contains(&Action::Close(loser)), "{peer} {first:?}: {actions:?}");
            assert_eq!(notification_of(&actions).map(|n| n.0), (loser == LATER).then_some(6));
        }
    }
}

#[test]
fn an_established_session_outlives_a_crossing_call_but_not_a_restarted_peers() {
    let restarted = |open: &mut Open| {
        open.graceful_restart.as_mut().unwrap().restarting = true;
    };
    for (now, restarts, survives) in
        [(Time(60_000), false, true), (Time(1_000), true, true), (Time(60_000), true, false)]
    {
        let mut fsm = established(|_| {});
        fsm.handle(Event::Connected(LATER, Way::In), now);
        let bytes = open(2, |open| {
            if restarts {
                restarted(open)
            }
        });
        let actions = fsm.handle(Event::Received(LATER, &bytes), now);
        assert_eq!(actions.contains(&Action::Close(LATER)), survives, "{actions:?}");
        assert_eq!(actions.contains(&Action::Stale(Family::Vpn4)), !survives);
        assert!(!actions.contains(&Action::Flush(Family::Vpn4)));
    }
}

#[test]
fn routes_of_a_lost_session_are_stale_and_go_with_end_of_rib() {
    let mut fsm = established(|_| {});
    let actions = fsm.handle(Event::Closed(ID), Time(1));
    let stale = [Action::Stale(Family::Vpn4), Action::Stale(Family::Evpn)];
    assert!(stale.iter().all(|action| actions.contains(action)), "{actions:?}");
    fsm.handle(Event::Connected(LATER, Way::In), Time(2));
    fsm.handle(Event::Received(LATER, &open(2, |_| {})), Time(2));
    fsm.handle(Event::Received(LATER, &keepalive()), Time(2));
    let actions = fsm.handle(Event::Received(LATER, &encode_end_of_rib(Family::Vpn4)), Time(3));
    assert!(
        matches!(actions[..], [Action::Routes(..), Action::Sweep(Family::Vpn4)]),
        "{actions:?}"
    );
}

#[test]
fn a_peer_without_graceful_restart_is_flushed_and_so_is_one_that_resets_hard() {
    let mut fsm = established(|open| open.graceful_restart = None);
    let actions = fsm.handle(Event::Closed(ID), Time(1));
    assert!(actions.contains(&Action::Flush(Family::Vpn4)));
    for (subcode, flushed) in [(9, true), (4, false)] {
        let mut fsm = established(|_| {});
        let bytes = Notification { code: 6, subcode, data: vec![] }.encode();
        let actions = fsm.handle(Event::Received(ID, &bytes), Time(1));
        assert_eq!(actions.contains(&Action::Flush(Family::Evpn)), flushed, "{actions:?}");
    }
    let mut fsm = established(|open| open.graceful_restart.as_mut().unwrap().notification = false);
    let bytes = Notification { code: 6, subcode: 4, data: vec![] }.encode();
    let actions = fsm.handle(Event::Received(ID, &bytes), Time(1));
    assert!(actions.contains(&Action::Flush(Family::Vpn4)), "RFC 4724 without RFC 8538");
}

#[test]
fn stopping_to_come_back_says_nothing_and_stopping_for_good_resets_hard() {
    let mut fsm = established(|_| {});
    let actions = fsm.handle(Event::Stop(StopReason::Restart), Time(1));
    assert_eq!(actions, [Action::Close(ID), Action::Down]);
    let mut fsm = established(|_| {});
    let actions = fsm.handle(Event::Stop(StopReason::Deconfigured), Time(1));
    let last = Notification { code: 6, subcode: 9, data: vec![] }.encode();
    assert_eq!(actions[0], Action::Send(ID, last));
    assert!(actions.contains(&Action::Flush(Family::Vpn4)));
    assert_eq!(fsm.deadline(), None);
}

#[test]
fn after_our_restart_the_open_says_r_and_f_until_told_otherwise() {
    let mut fsm = Fsm::new(settings(1, 64512));
    fsm.restarted();
    fsm.handle(Event::Start, Time(0));
    let flags = |fsm: &mut Fsm, id| {
        let actions = fsm.handle(Event::Connected(id, Way::In), Time(0));
        let Some(Action::Send(_, bytes)) = actions.first() else { panic!() };
        let Ok(Some((proto::bgp::Message::Open(open), _))) = proto::bgp::take_message(bytes) else {
            panic!()
        };
        let gr = open.graceful_restart.unwrap();
        (gr.restarting, gr.families)
    };
    let forwarding = vec![(Family::Vpn4, true), (Family::Evpn, true)];
    assert_eq!(flags(&mut fsm, ID), (true, forwarding.clone()));
    fsm.converged();
    assert_eq!(flags(&mut fsm, LATER), (false, forwarding));
}

#[test]
fn a_malformed_route_costs_that_route_and_a_malformed_list_the_session() {
    let attributes = Attributes {
        origin: Origin::Igp,
        as_path: vec![],
        next_hop: IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2)),
        med: None,
        local_preference: Some(100),
        targets: vec![],
        encapsulations: vec![Encapsulation::MplsOverUdp],
        encapsulation_given: true,
        router_mac: None,
        mobility: None,
        membership: Membership::default(),
        flood: None,
    };
    let key = RouteKey {
        family: Family::Vpn4,
        rd: proto::bgp::Rd::from_address(Ipv4Addr::new(192, 0, 2, 2), 1),
        tag: 0,
        destination: proto::bgp::Destination::Prefix(proto::bgp::IpPrefix::V4(
            "10.0.0.1/32".parse().unwrap(),
        )),
    };
    let sender = proto::bgp::Sender {
        local_as: 64512,
        relation: Relation::Internal,
        as_width: proto::bgp::AsWidth::Four,
        extended_next_hop: false,
    };
    let good =
        proto::bgp::encode_announcements(sender, Family::Vpn4, &attributes, &[(key, [0, 1, 1])]);
    let mut bad = good[0].clone();
    bad[26] = 7;
    let mut fsm = established(|_| {});
    let actions = fsm.handle(Event::Received(ID, &bad), Time(1));
    let [Action::Report(_), Action::Routes(update, Relation::Internal)] = actions.as_slice() else {
        panic!("{actions:?}")
    };
    assert_eq!((update.withdrawn.as_slice(), update.announced.len()), (&[key][..], 0));
    let mut worse = good[0].clone();
    let at = worse.windows(2).position(|w| w == [0x78, 0]).unwrap();
    worse[at] = 0xff;
    let actions = fsm.handle(Event::Received(ID, &worse), Time(1));
    assert_eq!(notification_of(&actions), Some((3, 9)));
    assert!(actions.contains(&Action::Down));
}

/// Two machines and the pipes between them.
struct Wire {
    ends: [Fsm; 2],
    pipes: Vec<[(usize, ConnectionId); 2]>,
    queue: VecDeque<(usize, ConnectionId, Option<Vec<u8>>)>,
    next: u64,
    now: Time,
}

impl Wire {
    fn handle(&mut self, which: usize, event: Event<'_>) {
        for action in self.ends[which].handle(event, self.now) {
            match action {
                Action::Dial => {
                    let ids = [ConnectionId(self.next), ConnectionId(self.next + 1)];
                    self.next += 2;
                    self.pipes.push([(which, ids[0]), (1 - which, ids[1])]);
                    self.handle(which, Event::Connected(ids[0], Way::Out));
                    self.handle(1 - which, Event::Connected(ids[1], Way::In));
                }
                Action::Send(id, bytes) => self.push(which, id, Some(bytes)),
                Action::Close(id) => self.push(which, id, None),
                _ => {}
            }
        }
    }

    fn push(&mut self, which: usize, id: ConnectionId, bytes: Option<Vec<u8>>) {
        let pipe = self.pipes.iter().find(|pipe| pipe.contains(&(which, id)));
        let Some(far) = pipe.and_then(|pipe| pipe.iter().find(|end| **end != (which, id))) else {
            return;
        };
        self.queue.push_back((far.0, far.1, bytes));
    }

    /// Delivers one thing; which one is the adversary's choice, order within a connection is kept.
    fn deliver(&mut self, choice: usize) -> bool {
        let mut heads: Vec<usize> = Vec::new();
        for (at, item) in self.queue.iter().enumerate() {
            if !heads
                .iter()
                .any(|head| (self.queue[*head].0, self.queue[*head].1) == (item.0, item.1))
            {
                heads.push(at);
            }
        }
        let Some(at) = heads.get(choice % heads.len().max(1)) else { return false };
        let Some((to, id, bytes)) = self.queue.remove(*at) else { return false };
        match bytes {
            Some(bytes) => self.handle(to, Event::Received(id, &bytes)),
            None => self.handle(to, Event::Closed(id)),
        }
        true
    }
}

proptest! {
    /// Whatever the order in which two calling speakers' messages arrive, one session stands in the end, on one pipe.
    #[test]
    fn two_callers_end_up_with_one_session(
        choices in proptest::collection::vec(0usize..8, 200),
        restarted in any::<[bool; 2]>(),
    ) {
        let mut wire = Wire {
            ends: [Fsm::new(settings(1, 64512)), Fsm::new(settings(2, 64512))],
            pipes: Vec::new(),
            queue: VecDeque::new(),
            next: 10,
            now: Time(0),
        };
        for (which, restarted) in restarted.into_iter().enumerate() {
            if restarted {
                wire.ends[which].restarted();
            }
            wire.handle(which, Event::Start);
        }
        wire.handle(0, Event::Timer);
        wire.handle(1, Event::Timer);
        let mut choices = choices.into_iter().cycle();
        for _ in 0..20 {
            while wire.deliver(choices.next().unwrap_or(0)) {}
            if wire.ends.iter().all(|end| end.session().is_some()) {
                break;
            }
            wire.now = wire.now + Duration::from_secs(5);
            wire.handle(0, Event::Timer);
            wire.handle(1, Event::Timer);
        }
        let sessions: Vec<_> = wire.ends.iter().map(|end| end.session().map(|(id, _)| id)).collect();
        let [Some(a), Some(b)] = sessions[..] else { panic!("{sessions:?}") };
        prop_assert!(wire.pipes.iter().any(|pipe| pipe.contains(&(0, a)) && pipe.contains(&(1, b))));
    }

    #[test]
    fn no_bytes_in_any_state_panic(
        parts in proptest::collection::vec(
            prop_oneof![
                proptest::collection::vec(any::<u8>(), 0..60),
                Just(keepalive()),
                Just(open(2, |_| {})),
                Just(encode_end_of_rib(Family::Evpn)),
            ],
            0..12,
        ),
    ) {
        let mut fsm = started();
        fsm.handle(Event::Connected(ID, Way::Out), Time(0));
        for (step, part) in (0u64..).zip(parts) {
            fsm.handle(Event::Received(ID, &part), Time(step * 1_000));
            fsm.handle(Event::Timer, Time(step * 1_000));
        }
    }
}
