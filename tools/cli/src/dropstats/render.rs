//! The text of drop counters, also used by `vif --get N --get-drop-stats`.

use api::{Core, DropReason, DropStats};

use crate::options::Layout;

/// The order in which counters are printed (reference cli.md section 8.2).
const ORDER: &[DropReason] = &[
    DropReason::InvalidIf,
    DropReason::InvalidArp,
    DropReason::TrapNoIf,
    DropReason::InterfaceTxDiscard,
    DropReason::InterfaceDrop,
    DropReason::InterfaceRxDiscard,
    DropReason::FlowUnusable,
    DropReason::FlowNoMemory,
    DropReason::FlowTableFull,
    DropReason::FlowNatNoRflow,
    DropReason::FlowActionDrop,
    DropReason::FlowActionInvalid,
    DropReason::FlowInvalidProtocol,
    DropReason::FlowQueueLimitExceeded,
    DropReason::NewFlows,
    DropReason::FlowEvict,
    DropReason::TrapOriginal,
    DropReason::Discard,
    DropReason::TtlExceeded,
    DropReason::McastCloneFail,
    DropReason::InvalidNh,
    DropReason::InvalidLabel,
    DropReason::InvalidProtocol,
    DropReason::LeafToLeaf,
    DropReason::BmacIsidMismatch,
    DropReason::RewriteFail,
    DropReason::InvalidMcastSource,
    DropReason::PktLoop,
    DropReason::Push,
    DropReason::Pull,
    DropReason::Duplicated,
    DropReason::HeadAllocFail,
    DropReason::PcowFail,
    DropReason::InvalidPacket,
    DropReason::Misc,
    DropReason::NowhereToGo,
    DropReason::CksumErr,
    DropReason::NoFmd,
    DropReason::InvalidVnid,
    DropReason::Fragments,
    DropReason::InvalidSource,
    DropReason::McastDfBit,
    DropReason::L2NoRoute,
    DropReason::NoMemory,
    DropReason::FragmentQueueFail,
    DropReason::NoCryptPath,
    DropReason::InvalidHbsPkt,
    DropReason::NoFragEntry,
    DropReason::IcmpError,
    DropReason::CloneFail,
    DropReason::InvalidUnderlayEcmp,
];

/// Printed behind them in the dpdk layout.
const DPDK_ONLY: &[DropReason] = &[DropReason::VlanFwdTx, DropReason::VlanFwdEnq];

/// Reasons the original does not have, behind all of its own.
const OURS: &[DropReason] = &[
    DropReason::StormBroadcast,
    DropReason::StormUnicast,
    DropReason::StormArp,
    DropReason::StormPunt,
    DropReason::TooBig,
    DropReason::StormIcmp,
];

/// The counters that are not zero.
pub(crate) fn counters(stats: &DropStats, layout: Layout) -> String {
    let own = if layout == Layout::Dpdk { DPDK_ONLY } else { &[] };
    let reasons = ORDER.iter().chain(own).chain(OURS).filter(|reason| stats.count(**reason) > 0);
    reasons.map(|reason| counter(*reason, stats)).collect()
}

/// One counter, zero or not.
pub(crate) fn counter(reason: DropReason, stats: &DropStats) -> String {
    format!("{:<28}  {}\n", reason.label(), stats.count(reason))
}

/// What is said before the counters of one core.
pub(crate) fn core_title(core: Core) -> String {
    format!("Statistics for core {}\n\n", core.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_place_but_the_unused_and_the_debugged() {
        for reason in DropReason::ALL {
            let all = ORDER.iter().chain(DPDK_ONLY).chain(OURS);
            let places = all.filter(|other| *other == reason).count();
            let hidden = matches!(reason, DropReason::Invalid | DropReason::ClonedOriginal);
            assert_eq!(places, usize::from(!hidden), "{reason:?}");
        }
    }
}
