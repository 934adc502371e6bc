//! The tools as an operator or a script meets them: options, exit statuses, JSON, what is asked of the daemon.

mod fake;

use std::process::Output;

use api::{
    Backend, CopyMode, Core, DropReason, Duplex, ErrorCode, LabelInfo, Lookup, Mac, NextHopDetail,
    NextHopInfo, NhFamily, NhFlags, NhId, PortRow, PortState, Request, RouteFlags, RouteInfo, Rows,
    Table, Traffic, VifFlags, VifId, VifInfo, VifKind, VlanStation, VlanTag, VrfId, XdpMode,
    XdpStatistics,
};
use fake::{Content, Daemon};

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn uplink() -> VifInfo {
    let mut row = VifInfo::new(VifId(0), "eth0", VifKind::Physical);
    (row.os_index, row.os_name) = (2, Some("eth0".to_owned()));
    (row.speed_mbps, row.duplex) = (Some(10000), Some(Duplex::Full));
    row.next_hop = Some(NhId(4));
    row.mac = Mac([0, 0, 0x5e, 0, 0x53, 1]);
    row.vrf = Some(VrfId(0));
    row.flags = VifFlags(0x20_02e0);
    row.references = 11;
    row.rx = Traffic { packets: 2_664_341, bytes: 702_708_970, errors: 0 };
    row.tx = Traffic { packets: 1_141_456, bytes: 234_609_942, errors: 0 };
    row.drops = 12;
    row
}

fn workload() -> VifInfo {
    let mut row = VifInfo::new(VifId(37), "tapc0ffee00-53", VifKind::Virtual);
    (row.os_index, row.os_name) = (9, Some("tapc0ffee00-53".to_owned()));
    row.next_hop = Some(NhId(90));
    row.mac = Mac::GATEWAY;
    row.ip = Some("198.51.100.18".parse().unwrap());
    row.ip6 = Some("2001:db8:1::12".parse().unwrap());
    (row.vrf, row.mcast_vrf) = (Some(VrfId(1)), Some(VrfId(1)));
    row.flags = VifFlags(0x21_01c1);
    row.references = 5;
    row.rx = Traffic { packets: 210_872, bytes: 15_967_444, errors: 0 };
    row.tx = Traffic { packets: 328_042, bytes: 568_026_520, errors: 0 };
    row.drops = 43;
    row.port = Some(PortRow {
        state: PortState::Up,
        backend: Backend::AfXdp { mode: XdpMode::Native, copy: CopyMode::Copy },
        queues: 1,
        features: vec!["need_wakeup".to_owned()],
        memory_bytes: 786_432,
        frames_held: 512,
        xdp: XdpStatistics { rx_ring_full: 7, ..XdpStatistics::default() },
    });
    row
}

fn vlan() -> VifInfo {
    let mut row = VifInfo::new(VifId(38), "tap3e7f5c21-0b", VifKind::VirtualVlan);
    let station =
        |last, bridge_index| VlanStation { mac: Mac([0, 0, 0x5e, 0, 0x53, last]), bridge_index };
    row.vlan = Some(VlanTag {
        outer: 101,
        inner: 101,
        stations: vec![station(0x26, 56), station(0x27, 57)],
    });
    (row.parent, row.next_hop) = (Some(VifId(37)), Some(NhId(92)));
    row.mac = Mac([0, 0, 0x5e, 0, 0x53, 0x26]);
    (row.vrf, row.mcast_vrf) = (Some(VrfId(2)), Some(VrfId(2)));
    row.flags = VifFlags(0x1dd);
    row.references = 5;
    row.mirror = Some(3);
    row
}

fn interfaces() -> Content {
    let mut content = Content {
        rows: vec![Rows::Vif(vec![uplink(), workload(), vlan()])],
        page: 2,
        ..Content::default()
    };
    content.drops.set(DropReason::FlowActionDrop, 9);
    content.drops.set(DropReason::Discard, 31);
    content.drops.set(DropReason::L2NoRoute, 3);
    content
}

fn labels() -> Content {
    let row = |(label, nh)| LabelInfo { label, next_hop: NhId(nh) };
    let rows = [(16, 5), (25, 90), (262_143, 17)].map(row).to_vec();
    Content { rows: vec![Rows::Label(rows)], page: 1, ..Content::default() }
}

