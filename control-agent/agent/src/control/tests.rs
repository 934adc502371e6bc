//! Two agents over a simulated wire, with a clock of ours.

use std::collections::{BTreeSet, VecDeque};
use std::net::Ipv4Addr;
use std::path::Path;

use proto::bgp::Dialing;
use tables::{Key, NextHopKind, NhId, Object, TunnelEncap, VrfId};
use wire::{Mac, Prefix};

use super::*;
use crate::config::PortKind;

mod bridging;
mod families;

const A: &str = "192.0.2.1";
const B: &str = "192.0.2.2";

fn config(own: &str, other: &str, encapsulations: &str, workloads: &[(&str, &str)]) -> Config {
    parse(&text(own, other, encapsulations, workloads))
}

fn parse(text: &str) -> Config {
    Config::parse(Path::new("test.toml"), text).unwrap()
}

fn text(own: &str, other: &str, encapsulations: &str, workloads: &[(&str, &str)]) -> String {
    let mut text = format!(
        "[node]\nname = \"{own}\"\nrouter_id = \"{own}\"\nuplink = \"eth1\"\nencapsulations = [{encapsulations}]\n\
         [bgp]\nas = 64512\n[[bgp.neighbor]]\naddress = \"{other}\"\n"
    );
    for (name, vni) in [("red", 5001), ("green", 5002)] {
        text += &format!(
            "[[network]]\nname = \"{name}\"\nvni = {vni}\nroute_targets = [\"64512:{vni}\"]\n\
             subnets = [{{ prefix = \"10.1.0.0/24\", gateway = \"10.1.0.1\" }}]\n"
        );
    }
    for (name, address) in workloads {
        let network = name.split('-').next().unwrap();
        text += &format!(
            "[[workload]]\nname = \"{name}\"\nnetwork = \"{network}\"\naddress = \"{address}\"\n"
        );
    }
    text
}

struct Node {
    address: IpAddr,
    control: Option<Control>,
    config: Config,
    mac: Mac,
    /// Ids as they are on "disk".
    ids: Option<Ids>,
    wanted: Arc<Objects>,
    /// What it wants by itself, whatever was there before.
    fresh: Arc<Objects>,
    swept: bool,
    log: Vec<String>,
}

/// A pipe between two nodes, with the name each side gave it.
struct Pipe {
    ends: [(usize, ConnectionId); 2],
}

struct World {
    nodes: [Node; 2],
    pipes: Vec<Pipe>,
    queue: VecDeque<(usize, Input)>,
    next: u64,
    now: Time,
}

impl World {
    fn new(encapsulations: &str) -> World {
        let node = |own: &str, other: &str, mac: u8, workloads: &[(&str, &str)]| Node {
            address: own.parse().unwrap(),
            control: None,
            config: config(own, other, encapsulations, workloads),
            mac: Mac([2, 0, 0, 0, 0, mac]),
            ids: Some(Ids::in_memory()),
            wanted: Arc::default(),
            fresh: Arc::default(),
            swept: false,
            log: Vec::new(),
        };
        World {
            nodes: [
                node(A, B, 0xa, &[("red-a", "10.1.0.11"), ("green-a", "10.1.0.11")]),
                node(B, A, 0xb, &[("red-b", "10.1.0.12"), ("green-b", "10.1.0.12")]),
            ],
            pipes: Vec::new(),
            queue: VecDeque::new(),
            next: 0,
            now: Time(1_000),
        }
    }

    fn start(&mut self, which: usize) {
        let node = &mut self.nodes[which];
        let uplink = Uplink { name: "eth1".to_owned(), mac: node.mac, mtu: 1500, buffers: 9216 };
        let ids = node.ids.take().unwrap();
        node.control = Some(Control::new(node.config.clone(), uplink, ids, self.now));
        for workload in node.config.workloads.clone() {
            let attachment = Attachment {
                device: format!("tap-{}", workload.name),
                port: workload.port,
                mtu: 1450,
            };
            self.queue.push_back((which, Input::Attached(workload.name, attachment)));
        }
        self.queue.push_back((which, Input::Start));
        self.settle();
    }

