//! Ethernet II and 802.1Q tags.

use zerocopy::byteorder::network_endian::U16;

use crate::Mac;
use crate::header::header;

/// EtherType numbers the vRouter acts on.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// 802.1Q tag.
    pub const VLAN: u16 = 0x8100;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// 802.1ad service tag.
    pub const SERVICE_VLAN: u16 = 0x88a8;
    /// MPLS unicast.
    pub const MPLS: u16 = 0x8847;
}

header!(
    /// An Ethernet II header, without tags.
    Ethernet[14] {
        destination: [u8; 6],
        source: [u8; 6],
        ethertype: U16,
    }
);

impl Ethernet {
    /// A header from its three fields.
    pub fn new(destination: Mac, source: Mac, ethertype: u16) -> Self {
        Ethernet { destination: destination.0, source: source.0, ethertype: U16::new(ethertype) }
    }

    /// Whom the frame is for.
    #[inline]
    pub fn destination(&self) -> Mac {
        Mac(self.destination)
    }

    /// Who sent it.
    #[inline]
    pub fn source(&self) -> Mac {
        Mac(self.source)
    }

    /// What follows: an [`ethertype`] (or a length below 0x600).
    #[inline]
    pub fn ethertype(&self) -> u16 {
        self.ethertype.get()
    }

    /// Readdresses the frame.
    #[inline]
    pub fn set_destination(&mut self, mac: Mac) {
        self.destination = mac.0;
    }

    /// Sets the sender.
    #[inline]
    pub fn set_source(&mut self, mac: Mac) {
        self.source = mac.0;
    }

    /// Sets what follows.
    #[inline]
    pub fn set_ethertype(&mut self, ethertype: u16) {
        self.ethertype = U16::new(ethertype);
    }
}

header!(
    /// An 802.1Q tag as it lies behind the two MACs' EtherType: the tag's word, then the next EtherType.
    VlanTag[4] {
        control: U16,
        ethertype: U16,
    }
);

impl VlanTag {
    /// A tag with priority (0 to 7) and VLAN id (12 bits); higher bits are cut off.
    pub fn new(priority: u8, id: u16, ethertype: u16) -> Self {
        let control = u16::from(priority & 7) << 13 | id & 0x0fff;
        VlanTag { control: U16::new(control), ethertype: U16::new(ethertype) }
    }

    /// VLAN id, 0 for a priority tag.
    #[inline]
    pub fn id(&self) -> u16 {
        self.control.get() & 0x0fff
    }

    /// 802.1p priority.
    #[inline]
    pub fn priority(&self) -> u8 {
        (self.control.get() >> 13) as u8
    }

    /// Sets the 802.1p priority, 0 to 7.
    pub fn set_priority(&mut self, priority: u8) {
        self.control.set(self.control.get() & 0x1fff | u16::from(priority & 7) << 13);
    }

    /// What follows the tag.
    #[inline]
    pub fn ethertype(&self) -> u16 {
        self.ethertype.get()
    }
}

/// What lies behind the Ethernet header and its tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetPayload {
    /// The EtherType behind the last tag looked at.
    pub ethertype: u16,
    /// Where the payload starts, from the start of the frame.
    pub offset: usize,
    /// The outermost tag's VLAN id; a priority tag (id 0) is untagged.
    pub vlan: Option<u16>,
}

/// How many stacked tags are looked through; deeper ones are payload.
pub const MAX_TAGS: usize = 3;

/// Walks the tags of a frame. `None` when the frame ends inside the header or a tag.
#[inline]
pub fn ethernet_payload(frame: &[u8]) -> Option<EthernetPayload> {
    let (header, rest) = Ethernet::parse(frame)?;
    let ethertype = header.ethertype();
    if matches!(ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN) {
        return walk_tags(rest, ethertype);
    }
    Some(EthernetPayload { ethertype, offset: Ethernet::LEN, vlan: None })
}

#[cold]
fn walk_tags(mut rest: &[u8], ethertype: u16) -> Option<EthernetPayload> {
    let mut found = EthernetPayload { ethertype, offset: Ethernet::LEN, vlan: None };
    for depth in 0..MAX_TAGS {
        if !matches!(found.ethertype, ethertype::VLAN | ethertype::SERVICE_VLAN) {
            break;
        }
        let (tag, behind) = VlanTag::parse(rest)?;
        if depth == 0 && tag.id() != 0 {
            found.vlan = Some(tag.id());
        }
        found.ethertype = tag.ethertype();
        found.offset += VlanTag::LEN;
        rest = behind;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 22] = [
        0x02, 0, 0, 0, 0xa1, 0x03, 0x02, 0, 0, 0, 0xa1, 0x04, 0x81, 0x00, 0x60, 0x0d, 0x81, 0x00,
        0x00, 0x0a, 0x08, 0x00,
    ];

    #[test]
    fn a_header_reads_and_writes_the_same_bytes() {
        let (header, rest) = Ethernet::parse(&FRAME).unwrap();
        assert_eq!(header.destination().to_string(), "02:00:00:00:a1:03");
        assert_eq!(header.source().to_string(), "02:00:00:00:a1:04");
        assert_eq!(header.ethertype(), ethertype::VLAN);
        let (tag, _) = VlanTag::parse(rest).unwrap();
        assert_eq!((tag.id(), tag.priority(), tag.ethertype()), (13, 3, ethertype::VLAN));

        let mut out = [0xa5; 18];
        Ethernet::new(header.destination(), header.source(), ethertype::VLAN)
            .emit(&mut out)
            .unwrap();
        VlanTag::new(3, 13, ethertype::VLAN).emit(&mut out[14..]).unwrap();
        assert_eq!(out, FRAME[..18]);
        assert!(header.emit(&mut [0; 13]).is_none());
    }

    #[test]
    fn setters_touch_their_own_field_only() {
        let mut bytes = FRAME;
        let (header, _) = Ethernet::parse_mut(&mut bytes).unwrap();
        header.set_destination(Mac::GATEWAY);
        header.set_source(Mac::BROADCAST);
        header.set_ethertype(ethertype::ARP);
        assert_eq!(bytes[..14], [0, 0, 0x5e, 0, 1, 0, 255, 255, 255, 255, 255, 255, 8, 6]);
        assert_eq!(bytes[14..], FRAME[14..]);
    }

    #[test]
    fn tags_are_walked_outermost_first_and_cut_frames_refused() {
        let found = ethernet_payload(&FRAME).unwrap();
        assert_eq!(
            found,
            EthernetPayload { ethertype: ethertype::IPV4, offset: 22, vlan: Some(13) }
        );
        for length in 0..FRAME.len() {
            assert_eq!(ethernet_payload(&FRAME[..length]), None, "length {length}");
        }
    }

    #[test]
    fn a_priority_tag_is_untagged() {
        let mut bytes = FRAME;
        bytes[14..18].copy_from_slice(&[0xe0, 0, 0x08, 0x00]);
        let found = ethernet_payload(&bytes).unwrap();
        assert_eq!(found, EthernetPayload { ethertype: ethertype::IPV4, offset: 18, vlan: None });
    }
}
