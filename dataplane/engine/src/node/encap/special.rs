//! Tunnels that few packets take: with several uplinks, with a transport label on top, or to be encrypted (reference
//! dataplane.md section 6.3).

use std::marker::PhantomData;

use tables::{Crypt, DropReason, FibNextHop, OuterHeader, SpecialTunnel, TunnelForm, TunnelHop};
use wire::{Label, Mpls};

use super::{Encap, MplsOverGre, MplsOverUdp, Payload, mark, otherwise, outer_length, udp};
use crate::feature::marking;
use crate::flow_hash::flow_hash;
use crate::graph::{Cx, Next};
use crate::mss::{self, TRANSPORT_LABEL};
use crate::packet::{Addresses, Layer, Packet};

impl Encap {
    /// What is not a plain tunnel.
    #[inline(never)]
    pub(super) fn other_tunnel(&mut self, cx: &Cx<'_>, packet: &mut Packet<'_>) -> Next {
        let result = match cx.fib.next_hop(packet.meta.nh) {
            FibNextHop::SpecialTunnel(special) => self.special(cx, packet, special),
            FibNextHop::UdpTunnel(tunnel) => {
                return udp::to_analyser(cx, packet, tunnel).unwrap_or_else(|other| other);
            }
            _ => Err(Next::Drop(DropReason::InvalidNh)),
        };
        result.map_or_else(|other| otherwise(cx.fib, packet, other), |()| Next::VifTx)
    }

    fn special(
        &mut self,
        cx: &Cx<'_>,
        packet: &mut Packet<'_>,
        special: &SpecialTunnel,
    ) -> Result<(), Next> {
        let encrypted = match special.crypt {
            None => None,
            Some(Crypt::Vif(vif)) if cx.fib.vif(vif).is_some() => Some(vif),
            Some(_) => return Err(Next::Drop(DropReason::NoCryptPath)),
        };
        let hop = uplink(cx, packet, special).ok_or(DropReason::InvalidUnderlayEcmp)?;
        match special.transport {
            None => self.encapsulate(cx, packet, hop)?,
            Some(transport) => {
                self.encapsulate_stacked(cx, packet, hop, transport)?;
                mark(cx, packet, hop);
            }
        }
        packet.meta.tx_vif = encrypted.unwrap_or(packet.meta.tx_vif);
        Ok(())
    }

    /// Two labels: the packet's own at the bottom, the transport's above it.
    fn encapsulate_stacked(
        &mut self,
        cx: &Cx<'_>,
        packet: &mut Packet<'_>,
        hop: &TunnelHop,
        transport: Label,
    ) -> Result<(), Next> {
        let mtu = self.way_out(cx, packet, hop)?;
        if mss::may_be_syn(packet) {
            mss::into_tunnel(cx, packet, hop, mtu.saturating_sub(TRANSPORT_LABEL));
        }
        let bottom = MplsOverUdp::shim(packet)?;
        let less = MplsOverUdp::in_front(packet)?;
        // Judged while the packet is still as it came: it may have to be answered.
        outer_length(packet, hop.header.len() - OuterHeader::IP + Mpls::LEN, less, mtu)?;
        let hash = flow_hash(packet, cx.seed);
        packet.pull(less)?;
        let exp = marking::class(cx.fib, packet.meta).map_or(0, |class| class.exp);
        let room = packet.push(Mpls::LEN)?;
        bottom.emit(room).ok_or(DropReason::Push)?;
        if let Some(third) = room.get_mut(2) {
            *third |= exp << 1;
        }
        packet.meta.layer = Layer::L2;
        packet.meta.set_label(Some(transport.get()));
        packet.meta.addresses = Addresses::Hashed(hash.to_ne_bytes());
        match hop.form {
            TunnelForm::MplsOverUdpV4 => {
                self.over_v4::<Above<MplsOverUdp>, 46>(cx, packet, hop, mtu)
            }
            TunnelForm::MplsOverGreV4 => {
                self.over_v4::<Above<MplsOverGre>, 42>(cx, packet, hop, mtu)
            }
            TunnelForm::MplsOverUdpV6 => self.over_v6::<Above<MplsOverUdp>>(cx, packet, hop, mtu),
            TunnelForm::MplsOverGreV6 => self.over_v6::<Above<MplsOverGre>>(cx, packet, hop, mtu),
            // A transport label is a label: it is compiled for MPLS alone.
            TunnelForm::VxlanV4
            | TunnelForm::VxlanL3V4
            | TunnelForm::VxlanV6
            | TunnelForm::VxlanL3V6 => Err(Next::Drop(DropReason::InvalidNh)),
        }
    }
}

/// By the flow: one of the positions if it can be used, else one of those that can. Where there is no choice that one,
/// usable or not, so that the drop says what it lacks.
fn uplink<'t>(
    cx: &Cx<'_>,
    packet: &Packet<'_>,
    special: &'t SpecialTunnel,
) -> Option<&'t TunnelHop> {
    if let [only] = special.uplinks.as_slice() {
        return only.as_ref();
    }
    let usable = |hop: &&TunnelHop| hop.ready && cx.fib.vif(hop.vif).is_some();
    let hash = flow_hash(packet, cx.seed) as usize;
    let position = hash.checked_rem(special.uplinks.len())?;
    if let Some(Some(hop)) =
        special.uplinks.get(position).filter(|hop| hop.as_ref().is_some_and(|hop| usable(&hop)))
    {
        return Some(hop);
    }
    let filled = || special.uplinks.iter().flatten().filter(usable);
    filled().nth(hash.checked_rem(filled().count())?)
}

/// The last header of an encapsulation, with more labels below it.
struct Above<E>(PhantomData<E>);

impl<E: Payload<Shim = Mpls>> Payload for Above<E> {
    type Shim = Mpls;

    fn port(cx: &Cx<'_>, packet: &Packet<'_>) -> u16 {
        E::port(cx, packet)
    }

    fn shim(packet: &Packet<'_>) -> Result<Mpls, DropReason> {
        let bottom = E::shim(packet)?;
        let label = Label::try_from(bottom.label()).map_err(|_| DropReason::InvalidLabel)?;
        Ok(Mpls::above(label, bottom.ttl()))
    }

    fn in_front(packet: &Packet<'_>) -> Result<u16, DropReason> {
        E::in_front(packet)
    }

    fn finish(rest: &mut [u8], port: u16, length: u16, shim: &Mpls) -> Option<()> {
        E::finish(rest, port, length, shim)
    }
}
