//! Policies, security groups and floating IPs in the configuration file: what is refused, and how that is said.

use std::path::Path;

use agent::Config;

const GOOD: &str = r#"[node]
name = "n"
router_id = "192.0.2.1"
uplink = "eth1"

[[network]]
name = "red"
vni = 5001
policies = ["web"]
subnets = [{ prefix = "10.1.1.0/24", gateway = "10.1.1.1" }]

[[network]]
name = "green"
vni = 5002
subnets = [{ prefix = "10.1.1.0/24", gateway = "10.1.1.1" }]

[[network]]
name = "blue"
vni = 5003
policies = ["web"]
subnets = [{ prefix = "10.1.3.0/24", gateway = "10.1.3.1" }]

[[policy]]
name = "web"
rules = [
  { action = "pass", protocol = "tcp", source = "red", destination = "blue", ports = "80" },
]

[[security_group]]
name = "servers"
id = 7
ingress = [{ protocol = "tcp", ports = "80-81", remote = "servers" }]

[[workload]]
name = "green-a"
network = "green"
address = "10.1.1.11"
security_groups = ["servers"]
floating_ips = [{ network = "blue", address = "10.1.3.99" }]
"#;

#[test]
fn networks_are_joined_by_a_policy_of_both() {
    let config = Config::parse(Path::new("agent.toml"), GOOD).unwrap();
    assert_eq!(config.network("red").unwrap().joined, ["blue"]);
    assert_eq!(config.network("blue").unwrap().joined, ["red"]);
    assert_eq!(config.network("green").unwrap().joined, Vec::<String>::new());
    // One side alone is not enough, nor is a rule that denies.
    let one = GOOD.replacen("policies = [\"web\"]\n", "", 1);
    let config = Config::parse(Path::new("agent.toml"), &one).unwrap();
    assert_eq!(config.network("blue").unwrap().joined, Vec::<String>::new());
    let deny = GOOD.replace("action = \"pass\"", "action = \"deny\"");
    let config = Config::parse(Path::new("agent.toml"), &deny).unwrap();
    assert_eq!(config.network("red").unwrap().joined, Vec::<String>::new());
}

