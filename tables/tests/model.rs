//! The model's rules: what is refused and how it is named, what is undone, what is kept.

#[expect(unreachable_pub, reason = "shared by the tests of this folder")]
mod support;

use support::*;
use tables::*;
use wire::{Label, Mac, Vni};

fn model(ops: &[Op]) -> Model {
    let mut model = Model::new();
    model.apply(ops, Owner::Agent).unwrap();
    model
}

fn refused(model: &mut Model, op: Op) -> ModelError {
    model.apply(&[op], Owner::Agent).unwrap_err()
}

#[test]
fn next_hop_0_always_discards_and_cannot_be_touched() {
    let mut model = Model::new();
    assert!(matches!(model.next_hop(NhId(0)).unwrap().kind, NextHopKind::Discard));
    let error = refused(&mut model, put(next_hop(0, NextHopKind::L2Receive)));
    assert_eq!(error.code(), ErrorCode::NotPermitted);
    assert_eq!(
        refused(&mut model, Op::Delete(Key::NextHop(NhId(0)))).code(),
        ErrorCode::NotPermitted
    );
    let itself = model.get(&Key::NextHop(NhId(0))).unwrap();
    assert!(model.apply(&[put(itself)], Owner::Agent).unwrap().is_empty());
    assert!(model.sweep(Owner::Agent, |epoch| epoch == Epoch(9)).is_empty());
}

#[test]
fn errors_name_the_object_the_field_and_the_values() {
    let mut model = model(&[
        put(vif(3)),
        put(next_hop(5, tunnel("192.0.2.1", "192.0.2.2", TunnelEncap::MplsOverUdp))),
        put(next_hop(6, tunnel("192.0.2.1", "192.0.2.2", TunnelEncap::Vxlan))),
    ]);
    let mut stitched = route(1, "10.0.0.1/32", 6, Some(7));
    stitched.mac = Some(mac(9));
    let encap =
        |vif, rewrite: usize| NextHopKind::Encap { vif: VifId(vif), rewrite: vec![0; rewrite] };
    let cases = [
        (
            Object::Inet(route(1, "10.0.0.0/24", 77, None)),
            "next_hop",
            ErrorCode::NotFound,
            "route 10.0.0.0/24 in vrf 1: next_hop: there is no next hop 77",
        ),
        (
            Object::Inet(route(1, "10.0.0.0/24", 5, None)),
            "label",
            ErrorCode::Invalid,
            "route 10.0.0.0/24 in vrf 1: label: needed, because next hop 5 is a tunnel",
        ),
        (
            Object::Inet(route(1, "10.0.0.0/24", 5, Some(11_158_251))),
            "label",
            ErrorCode::Invalid,
            "route 10.0.0.0/24 in vrf 1: label: 11158251 is above 1048575",
        ),
        (
            Object::Inet(stitched),
            "mac",
            ErrorCode::NotFound,
            "route 10.0.0.1/32 in vrf 1: mac: there is no bridge entry 02:00:00:00:00:09 in vrf 1",
        ),
        (
            Object::Inet(route(4096, "10.0.0.0/24", 6, Some(1))),
            "vrf",
            ErrorCode::Invalid,
            "route 10.0.0.0/24 in vrf 4096: vrf: 4096 is above 4095",
        ),
        (vif(4355), "id", ErrorCode::Invalid, "vif 4355: id: 4355 is above 4354"),
        (
            next_hop(524_288, NextHopKind::Resolve),
            "id",
            ErrorCode::Invalid,
            "next hop 524288: id: 524288 is above 524287",
        ),
        (
            next_hop(7, encap(4, 14)),
            "vif",
            ErrorCode::NotFound,
            "next hop 7: vif: there is no vif 4",
        ),
        (
            next_hop(7, encap(3, 12)),
            "rewrite",
            ErrorCode::Invalid,
            "next hop 7: rewrite: 12 bytes given, must be 14",
        ),
        (
            next_hop(7, tunnel("0.0.0.0", "192.0.2.2", TunnelEncap::MplsOverGre)),
            "source",
            ErrorCode::Invalid,
            "next hop 7: source: must not be the zero address",
        ),
        (
            next_hop(7, tunnel("192.0.2.1", "::", TunnelEncap::MplsOverGre)),
            "destination",
            ErrorCode::Invalid,
            "next hop 7: destination: must not be the zero address",
        ),
        (
            next_hop(7, tunnel("192.0.2.1", "2001:db8::1", TunnelEncap::MplsOverGre)),
            "destination",
            ErrorCode::Invalid,
            "next hop 7: destination: not of the same address family as source",
        ),
        (
            next_hop(7, tunnel("192.0.2.1", "192.0.2.2", TunnelEncap::VxlanL3(Mac::ZERO))),
            "encap.mac",
            ErrorCode::Invalid,
            "next hop 7: encap.mac: must not be 00:00:00:00:00:00",
        ),
        (
            next_hop(7, ecmp(&[Some((5, 1)); 128])),
            "members",
            ErrorCode::Invalid,
            "next hop 7: members: 128 given, at most 127 can be used",
        ),
        (
            next_hop(7, ecmp(&[None, Some((7, 1))])),
            "members",
            ErrorCode::Invalid,
            "next hop 7: members: position 1 is the next hop itself",
        ),
        (
            next_hop(7, ecmp(&[Some((5, 0x10_0000))])),
            "members.label",
            ErrorCode::Invalid,
            "next hop 7: members.label: 1048576 is above 1048575",
        ),
        (
            adjacency("192.0.2.2", 3, Mac::ZERO),
            "neighbor",
            ErrorCode::Invalid,
            "adjacency of 192.0.2.2: neighbor: must not be 00:00:00:00:00:00",
        ),
        (
            bridge(1, 1, 99),
            "next_hop",
            ErrorCode::NotFound,
            "bridge entry 02:00:00:00:00:01 in vrf 1: next_hop: there is no next hop 99",
        ),
    ];
    for (object, field, code, message) in cases {
        let key = object.key();
        let error = refused(&mut model, put(object));
        assert_eq!((error.object(), error.field(), error.code()), (&key, field, code));
        assert_eq!(error.to_string(), message);
        assert_eq!(model.get(&key), None, "{message}");
    }
}

