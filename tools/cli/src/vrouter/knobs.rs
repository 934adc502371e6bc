//! What can be set, one line each.

use api::VrouterValue;

use super::Id;
use crate::options::Opt;

/// A setting.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Knob {
    FromVmMss,
    ToVmMss,
    FlowHoldLimit,
    MplsOverUdp,
    BurstTokens,
    BurstInterval,
    BurstStep,
    PriorityTagging,
    PacketDump,
    Gro,
    Segmentation,
    Pull,
    Spread1,
    Spread2,
    Spread3,
    UdpChecksum,
    Core1,
    Core2,
    Core3,
}

/// Where a setting exists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Platform {
    Any,
    Kernel,
    Dpdk,
}

/// All of a setting.
struct Facts {
    name: &'static str,
    value: VrouterValue,
    platform: Platform,
    argument: &'static str,
    help: &'static str,
}

impl Knob {
    pub(super) const fn option(self) -> Opt<Id> {
        let facts = self.facts();
        Opt::valued(Id::Set(self), facts.name, "", facts.argument, facts.help)
    }

    pub(super) const fn name(self) -> &'static str {
        self.facts().name
    }

    pub(super) const fn value(self) -> VrouterValue {
        self.facts().value
    }

    pub(super) const fn platform(self) -> Platform {
        self.facts().platform
    }

    const fn facts(self) -> Facts {
        use Platform::{Any, Kernel};
        let (name, value, platform, argument, help) = match self {
            Knob::FromVmMss => (
                "from_vm_mss_adj",
                VrouterValue::FromVmMssAdjust,
                Any,
                "0|1",
                "lower the MSS of TCP from workloads to what fits",
            ),
            Knob::ToVmMss => (
                "to_vm_mss_adj",
                VrouterValue::ToVmMssAdjust,
                Any,
                "0|1",
                "lower the MSS of TCP to workloads to what fits",
            ),
            Knob::FlowHoldLimit => {
                ("flow_hold_limit", VrouterValue::FlowHoldLimit, Any, "N", "most flows on hold")
            }
            Knob::MplsOverUdp => {
                ("mudp", VrouterValue::MplsOverUdp, Any, "0|1", "MPLS over UDP instead of GRE")
            }
            Knob::BurstTokens => {
                ("burst_tokens", VrouterValue::BurstTokens, Any, "N", "tokens for bursts of flows")
            }
            Knob::BurstInterval => {
                ("burst_interval", VrouterValue::BurstInterval, Any, "MS", "time between tokens")
            }
            Knob::BurstStep => {
                ("burst_step", VrouterValue::BurstStep, Any, "N", "tokens added at once")
            }
            Knob::PriorityTagging => (
                "set-priority-tagging",
                VrouterValue::PriorityTagging,
                Any,
                "0|1",
                "tag what leaves with its priority",
            ),
            Knob::PacketDump => {
                ("packet-dump", VrouterValue::PacketDump, Any, "0|1", "log packets")
            }
            Knob::Gro => ("perfr", VrouterValue::Gro, Kernel, "0|1", "merge packets"),
            Knob::Segmentation => {
                ("perfs", VrouterValue::Segmentation, Kernel, "0|1", "segment in software")
            }
            Knob::Pull => {
                ("perfp", VrouterValue::Perfp, Kernel, "0|1", "pull inner headers quickly")
            }
            Knob::Spread1 => {
                ("perfr1", VrouterValue::Perfr1, Kernel, "0|1", "spread by inner headers")
            }
            Knob::Spread2 => {
                ("perfr2", VrouterValue::Perfr2, Kernel, "0|1", "spread after merging")
            }
            Knob::Spread3 => ("perfr3", VrouterValue::Perfr3, Kernel, "0|1", "spread on reception"),
            Knob::UdpChecksum => (
                "udp_coff",
                VrouterValue::UdpChecksumOffload,
                Kernel,
                "0|1",
                "leave outer UDP checksums to the NIC",
            ),
            Knob::Core1 => ("perfq1", VrouterValue::Perfq1, Kernel, "CPU", "processor of perfr1"),
            Knob::Core2 => ("perfq2", VrouterValue::Perfq2, Kernel, "CPU", "processor of perfr2"),
            Knob::Core3 => ("perfq3", VrouterValue::Perfq3, Kernel, "CPU", "processor of perfr3"),
        };
        Facts { name, value, platform, argument, help }
    }
}
