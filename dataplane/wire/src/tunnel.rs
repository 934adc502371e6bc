//! What lies between the outer IP header and a tenant's packet: GRE (RFC 2784, 2890), MPLS (RFC 3032), VXLAN
//! (RFC 7348).

use zerocopy::byteorder::network_endian::{U16, U32};

use crate::header::header;
use crate::{Label, Vni};

header!(
    /// A GRE header without its optional words.
    Gre[4] {
        flags: U16,
        protocol: U16,
    }
);

const GRE_CHECKSUM: u16 = 0x8000;
const GRE_KEY: u16 = 0x2000;

impl Gre {
    /// A header without options around `protocol` (an EtherType).
    pub fn new(protocol: u16) -> Self {
        Gre { flags: U16::ZERO, protocol: U16::new(protocol) }
    }

    /// The EtherType of the payload.
    #[inline]
    pub fn protocol(&self) -> u16 {
        self.protocol.get()
    }

    /// Length of the header with its checksum and key words; `None` with any other bit set (sequence, routing,
    /// version), which the vRouter does not take (reference dataplane.md section 7.1).
    #[inline]
    pub fn length(&self) -> Option<usize> {
        let flags = self.flags.get();
        if flags & !(GRE_CHECKSUM | GRE_KEY) != 0 {
            return None;
        }
        let words = usize::from(flags & GRE_CHECKSUM != 0) + usize::from(flags & GRE_KEY != 0);
        Some(Gre::LEN + 4 * words)
    }
}

header!(
    /// One MPLS label stack entry.
    Mpls[4] {
        word: U32,
    }
);

impl Mpls {
    /// The bottom entry of a stack: S set, traffic class 0.
    #[inline]
    pub fn bottom(label: Label, ttl: u8) -> Self {
        Mpls { word: U32::new(label.get() << 12 | 0x100 | u32::from(ttl)) }
    }

    /// An entry with more below it.
    #[inline]
    pub fn above(label: Label, ttl: u8) -> Self {
        Mpls { word: U32::new(label.get() << 12 | u32::from(ttl)) }
    }

    /// The label, 20 bits.
    #[inline]
    pub fn label(&self) -> u32 {
        self.word.get() >> 12
    }

    /// Traffic class (EXP).
    #[inline]
    pub fn traffic_class(&self) -> u8 {
        (self.word.get() >> 9 & 7) as u8
    }

    /// Whether this is the last entry.
    #[inline]
    pub fn is_bottom(&self) -> bool {
        self.word.get() & 0x100 != 0
    }

    /// Time to live.
    #[inline]
    pub fn ttl(&self) -> u8 {
        (self.word.get() & 0xff) as u8
    }
}

header!(
    /// A VXLAN header.
    Vxlan[8] {
        flags: U32,
        vni: U32,
    }
);

const VXLAN_VNI_VALID: u32 = 0x0800_0000;
const VXLAN_ROUTER_ALERT: u32 = 0x0100_0000;

impl Vxlan {
    /// A header with the I flag.
    #[inline]
    pub fn new(vni: Vni) -> Self {
        Vxlan { flags: U32::new(VXLAN_VNI_VALID), vni: U32::new(vni.get() << 8) }
    }

    /// The network identifier, 24 bits; `None` without the I flag. Reserved bits are ignored.
    #[inline]
    pub fn vni(&self) -> Option<u32> {
        (self.flags.get() & VXLAN_VNI_VALID != 0).then(|| self.vni.get() >> 8)
    }

    /// The router-alert bit: the frame is for the agent.
    #[inline]
    pub fn router_alert(&self) -> bool {
        self.flags.get() & VXLAN_ROUTER_ALERT != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ethertype;

    #[test]
    fn gre_takes_checksum_and_key_and_nothing_else() {
        let length =
            |flags: [u8; 2]| Gre::parse(&[flags[0], flags[1], 0x88, 0x47]).unwrap().0.length();
        assert_eq!(length([0, 0]), Some(4));
        assert_eq!(length([0x20, 0]), Some(8));
        assert_eq!(length([0x80, 0]), Some(8));
        assert_eq!(length([0xa0, 0]), Some(12));
        for odd in [[0x10, 0], [0x40, 0], [0x08, 0], [0, 1], [0x30, 0x81]] {
            assert_eq!(length(odd), None, "{odd:x?}");
        }
        let mut out = [0xa5; 4];
        Gre::new(ethertype::MPLS).emit(&mut out).unwrap();
        assert_eq!(out, [0, 0, 0x88, 0x47]);
    }

    #[test]
    fn a_label_entry_reads_and_writes_the_same_bytes() {
        let bytes = [0x00, 0x01, 0x4b, 0x40];
        let (entry, _) = Mpls::parse(&bytes).unwrap();
        assert_eq!((entry.label(), entry.traffic_class(), entry.ttl()), (20, 5, 64));
        assert!(entry.is_bottom());
        let mut out = [0xa5; 4];
        Mpls::bottom(Label::try_from(0xabcde).unwrap(), 63).emit(&mut out).unwrap();
        assert_eq!(out, [0xab, 0xcd, 0xe1, 0x3f]);
        Mpls::above(Label::try_from(0xfffff).unwrap(), 1).emit(&mut out).unwrap();
        assert_eq!(out, [0xff, 0xff, 0xf0, 0x01]);
        assert!(!Mpls::parse(&out).unwrap().0.is_bottom());
    }

    #[test]
    fn a_vni_has_24_bits_and_needs_the_i_flag() {
        let mut out = [0xa5; 8];
        Vxlan::new(Vni::try_from(11_158_251).unwrap()).emit(&mut out).unwrap();
        assert_eq!(out, [8, 0, 0, 0, 0xaa, 0x42, 0xeb, 0]);
        let parse = |bytes: [u8; 8]| *Vxlan::parse(&bytes).unwrap().0;
        assert_eq!(parse(out).vni(), Some(11_158_251));
        assert_eq!(parse([0, 0, 0, 0, 0, 0x13, 0x89, 0]).vni(), None);
        let odd = parse([0x88, 0, 0xde, 0xad, 0, 0x13, 0x89, 0x55]);
        assert_eq!((odd.vni(), odd.router_alert()), (Some(5001), false));
        assert!(parse([9, 0, 0, 0, 0, 0, 0, 0]).router_alert());
    }
}