    /// As with SIGKILL: connections break, ids stay on disk, the dataplane keeps what it has.
    fn kill(&mut self, which: usize) {
        let control = self.nodes[which].control.take().unwrap();
        let mut ids = control.ids;
        ids.set_existed();
        self.nodes[which].ids = Some(ids);
        self.nodes[which].swept = false;
        self.queue.retain(|(to, _)| *to != which);
        let (dead, alive): (Vec<Pipe>, Vec<Pipe>) = std::mem::take(&mut self.pipes)
            .into_iter()
            .partition(|p| p.ends.iter().any(|e| e.0 == which));
        self.pipes = alive;
        for pipe in dead {
            for (to, id) in pipe.ends.into_iter().filter(|end| end.0 != which) {
                let from = self.nodes[which].address;
                self.queue.push_back((to, Input::Closed(from, id)));
            }
        }
        self.settle();
    }

    fn settle(&mut self) {
        while let Some((which, input)) = self.queue.pop_front() {
            self.give(which, input);
        }
    }

    fn give(&mut self, which: usize, input: Input) {
        let node = &mut self.nodes[which];
        let Some(control) = &mut node.control else { return };
        let mut outputs = control.handle(input, self.now);
        if let Some(objects) = control.settle(&mut outputs).unwrap() {
            node.program(&objects);
        }
        outputs.into_iter().for_each(|output| self.perform(which, output));
    }

    fn perform(&mut self, which: usize, output: Output) {
        let other = 1 - which;
        let (own, peer) = (self.nodes[which].address, self.nodes[other].address);
        match output {
            Output::Dial(..) if self.nodes[other].control.is_none() => {
                self.queue.push_back((which, Input::DialFailed(peer)));
            }
            Output::Dial(..) => {
                let ids = [ConnectionId(self.next), ConnectionId(self.next + 1)];
                self.next += 2;
                self.pipes.push(Pipe { ends: [(which, ids[0]), (other, ids[1])] });
                self.queue.push_back((which, Input::Connected(peer, ids[0], Way::Out)));
                self.queue.push_back((other, Input::Connected(own, ids[1], Way::In)));
            }
            Output::Send(_, id, bytes) => {
                if let Some((to, far)) = self.far(which, id) {
                    // Cut in two, so that messages arrive in pieces.
                    let (head, tail) = bytes.split_at(bytes.len() / 3);
                    for part in [head, tail] {
                        self.queue.push_back((to, Input::Received(own, far, part.to_vec())));
                    }
                }
            }
            Output::Close(_, id) => {
                if let Some((to, far)) = self.far(which, id) {
                    self.queue.push_back((to, Input::Closed(own, far)));
                    self.pipes.retain(|pipe| !pipe.ends.contains(&(which, id)));
                }
            }
            Output::Log(text) => self.nodes[which].log.push(text),
        }
    }

    fn far(&self, which: usize, id: ConnectionId) -> Option<(usize, ConnectionId)> {
        let pipe = self.pipes.iter().find(|pipe| pipe.ends.contains(&(which, id)))?;
        pipe.ends.iter().find(|end| **end != (which, id)).copied()
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            let next = self.nodes.iter().filter_map(|node| node.control.as_ref()?.deadline()).min();
            match next.filter(|time| *time <= end) {
                Some(time) => {
                    self.now = self.now.max(time);
                    for which in 0..2 {
                        self.give(which, Input::Timer);
                    }
                    self.settle();
                }
                None => break,
            }
        }
        self.now = end;
    }

    fn reconfigure(&mut self, which: usize, config: Config) {
        self.nodes[which].config = config.clone();
        self.give(which, Input::Configure(Box::new(config)));
        self.settle();
    }
}

impl Node {
    /// What the dataplane does: what was swept once follows the wish, before that it only grows.
    fn program(&mut self, objects: &Arc<Objects>) {
        self.fresh = Arc::clone(objects);
        self.swept |= self.control.as_ref().unwrap().may_sweep();
        if self.swept {
            self.wanted = Arc::clone(objects);
        } else {
            let mut all = (*self.wanted).clone();
            all.extend(objects.iter().map(|(key, object)| (*key, object.clone())));
            self.wanted = Arc::new(all);
        }
    }

