//! What implementers usually get wrong (reference dataplane.md section 24), each with the tests that show it right here.

/// A point, in a few words, and the functions in the workspace's sources that show it beside those named after it.
pub(crate) const POINTS: &[(u8, &str, &[&str])] = &[
    (1, "L2 and L3 under a label", &["the_payload_is_what_the_label_says_and_never_guessed"]),
    (2, "the block of edge trees", &[]),
    (
        3,
        "the flow before the route",
        &["a_workload_goes_out_by_its_floating_ip_and_answers_come_back"],
    ),
    (4, "the interface's next hop in keys", &[]),
    (5, "one flow look-up", &["point_04_what_a_workload_of_this_node_answers_is_the_same_session"]),
    (6, "a miss under relaxed policy", &[]),
    (
        7,
        "which way translation goes",
        &[
            "what_comes_for_a_floating_ip_reaches_the_workload_under_its_own_address",
            "an_error_about_a_translated_packet_quotes_what_the_workload_sent",
        ],
    ),
    (8, "a reset that is ignored", &[]),
    (
        9,
        "both directions end",
        &["h22_a_syn_with_the_ports_of_a_closed_connection_is_a_fresh_pair"],
    ),
    (10, "verdicts for another flow", &["verdicts_are_checked_against_the_flow_they_name"]),
    (11, "the member a flow has chosen", &[]),
    (12, "positions in a group", &["h28_flows_keep_their_members_and_answers_move_them"]),
    (13, "the route's label", &[]),
    (14, "answers go where questions came from", &["a_flow_chooses_a_member_once_and_keeps_it"]),
    (15, "one hop less", &["h09_one_ttl_decrement_a_routed_packet_and_none_for_a_local_service"]),
    (16, "deleted routes", &["deleting_a_route_re_exposes_the_one_that_covers_it"]),
    (17, "getting a covered route", &[]),
    (
        18,
        "the label of what waits",
        &["h23_what_waited_goes_by_the_tables_as_they_are_with_the_verdict"],
    ),
    (19, "the interface of what waits", &[]),
    (
        20,
        "told of and held",
        &["the_agent_is_told_once_with_index_generation_and_the_packet_as_it_came_in"],
    ),
    (21, "miss once, then hold", &["a_flow_that_is_made_to_wait_again_is_told_of_as_that"]),
    (22, "who answers ARP", &[]),
    (23, "how ARP answers leave", &[]),
    (24, "announcements from the underlay", &[]),
    (25, "duplicate address detection", &[]),
    (26, "broadcast of service interfaces", &[]),
    (27, "unknown unicast in trees", &[]),
    (28, "split horizon", &[]),
    (29, "too big", &[]),
    (30, "inner pieces", &[]),
    (31, "the order of fragments", &[]),
    (32, "one source port", &["h10_source_ports_follow_the_flow_and_fragments_keep_together"]),
    (
        33,
        "outer sums, DSCP and TTL",
        &[
            "mpls_over_udp_is_ip_udp_label_payload",
            "ecn_goes_into_every_tunnel_and_dscp_does_not",
            "a_diagnostic_packet_keeps_its_ttl_outside_its_tunnel",
        ],
    ),
    (34, "the label's TTL", &[]),
    (35, "what GRE is taken", &["gre_takes_checksum_and_key_and_nothing_else"]),
    (36, "who decapsulates", &["only_a_local_endpoint_decapsulates"]),
    (
        37,
        "the rest is the host's",
        &[
            "an_icmp_error_about_a_tunnel_is_the_agents_and_any_other_the_hosts",
            "the_uplink_takes_tunnel_packets_for_a_local_endpoint_and_nothing_else",
        ],
    ),
    (
        38,
        "the host's Ethernet header",
        &[
            "the_host_may_use_the_fabric_and_nobody_else_passes_through",
            "what_a_tunnel_brought_reaches_the_host_under_the_hosts_mac",
        ],
    ),
    (39, "cross-connect", &[]),
    (40, "VLAN sub-interfaces", &[]),
    (41, "the multicast VRF", &[]),
    (42, "unfinished sums", &[]),
    (43, "mirrors", &[]),
    (
        44,
        "loops",
        &[
            "a_packet_is_not_tunnelled_back_to_where_it_came_from",
            "a_route_to_the_routers_own_next_hop_ends_as_a_loop",
        ],
    ),
    (45, "capabilities", &[]),
    (46, "whose drops", &["drops_are_charged_to_where_the_packet_came_in_and_to_its_vrf"]),
    (47, "drops that are no loss", &["every_drop_reason_is_reached_or_explained"]),
    (48, "counting what is held", &["h24_undecided_flows_are_bounded_counted_and_end"]),
    (
        49,
        "changes in place",
        &["loom_no_reader_uses_what_reached_says_is_past_and_none_frees_a_snapshot"],
    ),
    (50, "DHCP and IGMP by flags", &[]),
];

/// How many tests show a point.
///
/// # Errors
/// A function that is not there; no test at all.
pub(crate) fn evidence(
    (number, _, shown_by): &(u8, &str, &[&str]),
    sources: &str,
) -> Result<usize, String> {
    for name in *shown_by {
        if !sources.contains(&format!("fn {name}(")) {
            return Err(format!("there is no test {name}"));
        }
    }
    let named = sources.matches(&format!("point_{number:02}_")).count();
    match named + shown_by.len() {
        0 => Err("no test shows it".to_owned()),
        count => Ok(count),
    }
}
