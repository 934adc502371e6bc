//! The forty cases of the case book, each with the tests that show it, wherever they are: those whose names begin with
//! the case's, its capture, and those named here. A test that is renamed or goes away fails its case.

use std::path::Path;

use crate::site::workspace;

/// A case: its number, what goes wrong in a line, tests that do not carry its number, and what of it is shown elsewhere.
pub(crate) struct Case {
    /// From 1.
    pub(crate) number: u8,
    /// In a line.
    pub(crate) scenario: &'static str,
    /// Names of functions.
    shown_by: &'static [&'static str],
    /// What is still to come, and with what.
    pub(crate) partly: Option<&'static str>,
}

const fn whole(number: u8, scenario: &'static str, shown_by: &'static [&'static str]) -> Case {
    Case { number, scenario, shown_by, partly: None }
}

const fn partly(
    number: u8,
    scenario: &'static str,
    shown_by: &'static [&'static str],
    rest: &'static str,
) -> Case {
    Case { number, scenario, shown_by, partly: Some(rest) }
}

/// All of them.
pub(crate) const CASES: &[Case] = &[
    whole(1, "ARP with odd lengths is invalid", &[]),
    whole(2, "an inner length that contradicts the frame", &[]),
    whole(3, "padding is neither summed nor forwarded", &[]),
    whole(4, "later fragments have no transport header", &[]),
    whole(5, "runts are counted", &["every_truncation_of_every_kind_of_packet_ends_counted"]),
    whole(6, "IPv6 extension headers are followed, but not for ever", &[]),
    whole(7, "all 24 bits of a VNI", &["a_vni_of_24_bits_is_a_label_only_under_vxlan"]),
    whole(8, "what is a tunnel and what is not", &["the_encapsulation_changes_under_way"]),
    whole(9, "one hop a routed packet", &[]),
    whole(10, "the source port follows the inner flow", &[]),
    whole(11, "too big after encapsulation is told", &[]),
    whole(12, "the segment size is clamped to what fits", &[]),
    whole(13, "fragments in any order, in any amount", &[]),
    whole(
        14,
        "larger than a chunk: whole or counted",
        &["without_a_free_large_frame_a_packet_is_lost_whole_and_the_next_ones_arrive"],
    ),
    whole(
        15,
        "unfinished sums are finished",
        &["what_the_host_sends_arrives_with_its_checksum_finished"],
    ),
    whole(16, "a UDP sum of zero", &[]),
    whole(17, "a probe is not answered", &[]),
    whole(18, "no node answers for others", &[]),
    whole(19, "neighbour advertisements", &[]),
    whole(
        20,
        "frames for foreign stations",
        &["the_uplink_takes_tunnel_packets_for_a_local_endpoint_and_nothing_else"],
    ),
    whole(21, "ICMP errors", &[]),
    whole(22, "flows near their end", &[]),
    whole(23, "the held packet", &[]),
    whole(24, "a table full of undecided flows", &[]),
    whole(25, "address families in rules", &[]),
    whole(26, "a permission revoked", &[]),
    whole(27, "no transit through the underlay", &[]),
    whole(28, "members of a group keep their places", &[]),
    whole(
        29,
        "longest prefixes after any sequence of changes",
        &[
            "inet_answers_as_the_naive_twin_before_and_after_changes",
            "inet6_answers_as_the_naive_twin_before_and_after_changes",
            "a_cover_deleted_first_leaves_the_host_route_and_then_an_empty_table",
            "deleting_a_route_re_exposes_the_one_that_covers_it",
            "overlapping_inet6_routes_match_at_their_borders",
        ],
    ),
    partly(
        30,
        "AS numbers of four bytes",
        &["our_as_in_as4_path_of_a_two_octet_session_is_a_loop"],
        "with the agent",
    ),
    partly(
        31,
        "the label field by encapsulation",
        &[],
        "a label unknown here is told, with the agent",
    ),
    partly(
        32,
        "EVPN type 5",
        &["a_type_5_route_without_routers_mac_is_kept_and_a_tag_is_part_of_its_key"],
        "told in the tools, with the agent",
    ),
    partly(33, "route-target constraint", &[], "all of it, with the agent"),
    partly(
        34,
        "guests survive restarts",
        &["tcp_goes_on_over_a_restart"],
        "virtual machines, with vhost-user",
    ),
    whole(
        35,
        "AF_XDP start-up",
        &[
            "after_kill_9_the_uplink_is_the_kernel_s_and_no_tenant_frame_is_and_the_next_process_takes_over",
            "a_program_of_somebody_else_is_named_and_left_alone",
            "a_device_that_is_not_there_or_a_queue_it_has_not_is_one_clear_error",
            "a_port_closed_and_opened_twenty_times_gives_every_frame_back",
            "a_missing_capability_is_named",
        ],
    ),
    whole(
        36,
        "AF_XDP rings under load",
        &[
            "a_burst_of_any_length_leaves_in_one_flush_with_and_without_a_larger_budget",
            "a_receiver_that_stopped_receives_again_and_frames_are_conserved",
            "a_link_that_is_down_holds_no_more_frames_than_the_port_may_and_then_sends_them",
            "a_port_whose_pool_ran_empty_says_so_and_receives_again_after_a_flush",
            "a_worker_that_hangs_loses_the_uplink_to_the_kernel_and_gets_it_back",
        ],
    ),
    partly(
        37,
        "interface records on disk",
        &["ids_that_could_not_be_written_are_written_as_soon_as_they_can_be"],
        "container records, with the agent",
    ),
    whole(
        38,
        "command-line tools",
        &[
            "pages_are_not_visible",
            "usage_goes_to_stdout_with_the_status_of_the_tool",
            "a_missing_entry_is_no_failure",
            "counters_count_and_are_cleared",
        ],
    ),
    partly(39, "DHCP", &[], "the service, with the agent"),
    whole(40, "link-local services", &["two_workloads_ports_to_a_service_never_meet"]),
];

impl Case {
    /// What shows it: captures of its own, and functions in the sources.
    ///
    /// # Errors
    /// A function that is not there; nothing at all for a case that should be shown.
    pub(crate) fn evidence(&self, captures: &[&str], sources: &str) -> Result<usize, String> {
        for name in self.shown_by {
            if !sources.contains(&format!("fn {name}(")) {
                return Err(format!("there is no test {name}"));
            }
        }
        let capture = format!("mk-H{:02}-", self.number);
        let own = captures.iter().filter(|name| name.starts_with(&capture)).count();
        let named = sources.matches(&format!("fn h{:02}_", self.number)).count();
        let all = own + named + self.shown_by.len();
        if all == 0 && self.partly.is_none() {
            return Err("no test shows it".to_owned());
        }
        Ok(all)
    }
}

/// The text of all test sources of the workspace.
pub(crate) fn sources() -> String {
    let mut text = String::new();
    gather(workspace(), &mut text);
    text
}

fn gather(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let hidden = name.to_string_lossy().starts_with('.') || name == "target";
        if path.is_dir() && !hidden {
            gather(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(&path).unwrap_or_default());
        }
    }
}