    fn vrf(&self, vni: u32) -> VrfId {
        let entry = self.wanted.get(&Key::Vni(vni.try_into().unwrap()));
        let Some(Object::Vni(entry)) = entry else { panic!("{vni}: {entry:?}") };
        match self.next_hop(entry.next_hop) {
            NextHopKind::Translate(vrf) => *vrf,
            other => panic!("{other:?}"),
        }
    }

    fn next_hop(&self, id: NhId) -> &NextHopKind {
        match self.wanted.get(&Key::NextHop(id)) {
            Some(Object::NextHop(nh)) => &nh.kind,
            other => panic!("{id}: {other:?}"),
        }
    }

    /// The route to an address in the network of a VNI: how and with which label.
    fn route(&self, vni: u32, address: &str) -> Option<(NextHopKind, Option<u32>)> {
        let address: Ipv4Addr = address.parse().unwrap();
        let key = Key::Inet(self.vrf(vni), Prefix::host(address));
        let Object::Inet(route) = self.wanted.get(&key)? else { return None };
        Some((self.next_hop(route.next_hop).clone(), route.label.map(u32::from)))
    }

    fn tunnel(&self, vni: u32, address: &str) -> Option<(TunnelEncap, u32)> {
        match self.route(vni, address)? {
            (NextHopKind::Tunnel { encap, .. }, Some(label)) => Some((encap, label)),
            other => panic!("{other:?}"),
        }
    }

    fn label(&self, label: u32) -> &NextHopKind {
        match self.wanted.get(&Key::Label(label.try_into().unwrap())) {
            Some(Object::Label(entry)) => self.next_hop(entry.next_hop),
            other => panic!("{label}: {other:?}"),
        }
    }

    fn labels(&self) -> Vec<&Object> {
        self.wanted.values().filter(|object| matches!(object, Object::Label(_))).collect()
    }
}

/// Every reference leads to something that is there.
fn assert_sound(objects: &Objects) {
    let mut model = tables::Model::new();
    let ops: Vec<_> = objects.values().cloned().map(tables::Op::Put).collect();
    model.apply(&ops, tables::Owner::Agent).unwrap();
}

const ALL: &str = "\"mplsoudp\", \"mplsogre\", \"vxlan\"";

#[test]
fn two_agents_exchange_routes_and_program_tunnels_with_the_far_ends_labels() {
    for (list, vxlan) in [(ALL, false), ("\"mplsogre\"", false), ("\"vxlan\", \"mplsoudp\"", true)]
    {
        let mut world = World::new(list);
        world.start(0);
        world.start(1);
        world.pass(10);
        let [a, b] = &world.nodes;
        for (vni, workload) in [(5001, "red-b"), (5002, "green-b")] {
            let (encap, label) = a.tunnel(vni, "10.1.0.12").unwrap();
            if vxlan {
                assert_eq!((encap, label), (TunnelEncap::VxlanL3(b.mac), vni));
                continue;
            }
            let expected =
                if list == ALL { TunnelEncap::MplsOverUdp } else { TunnelEncap::MplsOverGre };
            assert_eq!(encap, expected);
            let NextHopKind::Encap { rewrite, .. } = b.label(label) else { panic!() };
            let mac = b.config.workloads.iter().find(|w| w.name == workload).unwrap().mac;
            assert_eq!(rewrite[..6], mac.0);
            assert_eq!(rewrite[6..], [0, 0, 0x5e, 0, 1, 0, 8, 0]);
        }
        assert_sound(&a.wanted);
        assert_sound(&b.wanted);
        assert!(a.swept && b.swept, "converged: {:?}", a.log);
    }
}

