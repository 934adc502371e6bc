//! A capture on an interface, judged by tshark's decoder.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rustix::process::Signal;

use crate::program::{Background, output};
use crate::{Encapsulation, Namespace, until};

/// A running capture.
#[derive(Debug)]
pub struct Capture {
    tshark: Background,
    file: PathBuf,
}

/// What tshark decoded of a frame on the underlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The tunnel it is in, if any.
    pub encapsulation: Option<Encapsulation>,
    /// Outer source address.
    pub source: String,
    /// Outer destination address.
    pub destination: String,
    /// Outer UDP source port, for the encapsulations over UDP.
    pub source_port: Option<u16>,
    /// MPLS label or VNI.
    pub label: Option<u32>,
    /// Inner source address, if there is an IP packet inside.
    pub inner_source: String,
    /// Inner destination address.
    pub inner_destination: String,
    /// The EtherTypes, outermost first.
    pub ethertypes: Vec<u16>,
}

impl Capture {
    /// Starts to capture on an interface of a namespace, and waits until it does.
    ///
    /// # Errors
    /// When tshark does not start.
    pub fn start(namespace: &Namespace, device: &str, file: &Path) -> Result<Capture> {
        let log = file.with_extension("log");
        fs::remove_file(file).ok();
        fs::write(&log, "")?;
        let path = file.display().to_string();
        let tshark = namespace.start(
            Path::new("tshark"),
            &["-n", "-q", "-l", "-i", device, "-w", &path],
            &log,
        )?;
        until("tshark to capture", Duration::from_secs(20), || {
            // The file exists once the capture child has opened the interface.
            let opened = fs::metadata(file).is_ok_and(|meta| meta.len() > 0);
            (opened && fs::read_to_string(&log).ok()?.contains("Capturing on")).then_some(())
        })?;
        Ok(Capture { tshark, file: file.to_owned() })
    }

    /// Ends the capture and decodes it: the frames that `filter` (tshark's display filter) leaves.
    ///
    /// # Errors
    /// When tshark fails.
    pub fn finish(self, filter: &str) -> Result<Vec<Packet>> {
        let file = self.end()?;
        decode(&file, filter, &[])
    }

    /// Ends the capture and has every checksum in it verified: how many packets `filter` leaves, and what tshark says of
    /// those with a wrong checksum of IPv4, TCP, UDP, ICMP or ICMPv6, tunnelled ones included.
    ///
    /// # Errors
    /// When tshark fails.
    pub fn finish_checksums(self, filter: &str) -> Result<(usize, String)> {
        let file = self.end()?.display().to_string();
        let mut verify = vec!["-n", "-r", &file];
        for option in
            ["ip.check_checksum:TRUE", "tcp.check_checksum:TRUE", "udp.check_checksum:TRUE"]
        {
            verify.extend(["-o", option]);
        }
        let lines = |filter: &str| output("tshark", &[&verify[..], &["-Y", filter]].concat());
        // A sum of zero is written as 0xffff by Linux and by us, in TCP too, where tshark wants 0: both verify.
        const BAD: &str = "any ip.checksum.status == 0 or (any tcp.checksum.status == 0 and not tcp.checksum == 0xffff) or \
            any udp.checksum.status == 0 or any icmp.checksum.status == 0 or \
            any icmpv6.checksum.status == 0";
        Ok((lines(filter)?.lines().count(), lines(&format!("({filter}) and ({BAD})"))?))
    }

    /// As [`Capture::finish`] for tunnels to `receivers`: each one's endpoint, and the labels under which it takes Ethernet frames. A
    /// label means what its receiver says, so each one's packets are decoded apart.
    ///
    /// # Errors
    /// When tshark fails.
    pub fn finish_tunnels(self, receivers: &[(&str, Vec<u32>)]) -> Result<Vec<Packet>> {
        let file = self.end()?;
        let mut all = Vec::new();
        for (endpoint, frames) in receivers {
            let family = if endpoint.contains(':') { "ipv6" } else { "ip" };
            let filter = format!("(gre or mpls or vxlan) and {family}.dst == {endpoint}");
            all.extend(decode(&file, &filter, frames)?);
        }
        Ok(all)
    }

