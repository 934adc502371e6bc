//! The configuration file: what is refused and how that is said, and the example of the README.

use std::path::Path;
use std::process::Command;

use agent::{Config, PortKind};

const GOOD: &str = r#"[node]
name = "node-a"
router_id = "192.0.2.1"
uplink = "eth1"

[bgp]
as = 64512

[[bgp.neighbor]]
address = "192.0.2.2"

[[network]]
name = "red"
vni = 5001
subnets = [{ prefix = "10.1.0.0/24", gateway = "10.1.0.1" }]
route_targets = ["64512:5001"]

[[network]]
name = "green"
vni = 5002
subnets = [{ prefix = "10.1.0.0/24", gateway = "10.1.0.1" }]

[[workload]]
name = "red-a"
network = "red"
address = "10.1.0.11"

[[workload]]
name = "green-a"
network = "green"
address = "10.1.0.11"
"#;

fn refusal(text: &str) -> (Option<usize>, Option<String>, String) {
    let error = Config::parse(Path::new("agent.toml"), text).expect_err(text);
    (error.line(), error.key().map(str::to_owned), error.to_string())
}

#[test]
fn the_same_subnet_and_address_in_two_networks_is_fine_and_defaults_are_filled_in() {
    let config = Config::parse(Path::new("agent.toml"), GOOD).unwrap();
    let green = config.network("green").unwrap();
    assert_eq!(green.import, ["64512:5002".parse().unwrap()], "AS:VNI");
    assert_eq!(config.node.tunnel_endpoint, config.node.router_id);
    assert_eq!(config.node.encapsulations.len(), 3);
    let [green_a, red_a] = config.workloads.as_slice() else { panic!() };
    assert_eq!((green_a.namespace.as_str(), green_a.interface.as_str()), ("green-a", "eth0"));
    assert_ne!(green_a.mac, red_a.mac);
    assert_eq!(red_a.port, PortKind::Veth);
    let on_tap = GOOD.replacen("name = \"red-a\"", "name = \"red-a\"\nport = \"tap\"", 1);
    let config = Config::parse(Path::new("agent.toml"), &on_tap).unwrap();
    assert_eq!(config.workloads[1].port, PortKind::Tap);
}

