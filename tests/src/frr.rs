//! An FRR router (zebra and bgpd) with the kernel's VXLAN bridge, and a host behind it: a far end of which nothing is
//! ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;

use crate::program::{Background, run};
use crate::{ENDPOINTS, Namespace, RED_VNI, Underlay, eventually};

/// Where Debian puts FRR's programs.
const PROGRAMS: &str = "/usr/lib/frr";

/// A running router.
#[derive(Debug)]
pub struct Frr {
    _daemons: [Background; 2],
    directory: PathBuf,
    namespace: Namespace,
    host: Namespace,
}

impl Frr {
    /// Why it cannot run here, if it cannot.
    pub fn missing() -> Option<String> {
        let there = |program: &str| Path::new(PROGRAMS).join(program).is_file();
        (!there("zebra") || !there("bgpd")).then(|| "needs FRR (package frr)".to_owned())
    }

    /// Starts it at `address` on the underlay, as EVPN route reflector of both nodes (AS 64512), bridging network red by
    /// VXLAN to a host with `host` (`10.1.1.77/24`) and `mac`.
    ///
    /// # Errors
    /// When something of it cannot be made or does not come up.
    pub fn start(
        underlay: &Underlay,
        name: &str,
        address: &str,
        host: &str,
        mac: &str,
    ) -> Result<Frr> {
        let namespace = Namespace::create(name)?;
        let behind = Namespace::create(&format!("{name}-host"))?;
        underlay.plug(&namespace, "eth0", "frr", &format!("{address}/24"), 1)?;
        let host_name = behind.name();
        for line in [
            "ip link add br-red type bridge forward_delay 0 mcast_snooping 0".to_owned(),
            format!(
                "ip link add vxlan-red type vxlan id {RED_VNI} local {address} dstport 4789 nolearning"
            ),
            "ip link set vxlan-red master br-red up".to_owned(),
            format!("ip link add port type veth peer name eth0 netns {host_name}"),
            "ip link set port master br-red up".to_owned(),
            "ip link set br-red up".to_owned(),
        ] {
            namespace.run(&line)?;
        }
        behind.run("sysctl -qw net.ipv6.conf.all.disable_ipv6=1")?;
        behind.run("sysctl -qw net.ipv4.icmp_echo_ignore_broadcasts=0")?;
        behind.run(&format!("ip link set eth0 address {mac} mtu 1450 up"))?;
        behind.run(&format!("ip address add {host} broadcast + dev eth0"))?;
        let directory = std::env::temp_dir().join(format!("vrouter-{name}"));
        fs::create_dir_all(&directory)?;
        // The daemons are of the package's own user.
        run(&format!("chown frr:frr {}", directory.display()))?;
        let daemons = [
            daemon(&namespace, &directory, "zebra", "hostname far\n")?,
            daemon(&namespace, &directory, "bgpd", &bgp(address))?,
        ];
        Ok(Frr { _daemons: daemons, directory, namespace, host: behind })
    }

    /// The host behind the bridge.
    pub fn host(&self) -> &Namespace {
        &self.host
    }

    /// The kernel's forwarding entries of the VXLAN device, as `bridge fdb` shows them.
    ///
    /// # Errors
    /// What it said.
    pub fn entries(&self) -> Result<String> {
        self.namespace.run("bridge fdb show dev vxlan-red")
    }
}

impl Drop for Frr {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.directory).ok();
    }
}

fn daemon(namespace: &Namespace, directory: &Path, name: &str, text: &str) -> Result<Background> {
    let path = |suffix: &str| directory.join(format!("{name}.{suffix}"));
    fs::write(path("conf"), text)?;
    let (conf, pid) = (path("conf").display().to_string(), path("pid").display().to_string());
    let (folder, zebra) = (directory.display().to_string(), directory.join("zserv.api"));
    let zebra = zebra.display().to_string();
    let arguments = [
        "-f",
        &conf,
        "-i",
        &pid,
        "-z",
        &zebra,
        "--vty_socket",
        &folder,
        "--vty_port",
        "0",
        "--log",
        "stdout",
    ];
    let daemon = namespace.start(&Path::new(PROGRAMS).join(name), &arguments, &path("log"))?;
    let socket = path("vty");
    eventually(&format!("{name} to run"), Duration::from_secs(10), || socket.exists())?;
    Ok(daemon)
}

fn bgp(address: &str) -> String {
    let mut text = format!(
        "frr defaults traditional\nrouter bgp 64512\n bgp router-id {address}\n\
         bgp cluster-id {address}\n no bgp default ipv4-unicast\n"
    );
    for node in ENDPOINTS {
        text += &format!(" neighbor {node} remote-as 64512\n neighbor {node} timers connect 1\n");
    }
    text += " address-family l2vpn evpn\n";
    for node in ENDPOINTS {
        text += &format!("  neighbor {node} activate\n  neighbor {node} route-reflector-client\n");
    }
    text += &format!(
        "  advertise-all-vni\n  vni {RED_VNI}\n   route-target import 64512:1\n   route-target export 64512:1\n\
         exit-vni\n exit-address-family\nexit\n"
    );
    text
}
