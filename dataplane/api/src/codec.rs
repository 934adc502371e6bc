//! Bytes to messages and back, without I/O: usable from blocking and from asynchronous code.
//!
//! A frame is a little-endian `u32` length and that many bytes of postcard. Both ends refuse a frame above
//! [`MAX_MESSAGE`] before they allocate for it, so garbage on the socket costs nothing.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// The largest message in bytes. A page is far smaller; a transaction of a quarter of a million routes fits.
pub const MAX_MESSAGE: usize = 16 << 20;

/// Bytes of the length in front.
const HEADER: usize = 4;

/// Why bytes are not a message, or a message not bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// The length is above the limit. The stream is lost: close it.
    #[error("message of {length} bytes is above the limit of {MAX_MESSAGE}")]
    TooLarge {
        /// The length found.
        length: usize,
    },
    /// A whole frame that is not the expected message. The stream goes on behind it.
    #[error("message cannot be decoded: {0}")]
    Malformed(postcard::Error),
}

/// Appends a message with its length to `out`; on error `out` is as before.
///
/// # Errors
/// [`CodecError::TooLarge`].
pub fn encode<T: Serialize>(message: &T, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = out.len();
    let body = postcard::to_allocvec(message).map_err(CodecError::Malformed)?;
    let length = u32::try_from(body.len()).ok().filter(|length| *length as usize <= MAX_MESSAGE);
    let Some(length) = length else {
        out.truncate(start);
        return Err(CodecError::TooLarge { length: body.len() });
    };
    out.reserve(HEADER + body.len());
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&body);
    Ok(())
}

/// Decodes the body of one frame. Nothing may follow the message.
///
/// # Errors
/// [`CodecError::Malformed`].
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok(_) => Err(CodecError::Malformed(postcard::Error::DeserializeBadEncoding)),
        Err(error) => Err(CodecError::Malformed(error)),
    }
}

/// Collects received bytes and gives out whole messages.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Bytes at the front that were given out.
    taken: usize,
}

impl Decoder {
    /// An empty one.
    pub fn new() -> Decoder {
        Decoder::default()
    }

    /// Adds received bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Bytes that wait for the rest of their message.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.taken
    }

    /// The next message, or `None` if it has not arrived completely.
    ///
    /// # Errors
    /// [`CodecError::Malformed`] takes the bad frame out: call again for the next one. [`CodecError::TooLarge`] comes
    /// back every time.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, CodecError> {
        let waiting = self.buffer.get(self.taken..).unwrap_or_default();
        let Some((header, rest)) = waiting.split_first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        if length > MAX_MESSAGE {
            return Err(CodecError::TooLarge { length });
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = decode(body);
        self.taken += HEADER + length;
        message.map(Some)
    }
}
