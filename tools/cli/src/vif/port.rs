//! `vif --get N --port`: what the port of an interface got from the kernel. Lines of our own, printed on demand only.

use api::{Backend, CopyMode, PortRow, PortState, XdpMode};

use super::render::INDENT;

/// Three lines, or one when there is no port.
pub(super) fn lines(port: Option<&PortRow>) -> String {
    let Some(port) = port else { return format!("{INDENT}Port:none\n") };
    let state = match &port.state {
        PortState::Up => "up".to_owned(),
        PortState::DeviceMissing => "device missing".to_owned(),
        PortState::Failed(words) => format!("failed ({words})"),
        PortState::None => "none".to_owned(),
    };
    let features =
        if port.features.is_empty() { "none".to_owned() } else { port.features.join(",") };
    let xdp = &port.xdp;
    format!(
        "{INDENT}Port:{} State:{state} Queues:{} Features:{features}\n\
         {INDENT}Port memory:{} frames:{}\n\
         {INDENT}XDP RX dropped:{} invalid:{} ring full:{} fill empty:{} TX invalid:{} ring empty:{}\n",
        backend(port.backend),
        port.queues,
        port.memory_bytes,
        port.frames_held,
        xdp.rx_dropped,
        xdp.rx_invalid_descriptors,
        xdp.rx_ring_full,
        xdp.rx_fill_ring_empty,
        xdp.tx_invalid_descriptors,
        xdp.tx_ring_empty,
    )
}

fn backend(backend: Backend) -> &'static str {
    match backend {
        Backend::None => "none",
        Backend::AfXdp { mode: XdpMode::Native, copy: CopyMode::ZeroCopy } => {
            "AF_XDP native zero-copy"
        }
        Backend::AfXdp { mode: XdpMode::Native, copy: CopyMode::Copy } => "AF_XDP native copy",
        Backend::AfXdp { mode: XdpMode::Generic, copy: CopyMode::ZeroCopy } => {
            "AF_XDP generic zero-copy"
        }
        Backend::AfXdp { mode: XdpMode::Generic, copy: CopyMode::Copy } => "AF_XDP generic copy",
        Backend::Tap => "TAP",
        Backend::VhostUser => "vhost-user",
        Backend::Memory => "memory",
        Backend::Pcap => "pcap",
        Backend::Socket => "UNIX socket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::XdpStatistics;

    #[test]
    fn mode_state_and_statistics_are_told() {
        let port = PortRow {
            state: PortState::Up,
            backend: Backend::AfXdp { mode: XdpMode::Native, copy: CopyMode::Copy },
            queues: 1,
            features: vec!["need_wakeup".to_owned(), "shared_umem".to_owned()],
            memory_bytes: 786_432,
            frames_held: 512,
            xdp: XdpStatistics { rx_fill_ring_empty: 3, ..XdpStatistics::default() },
        };
        assert_eq!(
            lines(Some(&port)),
            "            Port:AF_XDP native copy State:up Queues:1 Features:need_wakeup,shared_umem\n            \
             Port memory:786432 frames:512\n            \
             XDP RX dropped:0 invalid:0 ring full:0 fill empty:3 TX invalid:0 ring empty:0\n"
        );
        assert_eq!(lines(None), "            Port:none\n");
    }
}
