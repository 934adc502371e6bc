//! The command line: raw flags, checked once into [`Options`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::Parser;
use engine::{DscpMode, FlowLimits, MssClamp, Rate, Settings, StormLimits};

use crate::export::Collector;

/// The vRouter's forwarding engine: pinned poll-mode workers on AF_XDP, and the control socket they are told by.
#[derive(Debug, Parser)]
#[command(name = "vrouterd", version, about, max_term_width = 100)]
pub(crate) struct Options {
    /// Directory of the control socket; made if it is missing.
    #[arg(long, env = "VROUTER_SOCK_DIR", default_value = "/run/vrouter", value_name = "DIR")]
    pub(crate) sock_dir: PathBuf,

    /// Number of workers (threads that move packets).
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) workers: u16,

    /// Cores to pin the workers to, as `2,3` or `4-7`; by default the last ones this process may use.
    #[arg(long, value_name = "LIST")]
    pub(crate) cores: Option<CoreList>,

    /// Never sleep: each worker keeps its core busy even without traffic.
    #[arg(long)]
    pub(crate) busy: bool,

    /// Packet buffers of 2048 bytes in the shared pool.
    #[arg(long, default_value_t = 32_768, value_name = "N", value_parser = clap::value_parser!(u32).range(4096..=4_194_304))]
    pub(crate) frames: u32,

    /// Packet buffers of 64 KiB, for packets larger than 1792 bytes and trains of segments; 0: all those are dropped.
    #[arg(long, default_value_t = 256, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub(crate) large_frames: u32,

    /// Sessions that can be remembered (each has two flows).
    #[arg(long, default_value_t = 262_144, value_name = "N", value_parser = clap::value_parser!(u32).range(64..=16_777_216))]
    pub(crate) sessions: u32,

    /// Sessions a second that one interface may begin on one worker, where its own settings do not say; 0: no limit.
    #[arg(long, default_value_t = 50_000, value_name = "RATE")]
    pub(crate) session_rate: u32,

    /// Tell this collector of all sessions by IPFIX over UDP, as 192.0.2.9:4739 or [2001:db8::9]:4739.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) ipfix: Option<SocketAddr>,

    /// Seconds between records of a session that goes on.
    #[arg(long, default_value_t = 60, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub(crate) ipfix_interval: u32,

    /// Private enterprise number under which rules are told: element 1 the network's, 2 the group's, 16 bytes each.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) ipfix_enterprise: Option<u32>,

    /// Refuse to start unless this device exists.
    #[arg(long, value_name = "NAME")]
    pub(crate) uplink: Option<String>,

    /// Keep tunnel neighbours resolved by probing them, as on kernels without managed neighbour entries.
    #[arg(long)]
    pub(crate) probe_neighbors: bool,

    /// Broadcast and multicast frames a second that one interface may send; 0: as many as there are.
    #[arg(long, default_value_t = 10_000, value_name = "RATE")]
    pub(crate) storm_broadcast: u32,

    /// Frames a second to unknown stations that one interface may send; 0: as many as there are.
    #[arg(long, default_value_t = 10_000, value_name = "RATE")]
    pub(crate) storm_unicast: u32,

    /// ARP and neighbour discovery packets a second that one interface may send; 0: as many as there are.
    #[arg(long, default_value_t = 1000, value_name = "RATE")]
    pub(crate) storm_arp: u32,

    /// Packets a second for the agent that one interface may cause; 0: as many as there are.
    #[arg(long, default_value_t = 1000, value_name = "RATE")]
    pub(crate) storm_punt: u32,

    /// ICMP errors a second about packets of one interface's workload; 0: as many as there are.
    #[arg(long, default_value_t = 100, value_name = "RATE")]
    pub(crate) storm_icmp: u32,

    /// Which TCP connections are told at their beginning what fits into a tunnel.
    #[arg(long, value_enum, default_value_t = Clamp::Both, value_name = "WHICH")]
    pub(crate) mss_clamp: Clamp,

    /// Stations a second that one interface may bring to be learnt, where it learns; 0: as many as there are.
    #[arg(long, default_value_t = 1000, value_name = "RATE")]
    pub(crate) storm_learn: u32,

    /// Seconds after which a learnt station that is not heard is forgotten; 0: never.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    pub(crate) mac_aging: u32,

    /// DSCP of tunnels: `pipe`, by the packet's class and ending with the tunnel, or `uniform`, that of the packet both ways.
    #[arg(long, default_value = "pipe", value_name = "MODE", value_parser = parse_dscp)]
    pub(crate) dscp: DscpMode,

    /// What to log on stderr, as `info` or `vrouterd=debug`; `RUST_LOG` says the same.
    #[arg(long, env = "RUST_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