#[test]
fn networks_with_the_same_addresses_can_never_be_joined() {
    let text = GOOD
        .replace(
            "name = \"green\"\nvni = 5002",
            "name = \"green\"\nvni = 5002\npolicies = [\"web\"]",
        )
        .replace("source = \"red\"", "source = \"green\"")
        .replace("destination = \"blue\"", "destination = \"red\"");
    let error = Config::parse(Path::new("agent.toml"), &text).unwrap_err();
    let told = error.to_string();
    for part in [
        "agent.toml:15: network.policies",
        "\"web\" would join networks",
        "\"green\"",
        "\"red\"",
        "10.1.1.0/24",
    ] {
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn every_mistake_is_told_with_line_and_key() {
    let cases: &[(&str, &str, usize, &str, &str)] = &[
        ("policies = [\"web\"]", "policies = [\"wen\"]", 9, "network.policies", "allowed are: web"),
        ("vni = 5003", "vni = 5003\nid = 5001", 20, "network.id", "of network \"red\" too"),
        ("action = \"pass\"", "action = \"allow\"", 26, "policy.rules.action", "pass and deny"),
        ("\"tcp\", source", "\"tpc\", source", 26, "policy.rules.protocol", "sctp"),
        (
            "source = \"red\"",
            "source = \"rde\"",
            26,
            "policy.rules.source",
            "any, a prefix, blue, green, red",
        ),
        ("source = \"red\"", "source = \"10.0/8\"", 26, "policy.rules.source", "prefixes such as"),
        ("ports = \"80\"", "ports = \"90-80\"", 26, "policy.rules.ports", "ranges such as"),
        ("ports = \"80\"", "ports = \"80\", direction = \"<\"", 26, "policy.rules.direction", "<>"),
        ("id = 7", "id = 0", 31, "security_group.id", "1 to 4294967295"),
        (
            "remote = \"servers\"",
            "remote = \"server\"",
            32,
            "security_group.ingress.remote",
            "servers",
        ),
        (
            "security_groups = [\"servers\"]",
            "security_groups = [\"x\"]",
            38,
            "workload.security_groups",
            "no security group",
        ),
        (
            "network = \"blue\", address",
            "network = \"green\", address",
            39,
            "workload.floating_ips.network",
            "other networks",
        ),
        (
            "address = \"10.1.3.99\"",
            "address = \"10.1.4.99\"",
            39,
            "workload.floating_ips.address",
            "no host address",
        ),
        (
            "address = \"10.1.3.99\"",
            "address = \"10.1.3.1\"",
            39,
            "workload.floating_ips.address",
            "no host address",
        ),
    ];
    for (from, to, line, key, part) in cases {
        let text = GOOD.replacen(from, to, 1);
        assert_ne!(text, GOOD, "{from}");
        let error = Config::parse(Path::new("agent.toml"), &text).expect_err(to);
        let told = error.to_string();
        assert_eq!((error.line(), error.key()), (Some(*line), Some(*key)), "{told}");
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn mistakes_with_mirrors_and_fat_flows_are_told_with_line_and_key() {
    let good = GOOD.replacen("ports = \"80\" }", "ports = \"80\", mirror = \"probe\" }", 1)
        + "fat_flows = [{ protocol = \"udp\", port = 53, ignore = \"source\" },\n\
           { protocol = \"tcp\", source = { prefix = \"10.0.0.0/8\", length = 24 } }]\n\
           fat_flow_exclude = [\"10.1.0.0/16\", \"10.2.0.0/16\", \"10.3.0.0/16\"]\n\
           [[mirror]]\nname = \"probe\"\naddress = \"192.0.2.99\"\nvni = 99\n";
    let config = Config::parse(Path::new("agent.toml"), &good).unwrap();
    assert_eq!(config.mirrors.len(), 1);
    let cases: &[(&str, &str, usize, &str, &str)] = &[
        (
            "mirror = \"probe\"",
            "mirror = \"prob\"",
            26,
            "policy.rules.mirror",
            "allowed are: probe",
        ),
        ("name = \"probe\"", "name = \"a b\"", 44, "mirror.name", "letters"),
        ("192.0.2.99", "192.0.2.1", 45, "mirror.address", "tunnel endpoint 192.0.2.1"),
        ("192.0.2.99", "2001:db8::9", 45, "mirror.address", "of the family"),
        ("vni = 99", "vni = 0", 46, "mirror.vni", "1 to 16777215"),
        ("port = 53", "port = 70000", 40, "workload.fat_flows.port", "0 to 65535"),
        ("\"udp\", port", "\"icmp\", port", 40, "workload.fat_flows.port", "no ports"),
        ("\"udp\", port", "\"any\", port", 40, "workload.fat_flows.protocol", "one protocol"),
        (
            "ignore = \"source\"",
            "ignore = \"both\"",
            40,
            "workload.fat_flows.ignore",
            "destination",
        ),
        ("10.0.0.0/8", "10.0/8", 41, "workload.fat_flows.source.prefix", "prefixes such as"),
        ("length = 24", "length = 7", 41, "workload.fat_flows.source.length", "8 to 32"),
        (
            "\"10.3.0.0/16\"",
            "\"10.3.0.0/16\", \"10.4.0.0/16\"",
            42,
            "workload.fat_flow_exclude",
            "3 prefixes",
        ),
    ];
    for (from, to, line, key, part) in cases {
        let text = good.replacen(from, to, 1);
        assert_ne!(text, good, "{from}");
        let error = Config::parse(Path::new("agent.toml"), &text).expect_err(to);
        let told = error.to_string();
        assert_eq!((error.line(), error.key()), (Some(*line), Some(*key)), "{told}");
        assert!(told.contains(part), "{told}");
    }
}

#[test]
fn an_address_is_one_workloads_alone() {
    let text = format!(
        "{GOOD}\n[[workload]]\nname = \"green-b\"\nnetwork = \"green\"\naddress = \"10.1.1.12\"\n\
         floating_ips = [{{ network = \"blue\", address = \"10.1.3.99\" }}]\n"
    );
    let error = Config::parse(Path::new("agent.toml"), &text).unwrap_err();
    assert!(error.to_string().contains("10.1.3.99 in network \"blue\" is workload"), "{error}");
}