#[test]
fn a_change_of_encapsulation_moves_the_routes_and_keeps_the_labels() {
    let mut world = World::new("\"mplsoudp\"");
    world.start(0);
    world.start(1);
    world.pass(10);
    let label = world.nodes[0].tunnel(5001, "10.1.0.12").unwrap().1;
    for list in ["\"vxlan\"", "\"mplsogre\""] {
        for which in 0..2 {
            let mut config = world.nodes[which].config.clone();
            let other = self::config(A, B, list, &[]);
            config.node.encapsulations = other.node.encapsulations;
            world.reconfigure(which, config);
        }
        let mac = world.nodes[1].mac;
        let expected = if list == "\"vxlan\"" {
            (TunnelEncap::VxlanL3(mac), 5001)
        } else {
            (TunnelEncap::MplsOverGre, label)
        };
        assert_eq!(world.nodes[0].tunnel(5001, "10.1.0.12"), Some(expected));
    }
}

#[test]
fn one_killed_agent_costs_the_other_no_route_and_comes_back_to_the_same_labels() {
    let mut world = World::new(ALL);
    world.start(0);
    world.start(1);
    world.pass(10);
    let before = world.nodes.each_ref().map(|node| Arc::clone(&node.wanted));
    world.kill(1);
    world.pass(60);
    assert_eq!(world.nodes[0].wanted, before[0], "stale routes forward on");
    world.start(1);
    world.pass(30);
    assert_eq!(world.nodes[0].wanted, before[0]);
    assert_eq!(world.nodes[1].wanted, before[1]);
    assert!(world.nodes[1].swept);
}

#[test]
fn both_killed_and_restarted_neither_lose_a_route_nor_wait_for_each_other() {
    let mut world = World::new(ALL);
    world.start(0);
    world.start(1);
    world.pass(10);
    let before = world.nodes.each_ref().map(|node| Arc::clone(&node.wanted));
    world.kill(0);
    world.kill(1);
    world.pass(10);
    for which in [0, 1] {
        world.start(which);
        world.pass(1);
        for node in &world.nodes {
            assert!(node.route(5001, "10.1.0.11").is_some());
            assert!(node.route(5001, "10.1.0.12").is_some());
        }
    }
    world.pass(10);
    assert!(world.nodes.iter().all(|node| node.swept), "long before the deadline");
    assert_eq!(world.nodes.each_ref().map(|node| Arc::clone(&node.wanted)), before);
}

#[test]
fn a_peer_that_stays_away_loses_its_routes_when_its_time_is_up() {
    let mut world = World::new(ALL);
    world.start(0);
    world.start(1);
    world.pass(10);
    world.kill(1);
    world.pass(119);
    assert!(world.nodes[0].route(5001, "10.1.0.12").is_some());
    world.pass(2);
    assert_eq!(world.nodes[0].route(5001, "10.1.0.12"), None);
}

#[test]
fn an_agent_alone_sweeps_when_its_patience_ends() {
    let mut world = World::new(ALL);
    world.start(0);
    world.pass(119);
    assert!(!world.nodes[0].swept);
    world.pass(2);
    assert!(world.nodes[0].swept);
}

#[test]
fn a_workload_that_is_gone_is_withdrawn_and_its_label_rests() {
    let mut world = World::new(ALL);
    world.start(0);
    world.start(1);
    world.pass(10);
    let label = world.nodes[0].tunnel(5001, "10.1.0.12").unwrap().1;
    let (without, with) = (
        config(B, A, ALL, &[("green-b", "10.1.0.12")]),
        config(B, A, ALL, &[("green-b", "10.1.0.12"), ("red-c", "10.1.0.12")]),
    );
    world.reconfigure(1, without);
    assert_eq!(world.nodes[0].route(5001, "10.1.0.12"), None);
    assert!(world.nodes[0].tunnel(5002, "10.1.0.12").is_some());
    world.reconfigure(1, with);
    let attachment = Attachment { device: "tap-red-c".to_owned(), port: PortKind::Veth, mtu: 1450 };
    world.give(1, Input::Attached("red-c".to_owned(), attachment));
    world.settle();
    let fresh = world.nodes[0].tunnel(5001, "10.1.0.12").unwrap().1;
    assert_ne!(fresh, label);
    // Of each workload one for packets and one for frames, and the two networks' for flooding.
    assert_eq!(world.nodes[1].labels().len(), 6);
    assert_sound(&world.nodes[1].wanted);
}

