//! What networks, policies, groups and floating IPs come to in the dataplane.

use std::path::Path;

use tables::{Peer, RuleSet, TunnelEncap, Verdict};

use super::*;
use crate::rib::import::{Origin, Origins};

const FILE: &str = r#"
[node]
name = "n"
router_id = "192.0.2.1"
uplink = "eth1"
[bgp]
as = 64512
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
[[network]]
name = "public"
vni = 5004
subnets = [{ prefix = "203.0.113.0/24", gateway = "203.0.113.1" }]
[[policy]]
name = "web"
rules = [{ action = "pass", protocol = "tcp", source = "red", destination = "blue", ports = "80" }]
[[security_group]]
name = "servers"
id = 7
ingress = [{ protocol = "tcp", ports = "80-81", remote = "servers" }]
[[workload]]
name = "red-a"
network = "red"
address = "10.1.1.11"
floating_ips = [{ network = "public", address = "203.0.113.11" }]
[[workload]]
name = "green-a"
network = "green"
address = "10.1.1.11"
[[workload]]
name = "blue-a"
network = "blue"
address = "10.1.3.11"
security_groups = ["servers"]
"#;

fn config(text: &str) -> Config {
    Config::parse(Path::new("test.toml"), text).unwrap()
}

fn wanted(config: &Config, ids: &mut Ids, remote: &Remote, origins: &Origins) -> Objects {
    let uplink =
        Uplink { name: "eth1".to_owned(), mac: Mac([2, 0, 0, 0, 0, 1]), mtu: 1500, buffers: 1778 };
    let attachment = |workload: &Workload| {
        let port = PortKind::Veth;
        (workload.name.clone(), Attachment { device: workload.name.clone(), port, mtu: 1450 })
    };
    let attached = config.workloads.iter().map(attachment).collect();
    let bindings = Bindings::new();
    let inputs = Inputs {
        config,
        uplink: &uplink,
        attached: &attached,
        remote,
        bindings: &bindings,
        origins,
    };
    let desired = desired(&inputs, ids);
    assert_eq!(desired.left_out, Vec::<String>::new());
    // The dataplane takes it.
    let mut model = tables::Model::new();
    let mut objects: Vec<Object> = desired.objects.values().cloned().collect();
    objects.sort_by_key(crate::sync::put_order);
    let ops: Vec<_> = objects.into_iter().map(tables::Op::Put).collect();
    model.apply(&ops, tables::Owner::Agent).unwrap();
    desired.objects
}

fn objects(text: &str) -> (Objects, Ids) {
    let mut ids = Ids::in_memory();
    let objects = wanted(&config(text), &mut ids, &Remote::new(), &Origins::new());
    (objects, ids)
}

fn route(objects: &Objects, vrf: VrfId, prefix: &str) -> Option<Route<Ipv4Addr>> {
    match objects.get(&Key::Inet(vrf, prefix.parse().unwrap()))? {
        Object::Inet(route) => Some(*route),
        other => panic!("{other:?}"),
    }
}

fn vif_of<'o>(objects: &'o Objects, device: &str) -> &'o Vif {
    let vif = |object: &'o Object| match object {
        Object::Vif(vif) if vif.name == device => Some(vif),
        _ => None,
    };
    objects.values().find_map(vif).unwrap()
}

fn rule_set<'o>(objects: &'o Objects, name: &str) -> &'o RuleSet {
    let set = |object: &'o Object| match object {
        Object::RuleSet(set) if set.name == name => Some(set),
        _ => None,
    };
    objects.values().find_map(set).unwrap()
}

