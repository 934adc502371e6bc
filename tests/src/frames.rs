//! Single frames of any kind.

use anyhow::Result;

use crate::Namespace;

const PYTHON: &str = "/usr/bin/python3";

/// Sends a frame as it is out of a device of a namespace: destination, this source and EtherType, then the payload,
/// filled up with zeros.
///
/// # Errors
/// What Python said.
pub fn send_frame(
    from: &Namespace,
    device: &str,
    destination: &str,
    ethertype: u16,
    payload: &str,
) -> Result<()> {
    let script = format!(
        "import socket\n\
         s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\n\
         s.bind(('{device}', 0))\n\
         mac = bytes.fromhex('{destination}'.replace(':', ''))\n\
         s.send((mac + s.getsockname()[4] + ({ethertype}).to_bytes(2, 'big') + b'{payload}').ljust(60, b'\\0'))\n"
    );
    from.output(PYTHON, &["-c", &script]).map(|_| ())
}
