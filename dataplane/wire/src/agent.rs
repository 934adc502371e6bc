//! The header of packets to and from the agent on pkt0 (reference dataplane.md section 19, sandesh.md section 9).

use zerocopy::byteorder::network_endian::{U16, U32};

use crate::header::header;

/// Commands of the agent header: 0 and 1 from the agent, the others (traps) to it.
pub mod agent_command {
    /// Send the frame out of the interface as it is.
    pub const SWITCH: u16 = 0;
    /// Treat the frame as received on the interface, in the VRF.
    pub const ROUTE: u16 = 1;
    /// An ARP message.
    pub const ARP: u16 = 2;
    /// Reached a next hop that leads to the agent.
    pub const NEXTHOP: u16 = 4;
    /// A neighbour to be resolved.
    pub const RESOLVE: u16 = 5;
    /// DHCP, IGMP, neighbour discovery and the like.
    pub const L3_PROTOCOLS: u16 = 7;
    /// The end of a diagnostic packet.
    pub const DIAG: u16 = 8;
    /// The first packet of a flow, which waits for a verdict.
    pub const FLOW_MISS: u16 = 6;
    /// Too big to forward, not to be fragmented.
    pub const HANDLE_DF: u16 = 11;
    /// TTL or hop limit ran out.
    pub const ZERO_TTL: u16 = 12;
    /// An ICMP error about a tunnel packet.
    pub const ICMP_ERROR: u16 = 13;
    /// As `L3_PROTOCOLS`, from behind a ToR switch.
    pub const TOR_CONTROL_PKT: u16 = 14;
    /// A packet of a flow that was decided to wait.
    pub const FLOW_ACTION_HOLD: u16 = 15;
    /// A tunnel packet with the router-alert bit.
    pub const ROUTER_ALERT: u16 = 16;
    /// A new station.
    pub const MAC_LEARN: u16 = 17;
    /// A station that moved.
    pub const MAC_MOVE: u16 = 18;
    /// A new (MAC, IP) binding.
    pub const MAC_IP_LEARNING: u16 = 19;
    /// BFD for the agent.
    pub const BFD: u16 = 20;
}

header!(
    /// The header between the Ethernet header of a pkt0 packet and the frame it is about.
    AgentHeader[30] {
        vif: U16,
        vrf: U16,
        command: U16,
        param: U32,
        param_1: U32,
        param_2: U32,
        param_3: U32,
        param_4: U32,
        param_5: u8,
        padding: [u8; 3],
    }
);

impl AgentHeader {
    /// A header with all parameters 0. `vif` and `vrf` are the indexes of an interface and a routing table, `command` is
    /// an [`agent_command`].
    pub fn new(vif: u16, vrf: u16, command: u16) -> Self {
        AgentHeader {
            vif: U16::new(vif),
            vrf: U16::new(vrf),
            command: U16::new(command),
            param: U32::ZERO,
            param_1: U32::ZERO,
            param_2: U32::ZERO,
            param_3: U32::ZERO,
            param_4: U32::ZERO,
            param_5: 0,
            padding: [0; 3],
        }
    }

    /// The same with the first two parameters.
    #[must_use]
    pub fn with_params(mut self, param: u32, param_1: u32) -> Self {
        self.param.set(param);
        self.param_1.set(param_1);
        self
    }

    /// The same with what is told of a flow: its index, the next hop of its key, packets and bytes (64 bits each, of which 40
    /// and 48 are told), and the generation of its slot.
    #[must_use]
    pub fn with_flow(
        mut self,
        index: u32,
        key_next_hop: u32,
        (packets, bytes): (u64, u64),
        generation: u8,
    ) -> Self {
        let low = |value: u64| u32::try_from(value & u64::from(u32::MAX)).unwrap_or(0);
        self.param.set(index);
        self.param_1.set(key_next_hop);
        self.param_2.set(low(bytes));
        self.param_3.set(low(packets));
        self.param_4.set(low(bytes >> 32 & 0xffff) | low(packets >> 32 & 0xff) << 16);
        self.param_5 = generation;
        self
    }

    /// The interface: received on (trap), send on or as if received on (inject).
    pub fn vif(&self) -> u16 {
        self.vif.get()
    }

    /// The routing table.
    pub fn vrf(&self) -> u16 {
        self.vrf.get()
    }

    /// The [`agent_command`].
    pub fn command(&self) -> u16 {
        self.command.get()
    }

    /// What the command means by its parameter.
    pub fn param(&self) -> u32 {
        self.param.get()
    }

    /// The second parameter.
    pub fn param_1(&self) -> u32 {
        self.param_1.get()
    }

    /// The sixth: the generation of a flow's slot.
    pub fn param_5(&self) -> u8 {
        self.param_5
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Recorded headers (`sandesh-vectors/packet-socket.json`): name, vif, VRF and command, parameters, the first bytes.
    type Vector = (&'static str, (u16, u16, u16), (u32, u32), [u8; 14]);
    const VECTORS: [Vector; 3] = [
        ("trap-l3-protocols", (3, 2, 7), (0, 0), [0, 3, 0, 2, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]),
        (
            "trap-handle-df",
            (3, 2, 11),
            (1400, 3388),
            [0, 3, 0, 2, 0, 11, 0, 0, 5, 0x78, 0, 0, 0x0d, 0x3c],
        ),
        ("inject-route-diag", (3, 2, 1), (1, 1), [0, 3, 0, 2, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]),
    ];

    #[test]
    fn recorded_headers_read_and_write_the_same_bytes() {
        for (name, (vif, vrf, command), (param, param_1), start) in VECTORS {
            let mut bytes = [0; 30];
            bytes[..14].copy_from_slice(&start);
            let made = AgentHeader::new(vif, vrf, command).with_params(param, param_1);
            assert_eq!(made.bytes(), bytes, "{name}");
            let (read, rest) = AgentHeader::parse(&bytes).unwrap();
            assert_eq!((read, rest), (&made, &[][..]), "{name}");
            assert_eq!((read.vif(), read.vrf(), read.command()), (vif, vrf, command), "{name}");
            assert_eq!((read.param(), read.param_1()), (param, param_1), "{name}");
        }
        assert!(AgentHeader::parse(&[0; 29]).is_none());
    }

    #[test]
    fn a_header_with_every_field_reads_as_recorded() {
        // trap-flow-miss.
        let bytes = [
            0, 3, 0, 2, 0, 6, 0, 0, 0x0d, 0x3c, 0, 0, 0, 0x14, 0, 0, 0, 0x1c, 0, 0, 0, 1, 0, 0, 0,
            0, 1, 0, 0, 0,
        ];
        let (read, _) = AgentHeader::parse(&bytes).unwrap();
        assert_eq!((read.vif(), read.vrf(), read.command()), (3, 2, 6));
        assert_eq!((read.param(), read.param_1()), (3388, 20));
        assert_eq!((read.param_2.get(), read.param_3.get()), (28, 1));
        assert_eq!((read.param_4.get(), read.param_5), (0, 1));
    }
}
