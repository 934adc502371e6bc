//! Every drop reason: the test that reaches it, or why nothing does. A reason that is added does not pass without a line.
#![allow(clippy::disallowed_macros, reason = "tests may allocate and print")]

use std::path::{Path, PathBuf};

use tables::DropReason;

use Why::{Cannot, Reached};

enum Why {
    /// By this test of this file of the folder.
    Reached(&'static str, &'static str),
    /// Nothing reaches it, because.
    Cannot(&'static str),
}

fn list() -> Vec<(DropReason, Why)> {
    vec![
        (DropReason::Invalid, Cannot("the initial value of a packet's metadata")),
        (DropReason::Discard, Reached("cases.rs", "h28_a_group_keeps_its_members_places")),
        (DropReason::Pull, Reached("cases.rs", "h05_runts_are_counted_drops")),
        (
            DropReason::InvalidIf,
            Reached("interfaces.rs", "a_sub_interface_without_its_parent_is_an_invalid_interface"),
        ),
        (
            DropReason::InvalidArp,
            Reached("cases.rs", "h01_arp_with_odd_lengths_or_operation_is_invalid"),
        ),
        (
            DropReason::TrapNoIf,
            Reached("control.rs", "without_an_agent_traps_are_counted_and_no_copies_made"),
        ),
        (
            DropReason::NowhereToGo,
            Reached(
                "control.rs",
                "advertisements_and_router_solicitations_reach_the_agent_and_others_act_on_nothing",
            ),
        ),
        (
            DropReason::FlowQueueLimitExceeded,
            Reached("undecided.rs", "a_fourth_packet_does_not_wait"),
        ),
        (DropReason::FlowNoMemory, Cannot("flow memory is reserved at the start")),
        (DropReason::FlowInvalidProtocol, Cannot("every IP protocol has flows")),
        (DropReason::FlowNatNoRflow, Cannot("a guard: translated sessions have both directions")),
        (
            DropReason::FlowActionDrop,
            Reached("flows.rs", "what_no_rule_lets_pass_is_dropped_and_remembered"),
        ),
        (DropReason::FlowActionInvalid, Cannot("a flow has no unknown action")),
        (
            DropReason::FlowUnusable,
            Reached("undecided.rs", "h24_undecided_flows_are_bounded_counted_and_end"),
        ),
        (
            DropReason::FlowTableFull,
            Reached("flows.rs", "a_flood_of_sessions_leaves_the_others_theirs"),
        ),
        (
            DropReason::InterfaceTxDiscard,
            Reached("workers.rs", "a_removed_port_comes_back_and_its_traffic_is_discarded"),
        ),
        (
            DropReason::InterfaceDrop,
            Reached("cases.rs", "h20_frames_for_others_are_neither_decapsulated_nor_routed"),
        ),
        (
            DropReason::Duplicated,
            Cannot(
                "the original goes to the agent itself, cut short: there is no copy whose original ends",
            ),
        ),
        (
            DropReason::Push,
            Cannot(
                "a guard: no way through the graph takes more than a frame's headroom of 256 bytes",
            ),
        ),
        (
            DropReason::TtlExceeded,
            Reached(
                "cases.rs",
                "h09_one_ttl_decrement_a_routed_packet_and_none_for_a_local_service",
            ),
        ),
        (DropReason::InvalidNh, Reached("cases.rs", "h28_a_group_keeps_its_members_places")),
        (
            DropReason::InvalidLabel,
            Reached("cases.rs", "h08_what_is_taken_as_a_tunnel_without_a_host_interface"),
        ),
        (
            DropReason::InvalidProtocol,
            Reached("tunnels.rs", "the_payload_is_what_the_label_says_and_never_guessed"),
        ),
        (
            DropReason::InterfaceRxDiscard,
            Reached("workers.rs", "a_port_without_an_interface_receives_nothing"),
        ),
        (
            DropReason::InvalidMcastSource,
            Reached("flood.rs", "point_28_nothing_goes_back_to_where_it_came_from"),
        ),
        (DropReason::HeadAllocFail, Cannot("there is headroom; nothing is allocated")),
        (DropReason::PcowFail, Cannot("a packet has one owner: nothing is copied to be written")),
        (
            DropReason::McastDfBit,
            Reached("mtu.rs", "point_29_a_group_that_is_too_big_is_not_asked"),
        ),
        (
            DropReason::McastCloneFail,
            Reached("flood.rs", "without_frames_for_the_copies_the_original_is_what_is_lost"),
        ),
        (
            DropReason::NoMemory,
            Reached(
                "segments.rs",
                "segments_that_a_full_port_or_an_empty_pool_has_no_room_for_are_counted",
            ),
        ),
        (
            DropReason::RewriteFail,
            Cannot("a rewrite is a copy into headroom, which is `Push` when it fails"),
        ),
        (DropReason::Misc, Cannot("every case has a reason of its own")),
        (
            DropReason::InvalidPacket,
            Reached(
                "cases.rs",
                "h02_an_inner_length_that_contradicts_the_frame_is_an_invalid_packet",
            ),
        ),
        (
            DropReason::CksumErr,
            Reached(
                "merging.rs",
                "a_segment_with_a_wrong_sum_is_dropped_and_counted_where_it_would_be_joined",
            ),
        ),
        (DropReason::NoFmd, Cannot("a packet always has its metadata")),
        (
            DropReason::ClonedOriginal,
            Reached("flood.rs", "a_workloads_broadcast_reaches_every_list_and_not_itself"),
        ),
        (
            DropReason::InvalidVnid,
            Reached("tunnels.rs", "a_vni_is_bridged_or_routed_by_the_inner_mac"),
        ),
        (
            DropReason::Fragments,
            Reached("cases.rs", "h08_what_is_no_tunnel_of_ours_reaches_the_host_untouched"),
        ),
        (DropReason::InvalidSource, Reached("tunnels.rs", "only_a_local_endpoint_decapsulates")),
        (
            DropReason::L2NoRoute,
            Reached("flood.rs", "point_27_unknown_unicast_from_a_tree_goes_to_the_owner_alone"),
        ),
        (
            DropReason::FragmentQueueFail,
            Reached(
                "fragments.rs",
                "h13_a_flood_without_heads_is_bounded_counted_and_unnoticed_by_others",
            ),
        ),
        (DropReason::VlanFwdTx, Cannot("frames of foreign VLANs stay in the kernel")),
        (DropReason::VlanFwdEnq, Cannot("frames of foreign VLANs stay in the kernel")),
        (DropReason::NewFlows, Reached("flows.rs", "an_interfaces_own_limits_hold")),
        (DropReason::FlowEvict, Cannot("a session that ends makes way for a new one at once")),
        (DropReason::TrapOriginal, Cannot("the agent has the packet then, which is no loss")),
        (
            DropReason::LeafToLeaf,
            Reached("next_hops.rs", "a_leaf_of_an_e_tree_does_not_reach_another_leaf"),
        ),
        (DropReason::BmacIsidMismatch, Cannot("PBB is recorded and shown only")),
        (
            DropReason::PktLoop,
            Reached("tunnels.rs", "a_packet_is_not_tunnelled_back_to_where_it_came_from"),
        ),
        (
            DropReason::NoCryptPath,
            Reached("next_hops.rs", "what_is_to_be_encrypted_goes_to_the_interface_that_does_it"),
        ),
        (DropReason::InvalidHbsPkt, Cannot("host-based services are recorded and shown only")),
        (
            DropReason::NoFragEntry,
            Reached(
                "fragments.rs",
                "h04_a_tail_alone_is_held_and_then_dropped_for_want_of_an_entry",
            ),
        ),
        (
            DropReason::IcmpError,
            Reached("flows.rs", "h21_icmp_errors_belong_to_the_session_they_are_about"),
        ),
        (
            DropReason::CloneFail,
            Reached(
                "mirroring.rs",
                "without_frames_for_copies_the_packets_go_on_and_the_copies_are_counted_as_lost",
            ),
        ),
        (
            DropReason::InvalidUnderlayEcmp,
            Reached("interfaces.rs", "underlay_ecmp_spreads_flows_over_the_uplinks_that_are_there"),
        ),
        (
            DropReason::StormBroadcast,
            Reached("storms.rs", "groups_unknown_stations_and_punts_have_buckets_of_their_own"),
        ),
        (
            DropReason::StormUnicast,
            Reached("storms.rs", "groups_unknown_stations_and_punts_have_buckets_of_their_own"),
        ),
        (
            DropReason::StormArp,
            Reached(
                "storms.rs",
                "a_flood_of_arp_is_limited_and_counted_and_the_neighbours_arp_is_answered",
            ),
        ),
        (
            DropReason::StormPunt,
            Reached("storms.rs", "groups_unknown_stations_and_punts_have_buckets_of_their_own"),
        ),
        (
            DropReason::TooBig,
            Reached(
                "mtu.rs",
                "nobody_is_told_about_errors_groups_later_fragments_or_senders_that_are_no_host",
            ),
        ),
        (
            DropReason::StormIcmp,
            Reached(
                "mtu.rs",
                "complaints_are_held_to_a_rate_for_each_interface_and_without_a_gateway_go_to_the_agent",
            ),
        ),
    ]
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// The text of a test function, up to the next one.
fn test<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let start = text.find(&format!("fn {name}("))?;
    let rest = &text[start..];
    Some(rest.split("\n#[test]").next().unwrap_or(rest))
}

fn sources(folder: &Path) -> String {
    let mut text = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            text += &sources(&path);
        } else if path.file_name().is_some_and(|name| name != "tests.rs") {
            // Unit tests stand at the end of a file.
            let file = std::fs::read_to_string(&path).unwrap();
            text += file.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
        }
    }
    text
}

#[test]
fn every_drop_reason_is_reached_or_explained() {
    let list = list();
    let named: Vec<DropReason> = list.iter().map(|(reason, _)| *reason).collect();
    assert_eq!(named, DropReason::ALL, "one line for each, in their order");
    let source = sources(&folder().join("src"));
    let readme = std::fs::read_to_string(folder().join("README.md")).unwrap();
    for (reason, why) in list {
        let name = format!("DropReason::{reason:?}");
        match why {
            Reached(file, function) => {
                let text = std::fs::read_to_string(folder().join("tests").join(file)).unwrap();
                let body = test(&text, function);
                let body = body.unwrap_or_else(|| panic!("{file} has no test {function}"));
                assert!(body.contains(&name), "{function} does not expect {name}");
                assert!(source.contains(&name), "nothing drops for {name}");
            }
            Cannot(because) => {
                let guard =
                    ["a guard", "the initial value"].iter().any(|word| because.starts_with(word));
                assert!(guard || !source.contains(&name), "{name} is used: reach it");
                let row = format!("| `{}` | {because} |", reason.label());
                assert!(readme.contains(&row), "the README lacks {row}");
            }
        }
    }
}
