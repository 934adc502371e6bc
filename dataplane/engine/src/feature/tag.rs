//! One 802.1Q tag on, off, or its priority rewritten.

use port::Frame;
use tables::DropReason;
use wire::{Ethernet, VlanTag, ethertype};

/// Bytes of the two MACs in front of a tag.
const MACS: usize = 12;

/// The outermost tag of a frame: VLAN id (0 for a priority tag) and priority.
pub(crate) fn outer(data: &[u8]) -> Option<(u16, u8)> {
    let (header, rest) = Ethernet::parse(data)?;
    if !matches!(header.ethertype(), ethertype::VLAN | ethertype::SERVICE_VLAN) {
        return None;
    }
    VlanTag::parse(rest).map(|(tag, _)| (tag.id(), tag.priority()))
}

/// Takes the outermost tag off.
///
/// # Errors
/// `Pull` when the frame ends within it.
pub(super) fn pop(frame: &mut Frame) -> Result<(), DropReason> {
    let data = frame.data_mut();
    if data.len() < Ethernet::LEN + VlanTag::LEN {
        return Err(DropReason::Pull);
    }
    data.copy_within(..MACS, VlanTag::LEN);
    frame.pull(VlanTag::LEN).map_err(|_| DropReason::Pull)
}

/// Puts a tag on, outside of those the frame has.
///
/// # Errors
/// `Push` when there is no room.
pub(super) fn push(frame: &mut Frame, vlan: u16, priority: u8) -> Result<(), DropReason> {
    let none = DropReason::Push;
    frame.push(VlanTag::LEN).map_err(|_| none)?;
    let data = frame.data_mut();
    if data.len() < Ethernet::LEN + VlanTag::LEN {
        return Err(none);
    }
    data.copy_within(VlanTag::LEN..VlanTag::LEN + MACS, 0);
    // The tag's word lies behind its own EtherType and in front of the one that was the frame's.
    let (_, rest) = data.split_at_mut_checked(MACS).ok_or(none)?;
    let (own, rest) = rest.split_first_chunk_mut::<2>().ok_or(none)?;
    *own = ethertype::VLAN.to_be_bytes();
    let (tag, _) = VlanTag::parse_mut(rest).ok_or(none)?;
    let behind = tag.ethertype();
    *tag = VlanTag::new(priority, vlan, behind);
    Ok(())
}

/// Sets the priority of the outermost tag, if there is one.
pub(super) fn set_priority(frame: &mut Frame, priority: u8) {
    if outer(frame.data()).is_some()
        && let Some((_, rest)) = Ethernet::parse_mut(frame.data_mut())
        && let Some((tag, _)) = VlanTag::parse_mut(rest)
    {
        tag.set_priority(priority);
    }
}