#[test]
fn a_vni_of_24_bits_is_a_label_only_under_vxlan() {
    let mut model = model(&[
        put(next_hop(5, tunnel("192.0.2.1", "192.0.2.2", TunnelEncap::Vxlan))),
        put(next_hop(6, NextHopKind::Translate(VrfId(2)))),
    ]);
    model
        .apply(&[put(Object::Inet(route(1, "10.0.0.0/24", 5, Some(16_777_215))))], Owner::Agent)
        .unwrap();
    let error =
        refused(&mut model, put(Object::Inet(route(1, "10.0.1.0/24", 6, Some(16_777_215)))));
    assert_eq!(error.field(), "label");
    for vni in [11_158_251, 672_491, 16_777_215] {
        let vni = Vni::try_from(vni).unwrap();
        let entry = Object::Vni(VniEntry { vni, next_hop: NhId(6) });
        model.apply(&[put(entry)], Owner::Agent).unwrap();
    }
    assert_eq!(model.vnis(..).count(), 3);
}

#[test]
fn references_may_come_after_what_refers_to_them_but_not_be_missing_at_the_end() {
    let mut model = Model::new();
    let encap = NextHopKind::Encap { vif: VifId(3), rewrite: vec![0; 14] };
    let ops =
        [put(Object::Inet(route(1, "10.0.0.1/32", 9, None))), put(next_hop(9, encap)), put(vif(3))];
    assert!(model.apply(&ops[..2], Owner::Agent).is_err());
    assert_eq!(model.next_hops(..).count(), 1);
    model.apply(&ops, Owner::Agent).unwrap();
    // The route goes with its next hop's id being deleted and re-made in between.
    let again =
        [Op::Delete(Key::NextHop(NhId(9))), put(next_hop(9, NextHopKind::Discard)), ops[0].clone()];
    model.apply(&again, Owner::Agent).unwrap();
}