#[test]
fn every_mistake_is_told_with_line_key_and_what_is_allowed() {
    // What is replaced, by what; line and key told; a part of the message.
    let cases: &[(&str, &str, usize, &str, &str)] = &[
        ("uplink = \"eth1\"", "uplnk = \"eth1\"", 4, "node.uplnk", "expected one of `name`"),
        ("as = 64512", "as = \"x\"", 7, "bgp.as", "expected"),
        ("as = 64512", "as = 0", 7, "bgp.as", "allowed are 1 to 4294967294"),
        ("192.0.2.1\"", "192.0.2.300\"", 3, "node.router_id", "allowed are IPv4 addresses"),
        ("192.0.2.1\"", "224.0.0.1\"", 3, "node.router_id", "allowed are unicast"),
        ("\"192.0.2.2\"", "\"192.0.2.1\"", 10, "bgp.neighbor.address", "own router_id"),
        (
            "address = \"192.0.2.2\"",
            "address = \"192.0.2.2\"\n[[bgp.neighbor]]\naddress = \"192.0.2.2\"",
            12,
            "bgp.neighbor.address",
            "given twice",
        ),
        (
            "address = \"192.0.2.2\"",
            "address = \"192.0.2.2\"\nhold_time = 2",
            11,
            "bgp.neighbor.hold_time",
            "allowed are 3 to 65535",
        ),
        (
            "address = \"192.0.2.2\"",
            "address = \"192.0.2.2\"\nport = 70000",
            11,
            "bgp.neighbor.port",
            "allowed are 1 to 65535",
        ),
        ("vni = 5001", "vni = 16777216", 14, "network.vni", "allowed are 1 to 16777215"),
        ("vni = 5001", "vni = 0", 14, "network.vni", "allowed are 1 to 16777215"),
        ("vni = 5002", "vni = 5001", 20, "network.vni", "network \"red\" too"),
        ("name = \"green\"", "name = \"red\"", 19, "network.name", "given twice"),
        (
            "\"64512:5001\"",
            "\"64512\"",
            16,
            "network.route_targets",
            "not a route target; allowed are",
        ),
        ("\"64512:5001\"", "\"65536:65536\"", 16, "network.route_targets", "not a route target"),
        (
            "\"10.1.0.0/24\"",
            "\"10.1.0.0\"",
            15,
            "network.subnets.prefix",
            "allowed are IPv4 prefixes",
        ),
        (
            "\"10.1.0.0/24\"",
            "\"10.1.0.7/24\"",
            15,
            "network.subnets.prefix",
            "allowed is 10.1.0.0/24",
        ),
        ("\"10.1.0.0/24\"", "\"10.1.0.0/31\"", 15, "network.subnets.prefix", "from /1 to /30"),
        ("\"10.1.0.1\" }", "\"10.2.0.1\" }", 15, "network.subnets.gateway", "no host address"),
        ("\"10.1.0.1\" }", "\"10.1.0.255\" }", 15, "network.subnets.gateway", "no host address"),
        (
            "gateway = \"10.1.0.1\" }",
            "gateway = \"10.1.0.1\" }, { prefix = \"10.1.0.128/25\", gateway = \"10.1.0.129\" }",
            15,
            "network.subnets.prefix",
            "overlaps 10.1.0.0/24",
        ),
        (
            "network = \"red\"",
            "network = \"blue\"",
            25,
            "workload.network",
            "allowed are: green, red",
        ),
        (
            "address = \"10.1.0.11\"",
            "address = \"10.1.1.11\"",
            26,
            "workload.address",
            "10.1.0.0/24",
        ),
        ("address = \"10.1.0.11\"", "address = \"10.1.0.1\"", 26, "workload.address", "gateway"),
        (
            "address = \"10.1.0.11\"",
            "address = \"10.1.0.11\"\nmac = \"01:00:5e:00:00:01\"",
            27,
            "workload.mac",
            "allowed are unicast MACs",
        ),
        (
            "address = \"10.1.0.11\"",
            "address = \"10.1.0.11\"\nmtu = 100",
            27,
            "workload.mtu",
            "allowed are 576 to 9166",
        ),
        (
            "address = \"10.1.0.11\"",
            "address = \"10.1.0.11\"\ninterface = \"a/b\"",
            27,
            "workload.interface",
            "allowed are device names",
        ),
        (
            "address = \"10.1.0.11\"",
            "address = \"10.1.0.11\"\nport = \"tun\"",
            27,
            "workload.port",
            "\"tun\" is not known; allowed are veth and tap",
        ),
        (
            "address = \"10.1.0.11\"",
            "address = \"10.1.0.11\"\nport = 1",
            27,
            "workload.port",
            "expected",
        ),
        ("name = \"green-a\"", "name = \"red-a\"", 29, "workload.name", "given twice"),
        ("network = \"green\"", "network = \"red\"", 31, "workload.address", "workload \"red-a\""),
        (
            "network = \"green\"",
            "network = \"green\"\nnamespace = \"red-a\"",
            29,
            "workload.interface",
            "taken",
        ),
        (
            "vni = 5001",
            "vni = 5001\nbridging = \"on\"",
            15,
            "network.bridging",
            "allowed are mpls, vxlan and off",
        ),
        (
            "\"10.1.0.1\" }",
            "\"10.1.0.1\" }, { prefix = \"2001:db8::1/64\", gateway = \"2001:db8::1\" }",
            15,
            "network.subnets.prefix",
            "allowed is 2001:db8::/64",
        ),
        (
            "\"10.1.0.1\" }",
            "\"10.1.0.1\" }, { prefix = \"fe80::/64\", gateway = \"fe80::1\" }",
            15,
            "network.subnets.prefix",
            "not link-local",
        ),
        (
            "\"10.1.0.1\" }",
            "\"10.1.0.1\" }, { prefix = \"2001:db8::/64\", gateway = \"10.1.0.1\" }",
            15,
            "network.subnets.gateway",
            "allowed are IPv6 addresses",
        ),
        (
            "address = \"10.1.0.11\"",
            "address = \"10.1.0.11\"\naddress6 = \"2001:db8::11\"",
            27,
            "workload.address6",
            "it has none",
        ),
        ("address = \"10.1.0.11\"\n", "", 24, "workload.address", "is missing; allowed are"),
        (
            "uplink = \"eth1\"",
            "uplink = \"eth1\"\ntunnel_endpoint = \"fe80::1\"",
            5,
            "node.tunnel_endpoint",
            "allowed are unicast",
        ),
        (
            "\"192.0.2.2\"",
            "\"2001:db8::2\"",
            10,
            "bgp.neighbor.address",
            "node.tunnel_endpoint is not",
        ),
        ("name = \"red-a\"", "name = \"red a\"", 24, "workload.name", "letters, digits"),
        (
            "uplink = \"eth1\"",
            "uplink = \"eth1\"\nencapsulations = [\"gre\"]",
            5,
            "node.encapsulations",
            "mplsoudp, mplsogre and vxlan",
        ),
        (
            "uplink = \"eth1\"",
            "uplink = \"eth1\"\nencapsulations = [\"vxlan\", \"vxlan\"]",
            5,
            "node.encapsulations",
            "given twice",
        ),
        (
            "uplink = \"eth1\"",
            "uplink = \"eth1\"\nencapsulations = []",
            5,
            "node.encapsulations",
            "at least one",
        ),
        (
            "uplink = \"eth1\"",
            "uplink = \"eth1\"\nuplink = \"eth2\"",
            5,
            "node.uplink",
            "duplicate key",
        ),
    ];
    for (from, to, line, key, part) in cases {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let (told_line, told_key, message) = refusal(&text);
        assert_eq!(told_line, Some(*line), "{message}");
        assert_eq!(told_key.as_deref(), Some(*key), "{message}");
        assert!(message.contains(part), "{message} lacks {part}");
        assert!(message.starts_with(&format!("agent.toml:{line}: {key}: ")), "{message}");
        assert!(!message.contains('\n'), "{message}");
    }
}