const WORKLOAD: &str = "\
vif0/37     OS: tapc0ffee00-53 NH: 90
            Type:Virtual HWaddr:00:00:5e:00:01:00 IPaddr:198.51.100.18
            IP6addr:2001:db8:1::12
            Vrf:1 Mcast Vrf:1 Flags:PL3L2DUufEr QOS:-1 Ref:5
            RX packets:210872  bytes:15967444 errors:0
            TX packets:328042  bytes:568026520 errors:0
            Drops:43
";

#[test]
fn the_kernel_layout_is_the_default() {
    let daemon = Daemon::start(interfaces());
    let output = daemon.run("vif", &["--list"]);
    let rest = "\
vif0/0      OS: eth0 (Speed 10000, Duplex 1) NH: 4
            Type:Physical HWaddr:00:00:5e:00:53:01 IPaddr:0.0.0.0
            Vrf:0 Mcast Vrf:65535 Flags:TcL3L2VpEr QOS:-1 Ref:11
            RX packets:2664341  bytes:702708970 errors:0
            TX packets:1141456  bytes:234609942 errors:0
            Drops:12

";
    let sub_interface = "
vif0/38         tap3e7f5c21-0b Vlan(o/i)(,S): 101/101, 00:00:5e:00:53:26 Bridge Index: 56, 00:00:5e:00:53:27 Bridge Index: 57 Parent:vif0/37 NH: 92
            Type:Virtual(Vlan) HWaddr:00:00:5e:00:53:26 IPaddr:0.0.0.0
            Vrf:2 Mcast Vrf:2 Flags:PSMrMtL3L2D QOS:-1 Ref:5 Mirror index 3
            RX packets:0  bytes:0 errors:0
            TX packets:0  bytes:0 errors:0
            Drops:0

";
    let got = text(&output);
    let (header, body) = got.split_once("vif0/0").unwrap();
    assert!(
        header.starts_with("Vrouter Interface Table\n\nFlags: P=Policy, X=Cross Connect"),
        "{header}"
    );
    assert!(header.ends_with("Ml=MAC-IP Learning Enabled\n\n"), "{header}");
    assert_eq!(format!("vif0/0{body}"), format!("{rest}{WORKLOAD}{sub_interface}"));
}

#[test]
fn port_lines_come_only_when_asked_for() {
    let daemon = Daemon::start(interfaces());
    let plain = text(&daemon.run("vif", &["--get", "37"]));
    assert!(plain.ends_with(&format!("{WORKLOAD}\n")), "{plain}");
    let more = text(&daemon.run("vif", &["--get", "37", "--port"]));
    let wanted = format!(
        "{WORKLOAD}            Port:AF_XDP native copy State:up Queues:1 Features:need_wakeup\n            \
         Port memory:786432 frames:512\n            \
         XDP RX dropped:0 invalid:0 ring full:7 fill empty:0 TX invalid:0 ring empty:0\n\n"
    );
    assert!(more.ends_with(&wanted), "{more}");
}

#[test]
fn drop_counters_follow_the_interface() {
    let daemon = Daemon::start(interfaces());
    let got = text(&daemon.run("vif", &["--get", "37", "--get-drop-stats"]));
    let counters = "Flow Action Drop              9\nDiscards                      31\nNo L2 Route                   3\n";
    assert!(got.ends_with(&format!("{WORKLOAD}\n{counters}")), "{got}");
    let got = text(&daemon.run("vif", &["--get", "37", "--get-drop-stats", "--core", "1"]));
    assert!(got.contains("            Core 1 RX packets:210872"), "{got}");
    assert!(got.ends_with(&format!("Drops:43\n\nStatistics for core 1\n\n{counters}")), "{got}");
}

