//! A train: one large packet that stands for many, to be cut into segments by whoever sends it where segments are wanted.
//!
//! A stack that may leave segmentation to its network card sends one packet of up to 64 KiB and says how much payload
//! each segment is to have, and where the unfinished checksum is. That lies in the note of the frame's large chunk, with
//! offsets from the start of the chunk, so that headers may be taken off and pushed while the frame is on its way.

use sys::memory::NOTE;

pub use sys::tap::Segmentation;

/// What is known of a frame that stands for many packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Train {
    /// What is to be cut, and how.
    pub segmentation: Segmentation,
    /// Payload of each segment but the last in bytes; not 0.
    pub size: u16,
    /// Where the transport header starts, in bytes from the start of the packet. The sum over everything from there on is
    /// unfinished.
    pub transport: u16,
    /// Where in the transport header the sum belongs, in bytes. The sum of the pseudo-header is there now.
    pub sum: u16,
    /// Where the network header in front of it starts, if somebody looked.
    pub network: Option<u16>,
}

impl Train {
    /// As it is kept.
    pub(crate) fn note(train: Option<&Train>, start: u16) -> [u8; NOTE] {
        let Some(train) = train else { return [0; NOTE] };
        let place = |offset: u16| (u32::from(start) + u32::from(offset)).to_ne_bytes();
        let [s0, s1] = train.size.to_ne_bytes();
        let [c0, c1] = train.sum.to_ne_bytes();
        let [t0, t1, t2, t3] = place(train.transport);
        let [n0, n1, n2, n3] = train.network.map_or([0xff; 4], place);
        let kind = train.segmentation.code();
        [kind, 0, s0, s1, c0, c1, 0, 0, t0, t1, t2, t3, n0, n1, n2, n3]
    }

    /// As it was kept; `None` when it is none, or the packet starts behind its headers.
    pub(crate) fn read(note: &[u8; NOTE], start: u16) -> Option<Train> {
        let [kind, _, s0, s1, c0, c1, _, _, t0, t1, t2, t3, n0, n1, n2, n3] = *note;
        let offset = |place: [u8; 4]| {
            u16::try_from(u32::from_ne_bytes(place).checked_sub(u32::from(start))?).ok()
        };
        Some(Train {
            segmentation: Segmentation::from_code(kind)?,
            size: u16::from_ne_bytes([s0, s1]),
            transport: offset([t0, t1, t2, t3])?,
            sum: u16::from_ne_bytes([c0, c1]),
            network: offset([n0, n1, n2, n3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FramePools, Memory};

    #[test]
    fn offsets_of_a_train_follow_the_headers_that_come_and_go() {
        let memory = Memory::new(8, 2048, "port-test").unwrap();
        let pools = FramePools::with_large(memory, Memory::large(2, "port-test").unwrap(), 1);
        let mut pool = pools.pool();
        let mut frame = pool.take_large().unwrap();
        frame.fill(&[7; 3000]).unwrap();
        assert_eq!(frame.train(), None);
        let train = Train {
            segmentation: Segmentation::TcpV4 { congestion: true },
            size: 1448,
            transport: 34,
            sum: 16,
            network: Some(14),
        };
        assert!(frame.set_train(Some(&train)));
        assert_eq!(frame.train(), Some(train));
        frame.pull(14).unwrap();
        assert_eq!(frame.train(), Some(Train { transport: 20, network: Some(0), ..train }));
        frame.push(60).unwrap();
        let copy = pool.copy(&frame).unwrap();
        assert_eq!(copy.train(), Some(Train { transport: 80, network: Some(60), ..train }));
        frame.pull(70).unwrap();
        assert_eq!(frame.train(), Some(Train { transport: 10, network: None, ..train }));
        frame.pull(20).unwrap();
        assert_eq!(frame.train(), None, "its headers are gone");
        pool.give(frame);
        pool.give(copy);
        let frame = pool.take_large().unwrap();
        assert_eq!(frame.train(), None, "what comes from the pool is no train");
        pool.give(frame);
        let mut plain = pool.take().unwrap();
        assert!(!plain.set_train(Some(&train)) && plain.set_train(None));
        assert_eq!(plain.train(), None);
        pool.give(plain);
        assert_eq!(pools.free_frames(), 10);
    }
}