#[test]
fn networks_bridge_in_the_kind_of_the_best_encapsulation_unless_told_otherwise() {
    use agent::Bridging;
    let of = |encapsulations: &str, bridging: &str| {
        let text = GOOD
            .replacen("[bgp]", &format!("encapsulations = [{encapsulations}]\n[bgp]"), 1)
            .replacen("vni = 5001", &format!("vni = 5001\n{bridging}"), 1);
        Config::parse(Path::new("agent.toml"), &text)
            .map(|config| config.network("red").unwrap().bridging)
            .map_err(|error| error.to_string())
    };
    assert_eq!(of("\"vxlan\", \"mplsoudp\"", ""), Ok(Some(Bridging::Vxlan)));
    assert_eq!(of("\"mplsogre\", \"vxlan\"", ""), Ok(Some(Bridging::Mpls)));
    assert_eq!(of("\"mplsogre\", \"vxlan\"", "bridging = \"vxlan\""), Ok(Some(Bridging::Vxlan)));
    assert_eq!(of("\"vxlan\"", "bridging = \"off\""), Ok(None));
    let refused = of("\"vxlan\"", "bridging = \"mpls\"").unwrap_err();
    assert!(refused.contains("network.bridging") && refused.contains("mplsogre"), "{refused}");
}

#[test]
fn a_workload_has_an_address_of_either_family_or_of_both() {
    let both = GOOD
        .replacen(
            "gateway = \"10.1.0.1\" }",
            "gateway = \"10.1.0.1\" }, { prefix = \"2001:DB8:0::/64\", gateway = \"2001:db8::1\" }",
            1,
        )
        .replacen("\"10.1.0.11\"", "\"10.1.0.11\"\naddress6 = \"2001:db8::11\"", 1);
    let config = Config::parse(Path::new("agent.toml"), &both).unwrap();
    let red_a = config.workloads.iter().find(|w| w.name == "red-a").unwrap();
    let addresses: Vec<String> = red_a.addresses().map(|address| address.to_string()).collect();
    assert_eq!(addresses, ["10.1.0.11", "2001:db8::11"]);
    let alone = both.replacen("address = \"10.1.0.11\"\n", "", 1);
    let config = Config::parse(Path::new("agent.toml"), &alone).unwrap();
    assert_eq!(config.workloads.iter().find(|w| w.name == "red-a").unwrap().inet, None);
    let small = both.replacen("address6", "mtu = 1000\naddress6", 1);
    let (_, key, message) = refusal(&small);
    assert_eq!(key.as_deref(), Some("workload.mtu"), "{message}");
    assert!(message.contains("1280 to"), "{message}");
    let twice = both.replacen(
        "name = \"green-a\"\nnetwork = \"green\"",
        "name = \"green-a\"\nnetwork = \"red\"\naddress6 = \"2001:db8:0:0::11\"",
        1,
    );
    let twice = twice.replacen("address = \"10.1.0.11\"\n", "address = \"10.1.0.12\"\n", 1);
    let (_, key, message) = refusal(&twice);
    assert_eq!(key.as_deref(), Some("workload.address6"), "{message}");
}