#[test]
fn the_daemon_is_asked_for_what_the_options_say() {
    let daemon = Daemon::start(interfaces());
    for arguments in [&["--li", "--core", "0x1"][..], &["-g", "37", "-C1"], &["-k", "--get=2"]] {
        assert_eq!(status(&daemon.run("vif", arguments)), 0, "{arguments:?}");
    }
    let core = Some(Core(1));
    let asked = daemon.requests();
    assert_eq!(asked[0], Request::Dump { table: Table::Vif { core }, after: None });
    assert!(matches!(asked[1], Request::Dump { after: Some(_), .. }), "the second page");
    assert_eq!(asked[2], Request::Get(Lookup::Vif { id: VifId(37), core }));
    assert_eq!(asked[3], Request::Get(Lookup::VifByOsIndex { os_index: 2, core: None }));
    daemon.run("vif", &["--clear", "--core", "1"]);
    assert_eq!(daemon.requests(), [Request::ClearVifStats { vif: None, core }]);
    daemon.run("rt", &["--family", "inet6", "--get", "2001:db8::1/64", "--vrf", "3"]);
    let address = "2001:db8::1".parse().unwrap();
    assert_eq!(
        daemon.requests(),
        [Request::Get(Lookup::Inet6 { vrf: VrfId(3), address, length: 64 })]
    );
    daemon.run("rt", &["-b", "-v", "3", "-f", "1"]);
    assert_eq!(
        daemon.requests(),
        [Request::Dump { table: Table::Bridge { vrf: VrfId(3) }, after: None }]
    );
}

#[test]
fn json_is_the_same_reply_one_row_a_line() {
    let daemon = Daemon::start(interfaces());
    let list = text(&daemon.run("vif", &["--list", "--json"]));
    assert_eq!(list.lines().count(), 5, "brackets and three rows: {list}");
    let rows: Vec<VifInfo> = serde_json::from_str(&list).unwrap();
    assert_eq!(rows, [uplink(), workload(), vlan()]);
    let get = text(&daemon.run("vif", &["--get", "37", "--json", "--get-drop-stats"]));
    let value: serde_json::Value = serde_json::from_str(&get).unwrap();
    assert_eq!(value[0]["mac"], "00:00:5e:00:01:00");
    assert_eq!(value[0]["port"]["xdp"]["rx_ring_full"], 7);
    assert_eq!(value[0]["drop_stats"]["VP_DROP_DISCARD"], 31);
    let drops = text(&daemon.run("dropstats", &["--json"]));
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&drops).unwrap()["VP_DROP_L2_NO_ROUTE"],
        3
    );

    let daemon = Daemon::start(labels());
    let dump = text(&daemon.run("mpls", &["--dump", "--json"]));
    assert_eq!(
        dump,
        "[\n{\"label\":16,\"next_hop\":5},\n{\"label\":25,\"next_hop\":90},\n{\"label\":262143,\"next_hop\":17}\n]\n"
    );
    let absent = daemon.run("mpls", &["--get", "26", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&text(&absent)).unwrap();
    assert_eq!((&value["error"]["errno"], status(&absent)), (&2.into(), 0));

    let daemon = Daemon::start(Content { rows: vec![Rows::Vni(Vec::new())], ..Content::default() });
    assert_eq!(text(&daemon.run("vxlan", &["--dump", "--json"])), "[]\n");
}

#[test]
fn pages_are_not_visible() {
    let daemon = Daemon::start(labels());
    let header = "MPLS Input Label Map\n\n   Label    NextHop\n-------------------\n";
    let rows = "      16         5\n      25        90\n  262143        17\n";
    assert_eq!(text(&daemon.run("mpls", &["--dump"])), format!("{header}{rows}"));
    assert_eq!(text(&daemon.run("mpls", &["-b"])), format!("{header}{rows}"));
    assert_eq!(
        text(&daemon.run("mpls", &["-g", "-l", "0x19"])),
        format!("{header}      25        90\n")
    );
}