#[test]
fn a_refused_transaction_changes_nothing_not_even_marks_counts_or_slots() {
    let mut model = model(&[
        put(vif(3)),
        put(next_hop(4, NextHopKind::Receive(VifId(3)))),
        put(bridge(1, 1, 4)),
    ]);
    let slot = model.bridge_slot(VrfId(1), mac(1));
    model.set_epoch(Owner::Agent, Epoch(1));
    let ops = [
        put(vif(3)),
        Op::Delete(Key::Bridge(VrfId(1), mac(1))),
        put(bridge(1, 2, 4)),
        put(next_hop(4, NextHopKind::Discard)),
        put(bridge(1, 3, 4)),
        Op::Delete(Key::NextHop(NhId(4))),
        put(Object::Inet(route(1, "10.0.0.0/8", 4, None))),
    ];
    assert!(model.apply(&ops, Owner::Agent).is_err());
    assert_eq!(model.bridge_slot(VrfId(1), mac(1)), slot);
    assert_eq!(model.bridge_slot(VrfId(1), mac(2)), None);
    assert_eq!(model.next_hop_references(NhId(4)), 2);
    assert_eq!(model.vif_references(VifId(3)), 2);
    assert_eq!(model.sweep(Owner::Agent, |epoch| epoch == Epoch(1)).len(), 3);
    // The freed slots are reused from the lowest.
    model.apply(&[put(bridge(1, 7, 4))], Owner::Agent).unwrap();
    assert_eq!(model.bridge_slot(VrfId(1), mac(7)).map(BridgeSlot::index), Some(1));
}

#[test]
fn equal_puts_and_deletes_of_what_is_not_there_change_nothing() {
    let mut model = model(&[put(vif(3))]);
    let ops = [
        put(vif(3)),
        Op::Delete(Key::Vif(VifId(4))),
        Op::Delete(Key::Label(Label::try_from(9).unwrap())),
    ];
    assert!(model.apply(&ops, Owner::Agent).unwrap().is_empty());
}

#[test]
fn a_sweep_takes_what_its_owner_did_not_put_again_and_nothing_else() {
    let mut model =
        model(&[put(vif(0)), put(vif(3)), put(next_hop(4, NextHopKind::Receive(VifId(3))))]);
    model.apply(&[put(adjacency("192.0.2.2", 0, mac(2)))], Owner::Vrouterd).unwrap();
    model.set_epoch(Owner::Agent, Epoch(2));
    model.apply(&[put(vif(0))], Owner::Agent).unwrap();
    let stale = model.sweep(Owner::Agent, |epoch| epoch == Epoch(2));
    assert_eq!(stale, [Op::Delete(Key::NextHop(NhId(4))), Op::Delete(Key::Vif(VifId(3)))]);
    model.apply(&stale, Owner::Agent).unwrap();
    assert_eq!(model.vifs(..).count(), 1);
    assert_eq!(model.adjacencies().count(), 1);
    assert!(model.sweep(Owner::Agent, |epoch| epoch == Epoch(2)).is_empty());
}

#[test]
fn references_are_counted_with_the_object_itself() {
    let mut model = model(&[
        put(vif(3)),
        put(next_hop(4, NextHopKind::Receive(VifId(3)))),
        put(next_hop(5, ecmp(&[Some((4, 1)), None]))),
        put(Object::Inet(route(1, "10.0.0.0/24", 4, None))),
        put(route6(1, "2001:db8::/32", 4)),
    ]);
    assert_eq!(model.next_hop_references(NhId(4)), 4);
    assert_eq!(model.vif_references(VifId(3)), 2);
    assert_eq!(model.next_hop_references(NhId(99)), 0);
    let ops =
        [Op::Delete(Key::NextHop(NhId(5))), put(Object::Inet(route(1, "10.0.0.0/24", 0, None)))];
    model.apply(&ops, Owner::Agent).unwrap();
    assert_eq!(model.next_hop_references(NhId(4)), 2);
}

#[test]
fn lists_are_ascending_and_go_on_after_a_key() {
    let model = model(&[
        put(Object::Inet(route(1, "10.0.1.0/24", 0, None))),
        put(Object::Inet(route(1, "10.0.0.0/8", 0, None))),
        put(Object::Inet(route(1, "10.0.0.0/24", 0, None))),
        put(Object::Inet(route(2, "0.0.0.0/0", 0, None))),
        put(vif(5)),
        put(vif(3)),
    ]);
    let listed = |after: Option<&str>| -> Vec<String> {
        let after = after.map(|text| text.parse().unwrap());
        model.inet_routes(VrfId(1), after).map(|route| route.prefix.to_string()).collect()
    };
    assert_eq!(listed(None), ["10.0.0.0/8", "10.0.0.0/24", "10.0.1.0/24"]);
    assert_eq!(listed(Some("10.0.0.0/8")), ["10.0.0.0/24", "10.0.1.0/24"]);
    assert_eq!(listed(Some("10.0.0.128/25")), ["10.0.1.0/24"]);
    assert_eq!(model.vifs(VifId(4)..).map(|vif| vif.id.0).collect::<Vec<_>>(), [5]);
}