#[test]
fn a_workload_that_moves_to_another_network_gets_another_label() {
    let mut world = World::new(ALL);
    world.start(0);
    world.start(1);
    world.pass(10);
    let label = world.nodes[0].tunnel(5001, "10.1.0.12").unwrap().1;
    let mut moved = config(B, A, ALL, &[("green-b", "10.1.0.12"), ("red-b", "10.1.0.13")]);
    let red_b = moved.workloads.iter_mut().find(|workload| workload.name == "red-b").unwrap();
    red_b.network = "green".to_owned();
    world.reconfigure(1, moved);
    let fresh = world.nodes[0].tunnel(5002, "10.1.0.13").unwrap().1;
    assert_ne!(fresh, label, "a packet of red under way must not reach green");
    assert!(!world.nodes[1].wanted.contains_key(&Key::Label(label.try_into().unwrap())));
}

/// Brings a dataplane to what a node wants, over a connection that knows nothing of what was acknowledged before and is
/// not allowed to sweep.
fn replay(node: &Node, dataplane: &mut tables::Model) {
    let resting = node.control.as_ref().unwrap().resting();
    let mut sync = crate::sync::Sync::default();
    loop {
        let ops = sync.next(&node.fresh, &resting);
        if ops.is_empty() {
            return;
        }
        dataplane.apply(&ops, tables::Owner::Agent).unwrap();
        sync.acknowledge(&ops);
    }
}

#[test]
fn a_workload_that_moves_while_no_agent_runs_gets_nothing_of_its_former_network() {
    let mut world = World::new(ALL);
    world.start(0);
    let mut dataplane = tables::Model::new();
    replay(&world.nodes[0], &mut dataplane);
    let red = world.nodes[0].vrf(5001);
    let key = Prefix::host([10, 1, 0, 11].into());
    let ids = &mut world.nodes[0].control.as_mut().unwrap().ids;
    let former = ids.workload("red", "red-a").unwrap();
    assert_eq!(dataplane.inet_route(red, &key).unwrap().next_hop, former.l3);
    world.kill(0);
    let mut moved = config(A, B, ALL, &[("green-a", "10.1.0.11"), ("red-a", "10.1.0.13")]);
    let red_a = moved.workloads.iter_mut().find(|workload| workload.name == "red-a").unwrap();
    red_a.network = "green".to_owned();
    world.nodes[0].config = moved;
    world.start(0);
    assert!(!world.nodes[0].swept);
    replay(&world.nodes[0], &mut dataplane);
    assert_eq!(dataplane.label(former.label), None);
    assert_eq!(dataplane.vif(former.vif), None);
    assert_eq!((dataplane.next_hop(former.l3), dataplane.next_hop(former.l2)), (None, None));
    let stale = dataplane.inet_route(red, &key).unwrap();
    assert_eq!(stale.next_hop, former.l3, "waits for the sweep and leads nowhere");
    let green = world.nodes[0].vrf(5002);
    let key = Prefix::host([10, 1, 0, 13].into());
    let fresh = dataplane.inet_route(green, &key).unwrap().next_hop;
    assert!(dataplane.next_hop(fresh).is_some());
    assert_ne!(fresh, former.l3);
}

#[test]
fn what_was_removed_while_no_agent_ran_gives_its_ids_back() {
    let mut world = World::new(ALL);
    world.start(0);
    world.kill(0);
    world.nodes[0].config = config(A, B, ALL, &[("red-a", "10.1.0.11")]);
    world.start(0);
    let control = world.nodes[0].control.as_ref().unwrap();
    assert_eq!(control.ids.workloads(), ["red-a"]);
}

#[test]
fn an_uplinks_new_mac_is_taken_as_ours_and_told() {
    let mut world = World::new("\"vxlan\"");
    world.start(0);
    world.start(1);
    world.pass(10);
    let mac = Mac([2, 0, 0, 0, 0x99, 1]);
    let uplink = Uplink { name: "eth1".to_owned(), mac, mtu: 1500, buffers: 9216 };
    world.give(0, Input::Uplink(uplink));
    world.settle();
    let vif = world.nodes[0].wanted.get(&Key::Vif(tables::VifId(0)));
    assert!(matches!(vif, Some(Object::Vif(vif)) if vif.mac == mac), "{vif:?}");
    // The far end's routed VXLAN packets carry it inside.
    let mut objects = world.nodes[1].wanted.values();
    assert!(objects.any(|object| format!("{object:?}").contains(&format!("{mac:?}"))));
}