#[test]
fn usage_goes_to_stdout_with_the_status_of_the_tool() {
    let cases: &[(&str, i32, &[&[&str]])] = &[
        (
            "vif",
            0,
            &[
                &[],
                &["--help"],
                &["--list", "--get-drop-stats"],
                &["--list", "--get", "1"],
                &["--nope"],
                &["--get"],
                &["--add", "x"],
            ],
        ),
        (
            "nh",
            234,
            &[&[], &["--help"], &["--cmd"], &["--list", "--get", "1"], &["--create", "5"], &["-x"]],
        ),
        (
            "rt",
            1,
            &[
                &[],
                &["--help"],
                &["--cmd"],
                &["--get", "1.2.3.4/32"],
                &["--get", "1.2.3.4", "--vrf", "1"],
            ],
        ),
        (
            "rt",
            1,
            &[
                &["--dump", "1", "--family", "mpls"],
                &["--dump"],
                &["-c", "-v", "1", "-p", "10.0.0.0", "-l", "8"],
                &["-c", "-f", "1", "-v", "1", "-n", "3"],
                &["-d", "-v", "1", "-p", "10.0.0.0", "-l", "8"],
                &["-c", "-d"],
            ],
        ),
        (
            "mpls",
            1,
            &[
                &[],
                &["--help"],
                &["--dump", "--get", "1"],
                &["-g"],
                &["--create", "5"],
                &["--delete", "5", "--nh", "1"],
            ],
        ),
        ("vxlan", 1, &[&[], &["--help"], &["--dump", "--get", "1"], &["--d", "--dump"]]),
        (
            "dropstats",
            234,
            &[
                &["--help"],
                &["--core", "x"],
                &["--core"],
                &["--offload"],
                &["--layout", "win"],
                &["--show", "VP_DROP_MISC"],
                &["--min-log", "x"],
            ],
        ),
        ("vrfstats", 234, &[&[], &["--help"], &["--dump", "--get", "1"]]),
        ("vrmemstats", 234, &[&["--help"], &["--x"]]),
        ("mirror", 1, &[&[], &["--cmd"], &["--create", "1"], &["--dump", "--get", "1"], &["-g"]]),
        ("vrftable", 1, &[&[], &["--create", "1", "--hbs-l", "3"], &["-g"]]),
        ("qosmap", 22, &[&[], &["--help"], &["--dump-fc", "--dump-qos"], &["--dscp", "1"]]),
        (
            "vrouter",
            1,
            &[
                &[],
                &["--help"],
                &["--info", "--mudp", "1"],
                &["--get-log-level"],
                &["--perfr", "1", "--layout", "dpdk"],
                &["--set-log-level", "loud", "--layout", "dpdk"],
                &["--enable-log-type", "all", "--layout", "dpdk"],
            ],
        ),
        ("vrinfo", 234, &[&[]]),
        ("dpdkinfo", 234, &[&["--version"], &["--layout", "dpdk"]]),
        ("dpdkconf", 0, &[&[], &["--help"], &["--log", "list"]]),
    ];
    let nowhere = fake::fresh_directory();
    for (tool, wanted, lines) in cases {
        for arguments in *lines {
            let output = fake::run(tool, &nowhere, arguments);
            let got = text(&output);
            assert!(got.contains(&format!("Usage: {tool} ")), "{tool} {arguments:?}: {got}");
            assert_eq!(status(&output), *wanted, "{tool} {arguments:?}");
        }
    }
    std::fs::remove_dir_all(nowhere).unwrap();
}

#[test]
fn only_the_option_parser_speaks_on_stderr() {
    let nowhere = fake::fresh_directory();
    let complaint = fake::run("vif", &nowhere, &["--nope"]);
    assert_eq!(String::from_utf8(complaint.stderr).unwrap(), "vif: unrecognized option '--nope'\n");
    for (tool, arguments) in [("vif", "--list"), ("nh", "--list"), ("mpls", "--dump")] {
        let output = fake::run(tool, &nowhere, &[arguments]);
        assert!(output.stderr.is_empty(), "{tool}");
    }
    std::fs::remove_dir_all(nowhere).unwrap();
}

#[test]
fn a_missing_daemon_has_the_status_of_the_tool() {
    let nowhere = fake::fresh_directory();
    let run = |tool, arguments: &[&str]| {
        let output = fake::run(tool, &nowhere, arguments);
        (status(&output), text(&output))
    };
    let absent = "Error registering NetLink client: No such file or directory (2)\n".to_owned();
    assert_eq!(run("vif", &["--list"]), (244, absent));
    assert_eq!(run("nh", &["--list"]), (1, String::new()));
    assert_eq!(run("rt", &["--dump", "1"]), (1, String::new()));
    let header = "MPLS Input Label Map\n\n   Label    NextHop\n-------------------\n".to_owned();
    assert_eq!(run("mpls", &["--dump"]), (1, header));
    assert_eq!(
        run("vxlan", &["--get", "4"]),
        (1, "VXLAN Table\n\n VNID    NextHop\n----------------\n".to_owned())
    );
    assert_eq!(run("dropstats", &[]), (255, String::new()));
    let (code, json) = run("nh", &["--list", "--json"]);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &value["error"]["errno"]), (1, &2.into()));
    // A socket that nobody listens on.
    drop(std::os::unix::net::UnixListener::bind(nowhere.join(api::SOCKET_NAME)).unwrap());
    assert_eq!(
        run("vif", &["--list"]),
        (244, "Error registering NetLink client: Connection refused (111)\n".to_owned())
    );
    std::fs::remove_dir_all(nowhere).unwrap();
}