#[test]
fn networks_with_a_policy_reach_each_other_and_no_others() {
    let (objects, mut ids) = objects(FILE);
    let [red, green, blue] = ["red", "green", "blue"].map(|name| ids.vrf(name).unwrap());
    assert!(route(&objects, red, "10.1.3.11/32").is_some());
    assert!(route(&objects, blue, "10.1.1.11/32").is_some());
    assert_eq!(route(&objects, green, "10.1.3.11/32"), None);
    let own = route(&objects, blue, "10.1.3.11/32").unwrap();
    let leaked = route(&objects, red, "10.1.3.11/32").unwrap();
    assert_eq!((own.next_hop, own.identity), (leaked.next_hop, leaked.identity));
    let Some(Object::Identity(identity)) = objects.get(&Key::Identity(own.identity.unwrap()))
    else {
        panic!("an identity");
    };
    assert_eq!((identity.networks[0].0, identity.groups[0].0), (5003, 7));
}

#[test]
fn a_policys_rules_hold_both_ways_and_within_the_network_all_passes() {
    let (objects, _) = objects(FILE);
    let rules = &rule_set(&objects, "network-policy red").rules;
    let network = |id| Peer::Network(tables::NetworkId(id));
    let ends: Vec<_> =
        rules.iter().map(|rule| (rule.source.clone(), rule.destination.clone())).collect();
    let [red, blue] = [network(5001), network(5003)];
    assert_eq!(ends, [(red.clone(), blue.clone()), (blue, red.clone()), (red.clone(), red)]);
    assert!(rules.iter().all(|rule| rule.verdict == Verdict::Pass));
    assert_eq!((rules[0].destination_ports.first, rules[0].destination_ports.last), (80, 80));
    assert_eq!(rules[0].id, rules[1].id, "one rule of the file");
    assert_ne!(rules[0].id, rules[2].id);
}

#[test]
fn only_who_is_asked_about_has_flows() {
    let (objects, _) = objects(FILE);
    let asks = |device| vif_of(&objects, device).flags.contains(VifFlags::POLICY);
    assert!(asks("red-a") && asks("blue-a") && !asks("green-a"));
    let blue = vif_of(&objects, "blue-a");
    assert!(
        blue.policy.grouped && blue.policy.ingress.len() == 1 && blue.policy.network.len() == 1
    );
    let Some(Object::NextHop(hop)) = objects.get(&Key::NextHop(blue.next_hop.unwrap())) else {
        panic!("its next hop");
    };
    assert!(hop.flags.contains(NhFlags::POLICY));
    let ingress = &rule_set(&objects, "security-group servers ingress").rules;
    assert_eq!(ingress[0].source, Peer::Group(tables::GroupId(7)));
    assert_eq!(rule_set(&objects, "security-group servers egress").rules.len(), 1, "all, unasked");
}

#[test]
fn a_floating_ip_is_a_route_of_its_network_and_known_to_the_interface() {
    let (objects, mut ids) = objects(FILE);
    let public = ids.vrf("public").unwrap();
    let red = vif_of(&objects, "red-a");
    let floating = &red.floating_ips[0];
    assert_eq!((floating.vrf, floating.fixed.to_string()), (public, "10.1.1.11".to_owned()));
    assert_eq!(route(&objects, public, "203.0.113.11/32").unwrap().next_hop, red.next_hop.unwrap());
}

#[test]
fn a_rules_mirror_is_a_tunnel_to_its_analyser() {
    let text = FILE.replace("ports = \"80\" }", "ports = \"80\", mirror = \"probe\" }")
        + "[[mirror]]\nname = \"probe\"\naddress = \"192.0.2.99\"\nvni = 99\n";
    let (objects, mut ids) = objects(&text);
    let id = ids.mirror("probe").unwrap();
    let Some(Object::Mirror(mirror)) = objects.get(&Key::Mirror(id)) else { panic!("a mirror") };
    let Some(Object::NextHop(hop)) = objects.get(&Key::NextHop(mirror.next_hop)) else {
        panic!("its next hop");
    };
    let NextHopKind::Tunnel { destination, encap, .. } = &hop.kind else { panic!("{hop:?}") };
    assert_eq!((destination.to_string(), *encap), ("192.0.2.99".into(), TunnelEncap::Vxlan));
    assert_eq!(mirror.vni, Vni::try_from(99).ok());
    let mirrors = |name| -> Vec<_> {
        rule_set(&objects, name).rules.iter().map(|rule| rule.mirror).collect()
    };
    // Both ways, and not within the network.
    assert_eq!(mirrors("network-policy red"), [Some(id), Some(id), None]);
    assert_eq!(mirrors("network-policy blue"), [Some(id), Some(id), None]);
}

