//! Switching offloads off, so that both systems move every packet one by one with a finished checksum.

use lab::Namespace;

/// Switches off what the device has; a device without an offload is as good as one with it switched off.
pub(super) fn switch_off(namespace: &Namespace, device: &str) {
    for offload in ["tx", "tso", "gso", "gro"] {
        namespace.run(&format!("ethtool -K {device} {offload} off")).ok();
    }
}