#[test]
fn a_missing_entry_is_no_failure() {
    let daemon = Daemon::start(interfaces());
    let not_found = "vRouter(Response): No such file or directory (2)\n";
    let output = daemon.run("vif", &["--get", "99"]);
    assert!(text(&output).ends_with(&format!("Ml=MAC-IP Learning Enabled\n\n{not_found}")));
    assert_eq!(status(&output), 0);
    // An index no table has, too.
    assert!(text(&daemon.run("vif", &["--get", "99999999999999999999"])).ends_with(not_found));
    let output = daemon.run("vif", &["--get", "abc"]);
    assert_eq!(
        (text(&output).as_str(), status(&output)),
        ("Invalid arguments for vif --get \n", 0)
    );
    let output = daemon.run("vif", &["--list", "--core", "99999999999999999999"]);
    let wanted =
        "Error parsing core 99999999999999999999: Numerical result out of range (34)\nUsage: vif";
    assert!(text(&output).starts_with(wanted), "{}", text(&output));

    let daemon =
        Daemon::start(Content { missing: Some(ErrorCode::NoDevice), ..Content::default() });
    let output = daemon.run("nh", &["--get", "600000"]);
    assert_eq!(
        (text(&output).as_str(), status(&output)),
        ("vRouter(Response): No such device (19)\n", 0)
    );
}

#[test]
fn addresses_that_rt_cannot_read_are_explained() {
    let daemon = Daemon::start(Content::default());
    let output = daemon.run("rt", &["--get", "1.2.3/24", "--vrf", "1"]);
    assert!(
        text(&output).starts_with("match: \"1.2.3\" is not a valid ipv4 address format\nUsage: rt")
    );
    assert_eq!(status(&output), 1);
    let output = daemon.run("rt", &["--get", "1.2.3.400/24", "--vrf", "1"]);
    assert_eq!(
        (text(&output).as_str(), status(&output)),
        ("validate_options: inet_pton fails for 1.2.3.400\n", 22)
    );
    let output = daemon.run("rt", &["--get", "zz", "--vrf", "1", "--family", "bridge"]);
    assert_eq!(
        (text(&output).as_str(), status(&output)),
        ("validate_options: ether_aton fails on zz\n", 22)
    );
    assert!(daemon.requests().is_empty());
}

#[test]
fn the_answer_of_rt_get_is_masked_and_has_no_parent_length() {
    let route = RouteInfo {
        address: "198.51.100.77".parse().unwrap(),
        length: 24,
        parent_length: 24,
        flags: RouteFlags(0x6),
        label: None,
        next_hop: NhId(1),
        stitched: None,
    };
    let daemon =
        Daemon::start(Content { rows: vec![Rows::Route(vec![route])], ..Content::default() });
    let wanted = "\
Match 198.51.100.77/32 in vRouter inet4 table 0/1/unicast

Flags: L=Label Valid, P=Proxy ARP, T=Trap ARP, F=Flood ARP, Ml=MAC-IP learnt route
vRouter inet4 routing table 0/1/unicast
Destination           PPL        Flags        Label         Nexthop    Stitched MAC(Index)
198.51.100.0/24         0           PT          -              1        -
";
    assert_eq!(text(&daemon.run("rt", &["--get", "198.51.100.77/32", "--vrf", "1"])), wanted);
}

#[test]
fn a_composite_that_contains_itself_ends() {
    let member = api::Member { next_hop: NhId(44), label: None };
    let row = NextHopInfo {
        id: NhId(44),
        family: Some(NhFamily::Bridge),
        vrf: Some(VrfId(1)),
        references: 1,
        flags: NhFlags(0x21),
        direct: None,
        detail: NextHopDetail::Composite { hash: 0, members: vec![None, Some(member)] },
    };
    let daemon =
        Daemon::start(Content { rows: vec![Rows::NextHop(vec![row])], ..Content::default() });
    let output = daemon.run("nh", &["--get", "44"]);
    assert_eq!(status(&output), 0);
    assert!(text(&output).contains("Sub NH(label): -1 44\n\nId:44 "), "{}", text(&output));
}