    fn end(self) -> Result<PathBuf> {
        let Capture { mut tshark, file } = self;
        tshark.signal(Signal::INT)?;
        tshark.wait(Duration::from_secs(20))?;
        Ok(file)
    }
}

const FIELDS: &[&str] = &[
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "udp.srcport",
    "mpls.label",
    "vxlan.vni",
    "ipv6.src",
    "ipv6.dst",
    "eth.type",
];

fn decode(file: &Path, filter: &str, frames: &[u32]) -> Result<Vec<Packet>> {
    let path = file.display().to_string();
    let mut arguments = vec!["-n", "-r", &path, "-Y", filter, "-T", "fields", "-E", "separator=|"];
    for field in FIELDS {
        arguments.extend(["-e", field]);
    }
    let ethernet: Vec<String> =
        frames.iter().map(|label| format!("mpls.label=={label},pwethnocw")).collect();
    for rule in &ethernet {
        arguments.extend(["-d", rule]);
    }
    let text = output("tshark", &arguments)?;
    Ok(text.lines().map(packet).collect())
}

fn packet(line: &str) -> Packet {
    let columns: Vec<&str> = line.split('|').collect();
    let column = |index: usize| columns.get(index).copied().unwrap_or_default();
    let first = |index: usize| column(index).split(',').next().unwrap_or_default().to_owned();
    let last = |index: usize| column(index).rsplit(',').next().unwrap_or_default().to_owned();
    let protocols = format!(":{}:", column(0));
    let encapsulation = if protocols.contains(":gre:mpls:") {
        Some(Encapsulation::MplsOverGre)
    } else if protocols.contains(":udp:mpls:") {
        Some(Encapsulation::MplsOverUdp)
    } else if protocols.contains(":vxlan:") {
        Some(Encapsulation::Vxlan)
    } else {
        None
    };
    // Addresses of either family stand in columns of their own, outermost first.
    let mut headers = column(0).split(':').filter(|name| matches!(*name, "ip" | "ipv6"));
    let columns_of = |header: Option<&str>| if header == Some("ipv6") { (6, 7) } else { (1, 2) };
    let outer = headers.next();
    let (source, destination) = columns_of(outer);
    let (inner_source, inner_destination) = columns_of(headers.next_back().or(outer));
    let label = first(if encapsulation == Some(Encapsulation::Vxlan) { 5 } else { 4 });
    let hex = |word: &str| u16::from_str_radix(word.trim_start_matches("0x"), 16).ok();
    Packet {
        encapsulation,
        source: first(source),
        destination: first(destination),
        source_port: first(3).parse().ok(),
        label: label.parse().ok(),
        inner_source: last(inner_source),
        inner_destination: last(inner_destination),
        ethertypes: column(8).split(',').filter_map(hex).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_tshark_becomes_a_packet() {
        let line = "eth:ethertype:ip:udp:mpls:ip:icmp:data|192.0.2.1,10.0.0.1|192.0.2.2,10.0.0.2|50000|17|";
        let p = packet(line);
        assert_eq!(p.encapsulation, Some(Encapsulation::MplsOverUdp));
        assert_eq!((p.source.as_str(), p.inner_source.as_str()), ("192.0.2.1", "10.0.0.1"));
        assert_eq!((p.source_port, p.label), (Some(50000), Some(17)));
        let line = "eth:ethertype:ip:udp:vxlan:eth:ethertype:ip:tcp|192.0.2.1,10.0.0.1|192.0.2.2,10.0.0.2|50000||5001";
        assert_eq!(packet(line).label, Some(5001));
        let line = "eth:ethertype:ipv6:udp:mpls:ip:tcp|10.0.0.1|10.0.0.2|50000|17||2001:db8::1|2001:db8::2|0x86dd";
        let p = packet(line);
        assert_eq!((p.source.as_str(), p.inner_source.as_str()), ("2001:db8::1", "10.0.0.1"));
        assert_eq!(p.ethertypes, [0x86dd]);
        let line = "eth:ethertype:ip:gre:mpls:ipv6:tcp|192.0.2.1|192.0.2.2||17||2001:db8::1|2001:db8::2|0x0800";
        let p = packet(line);
        assert_eq!((p.source.as_str(), p.inner_destination.as_str()), ("192.0.2.1", "2001:db8::2"));
    }
}
