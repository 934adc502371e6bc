//! Offloads, link speed, driver and queues of a device: `SIOCETHTOOL`.
//!
//! Devices are named as seen in the network namespace of the calling thread.

use std::io;

const SIOCETHTOOL: libc::Ioctl = 0x8946;

const ETHTOOL_GSET: u32 = 0x01;
const ETHTOOL_GDRVINFO: u32 = 0x03;
const ETHTOOL_STXCSUM: u32 = 0x17;
const ETHTOOL_SGSO: u32 = 0x24;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const ETHTOOL_GCHANNELS: u32 = 0x3c;

const ETHTOOL_GSTRINGS: u32 = 0x1b;
const ETHTOOL_GSSET_INFO: u32 = 0x37;
const ETHTOOL_SFEATURES: u32 = 0x3b;

/// The string set that names features, and the length of a name in it.
const FEATURE_NAMES: u32 = 4;
const NAME_LENGTH: usize = 32;

/// Bit of `ETHTOOL_SFLAGS`: the device inserts VLAN tags.
const FLAG_TXVLAN: u32 = 1 << 7;

/// What a link runs at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpeed {
    /// Mbit/s; `None` if the device does not know.
    pub megabits: Option<u32>,
    /// Both directions at once; `None` if the device does not know.
    pub full_duplex: Option<bool>,
}

/// An offload of a sender that an AF_XDP receiver cannot see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offload {
    /// Checksums left for the device to finish.
    Checksum,
    /// VLAN tags left for the device to insert.
    VlanTag,
    /// The same for tags of 802.1ad.
    ServiceTag,
    /// TCP segments larger than the MTU left for the device to cut.
    TcpSegmentation,
    /// The same for other protocols, left for the driver's edge.
    GenericSegmentation,
}

impl Offload {
    /// All of them.
    pub const ALL: [Offload; 5] = [
        Offload::Checksum,
        Offload::VlanTag,
        Offload::ServiceTag,
        Offload::TcpSegmentation,
        Offload::GenericSegmentation,
    ];
}

/// Switches an offload off.
///
/// # Errors
/// What the kernel answers; `EOPNOTSUPP` if the device has no such offload.
pub fn switch_off(device: &str, offload: Offload) -> io::Result<()> {
    let command = match offload {
        Offload::Checksum => ETHTOOL_STXCSUM,
        Offload::GenericSegmentation => ETHTOOL_SGSO,
        Offload::ServiceTag => {
            return switch_features_off(device, |name| name == "tx-vlan-stag-hw-insert");
        }
        // The old command does not reach the kinds that came after it (AccECN).
        Offload::TcpSegmentation => {
            return switch_features_off(device, |name| {
                name.starts_with("tx-tcp") && name.ends_with("-segmentation")
            });
        }
        Offload::VlanTag => {
            let mut flags = [ETHTOOL_GFLAGS, 0];
            ask(device, &mut flags)?;
            let [_, flags] = flags;
            return ask(device, &mut [ETHTOOL_SFLAGS, flags & !FLAG_TXVLAN]);
        }
    };
    ask(device, &mut [command, 0])
}

/// Switches off the features of these names; a kernel without any has them off.
fn switch_features_off(device: &str, unwanted: impl Fn(&str) -> bool) -> io::Result<()> {
    let names = feature_names(device)?;
    let blocks = names.len().div_ceil(32);
    // struct ethtool_sfeatures: command, blocks, then for each block which bits count and their
    // values.
    let mut words = vec![0; 2 + 2 * blocks];
    words[0] = ETHTOOL_SFEATURES;
    words[1] = u32::try_from(blocks).map_err(io::Error::other)?;
    for (position, _) in names.iter().enumerate().filter(|(_, name)| unwanted(name)) {
        words[2 + 2 * (position / 32)] |= 1 << (position % 32);
    }
    ask(device, &mut words)
}

fn feature_names(device: &str) -> io::Result<Vec<String>> {
    // struct ethtool_sset_info: command, reserved, a 64-bit mask of sets, a count for each.
    let mut info = [ETHTOOL_GSSET_INFO, 0, 0, 0, 0];
    let mask = (1u64 << FEATURE_NAMES).to_ne_bytes();
    let (low, high) = mask.split_at(4);
    info[2] = u32::from_ne_bytes(low.try_into().map_err(io::Error::other)?);
    info[3] = u32::from_ne_bytes(high.try_into().map_err(io::Error::other)?);
    ask(device, &mut info)?;
    // struct ethtool_gstrings: command, set, count, the names.
    let mut strings = vec![0; 3 + info[4] as usize * NAME_LENGTH / size_of::<u32>()];
    strings[..3].copy_from_slice(&[ETHTOOL_GSTRINGS, FEATURE_NAMES, info[4]]);
    ask(device, &mut strings)?;
    let bytes: Vec<u8> = strings[3..].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(bytes.chunks_exact(NAME_LENGTH).map(name).collect())
}

fn name(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Speed and duplex of the link.
///
/// # Errors
/// What the kernel answers; `EOPNOTSUPP` if the device has no notion of speed.
pub fn link_speed(device: &str) -> io::Result<LinkSpeed> {
    // struct ethtool_cmd: speed at byte 12, duplex at 14, speed_hi at 28.
    let mut settings = [0u32; 11];
    settings[0] = ETHTOOL_GSET;
    ask(device, &mut settings)?;
    let bytes = |word: u32| word.to_ne_bytes();
    let [low0, low1, duplex, _] = bytes(settings[3]);
    let [high0, high1, ..] = bytes(settings[7]);
    let speed = u32::from(u16::from_ne_bytes([low0, low1]))
        | u32::from(u16::from_ne_bytes([high0, high1])) << 16;
    Ok(LinkSpeed {
        megabits: (speed != 0 && speed != u32::MAX && speed != 0xffff).then_some(speed),
        full_duplex: match duplex {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    })
}

/// Name of the driver.
///
/// # Errors
/// What the kernel answers.
pub fn driver(device: &str) -> io::Result<String> {
    // struct ethtool_drvinfo: 196 bytes, the name in 32 of them after the command.
    let mut info = [0u32; 49];
    info[0] = ETHTOOL_GDRVINFO;
    ask(device, &mut info)?;
    let bytes: Vec<u8> = info[1..9].iter().flat_map(|word| word.to_ne_bytes()).collect();
    Ok(name(&bytes))
}

/// Receive queues in use; 1 for a device that does not say.
///
/// # Errors
/// What the kernel answers, but for `EOPNOTSUPP`.
pub fn receive_queues(device: &str) -> io::Result<u32> {
    // struct ethtool_channels: command, four maxima, then rx, tx, other, combined.
    let mut channels = [0u32; 9];
    channels[0] = ETHTOOL_GCHANNELS;
    match ask(device, &mut channels) {
        Ok(()) => Ok((channels[5] + channels[8]).max(1)),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(1),
        Err(error) => Err(error),
    }
}

/// One command; the words are those of its struct, the command first.
fn ask(device: &str, words: &mut [u32]) -> io::Result<()> {
    crate::device::ioctl(device, SIOCETHTOOL, |request| {
        request.ifr_ifru.ifru_data = words.as_mut_ptr().cast();
    })
    .map(|_| ())
}