impl Options {
    /// What the workers are told.
    pub(crate) fn settings(&self) -> Settings {
        let mss = match self.mss_clamp {
            Clamp::Both => MssClamp::Both,
            Clamp::FromWorkloads => MssClamp::FromWorkloads,
            Clamp::ToWorkloads => MssClamp::ToWorkloads,
            Clamp::Off => MssClamp::Off,
        };
        Settings { storms: self.storm_limits(), mss, dscp: self.dscp }
    }

    /// Whom to tell of sessions.
    pub(crate) fn collector(&self) -> Option<Collector> {
        let interval = Duration::from_secs(self.ipfix_interval.into());
        let enterprise = self.ipfix_enterprise;
        self.ipfix.map(|address| Collector { address, interval, enterprise })
    }

    /// How much of the flow table one interface may have.
    pub(crate) fn flow_limits(&self) -> FlowLimits {
        let rate = Rate { per_second: self.session_rate, burst: self.session_rate };
        FlowLimits { rate, ..FlowLimits::default() }
    }

    fn storm_limits(&self) -> StormLimits {
        StormLimits {
            broadcast: Rate::per_second(self.storm_broadcast),
            unknown_unicast: Rate::per_second(self.storm_unicast),
            arp: Rate::per_second(self.storm_arp),
            punt: Rate::per_second(self.storm_punt),
            icmp: Rate::per_second(self.storm_icmp),
            learn: Rate::per_second(self.storm_learn),
        }
    }
}

/// The directions of [`MssClamp`] by their names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Clamp {
    /// Into tunnels and out of them.
    Both,
    /// Into tunnels.
    FromWorkloads,
    /// Out of tunnels.
    ToWorkloads,
    /// None.
    Off,
}

fn parse_dscp(text: &str) -> Result<DscpMode, String> {
    match text {
        "pipe" => Ok(DscpMode::Pipe),
        "uniform" => Ok(DscpMode::Uniform),
        _ => Err("must be `pipe` or `uniform`".to_owned()),
    }
}

/// CPU numbers, in the order given, without duplicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CoreList(pub(crate) Vec<usize>);

impl FromStr for CoreList {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut cores = Vec::new();
        for part in text.split(',') {
            for core in parse_range(part.trim())? {
                if cores.contains(&core) {
                    return Err(format!("core {core} is named twice"));
                }
                cores.push(core);
            }
        }
        Ok(CoreList(cores))
    }
}

/// The highest CPU number taken; the kernel's own limit is 8192.
const MAX_CORE: usize = 8191;

fn parse_range(part: &str) -> Result<std::ops::RangeInclusive<usize>, String> {
    let number = |text: &str| {
        text.parse::<usize>()
            .ok()
            .filter(|&core| core <= MAX_CORE)
            .ok_or_else(|| format!("`{text}` is not a core number (0 to {MAX_CORE})"))
    };
    let (first, last) = match part.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        None => (number(part)?, number(part)?),
    };
    if first > last { Err(format!("`{part}` runs backwards")) } else { Ok(first..=last) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn core_lists_take_numbers_and_ranges() {
        assert_eq!("3".parse(), Ok(CoreList(vec![3])));
        assert_eq!("0,4-6".parse(), Ok(CoreList(vec![0, 4, 5, 6])));
    }

    #[test]
    fn core_lists_refuse_what_is_not_one() {
        for text in ["", "a", "1,", "3-1", "1,1", "0-2,1", "9000"] {
            assert!(text.parse::<CoreList>().is_err(), "{text}");
        }
    }

    #[test]
    fn settings_are_the_engines_unless_given() {
        let parse = |args: &[&str]| Options::parse_from([&["vrouterd"], args].concat());
        assert_eq!(parse(&[]).settings(), Settings::default());
        assert_eq!(parse(&["--mss-clamp", "to-workloads"]).settings().mss, MssClamp::ToWorkloads);
        let limits = parse(&["--storm-arp", "50", "--storm-punt", "0"]).settings().storms;
        assert_eq!(limits.arp, Rate { per_second: 50, burst: 10 });
        assert_eq!(limits.punt.per_second, 0);
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Options::command().debug_assert();
    }
}
