//! The one list of drop reasons: it names counters, the enum and the rows of `dropstats` (reference dataplane.md
//! section 20 for the numbers, cli.md section 8.2 for labels and print order).

use serde::{Deserialize, Serialize};

macro_rules! reasons {
    ($($(#[$doc:meta])* $number:literal $variant:ident $name:literal $label:literal;)*) => {
        /// Why a packet was dropped. The discriminant is the counter's index: up to 54 the original's number, reasons of
        /// our own behind.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[$doc])* $variant = $number,)*
        }

        impl DropReason {
            /// Every reason, ascending by number.
            pub const ALL: &'static [DropReason] = &[$(DropReason::$variant,)*];

            /// The name `--show` and `--drop-type` take.
            pub const fn name(self) -> &'static str {
                match self { $(DropReason::$variant => $name,)* }
            }

            /// The row label of `dropstats`.
            pub const fn label(self) -> &'static str {
                match self { $(DropReason::$variant => $label,)* }
            }
        }
    };
}

reasons! {
    /// Not used.
    0 Invalid "VP_DROP_INVALID" "Invalid";
    /// Discard next hop.
    1 Discard "VP_DROP_DISCARD" "Discards";
    /// Packet too short.
    2 Pull "VP_DROP_PULL" "Pull Fails";
    /// Interface unknown or gone.
    3 InvalidIf "VP_DROP_INVALID_IF" "Invalid IF";
    /// Malformed or unhandled ARP (R21.4 on).
    4 InvalidArp "VP_DROP_INVALID_ARP" "Invalid ARP";
    /// Agent interface missing while trapping.
    5 TrapNoIf "VP_DROP_TRAP_NO_IF" "Trap No IF";
    /// Neither L2 nor L3 could handle it.
    6 NowhereToGo "VP_DROP_NOWHERE_TO_GO" "Nowhere to go";
    /// More than 3 packets queued on a held flow.
    7 FlowQueueLimitExceeded "VP_DROP_FLOW_QUEUE_LIMIT_EXCEEDED" "Flow Queue Limit Exceeded";
    /// No memory in flow processing.
    8 FlowNoMemory "VP_DROP_FLOW_NO_MEMORY" "Flow No Memory";
    /// Protocol unusable for flow.
    9 FlowInvalidProtocol "VP_DROP_FLOW_INVALID_PROTOCOL" "Flow Invalid Protocol";
    /// NAT flow without reverse flow.
    10 FlowNatNoRflow "VP_DROP_FLOW_NAT_NO_RFLOW" "Flow NAT no rflow";
    /// Flow action is drop.
    11 FlowActionDrop "VP_DROP_FLOW_ACTION_DROP" "Flow Action Drop";
    /// Unknown flow action.
    12 FlowActionInvalid "VP_DROP_FLOW_ACTION_INVALID" "Flow Action Invalid";
    /// Flow entry could not be used (hold limit).
    13 FlowUnusable "VP_DROP_FLOW_UNUSABLE" "Flow Unusable";
    /// No free slot for the key.
    14 FlowTableFull "VP_DROP_FLOW_TABLE_FULL" "Flow Table Full";
    /// Interface not ready to send.
    15 InterfaceTxDiscard "VP_DROP_INTERFACE_TX_DISCARD" "IF TX Discard";
    /// Dropped in the interface layer.
    16 InterfaceDrop "VP_DROP_INTERFACE_DROP" "IF Drop";
    /// Original of a duplicated packet.
    17 Duplicated "VP_DROP_DUPLICATED" "Duplicate";
    /// No head room.
    18 Push "VP_DROP_PUSH" "Push Fails";
    /// TTL reached 0.
    19 TtlExceeded "VP_DROP_TTL_EXCEEDED" "TTL Exceeded";
    /// Next hop missing or unusable.
    20 InvalidNh "VP_DROP_INVALID_NH" "Invalid NH";
    /// Label unknown.
    21 InvalidLabel "VP_DROP_INVALID_LABEL" "Invalid Label";
    /// Protocol not handled.
    22 InvalidProtocol "VP_DROP_INVALID_PROTOCOL" "Invalid Protocol";
    /// Interface not ready to receive.
    23 InterfaceRxDiscard "VP_DROP_INTERFACE_RX_DISCARD" "IF RX Discard";
    /// Source not in the multicast tree.
    24 InvalidMcastSource "VP_DROP_INVALID_MCAST_SOURCE" "Invalid Mcast Source";
    /// Header allocation.
    25 HeadAllocFail "VP_DROP_HEAD_ALLOC_FAIL" "Head Alloc Fails";
    /// Copy-on-write failed.
    26 PcowFail "VP_DROP_PCOW_FAIL" "PCOW fails";
    /// Multicast above MTU with DF.
    27 McastDfBit "VP_DROP_MCAST_DF_BIT" "Jumbo Mcast Pkt with DF Bit";
    /// Replication failed.
    28 McastCloneFail "VP_DROP_MCAST_CLONE_FAIL" "Mcast Clone Fail";
    /// Out of memory.
    29 NoMemory "VP_DROP_NO_MEMORY" "Memory Failures";
    /// L2 rewrite failed.
    30 RewriteFail "VP_DROP_REWRITE_FAIL" "Rewrite Fail";
    /// Other.
    31 Misc "VP_DROP_MISC" "Misc";
    /// Malformed packet.
    32 InvalidPacket "VP_DROP_INVALID_PACKET" "Invalid Packets";
    /// Bad checksum.
    33 CksumErr "VP_DROP_CKSUM_ERR" "Checksum errors";
    /// Forwarding metadata missing.
    34 NoFmd "VP_DROP_NO_FMD" "No Fmd";
    /// `--debug` only: original of a cloned packet.
    35 ClonedOriginal "VP_DROP_CLONED_ORIGINAL" "Cloned Original";
    /// VNI unknown.
    36 InvalidVnid "VP_DROP_INVALID_VNID" "Invalid VNID";
    /// Fragment handling.
    37 Fragments "VP_DROP_FRAGMENTS" "Fragment errors";
    /// RPF check failed.
    38 InvalidSource "VP_DROP_INVALID_SOURCE" "Invalid Source";
    /// Bridge lookup failed.
    39 L2NoRoute "VP_DROP_L2_NO_ROUTE" "No L2 Route";
    /// Fragment queue.
    40 FragmentQueueFail "VP_DROP_FRAGMENT_QUEUE_FAIL" "Fragment Queueing Failures";
    /// Dpdk platform only.
    41 VlanFwdTx "VP_DROP_VLAN_FWD_TX" "VLAN fwd intf failed TX";
    /// Dpdk platform only.
    42 VlanFwdEnq "VP_DROP_VLAN_FWD_ENQ" "VLAN fwd intf failed enq";
    /// Interface set to refuse new flows.
    43 NewFlows "VP_DROP_NEW_FLOWS" "New Flow Drops";
    /// Flow being evicted.
    44 FlowEvict "VP_DROP_FLOW_EVICT" "Flow Unusable (Eviction)";
    /// Original dropped because a copy was trapped.
    45 TrapOriginal "VP_DROP_TRAP_ORIGINAL" "Original Packet Trapped";
    /// E-tree rule.
    46 LeafToLeaf "VP_DROP_LEAF_TO_LEAF" "Etree Leaf to Leaf";
    /// PBB mismatch.
    47 BmacIsidMismatch "VP_DROP_BMAC_ISID_MISMATCH" "Bmac/ISID Mismatch";
    /// Packet came back.
    48 PktLoop "VP_DROP_PKT_LOOP" "Packet Loop";
    /// Encryption path missing.
    49 NoCryptPath "VP_DROP_NO_CRYPT_PATH" "No Encrypt Path Failures";
    /// Bad packet from host-based service.
    50 InvalidHbsPkt "VP_DROP_INVALID_HBS_PKT" "Invalid HBS received packet";
    /// Fragment entry missing.
    51 NoFragEntry "VP_DROP_NO_FRAG_ENTRY" "No Fragment Entries";
    /// ICMP error generation/handling.
    52 IcmpError "VP_DROP_ICMP_ERROR" "ICMP errors";
    /// Clone failed.
    53 CloneFail "VP_DROP_CLONE_FAIL" "Clone Failures";
    /// Underlay ECMP index invalid (R21.4 on).
    54 InvalidUnderlayEcmp "VP_DROP_INVALID_UNDERLAY_ECMP" "Invalid underlay ECMP";
    /// Broadcast or multicast above its interface's rate (ours, as are all from here on).
    55 StormBroadcast "VP_DROP_STORM_BROADCAST" "Broadcast Storm";
    /// Unknown unicast above its interface's rate.
    56 StormUnicast "VP_DROP_STORM_UNICAST" "Unknown Unicast Storm";
    /// ARP or neighbour discovery above its interface's rate.
    57 StormArp "VP_DROP_STORM_ARP" "ARP Storm";
    /// More for the agent than its interface's rate.
    58 StormPunt "VP_DROP_STORM_PUNT" "Punt Storm";
    /// Larger than its way carries, and not to be cut: the sender was told.
    59 TooBig "VP_DROP_TOO_BIG" "Packet Too Big";
    /// More packets to complain about than the interface's rate of ICMP errors.
    60 StormIcmp "VP_DROP_STORM_ICMP" "ICMP Error Storm";
}

impl DropReason {
    /// How many reasons there are: the length of a counter array.
    pub const COUNT: usize = DropReason::ALL.len();

    /// The counter index.
    #[inline]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_dense_and_in_order() {
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
        assert_eq!(DropReason::COUNT, 61);
    }
}