#[test]
fn a_mistake_in_a_tables_own_line_is_told_with_that_tables_name() {
    // What is replaced, by what; line and key told.
    let cases: &[(&str, &str, usize, &str)] = &[
        ("uplink = \"eth1\"\n", "", 1, "node.uplink"),
        ("as = 64512\n", "", 6, "bgp.as"),
        ("address = \"192.0.2.2\"\n", "", 9, "bgp.neighbor.address"),
        ("vni = 5001\n", "", 12, "network.vni"),
        (", gateway = \"10.1.0.1\"", "", 15, "network.subnets.gateway"),
        ("name = \"red-a\"\n", "", 23, "workload.name"),
        ("[bgp]\n", "[node]\n", 6, "node"),
        ("vni = 5001", "vni = \"x\"", 14, "network.vni"),
    ];
    for (from, to, line, key) in cases {
        let text = GOOD.replacen(from, to, 1);
        let (told_line, told_key, message) = refusal(&text);
        assert_eq!(told_key.as_deref(), Some(*key), "{message}");
        assert_eq!(told_line, Some(*line), "{message}");
        assert!(!message.contains("i64"), "{message}");
    }
    assert_eq!(refusal("").1.as_deref(), Some("node"));
    assert_eq!(refusal("[bgp]\nas = 1\n").1.as_deref(), Some("node"));
}

#[test]
fn a_refusal_is_one_line_whatever_stands_in_the_file() {
    for name in ["a\\nb", "a\\u001b[31mb", "\\u0000", "a\\r"] {
        let text = GOOD.replacen("\"node-a\"", &format!("\"{name}\""), 1);
        let (line, key, message) = refusal(&text);
        assert_eq!((line, key.as_deref()), (Some(2), Some("node.name")), "{message}");
        assert!(!message.contains(|c: char| c.is_control()), "{message:?}");
    }
    let text = GOOD.replacen("[bgp]", "state_dir = \"a\\u0000\"\n[bgp]", 1);
    assert_eq!(refusal(&text).1.as_deref(), Some("node.state_dir"));
}

#[test]
fn a_file_that_is_no_text_is_refused_with_the_line() {
    let file = std::env::temp_dir().join(format!("vr-no-text-{}", std::process::id()));
    std::fs::write(&file, b"[node]\nname = \"\xff\"\n").unwrap();
    let error = Config::load(&file).unwrap_err();
    assert_eq!(error.line(), Some(2), "{error}");
    std::fs::remove_file(file).unwrap();
}

#[test]
fn a_missing_key_or_table_is_named() {
    let (_, _, message) = refusal(&GOOD.replacen("vni = 5001\n", "", 1));
    assert!(message.contains("missing field `vni`"), "{message}");
    let (_, _, message) = refusal("[bgp]\nas = 1\n");
    assert!(message.contains("missing field `node`"), "{message}");
    let (line, _, message) = refusal("[node\n");
    assert_eq!(line, Some(1), "{message}");
}

fn readme_example() -> String {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = std::fs::read_to_string(readme).unwrap();
    let start = text.find("```toml\n").unwrap() + "```toml\n".len();
    let end = start + text[start..].find("```").unwrap();
    text[start..end].to_owned()
}

#[test]
fn the_readmes_example_is_accepted() {
    let config = Config::parse(Path::new("README.md"), &readme_example()).unwrap();
    assert_eq!((config.networks.len(), config.policies.len(), config.groups.len()), (3, 1, 1));
    assert_eq!(config.workloads[0].floating_ips.len(), 2);
    assert_eq!(config.analytics, Some("127.0.0.1:8081".parse().unwrap()));
    let red = config.network("red").unwrap();
    assert_eq!((red.import.len(), red.export.len()), (2, 2));
    assert_eq!(config.workloads[0].mtu, Some(1400));
}

#[test]
fn check_says_ok_or_one_line_and_exit_code_2() {
    let directory = std::env::temp_dir().join(format!("vr-config-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("agent.toml");
    let check = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_vrouter-agent"));
        let output = command.arg("--config").arg(&file).arg("--check").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(check(&readme_example()), (Some(0), String::new()));
    let (code, message) = check(&GOOD.replacen("vni = 5001", "vni = -1", 1));
    assert_eq!(code, Some(2));
    assert_eq!(message.lines().count(), 1, "{message}");
    assert!(message.contains("agent.toml:14: network.vni: -1; allowed are"), "{message}");
    std::fs::remove_file(&file).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_vrouter-agent"));
    let output = command.arg("--config").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "no such file");
    std::fs::remove_dir_all(directory).unwrap();
}
