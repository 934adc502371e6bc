//! Capture files as a port. The only file that knows the `pcap-file` crate.

use std::{
    fs::File,
    io::{BufReader, BufWriter},
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    time::Duration,
};

use pcap_file::pcap::{PcapPacket, PcapReader, PcapWriter};

use crate::{Burst, Frame, FramePool, Port, PortInfo, PortMode, PortStatistics};

/// A capture file cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[error("capture file {}: {source}", path.display())]
pub struct PcapError {
    path: PathBuf,
    source: pcap_file::PcapError,
}

/// Receives the packets of one capture file and writes those it sends to another.
///
/// A packet larger than a frame, or a file that ends in the middle of one, counts as
/// `rx_dropped`; a write that fails counts as `tx_refused`. Written packets carry their number as
/// time, in microseconds, so that equal runs write equal files.
pub struct PcapPort {
    name: String,
    input: Option<PcapReader<BufReader<File>>>,
    output: Option<PcapWriter<BufWriter<File>>>,
    sent: Vec<Frame>,
    written: u64,
    statistics: PortStatistics,
}

impl PcapPort {
    /// Opens `input` to receive from and creates `output` to send to; without one of them that
    /// direction is silent.
    ///
    /// # Errors
    /// [`PcapError`] if a file cannot be opened or is no capture.
    pub fn open(
        name: &str,
        input: Option<&Path>,
        output: Option<&Path>,
    ) -> Result<PcapPort, PcapError> {
        Ok(PcapPort {
            name: name.to_owned(),
            input: input.map(reader).transpose()?,
            output: output.map(writer).transpose()?,
            sent: Vec::new(),
            written: 0,
            statistics: PortStatistics::default(),
        })
    }

    /// The next packet of the input, in a frame.
    fn next(&mut self, pool: &mut FramePool) -> Option<Frame> {
        let input = self.input.as_mut()?;
        let mut frame = pool.take()?;
        loop {
            match input.next_packet() {
                Some(Ok(packet)) if frame.fill(&packet.data).is_ok() => return Some(frame),
                Some(Ok(_)) => self.statistics.rx_dropped += 1,
                Some(Err(_)) => {
                    self.statistics.rx_dropped += 1;
                    break;
                }
                None => break,
            }
        }
        pool.give(frame);
        self.input = None;
        None
    }

    fn write(&mut self, frame: &Frame) {
        let Some(output) = &mut self.output else { return };
        self.written += 1;
        let length = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let time = Duration::from_micros(self.written);
        if output.write_packet(&PcapPacket::new(time, length, frame.data())).is_err() {
            self.statistics.tx_refused += 1;
        }
    }
}

/// Every packet of a capture file.
///
/// # Errors
/// [`PcapError`] if the file cannot be read or is no capture.
pub fn read_capture(path: &Path) -> Result<Vec<Vec<u8>>, PcapError> {
    let mut input = reader(path)?;
    let mut packets = Vec::new();
    while let Some(packet) = input.next_packet() {
        packets.push(packet.map_err(at(path))?.data.into_owned());
    }
    Ok(packets)
}

fn reader(path: &Path) -> Result<PcapReader<BufReader<File>>, PcapError> {
    let file = File::open(path).map_err(pcap_file::PcapError::IoError).map_err(at(path))?;
    PcapReader::new(BufReader::new(file)).map_err(at(path))
}

fn writer(path: &Path) -> Result<PcapWriter<BufWriter<File>>, PcapError> {
    let file = File::create(path).map_err(pcap_file::PcapError::IoError).map_err(at(path))?;
    PcapWriter::new(BufWriter::new(file)).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(pcap_file::PcapError) -> PcapError {
    move |source| PcapError { path: path.to_owned(), source }
}

impl Port for PcapPort {
    fn name(&self) -> &str {
        &self.name
    }

    fn receive(&mut self, pool: &mut FramePool, burst: &mut Burst) -> usize {
        let before = burst.len();
        while !burst.is_full() {
            let Some(frame) = self.next(pool) else { break };
            burst.push(frame);
        }
        burst.len() - before
    }

    fn transmit(&mut self, frame: Frame) -> Result<(), Frame> {
        if frame.train().is_some() {
            return Err(frame);
        }
        self.write(&frame);
        self.sent.push(frame);
        Ok(())
    }

    fn flush(&mut self, pool: &mut FramePool) {
        self.sent.drain(..).for_each(|frame| pool.give(frame));
    }

    fn close(&mut self, pool: &mut FramePool) {
        self.flush(pool);
        self.input = None;
        if let Some(output) = self.output.take()
            && std::io::Write::flush(&mut output.into_writer()).is_err()
        {
            self.statistics.tx_refused += 1;
        }
    }

    fn poll_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn outstanding(&self) -> usize {
        self.sent.len()
    }

    fn info(&self) -> PortInfo {
        PortInfo {
            mode: PortMode::File,
            held: self.outstanding(),
            statistics: self.statistics,
            ..PortInfo::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FramePools, Memory};

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("port-{}-{name}.pcap", std::process::id()))
    }

    #[test]
    fn packets_written_to_a_capture_are_received_from_it() {
        let pools = FramePools::new(Memory::new(8, 2048, "port-test").unwrap(), 1);
        let mut pool = pools.pool();
        let file = path("both-ways");
        let mut port = PcapPort::open("out", None, Some(&file)).unwrap();
        for packet in [&b"first packet"[..], &[7; 1500]] {
            let mut frame = pool.take().unwrap();
            frame.fill(packet).unwrap();
            port.transmit(frame).unwrap();
        }
        port.close(&mut pool);
        let mut port = PcapPort::open("in", Some(&file), None).unwrap();
        let mut burst = Burst::new();
        assert_eq!(port.receive(&mut pool, &mut burst), 2);
        assert_eq!(burst[0].data(), b"first packet");
        assert_eq!(burst[1].data(), [7; 1500]);
        assert_eq!(port.receive(&mut pool, &mut burst), 0);
        burst.drain(..).for_each(|frame| pool.give(frame));
        port.close(&mut pool);
        assert_eq!(read_capture(&file).unwrap().len(), 2);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(pools.free_frames(), 8);
    }

    #[test]
    fn a_packet_larger_than_a_frame_is_dropped_and_counted() {
        let pools = FramePools::new(Memory::new(8, 2048, "port-test").unwrap(), 1);
        let mut pool = pools.pool();
        let file = path("large");
        let mut output = writer(&file).unwrap();
        for length in [3000, 60] {
            let packet = vec![1; length];
            let length = u32::try_from(length).unwrap();
            output.write_packet(&PcapPacket::new(Duration::ZERO, length, &packet)).unwrap();
        }
        drop(output);
        let mut port = PcapPort::open("in", Some(&file), None).unwrap();
        let mut burst = Burst::new();
        assert_eq!(port.receive(&mut pool, &mut burst), 1);
        assert_eq!(port.info().statistics.rx_dropped, 1);
        burst.drain(..).for_each(|frame| pool.give(frame));
        std::fs::remove_file(&file).unwrap();
        assert_eq!(pools.free_frames(), 8);
    }

    #[test]
    fn a_file_that_is_no_capture_is_refused_by_name() {
        let file = path("no-capture");
        std::fs::write(&file, b"not a capture").unwrap();
        let error = PcapPort::open("in", Some(&file), None).err().unwrap().to_string();
        assert!(error.contains("no-capture"), "{error}");
        std::fs::remove_file(&file).unwrap();
    }
}
