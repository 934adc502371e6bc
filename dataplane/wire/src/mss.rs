//! The maximum segment size option of TCP (RFC 9293 section 3.7.1).

use crate::{Tcp, checksum};

/// Lowers the MSS that a SYN announces to `most` and patches the checksum; whether it did. `segment` starts with the TCP
/// header and may end anywhere: options that are not all there or do not make sense are left alone, and none is added.
pub fn clamp_mss(segment: &mut [u8], most: u16) -> bool {
    const SYN: u8 = 2;
    let Some((tcp, _)) = Tcp::parse(segment) else { return false };
    if tcp.flags() & SYN == 0 {
        return false;
    }
    let options = segment.get(Tcp::LEN..tcp.header_length());
    let Some(at) = options.and_then(find) else { return false };
    let at = Tcp::LEN + at;
    let Some(value) = segment.get_mut(at..at + 2).and_then(|bytes| bytes.first_chunk_mut::<2>())
    else {
        return false;
    };
    let old = u16::from_be_bytes(*value);
    if old <= most {
        return false;
    }
    *value = most.to_be_bytes();
    // Behind an odd number of bytes its halves lie in two words of the sum.
    let (old, new) =
        if at.is_multiple_of(2) { (old, most) } else { (old.swap_bytes(), most.swap_bytes()) };
    if let Some((tcp, _)) = Tcp::parse_mut(segment) {
        tcp.set_checksum(checksum::update(tcp.checksum(), old, new));
    }
    true
}

/// Where in the options the value is. At most 40 bytes of options, each step takes at least one.
fn find(options: &[u8]) -> Option<usize> {
    const END: u8 = 0;
    const NOTHING: u8 = 1;
    const MSS: u8 = 2;
    let mut at = 0;
    loop {
        match *options.get(at)? {
            END => return None,
            NOTHING => at += 1,
            kind => {
                let length = usize::from(*options.get(at + 1)?);
                if kind == MSS && length == 4 && options.len() >= at + 4 {
                    return Some(at + 2);
                }
                if length < 2 {
                    return None;
                }
                at += length;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::Sum;

    fn syn(options: &[u8]) -> Vec<u8> {
        assert_eq!(options.len() % 4, 0);
        let offset = u8::try_from(5 + options.len() / 4).unwrap() << 4;
        let mut bytes =
            vec![0x9c, 0x44, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, offset, 2, 0x20, 0, 0, 0, 0, 0];
        bytes.extend(options);
        let sum = Sum::ZERO.bytes(&bytes).checksum();
        bytes[16..18].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    #[track_caller]
    fn clamped(options: &[u8], expected: &[u8]) {
        let mut bytes = syn(options);
        clamp_mss(&mut bytes, 1428);
        assert_eq!(bytes[20..], *expected);
        assert_eq!(Sum::ZERO.bytes(&bytes).folded(), 0xffff, "the sum is right");
    }

    #[test]
    fn a_larger_mss_is_lowered_wherever_it_is() {
        clamped(&[2, 4, 5, 0xb4], &[2, 4, 5, 0x94]);
        clamped(&[1, 2, 4, 5, 0xb4, 0, 0, 0], &[1, 2, 4, 5, 0x94, 0, 0, 0]);
        clamped(&[1, 1, 2, 4, 0xff, 0xff, 0, 0], &[1, 1, 2, 4, 5, 0x94, 0, 0]);
        clamped(
            &[4, 2, 3, 3, 7, 2, 4, 0x23, 0x28, 0, 0, 0],
            &[4, 2, 3, 3, 7, 2, 4, 5, 0x94, 0, 0, 0],
        );
    }

    #[test]
    fn a_smaller_one_an_absent_one_and_junk_stay() {
        for options in [
            &[2, 4, 2, 0x18][..],
            &[2, 4, 5, 0x94],
            &[],
            &[1, 1, 1, 1],
            &[0, 2, 4, 0],
            &[2, 3, 5, 0xb4],
            &[2, 0, 5, 0xb4],
            &[1, 1, 1, 2],
            &[3, 255, 2, 4],
        ] {
            clamped(options, options);
        }
    }

    #[test]
    fn what_is_cut_or_no_syn_is_not_touched() {
        let whole = syn(&[1, 1, 1, 1, 2, 4, 5, 0xb4]);
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            assert!(!clamp_mss(&mut cut, 1428));
            assert_eq!(cut, whole[..length]);
        }
        let mut ack = syn(&[2, 4, 5, 0xb4]);
        ack[13] = 0x10;
        assert!(!clamp_mss(&mut ack, 1428));
        let mut lying = syn(&[2, 4, 5, 0xb4]);
        lying[12] = 0x40;
        assert!(!clamp_mss(&mut lying, 1428));
    }
}