fn told() -> api::Explanation {
    let step = |node: &str, says: &[&str], next: Option<&str>| api::ExplainedStep {
        node: node.to_owned(),
        says: says.iter().map(ToString::to_string).collect(),
        next: next.map(str::to_owned),
    };
    let packet = |core, made, ending| api::ExplainedPacket {
        core,
        vif: VifId(37),
        made,
        length: 54,
        bytes: vec![1, 2],
        steps: vec![
            step("parse", &["what it is", "for whom"], Some("drop")),
            step("drop", &["why"], None),
        ],
        ending,
    };
    let dropped = api::PacketEnding::Dropped { reason: DropReason::Discard };
    let sent = api::PacketEnding::Sent { vif: VifId(0) };
    api::Explanation {
        generation: 7,
        packets: vec![packet(None, false, dropped), packet(Some(Core(1)), true, sent)],
        left_out: 3,
        sent: Vec::new(),
    }
}

const TOLD: &str = "\
in at vif0/37: 54 bytes
  parse     what it is
            for whom
  drop      why
=> dropped: Discards

made by the dataplane from a packet of vif0/37: 54 bytes, core 1
  parse     what it is
            for whom
  drop      why
=> sent by vif0/0

3 more copies are not shown
";

#[test]
fn explain_builds_the_packet_that_a_workload_would_send() {
    let station = RouteInfo {
        address: "198.51.100.19".parse().unwrap(),
        length: 32,
        parent_length: 0,
        flags: RouteFlags(0),
        label: None,
        next_hop: NhId(5),
        stitched: Some(api::Stitched { mac: Mac([2, 0, 0, 0, 0, 9]), index: 4 }),
    };
    let daemon = Daemon::start(Content {
        rows: vec![Rows::Vif(vec![workload()]), Rows::Route(vec![station])],
        explanation: Some(told()),
        ..Content::default()
    });
    let fields = ["--dst", "198.51.100.19", "--proto", "udp", "--dport", "53", "--sport", "7"];
    let output = daemon.run("vrouter", &[&["explain", "--vif", "37"][..], &fields].concat());
    assert_eq!((status(&output), text(&output).as_str()), (0, TOLD));
    let asked = daemon.requests();
    let Some(Request::Explain { vif: VifId(37), packet }) = asked.last() else {
        panic!("{asked:?}")
    };
    assert_eq!(packet[..6], [2, 0, 0, 0, 0, 9], "what ARP would answer");
    assert_eq!(packet[26..38], [198, 51, 100, 18, 198, 51, 100, 19, 0, 7, 0, 53]);
    let output = daemon.run("vrouter", &["explain", "--vif", "37", "--dst", "fd00::9", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["packets"][0]["ending"]["Dropped"]["reason"], "Discard");
}

#[test]
fn explain_takes_a_frame_of_a_capture() {
    let daemon = Daemon::start(Content { explanation: Some(told()), ..Content::default() });
    let directory = fake::fresh_directory();
    let file = directory.join("two.pcap");
    let mut writer =
        pcap_file::pcap::PcapWriter::new(std::fs::File::create(&file).unwrap()).unwrap();
    for data in [[1u8; 60], [2; 60]] {
        let packet = pcap_file::pcap::PcapPacket::new(std::time::Duration::ZERO, 60, &data);
        writer.write_packet(&packet).unwrap();
    }
    drop(writer);
    let file = file.to_str().unwrap();
    let ask = |more: &[&str]| {
        daemon.run("vrouter", &[&["explain", "--vif", "3", "--pcap", file][..], more].concat())
    };
    assert_eq!(status(&ask(&[])), 0);
    assert_eq!(status(&ask(&["--frame", "2"])), 0);
    let first = Request::Explain { vif: VifId(3), packet: vec![1; 60] };
    let second = Request::Explain { vif: VifId(3), packet: vec![2; 60] };
    assert_eq!(daemon.requests(), [first, second]);
    let beyond = ask(&["--frame", "3"]);
    assert_eq!(status(&beyond), 1);
    assert!(text(&beyond).ends_with("two.pcap: has no frame 3\n"), "{}", text(&beyond));
    assert!(text(&ask(&["--dst", "10.0.0.1"])).starts_with("vrouter explain: --pcap: "));
    let other = daemon.run("vrouter", &["explain", "--vif", "3", "--pcap", "/etc/hostname"]);
    assert!(text(&other).contains("neither a pcap nor a pcapng file"), "{}", text(&other));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn explain_and_trace_name_what_is_wrong() {
    let daemon = Daemon::start(Content::default());
    for (line, words) in [
        ("explain --vif 3 --dst ten", "vrouter explain: --dst: is no address: \"ten\"\n"),
        (
            "explain --vif 3 --dst 10.0.0.1 --proto gre",
            "vrouter explain: --proto: \"gre\" is neither",
        ),
        (
            "explain --vif 70000 --dst 10.0.0.1",
            "vrouter explain: --vif: \"70000\" is no number up to 65535",
        ),
        (
            "explain --vif 3 --dst 10.0.0.1 --flags urg",
            "vrouter explain: --flags: \"urg\" is none of",
        ),
        ("explain --vif 3 --dst 10.0.0.1 --vlan 0", "vrouter explain: --vlan: 0 is no VLAN"),
        (
            "explain --vif 3 --dst 10.0.0.1 --src-mac x",
            "vrouter explain: --src-mac: is no MAC: \"x\"",
        ),
        ("explain", "Usage: vrouter explain --vif N"),
        ("trace --count 0", "vrouter trace: --count: 0 is not between 1 and 256"),
        ("trace --dport x", "vrouter trace: --dport: \"x\" is not understood"),
        ("trace --help", "Usage: vrouter trace "),
    ] {
        let output = daemon.run("vrouter", &line.split(' ').collect::<Vec<_>>());
        assert_eq!(status(&output), 1, "{line}");
        assert!(text(&output).starts_with(words), "{line}: {}", text(&output));
    }
    assert!(daemon.requests().is_empty(), "nothing was asked");
    let missing = daemon.run("vrouter", &["explain", "--vif", "9", "--dst", "10.0.0.1"]);
    assert!(text(&missing).contains("No such file or directory"), "{}", text(&missing));
}

#[test]
fn trace_asks_for_packets_and_says_when_none_came() {
    let daemon = Daemon::start(Content { explanation: Some(told()), ..Content::default() });
    let line = "trace --vif 3 --src 10.0.0.1 --proto tcp --dport 80 --count 2 --seconds 3";
    let output = daemon.run("vrouter", &line.split(' ').collect::<Vec<_>>());
    assert_eq!((status(&output), text(&output).as_str()), (0, TOLD));
    let filter = api::PacketFilter {
        vif: Some(VifId(3)),
        protocol: Some(6),
        source: Some("10.0.0.1".parse().unwrap()),
        destination_port: Some(80),
        ..api::PacketFilter::default()
    };
    assert_eq!(daemon.requests(), [Request::Trace { filter, count: 2, seconds: 3 }]);
    let nothing = api::Explanation { packets: Vec::new(), left_out: 0, ..told() };
    let daemon = Daemon::start(Content { explanation: Some(nothing), ..Content::default() });
    let output = daemon.run("vrouter", &["trace"]);
    assert_eq!((status(&output), text(&output).as_str()), (1, "no packet matched within 10 s\n"));
}

#[test]
fn bash_completes_options_and_their_words() {
    let tool = assert_cmd::cargo::cargo_bin("vrouter-completions");
    let script = format!(
        "source <({} bash)\n\
         COMP_WORDS=(vif --ty) COMP_CWORD=1; _vrouter_vif; echo \"${{COMPREPLY[@]}}\"\n\
         COMP_WORDS=(vif --type vi) COMP_CWORD=2; _vrouter_vif; echo \"${{COMPREPLY[@]}}\"\n\
         complete -p vifdump",
        tool.display()
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    let wanted = "--type\nvirtual-vlan virtual\ncomplete -F _vrouter_vifdump vifdump\n";
    assert_eq!(text(&output), wanted, "{}", String::from_utf8_lossy(&output.stderr));
}
