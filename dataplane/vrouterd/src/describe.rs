//! Text about workers and uplinks, composed here and passed through by `vrinfo` and `dpdkinfo` (reference cli.md
//! section 15).

use std::fmt::Write;

use api::Description;

use crate::server::Server;

/// The first forwarding core of the original: scripts count from here.
const FIRST_LCORE: usize = 10;
const RULE: &str = "---------------------------------------------------------------------";

impl Server {
    /// A text, with its last line end.
    pub(crate) fn describe(&self, what: Description) -> String {
        match what {
            Description::Version => format!("Kernel version: {}\n\n", self.build_text()),
            Description::EngineVersion => format!(
                "DPDK Version: none, AF_XDP on Linux {}\nvRouter version: {}\n\n",
                self.facts.kernel_release,
                self.build_text()
            ),
            Description::Lcores => self.lcores(),
            Description::EthernetStatistics => self.ethernet_statistics(),
        }
    }

    fn build_text(&self) -> String {
        format!("{{\"build-info\": [{{\"build-version\": \"{}\"}}]}}", env!("CARGO_PKG_VERSION"))
    }

    fn lcores(&self) -> String {
        let queues = self.ports.queues();
        let workers = self.facts.cores.len();
        let mut text = format!("No. of forwarding lcores: {workers} \n\n");
        for worker in 0..workers {
            let _ = writeln!(text, "Lcore {}: ", FIRST_LCORE + worker);
            for (_, device, queue) in queues.iter().filter(|(on, ..)| *on == worker) {
                let _ = writeln!(text, "\tInterface: {device:<20} Queue ID: {queue} ");
            }
            text.push('\n');
        }
        text
    }

    fn ethernet_statistics(&self) -> String {
        let counters = self.ports.counters();
        let mut text = String::new();
        for (vif, index) in self.ports.uplinks() {
            let Some(link) = self.links.get(index) else { continue };
            let all = counters.vif(vif);
            let _ = write!(
                text,
                "No. of bond ids: 1\nMaster {} Info: No. of slaves: 0\n\
                 ============================================\n\
                 RX Device Packets:{}, Bytes:{}, Errors:{}, Nombufs:0\nDropped RX Packets:0\n\
                 TX Device Packets:{}, Bytes:{}, Errors:{}\n",
                link.name,
                all.rx_packets,
                all.rx_bytes,
                all.rx_errors,
                all.tx_packets,
                all.tx_bytes,
                all.tx_errors
            );
            let by_worker = |count: &dyn Fn(usize) -> u64| -> String {
                let counted = (0..self.facts.cores.len()).map(|worker| (worker, count(worker)));
                let counted = counted.filter(|(_, count)| *count != 0);
                counted.map(|(worker, count)| format!("[{worker}]{count} ")).collect()
            };
            let on = |worker| counters.vif_on(worker, vif);
            let _ = write!(
                text,
                "Queue Rx: {}\n      Tx: {}\n      Rx Bytes: {}\n      Tx Bytes: {}\n      Errors:{}\n{RULE}\n\n",
                by_worker(&|worker| on(worker).rx_packets),
                by_worker(&|worker| on(worker).tx_packets),
                by_worker(&|worker| on(worker).rx_bytes),
                by_worker(&|worker| on(worker).tx_bytes),
                by_worker(&|worker| on(worker).rx_errors),
            );
        }
        text
    }
}
