//! AF_XDP: a socket on one queue of a device, its four rings, and who owns which chunk.
//!
//! The kernel and we pass chunks of one [`Memory`] back and forth: *fill* gives it chunks to
//! receive into, *rx* returns them with packets, *tx* gives it packets to send, *completion*
//! returns those. [`Socket`] makes that exchange safe by type: it takes owned [`Chunk`]s and
//! yields owned `Chunk`s. What the kernel owns is kept as one bit a chunk, so an address the
//! kernel was never given cannot become a second token, and after the socket is closed exactly
//! the chunks that were still out there come back.
//!
//! Sharing: each socket may register the memory itself, with flags of its own, or bind to the
//! registration of another socket (`XDP_SHARED_UMEM`), whose flags it then inherits; offsets mean
//! the same everywhere, so chunks move between sockets freely.

mod ring;
mod socket;

pub use socket::{BindMode, MultiBuffer, Received, Rings, Socket, Statistics, knows_multi_buffer};
