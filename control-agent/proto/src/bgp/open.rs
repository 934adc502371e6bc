//! OPEN and its capabilities (RFC 4271 section 4.2, RFC 5492).

use std::net::Ipv4Addr;

use netgauze_bgp_pkt::BgpMessage;
use netgauze_bgp_pkt::capabilities::{
    BgpCapability, ExtendedNextHopEncoding, ExtendedNextHopEncodingCapability,
    FourOctetAsCapability, GracefulRestartAddressFamily, GracefulRestartCapability,
    MultiProtocolExtensionsCapability,
};
use netgauze_bgp_pkt::open::{BgpOpenMessage, BgpOpenMessageParameter};
use netgauze_iana::address_family::AddressFamily;
use netgauze_parse_utils::WritablePdu;

use super::cursor::{Cursor, Short};
use super::family::Family;
use super::message::{HEADER, MessageError};

/// What stands in the AS field of a speaker whose AS needs four octets (RFC 6793).
const AS_TRANS: u16 = 23456;

/// The restart time field has 12 bits.
const MAX_RESTART_TIME: u16 = 4095;

/// The graceful-restart capability (RFC 4724, RFC 8538).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GracefulRestart {
    /// R: the sender has just restarted.
    pub restarting: bool,
    /// N: a NOTIFICATION does not end graceful restart either, unless it is a hard reset.
    pub notification: bool,
    /// Seconds the receiver should keep routes, 0 to 4095.
    pub time: u16,
    /// The families and, F, whether their forwarding went on.
    pub families: Vec<(Family, bool)>,
}

/// What a speaker says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its AS: that of the four-octet capability when there is one.
    pub as_number: u32,
    /// Seconds, 0 or from 3.
    pub hold_time: u16,
    /// Its BGP identifier.
    pub router_id: Ipv4Addr,
    /// The families among ours it speaks.
    pub families: Vec<Family>,
    /// AS paths have four octets an AS.
    pub four_octet_as: bool,
    /// It answers route refreshes.
    pub route_refresh: bool,
    /// It takes VPNv4 routes whose next hop is IPv6 (RFC 8950).
    pub extended_next_hop: bool,
    /// Graceful restart, if it knows that.
    pub graceful_restart: Option<GracefulRestart>,
    /// What the AS field says when it contradicts the capability (neither the AS nor AS_TRANS).
    pub odd_as_field: Option<u16>,
}

impl Open {
    /// Reads a whole message. Read here and not by the library, in which one odd capability shifts those after it.
    ///
    /// # Errors
    /// [`MessageError::Open`] with the subcode of RFC 4271 section 6.2.
    pub(crate) fn decode(message: &[u8]) -> Result<Open, MessageError> {
        let mut cursor = Cursor::new(message, 0);
        let cut = |short: Short| error(0, format!("cut short at offset {}", short.offset));
        cursor.take(HEADER).map_err(cut)?;
        let version = cursor.u8().map_err(cut)?;
        if version != 4 {
            return Err(error(1, format!("version {version}, only 4 is spoken")));
        }
        let field = cursor.u16().map_err(cut)?;
        let hold_time = cursor.u16().map_err(cut)?;
        if matches!(hold_time, 1 | 2) {
            return Err(error(6, format!("hold time {hold_time}, allowed are 0 and from 3")));
        }
        let router_id = Ipv4Addr::from(cursor.array::<4>().map_err(cut)?);
        if router_id.is_unspecified() || router_id.is_broadcast() || router_id.is_multicast() {
            return Err(error(3, format!("BGP identifier {router_id}")));
        }
        let length = cursor.u8().map_err(cut)?;
        let mut parameters = cursor.sub(usize::from(length)).map_err(cut)?;
        if !cursor.is_empty() {
            return Err(error(0, format!("excess bytes at offset {}", cursor.offset())));
        }
        let mut open = Open {
            as_number: u32::from(field),
            hold_time,
            router_id,
            families: Vec::new(),
            four_octet_as: false,
            route_refresh: false,
            extended_next_hop: false,
            graceful_restart: None,
            odd_as_field: None,
        };
        while !parameters.is_empty() {
            let kind = parameters.u8().map_err(cut)?;
            let length = parameters.u8().map_err(cut)?;
            let mut capabilities = parameters.sub(usize::from(length)).map_err(cut)?;
            if kind != 2 {
                return Err(error(4, format!("optional parameter {kind}")));
            }
            while !capabilities.is_empty() {
                let code = capabilities.u8().map_err(cut)?;
                let length = capabilities.u8().map_err(cut)?;
                let value = capabilities.sub(usize::from(length)).map_err(cut)?;
                // What is too short for its code is skipped like an unknown one.
                let _ = open.take_capability(code, value);
            }
        }
        open.families.sort_unstable();
        open.families.dedup();
        if field != AS_TRANS && u32::from(field) != open.as_number {
            open.odd_as_field = Some(field);
        }
        Ok(open)
    }

    fn take_capability(&mut self, code: u8, mut value: Cursor<'_>) -> Result<(), Short> {
        match code {
            1 => {
                let afi = value.u16()?;
                let [_, safi] = value.array()?;
                self.families.extend(Family::from_numbers(afi, safi));
            }
            2 => self.route_refresh = true,
            5 => {
                while value.remaining() >= 6 {
                    let afi = value.u16()?;
                    let [_, safi, high, low] = value.array()?;
                    let vpn4 = Family::from_numbers(afi, safi) == Some(Family::Vpn4);
                    let (ipv6, _) = Family::Vpn6.numbers();
                    self.extended_next_hop |= vpn4 && u16::from_be_bytes([high, low]) == ipv6;
                }
            }
            64 => {
                let flags = value.u16()?;
                let mut families = Vec::new();
                while value.remaining() >= 4 {
                    let afi = value.u16()?;
                    let [safi, flags] = value.array()?;
                    let family = Family::from_numbers(afi, safi);
                    families.extend(family.map(|family| (family, flags & 0x80 != 0)));
                }
                self.graceful_restart = Some(GracefulRestart {
                    restarting: flags & 0x8000 != 0,
                    notification: flags & 0x4000 != 0,
                    time: flags & MAX_RESTART_TIME,
                    families,
                });
            }
            65 => {
                self.as_number = value.u32()?;
                self.four_octet_as = true;
            }
            _ => {}
        }
        Ok(())
    }

