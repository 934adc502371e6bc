//! The codec gives back what went in, however the bytes are cut, and garbage costs an error, never a panic.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use api::{
    ApiError, BridgeFlags, BridgeInfo, CodecError, Core, Cursor, Decoder, DropScope, DropStats,
    ErrorCode, Label, LabelEntry, LabelInfo, Lookup, MAX_MESSAGE, Mac, Member, NextHopDetail,
    NextHopInfo, NhFamily, NhFlags, NhId, Object, Op, Page, Prefix, Reply, Request, Route,
    RouteFlags, RouteInfo, Rows, Stitched, Table, Transaction, VifFlags, VifId, VifInfo, VifKind,
    Vni, VrfId, decode, encode,
};
use proptest::prelude::*;

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits))),
        any::<u128>().prop_map(|bits| IpAddr::V6(Ipv6Addr::from_bits(bits))),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (any::<u16>(), any::<u32>(), 0u8..=32, any::<u32>(), any::<u8>()).prop_map(
            |(vrf, bits, length, nh, flags)| {
                Op::Put(Object::Inet(Route {
                    vrf: VrfId(vrf),
                    prefix: Prefix::new(Ipv4Addr::from_bits(bits), length)
                        .expect("length is in range"),
                    next_hop: NhId(nh),
                    label: Vni::try_from(nh).ok(),
                    flags: RouteFlags(flags),
                    mac: (flags & 1 != 0).then_some(Mac([2, 0, 0, 0, 0, flags])),
                    identity: None,
                }))
            }
        ),
        (0u32..=Label::MAX, any::<u32>()).prop_map(|(label, nh)| {
            let label = Label::try_from(label).expect("label is in range");
            Op::Put(Object::Label(LabelEntry { label, next_hop: NhId(nh) }))
        }),
        (any::<u16>(), any::<u128>(), 0u8..=128).prop_map(|(vrf, bits, length)| {
            let prefix =
                Prefix::new(Ipv6Addr::from_bits(bits), length).expect("length is in range");
            Op::Delete(api::Key::Inet6(VrfId(vrf), prefix))
        }),
    ]
}

fn request() -> impl Strategy<Value = Request> {
    let core = proptest::option::of(any::<u32>().prop_map(Core));
    prop_oneof![
        prop::collection::vec(op(), 0..20).prop_map(|ops| Request::Apply(Transaction { ops })),
        Just(Request::BeginEpoch),
        Just(Request::Barrier),
        (any::<u16>(), any::<u32>(), 0u8..=32).prop_map(|(vrf, bits, length)| Request::Dump {
            table: Table::Inet { vrf: VrfId(vrf) },
            after: Some(Cursor::Inet(Ipv4Addr::from_bits(bits), length)),
        }),
        (any::<u16>(), core.clone())
            .prop_map(|(id, core)| Request::Get(Lookup::Vif { id: VifId(id), core })),
        (any::<u16>(), core)
            .prop_map(|(id, core)| Request::Drops { scope: DropScope::Vif(VifId(id)), core }),
    ]
}

fn vif() -> impl Strategy<Value = VifInfo> {
    (any::<u16>(), ".{0,20}", any::<u32>(), any::<[u8; 6]>(), any::<[u64; 4]>(), any::<Vec<u8>>())
        .prop_map(|(id, name, flags, mac, counters, metadata)| {
            let mut row = VifInfo::new(VifId(id), name, VifKind::Virtual);
            row.flags = VifFlags(flags);
            row.mac = Mac(mac);
            row.bmac = (flags & 1 != 0).then_some(Mac(mac));
            (row.rx.packets, row.rx.bytes) = (counters[0], counters[1]);
            row.layers.rx_queue_errors_to_lcore = counters.to_vec();
            row.ingress_mirror_metadata = metadata;
            row
        })
}

fn next_hop() -> impl Strategy<Value = NextHopInfo> {
    let members = prop::collection::vec(
        proptest::option::of((any::<u32>(), proptest::option::of(any::<u32>())))
            .prop_map(|slot| slot.map(|(nh, label)| Member { next_hop: NhId(nh), label })),
        0..40,
    );
    (any::<u32>(), any::<u32>(), address(), address(), members, any::<bool>()).prop_map(
        |(id, flags, source, destination, members, composite)| NextHopInfo {
            id: NhId(id),
            family: Some(NhFamily::Inet),
            vrf: None,
            references: flags,
            flags: NhFlags(flags),
            direct: members.first().copied().flatten(),
            detail: if composite {
                NextHopDetail::Composite { hash: 31, members }
            } else {
                NextHopDetail::tunnel(source, destination, api::UnderlayHop::default())
            },
        },
    )
}

