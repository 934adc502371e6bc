//! BGP: messages on their own, and a session fed with a stream.

use std::net::Ipv4Addr;

use proto::Time;
use proto::bgp::{
    Action, AsWidth, ConnectionId, Dialing, Event, Family, Fsm, Message, Relation, Settings,
    StopReason, UpdateContext, Way, decode_update, take_message,
};

use crate::dice::Dice;

/// Takes messages off a stream and decodes each UPDATE in every way that could have been negotiated.
pub fn bgp_messages(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok(Some((message, length))) = take_message(rest) {
        assert!(length > 0 && length <= rest.len());
        if let Message::Update(body) = message {
            update(body);
        }
        rest = &rest[length..];
    }
    update(bytes);
}

fn update(body: &[u8]) {
    for as_width in [AsWidth::Four, AsWidth::Two] {
        for relation in [Relation::Internal, Relation::External] {
            let context = UpdateContext {
                local_as: 4_200_000_001,
                router_id: Ipv4Addr::new(192, 0, 2, 1),
                families: vec![Family::Vpn4, Family::Vpn6, Family::Evpn],
                as_width,
                relation,
            };
            match decode_update(body, &context) {
                Ok(update) => {
                    for problem in &update.problems {
                        assert!(!problem.to_string().is_empty());
                    }
                }
                Err(error) => assert!(!error.notification().encode().is_empty()),
            }
        }
    }
}

/// A peer's machine: connections, bytes, closing and time in any order. It must want nothing of the past, and end empty.
pub fn bgp_session(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let settings = Settings {
        local_as: dice.one_of(&[65000, 4_200_000_001]),
        router_id: Ipv4Addr::new(192, 0, 2, 1),
        peer_as: dice.one_of(&[65000, 23456, 4_200_000_001]),
        hold_time: dice.one_of(&[90, 0, 3]),
        families: vec![Family::Vpn4, Family::Vpn6, Family::Evpn],
        dialing: dice.one_of(&[Dialing::Active, Dialing::Passive]),
        restart_time: 120,
    };
    let mut machine = Fsm::new(settings);
    let mut now = Time(0);
    let mut connections = 0u64;
    machine.handle(Event::Start, now);
    for _ in 0..64 {
        if dice.is_empty() {
            break;
        }
        let id = ConnectionId(connections.saturating_sub(u64::from(dice.byte() & 1)));
        let actions = match dice.byte() % 8 {
            0 | 1 => {
                connections += 1;
                let way = dice.one_of(&[Way::In, Way::Out]);
                machine.handle(Event::Connected(ConnectionId(connections), way), now)
            }
            2..=4 => {
                let length = usize::from(dice.byte()) + usize::from(dice.byte() & 15) * 256;
                machine.handle(Event::Received(id, dice.take(length)), now)
            }
            5 => machine.handle(Event::Closed(id), now),
            6 => machine.handle(Event::DialFailed, now),
            _ => {
                now = machine.deadline().unwrap_or(now).max(now);
                machine.handle(Event::Timer, now)
            }
        };
        for action in actions {
            if let Action::Send(_, bytes) = action {
                assert!(take_message(&bytes).is_ok_and(|message| message.is_some()), "{bytes:?}");
            }
        }
    }
    machine.handle(Event::Stop(StopReason::Deconfigured), now);
    assert!(machine.session().is_none());
}