    /// The message on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut capabilities: Vec<BgpCapability> = self
            .families
            .iter()
            .map(|family| MultiProtocolExtensionsCapability::new(family.address_type()))
            .map(BgpCapability::MultiProtocolExtensions)
            .collect();
        if self.route_refresh {
            capabilities.push(BgpCapability::RouteRefresh);
        }
        if self.extended_next_hop {
            let vpn4 = Family::Vpn4.address_type();
            let encoding = ExtendedNextHopEncoding::new(vpn4, AddressFamily::IPv6);
            let capability = ExtendedNextHopEncodingCapability::new(vec![encoding]);
            capabilities.push(BgpCapability::ExtendedNextHopEncoding(capability));
        }
        if let Some(gr) = &self.graceful_restart {
            let families: Vec<_> = gr
                .families
                .iter()
                .map(|(family, forwarding)| {
                    GracefulRestartAddressFamily::new(*forwarding, family.address_type())
                })
                .collect();
            capabilities.push(BgpCapability::GracefulRestartCapability(
                GracefulRestartCapability::new(
                    gr.restarting,
                    gr.notification,
                    gr.time.min(MAX_RESTART_TIME),
                    families,
                ),
            ));
        }
        if self.four_octet_as {
            let capability = FourOctetAsCapability::new(self.as_number);
            capabilities.push(BgpCapability::FourOctetAs(capability));
        }
        let open = BgpOpenMessage::new(
            u16::try_from(self.as_number).unwrap_or(AS_TRANS),
            self.hold_time,
            self.router_id,
            vec![BgpOpenMessageParameter::new_capabilities(capabilities)],
        );
        let mut bytes = Vec::new();
        // Writing to a vector cannot fail, and three families never reach the length limits.
        let written = BgpMessage::Open(open).write(&mut bytes);
        debug_assert!(written.is_ok(), "{written:?}");
        bytes
    }
}

fn error(subcode: u8, what: String) -> MessageError {
    MessageError::Open { subcode, what }
}

#[cfg(test)]
mod tests {
    use super::super::message::{Message, take_message};
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
            .collect()
    }

    fn taken(bytes: &[u8]) -> Open {
        match take_message(bytes) {
            Ok(Some((Message::Open(open), n))) if n == bytes.len() => open,
            other => panic!("{other:?}"),
        }
    }

    fn ours() -> Open {
        Open {
            as_number: 4_200_000_001,
            hold_time: 90,
            router_id: Ipv4Addr::new(192, 0, 2, 1),
            families: vec![Family::Vpn4, Family::Evpn],
            four_octet_as: true,
            route_refresh: true,
            extended_next_hop: true,
            graceful_restart: Some(GracefulRestart {
                restarting: true,
                notification: true,
                time: 120,
                families: vec![(Family::Vpn4, true), (Family::Evpn, true)],
            }),
            odd_as_field: None,
        }
    }

    #[test]
    fn open_reads_back_as_written_with_as_trans_in_the_field() {
        let bytes = ours().encode();
        assert_eq!(bytes[20..22], [0x5b, 0xa0]);
        // R and N set, 120 seconds, VPNv4 and EVPN with F.
        let gr = [64, 10, 0xc0, 120, 0, 1, 128, 0x80, 0, 25, 70, 0x80];
        assert!(bytes.windows(gr.len()).any(|w| w == gr), "{bytes:02x?}");
        // RFC 8950: VPNv4 with IPv6 next hops.
        let extended = [5, 6, 0, 1, 0, 128, 0, 2];
        assert!(bytes.windows(extended.len()).any(|w| w == extended), "{bytes:02x?}");
        assert_eq!(taken(&bytes), ours());
    }

    #[test]
    fn four_octet_as_is_taken_from_the_capability() {
        let good = hex(
            "ffffffffffffffffffffffffffffffff003d01045ba0005ac00002fe2002060104000100800206010400190046020601040001008402064104fa56ea01",
        );
        let open = taken(&good);
        assert_eq!(open.as_number, 4_200_000_001);
        assert_eq!(open.families, [Family::Vpn4, Family::Evpn]);
        assert_eq!(open.odd_as_field, None);
        let mut odd = good;
        odd[20..22].copy_from_slice(&[0xea, 1]);
        assert_eq!(taken(&odd).odd_as_field, Some(0xea01));
        assert_eq!(taken(&odd).as_number, 4_200_000_001);
    }

    #[test]
    fn open_errors_carry_their_subcode() {
        let mut version = ours().encode();
        version[19] = 3;
        let mut hold = ours().encode();
        hold[22..24].copy_from_slice(&[0, 2]);
        let mut id = ours().encode();
        id[24..28].copy_from_slice(&[0; 4]);
        let mut cut = ours().encode();
        cut[28] += 1;
        for (bytes, subcode) in [(version, 1), (hold, 6), (id, 3), (cut, 0)] {
            match take_message(&bytes) {
                Err(MessageError::Open { subcode: got, .. }) => assert_eq!(got, subcode),
                other => panic!("{other:?}"),
            }
        }
    }
}