#[test]
fn fat_flows_are_the_interfaces_and_ask_for_flows() {
    let fat = "name = \"green-a\"\nfat_flows = [{ protocol = \"udp\", port = 53, ignore = \"source\" }, \
               { protocol = \"icmp\" }, \
               { protocol = \"tcp\", destination = { prefix = \"10.0.0.0/8\", length = 24 } }]\n\
               fat_flow_exclude = [\"10.9.0.0/16\", \"2001:db8:9::/48\"]";
    let (objects, _) = objects(&FILE.replace("name = \"green-a\"", fat));
    let green = vif_of(&objects, "green-a");
    assert!(green.flags.contains(VifFlags::POLICY));
    let [dns, icmp, tcp] = green.fat_flow_rules.as_slice() else { panic!("{green:?}") };
    assert_eq!((dns.protocol, dns.port, dns.ignore), (17, 53, Some(tables::FatFlowIgnore::Source)));
    assert_eq!((icmp.protocol, icmp.port), (0, 1), "a protocol without ports is in their place");
    let cut = tcp.destination.unwrap();
    assert_eq!(
        (cut.prefix.to_string(), cut.length, cut.aggregate_length),
        ("10.0.0.0".into(), 8, 24)
    );
    assert_eq!((green.fat_flow_exclude.len(), green.fat_flow_exclude6.len()), (1, 1));
}

#[test]
fn without_its_policy_a_network_is_what_it_was() {
    let text = FILE.replace("policies = [\"web\"]\n", "");
    let (objects, mut ids) = objects(&text);
    let red = ids.vrf("red").unwrap();
    assert_eq!(route(&objects, red, "10.1.3.11/32"), None);
    assert!(
        !objects.values().any(
            |object| matches!(object, Object::RuleSet(set) if set.name.starts_with("network"))
        )
    );
}

#[test]
fn what_a_policy_change_touches_is_all_that_changes() {
    let mut ids = Ids::in_memory();
    let before = wanted(&config(FILE), &mut ids, &Remote::new(), &Origins::new());
    let changed = FILE.replace("ports = \"80\"", "ports = \"81\"");
    let after = wanted(&config(&changed), &mut ids, &Remote::new(), &Origins::new());
    let differ: Vec<&Key> = after
        .iter()
        .filter(|(key, object)| before.get(key) != Some(object))
        .map(|(key, _)| key)
        .collect();
    assert!(differ.iter().all(|key| matches!(key, Key::RuleSet(_))), "{differ:?}");
    assert_eq!(differ.len(), 2, "of both networks");
}

#[test]
fn what_lies_beyond_is_known_by_what_its_route_says() {
    let mut ids = Ids::in_memory();
    let beyond = Beyond::Inet("10.1.3.12/32".parse().unwrap());
    let hop = Hop {
        endpoint: "192.0.2.2".parse().unwrap(),
        encapsulation: proto::bgp::Encapsulation::MplsOverUdp,
        label: 33,
        router_mac: None,
    };
    let remote = Remote::from([(("red".to_owned(), beyond), vec![Some(hop)])]);
    let origin = Origin { network: Some(5003), groups: vec![7] };
    let origins = Origins::from([(("red".to_owned(), beyond), origin)]);
    let objects = wanted(&config(FILE), &mut ids, &remote, &origins);
    let red = ids.vrf("red").unwrap();
    let own = route(&objects, ids.vrf("blue").unwrap(), "10.1.3.11/32").unwrap();
    assert_eq!(route(&objects, red, "10.1.3.12/32").unwrap().identity, own.identity);
}