#[test]
fn a_workload_counts_only_while_it_is_attached() {
    let mut world = World::new(ALL);
    world.start(0);
    world.start(1);
    world.pass(10);
    world.give(1, Input::Detached("red-b".to_owned()));
    world.settle();
    assert_eq!(world.nodes[0].route(5001, "10.1.0.12"), None);
    let attachment = Attachment { device: "tap-red-b".to_owned(), port: PortKind::Veth, mtu: 1450 };
    world.give(1, Input::Attached("red-b".to_owned(), attachment));
    world.settle();
    assert!(world.nodes[0].tunnel(5001, "10.1.0.12").is_some());
}

#[test]
fn a_deconfigured_neighbor_is_flushed_at_once() {
    let mut world = World::new(ALL);
    world.start(0);
    world.start(1);
    world.pass(10);
    let mut alone = world.nodes[1].config.clone();
    alone.bgp.as_mut().unwrap().neighbors.clear();
    world.reconfigure(1, alone);
    assert_eq!(world.nodes[0].route(5001, "10.1.0.12"), None);
    assert_eq!(world.nodes[1].route(5001, "10.1.0.11"), None);
}

#[test]
fn what_changes_of_a_neighbor_but_its_as_costs_no_route() {
    type Change = fn(&mut Config);
    let mut world = World::new(ALL);
    world.start(0);
    world.start(1);
    world.pass(10);
    let before = world.nodes.each_ref().map(|node| Arc::clone(&node.fresh));
    let sessions = |world: &World| {
        world.nodes[0].log.iter().filter(|line| line.contains("session up")).count()
    };
    let changes: [(Change, usize); 4] = [
        (|config| config.bgp.as_mut().unwrap().neighbors[0].hold_time = 30, 2),
        (|config| config.bgp.as_mut().unwrap().restart_time = 200, 3),
        (|config| config.bgp.as_mut().unwrap().neighbors[0].port = 1179, 3),
        (|config| config.bgp.as_mut().unwrap().neighbors[0].dialing = Dialing::Passive, 3),
    ];
    for (change, expected) in changes {
        let mut config = world.nodes[0].config.clone();
        change(&mut config);
        world.reconfigure(0, config);
        assert_eq!(world.nodes.each_ref().map(|node| Arc::clone(&node.fresh)), before);
        world.pass(5);
        assert_eq!(sessions(&world), expected);
        world.pass(400);
        assert_eq!(world.nodes.each_ref().map(|node| Arc::clone(&node.fresh)), before);
        assert_eq!(sessions(&world), expected);
    }
    let mut config = world.nodes[0].config.clone();
    config.bgp.as_mut().unwrap().neighbors[0].as_number = 64999;
    world.reconfigure(0, config);
    assert_eq!(world.nodes[0].route(5001, "10.1.0.12"), None);
}

#[test]
fn a_workload_that_is_removed_and_back_before_its_pair_is_touched_lives() {
    let mut world = World::new(ALL);
    world.start(0);
    world.start(1);
    world.pass(10);
    let before = world.nodes.each_ref().map(|node| Arc::clone(&node.fresh));
    let whole = world.nodes[1].config.clone();
    world.reconfigure(1, config(B, A, ALL, &[("green-b", "10.1.0.12")]));
    assert_eq!(world.nodes[0].route(5001, "10.1.0.12"), None);
    world.reconfigure(1, whole);
    assert_eq!(world.nodes.each_ref().map(|node| Arc::clone(&node.fresh)), before);
}

