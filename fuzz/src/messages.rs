//! The control socket: its codec on arbitrary streams, and the model under arbitrary transactions.

use api::{Decoder, Reply, Request, decode, encode};
use tables::{Key, Model, Op, Owner, VrfId, Writer};

use crate::dice::Dice;

/// Feeds a stream in pieces, and decodes it as requests and as replies. What decodes must encode to what decodes to the
/// same again.
pub fn codec(bytes: &[u8]) {
    let step = usize::from(bytes.first().copied().unwrap_or(0)).max(1);
    let mut decoder = Decoder::new();
    for piece in bytes.chunks(step) {
        decoder.feed(piece);
        // A bad frame is taken out, so each call makes progress; too large a one ends the stream.
        for _ in 0..=piece.len() {
            match decoder.next_message::<Request>() {
                Ok(Some(request)) => again(&request),
                Ok(None) | Err(api::CodecError::TooLarge { .. }) => break,
                Err(_) => {}
            }
        }
    }
    if let Ok(request) = decode::<Request>(bytes) {
        again(&request);
    }
    if let Ok(reply) = decode::<Reply>(bytes) {
        again(&reply);
    }
    let mut dice = Dice::new(bytes);
    if let Some(request) = dice.roll::<Request>() {
        again(&request);
    }
    if let Some(reply) = dice.roll::<Reply>() {
        again(&reply);
    }
}

fn again<T>(message: &T)
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let mut frame = Vec::new();
    if encode(message, &mut frame).is_ok() {
        assert_eq!(&decode::<T>(&frame[4..]).expect("what was encoded decodes"), message);
    }
}

/// Transactions of any kind. A refused one leaves the model as it was; the tables compiled change by change are those
/// compiled at once; and what is deleted in the end leaves nothing.
pub fn model(bytes: &[u8]) {
    let mut dice = Dice::new(bytes);
    let mut model = Model::new();
    let mut writer = Writer::new();
    let mut keys: Vec<Key> = Vec::new();
    for _ in 0..32 {
        if dice.is_empty() {
            break;
        }
        let count = dice.byte() % 8;
        let ops: Vec<Op> = (0..count).filter_map(|_| dice.roll()).collect();
        let put = ops.iter().filter_map(|op| match op {
            Op::Put(object) => Some(object.key()),
            Op::Delete(_) => None,
        });
        let touched: Vec<Key> = put.collect();
        let before: Vec<_> = touched.iter().map(|key| model.get(key)).collect();
        match model.apply(&ops, Owner::Agent) {
            Ok(changes) => {
                writer.publish(&model, &changes);
                keys.extend(touched);
            }
            Err(error) => {
                assert!(!error.to_string().is_empty());
                let after: Vec<_> = touched.iter().map(|key| model.get(key)).collect();
                assert_eq!(before, after, "refused, but changed");
            }
        }
    }
    keys.reverse();
    keys.sort_unstable();
    keys.dedup();
    // What refers goes first.
    keys.reverse();
    let deletes: Vec<Op> = keys.into_iter().map(Op::Delete).collect();
    let changes = model.apply(&deletes, Owner::Agent).expect("a delete is never refused");
    writer.publish(&model, &changes);
    assert_eq!(model.vifs(..).count(), 0);
    for vrf in 0..64 {
        let fib = writer.fib();
        let route = fib.route(VrfId(vrf), std::net::Ipv4Addr::new(10, 10, 1, 3));
        assert_eq!(route.nh.0, 0, "an emptied table holds nothing");
    }
}
