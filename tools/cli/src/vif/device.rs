//! What the kernel says of a netdev by its name.

use std::path::Path;

/// The kernel's index of a netdev in this network namespace.
pub(super) fn index(name: &str) -> Option<u32> {
    read(name, "ifindex")
}

/// Its MTU.
pub(super) fn mtu(name: &str) -> Option<u16> {
    read(name, "mtu")
}

fn read<T: std::str::FromStr>(name: &str, attribute: &str) -> Option<T> {
    if name.is_empty() || name.contains('/') {
        return None;
    }
    let path = Path::new("/sys/class/net").join(name).join(attribute);
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}