fn rows() -> impl Strategy<Value = Rows> {
    prop_oneof![
        prop::collection::vec(vif(), 0..4).prop_map(Rows::Vif),
        prop::collection::vec(next_hop(), 0..4).prop_map(Rows::NextHop),
        prop::collection::vec(
            (address(), any::<[u8; 3]>(), any::<u32>()).prop_map(|(address, bytes, nh)| {
                RouteInfo {
                    address,
                    length: bytes[0],
                    parent_length: bytes[1],
                    flags: RouteFlags(bytes[2]),
                    label: Some(nh),
                    next_hop: NhId(nh),
                    stitched: Some(Stitched { mac: Mac([bytes[0]; 6]), index: nh }),
                }
            }),
            0..10
        )
        .prop_map(Rows::Route),
        (any::<u32>(), any::<u64>()).prop_map(|(index, packets)| Rows::Bridge(vec![BridgeInfo {
            index,
            mac: Mac::BROADCAST,
            flags: BridgeFlags(0x40),
            label: None,
            next_hop: NhId(1),
            packets,
        }])),
        any::<u32>()
            .prop_map(|label| Rows::Label(vec![LabelInfo { label, next_hop: NhId(label) }])),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    prop_oneof![
        any::<u64>().prop_map(|generation| Reply::Done { generation }),
        (rows(), any::<u64>(), proptest::option::of(any::<u32>().prop_map(Cursor::Index)))
            .prop_map(|(rows, generation, next)| Reply::Page(Page { rows, next, generation })),
        (".{0,10}", ".{0,30}").prop_map(|(object, message)| Reply::Error(ApiError::new(
            ErrorCode::Busy,
            object,
            message
        ))),
        any::<Vec<u64>>()
            .prop_map(|packets| Reply::Drops(DropStats { packets, per_core_missing: false })),
    ]
}

proptest! {
    #[test]
    fn requests_survive_any_cut_of_the_stream(
        requests in prop::collection::vec(request(), 1..5),
        cut in 1usize..50,
    ) {
        let mut bytes = Vec::new();
        for request in &requests {
            encode(request, &mut bytes).unwrap();
        }
        let mut decoder = Decoder::new();
        let mut got = Vec::<Request>::new();
        for piece in bytes.chunks(cut) {
            decoder.feed(piece);
            while let Some(request) = decoder.next_message().unwrap() {
                got.push(request);
            }
        }
        prop_assert_eq!(got, requests);
        prop_assert_eq!(decoder.pending(), 0);
    }

    #[test]
    fn replies_survive_postcard_and_json(reply in reply()) {
        let mut bytes = Vec::new();
        encode(&reply, &mut bytes).unwrap();
        prop_assert_eq!(decode::<Reply>(&bytes[4..]).unwrap(), reply.clone());
        let text = serde_json::to_string(&reply).unwrap();
        prop_assert_eq!(serde_json::from_str::<Reply>(&text).unwrap(), reply);
    }

    #[test]
    fn garbage_is_an_error_and_never_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode::<Request>(&bytes);
        let _ = decode::<Reply>(&bytes);
        let mut decoder = Decoder::new();
        decoder.feed(&bytes);
        while let Ok(Some(_)) = decoder.next_message::<Request>() {}
    }

    #[test]
    fn a_flipped_byte_is_an_error_or_another_message(reply in reply(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = Vec::new();
        encode(&reply, &mut bytes).unwrap();
        let body = &mut bytes[4..];
        let at = at.index(body.len());
        body[at] ^= 1 << bit;
        let _ = decode::<Reply>(body);
    }
}

#[test]
fn a_frame_that_cannot_be_decoded_is_skipped_and_the_stream_goes_on() {
    let mut bytes = vec![3, 0, 0, 0, 0xff, 0xff, 0xff];
    encode(&Request::Info, &mut bytes).unwrap();
    let mut decoder = Decoder::new();
    decoder.feed(&bytes);
    assert!(matches!(decoder.next_message::<Request>(), Err(CodecError::Malformed(_))));
    assert_eq!(decoder.next_message::<Request>(), Ok(Some(Request::Info)));
    assert_eq!(decoder.next_message::<Request>(), Ok(None));
}

#[test]
fn a_length_above_the_limit_is_refused_before_its_bytes_arrive() {
    let mut decoder = Decoder::new();
    decoder.feed(&u32::MAX.to_le_bytes());
    assert_eq!(
        decoder.next_message::<Request>(),
        Err(CodecError::TooLarge { length: u32::MAX as usize })
    );
}

#[test]
fn a_message_above_the_limit_is_not_sent() {
    let mut out = vec![7];
    let huge = "x".repeat(MAX_MESSAGE + 1);
    assert!(matches!(encode(&huge, &mut out), Err(CodecError::TooLarge { .. })));
    assert_eq!(out, [7]);
}

#[test]
fn the_first_bytes_of_hello_never_change() {
    let hello = Request::Hello(api::ClientHello {
        versions: api::VersionRange { min: 1, max: 1 },
        client: "vif".to_owned(),
    });
    let mut bytes = Vec::new();
    encode(&hello, &mut bytes).unwrap();
    assert_eq!(bytes, [7, 0, 0, 0, 0, 1, 1, 3, b'v', b'i', b'f']);
}