#[test]
fn a_workload_without_a_label_is_named_and_left_out_alone() {
    let mut world = World::new(ALL);
    world.nodes[0].ids.as_mut().unwrap().leave_labels(3);
    world.start(0);
    world.start(1);
    world.pass(10);
    let left_out = |world: &World| world.nodes[0].control.as_ref().unwrap().left_out().to_vec();
    let told = left_out(&world);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("label") && told[0].contains("red-a"), "{told:?}");
    assert!(told[1].contains("label") && told[1].contains("broadcast of network red"), "{told:?}");
    assert!(world.nodes[0].tunnel(5001, "10.1.0.12").is_some());
    assert!(world.nodes[1].tunnel(5002, "10.1.0.11").is_some());
    assert_eq!(world.nodes[1].route(5001, "10.1.0.11"), None);
    assert_sound(&world.nodes[0].wanted);
    world.nodes[0].control.as_mut().unwrap().ids.leave_labels(6);
    world.give(0, Input::Timer);
    world.settle();
    assert_eq!(left_out(&world), [""; 0]);
    assert!(world.nodes[1].tunnel(5001, "10.1.0.11").is_some());
}

#[test]
fn local_objects_have_opencontrails_shape() {
    let mut world = World::new(ALL);
    world.start(0);
    let node = &world.nodes[0];
    let red = node.vrf(5001);
    let (kind, label) = node.route(5001, "10.1.0.11").unwrap();
    assert!(matches!(kind, NextHopKind::Encap { ref rewrite, .. } if rewrite.len() == 14));
    assert_eq!(label, None);
    let mac = node.config.workloads.iter().find(|w| w.name == "red-a").unwrap().mac;
    let route = node.wanted.get(&Key::Inet(red, Prefix::host([10, 1, 0, 11].into())));
    let Some(Object::Inet(route)) = route else { panic!() };
    assert_eq!((route.mac, route.flags), (Some(mac), tables::RouteFlags::ARP_PROXY));
    let subnet = node.wanted.get(&Key::Inet(red, "10.1.0.0/24".parse().unwrap()));
    let Some(Object::Inet(subnet)) = subnet else { panic!() };
    assert_eq!((subnet.next_hop, subnet.flags), (NhId(0), tables::RouteFlags::ARP_FLOOD));
    for (station, family) in [(Mac::GATEWAY, "l2"), (node.mac, "l2"), (mac, "encap")] {
        let Some(Object::Bridge(entry)) = node.wanted.get(&Key::Bridge(red, station)) else {
            panic!("{station}")
        };
        let kind = node.next_hop(entry.next_hop);
        match family {
            "l2" => assert_eq!(*kind, NextHopKind::L2Receive),
            _ => assert!(matches!(kind, NextHopKind::Encap { rewrite, .. } if rewrite.is_empty())),
        }
    }
    let (kind, _) =
        (node.wanted.get(&Key::Inet(VrfId(0), Prefix::host([192, 0, 2, 1].into()))), ());
    let Some(Object::Inet(own)) = kind else { panic!() };
    assert_eq!(*node.next_hop(own.next_hop), NextHopKind::Receive(tables::VifId(1)));
    let host = node.wanted.get(&Key::Vif(tables::VifId(1)));
    let Some(Object::Vif(host)) = host else { panic!() };
    assert_eq!((host.name.as_str(), host.kind), ("vhost0", tables::VifKind::Host));
    assert_eq!((host.vrf, host.mac, host.ip), (VrfId(0), node.mac, None));
    assert_sound(&node.wanted);
}

#[test]
fn hops_keep_their_slots() {
    let hop = |last: u8| crate::rib::import::Hop {
        endpoint: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        encapsulation: proto::bgp::Encapsulation::MplsOverUdp,
        label: 16,
        router_mac: None,
    };
    let set = |list: &[u8]| list.iter().map(|last| hop(*last)).collect::<BTreeSet<_>>();
    let first = place(&[], &set(&[1, 2, 3]));
    assert_eq!(first, [Some(hop(1)), Some(hop(2)), Some(hop(3))]);
    let second = place(&first, &set(&[1, 3]));
    assert_eq!(second, [Some(hop(1)), None, Some(hop(3))]);
    let third = place(&second, &set(&[0, 1, 3, 4]));
    assert_eq!(third, [Some(hop(1)), Some(hop(0)), Some(hop(3)), Some(hop(4))]);
    assert_eq!(place(&third, &set(&[1])), [Some(hop(1))]);
}
