//! Framing (RFC 4271 section 4.1) and the small messages.

use std::fmt;

use super::cursor::Cursor;
use super::family::Family;
use super::open::Open;

/// The largest message we send or take (RFC 4271; extended messages are not negotiated).
pub const MAX_MESSAGE: usize = 4096;

/// Marker, length and type.
pub(crate) const HEADER: usize = 19;

pub(crate) mod kind {
    pub(crate) const OPEN: u8 = 1;
    pub(crate) const UPDATE: u8 = 2;
    pub(crate) const NOTIFICATION: u8 = 3;
    pub(crate) const KEEPALIVE: u8 = 4;
    pub(crate) const ROUTE_REFRESH: u8 = 5;
}

/// A message. The body of an UPDATE is read apart, since that needs to know what was negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Type 1.
    Open(Open),
    /// Type 2: everything after the header.
    Update(&'a [u8]),
    /// Type 3.
    Notification(Notification),
    /// Type 4.
    KeepAlive,
    /// Type 5.
    RouteRefresh(RouteRefresh),
}

/// A request to be sent a family again (RFC 2918).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteRefresh {
    /// For a family of ours.
    Ours(Family),
    /// For another family, or a marker of enhanced refresh: no answer is due.
    Ignored,
}

/// Why a session ends (RFC 4271 section 4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Error code.
    pub code: u8,
    /// Error subcode.
    pub subcode: u8,
    /// What it is about.
    pub data: Vec<u8>,
}

impl Notification {
    pub(crate) const HOLD_TIMER: Notification = Notification::new(4, 0);
    pub(crate) const CEASE: u8 = 6;
    pub(crate) const DECONFIGURED: Notification = Notification::new(Self::CEASE, 3);
    pub(crate) const COLLISION: Notification = Notification::new(Self::CEASE, 7);
    /// RFC 8538: end the session and flush, graceful restart or not.
    pub(crate) const HARD_RESET: Notification = Notification::new(Self::CEASE, 9);

    pub(crate) const fn new(code: u8, subcode: u8) -> Notification {
        Notification { code, subcode, data: Vec::new() }
    }

    pub(crate) fn is_hard_reset(&self) -> bool {
        (self.code, self.subcode) == (Self::CEASE, 9)
    }

    /// The message on the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = vec![self.code, self.subcode];
        body.extend(self.data.iter().take(MAX_MESSAGE - HEADER - 2));
        frame(kind::NOTIFICATION, &body)
    }
}

impl fmt::Display for Notification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.code, self.subcode) {
            (1, _) => "message header error",
            (2, 2) => "bad peer AS",
            (2, 3) => "bad BGP identifier",
            (2, 6) => "unacceptable hold time",
            (2, 7) => "unsupported capability",
            (2, _) => "OPEN message error",
            (3, _) => "UPDATE message error",
            (4, _) => "hold timer expired",
            (5, _) => "finite state machine error",
            (6, 2) => "administrative shutdown",
            (6, 3) => "peer de-configured",
            (6, 4) => "administrative reset",
            (6, 7) => "connection collision resolution",
            (6, 9) => "hard reset",
            (6, _) => "cease",
            (7, _) => "ROUTE-REFRESH message error",
            _ => "unknown",
        };
        write!(f, "{name} ({}/{})", self.code, self.subcode)
    }
}

/// A message that costs the session.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The marker is not all ones.
    #[error("the marker is not all ones")]
    Marker,
    /// A length no message of that type has.
    #[error("message length {length} is out of range")]
    Length {
        /// As given.
        length: u16,
    },
    /// Not a type from 1 to 5.
    #[error("unknown message type {0}")]
    Type(u8),
    /// OPEN cannot be read or taken.
    #[error("OPEN: {what}")]
    Open {
        /// Subcode of the notification.
        subcode: u8,
        /// What is wrong.
        what: String,
    },
    /// UPDATE whose routes cannot be told.
    #[error("UPDATE: {what} at offset {offset}")]
    Update {
        /// Subcode of the notification.
        subcode: u8,
        /// From the start of the message.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
}

impl MessageError {
    /// What the peer is told.
    pub fn notification(&self) -> Notification {
        match self {
            MessageError::Marker => Notification::new(1, 1),
            MessageError::Length { length } => {
                Notification { code: 1, subcode: 2, data: length.to_be_bytes().to_vec() }
            }
            MessageError::Type(number) => Notification { code: 1, subcode: 3, data: vec![*number] },
            MessageError::Open { subcode, .. } => Notification::new(2, *subcode),
            MessageError::Update { subcode, .. } => Notification::new(3, *subcode),
        }
    }
}

/// The first whole message of `stream` and how many bytes it takes, or `None` when more must arrive.
///
/// # Errors
/// Any error ends the session: the stream cannot be trusted any more.
pub fn take_message(stream: &[u8]) -> Result<Option<(Message<'_>, usize)>, MessageError> {
    let mut cursor = Cursor::new(stream, 0);
    let Ok(marker) = cursor.array::<16>() else { return Ok(None) };
    if marker != [0xff; 16] {
        return Err(MessageError::Marker);
    }
    let (Ok(length), Ok(number)) = (cursor.u16(), cursor.u8()) else { return Ok(None) };
    let whole = usize::from(length);
    let shortest = match number {
        kind::OPEN => 29,
        kind::UPDATE | kind::ROUTE_REFRESH => 23,
        kind::NOTIFICATION => 21,
        kind::KEEPALIVE => HEADER,
        _ => return Err(MessageError::Type(number)),
    };
    let longest = if number == kind::KEEPALIVE { HEADER } else { MAX_MESSAGE };
    if !(shortest..=longest).contains(&whole) {
        return Err(MessageError::Length { length });
    }
    let Ok(body) = cursor.take(whole - HEADER) else { return Ok(None) };
    let message = match number {
        kind::OPEN => Message::Open(Open::decode(stream.get(..whole).unwrap_or(stream))?),
        kind::UPDATE => Message::Update(body),
        kind::NOTIFICATION => Message::Notification(decode_notification(body)),
        kind::KEEPALIVE => Message::KeepAlive,
        _ => Message::RouteRefresh(decode_refresh(body)),
    };
    Ok(Some((message, whole)))
}

fn decode_notification(body: &[u8]) -> Notification {
    match body {
        [code, subcode, data @ ..] => {
            Notification { code: *code, subcode: *subcode, data: data.to_vec() }
        }
        _ => Notification::new(0, 0),
    }
}

fn decode_refresh(body: &[u8]) -> RouteRefresh {
    // The third byte tells a request (0) from the marks of enhanced refresh (RFC 7313), which we do not offer.
    match body {
        [high, low, 0, safi, ..] => Family::from_numbers(u16::from_be_bytes([*high, *low]), *safi)
            .map_or(RouteRefresh::Ignored, RouteRefresh::Ours),
        _ => RouteRefresh::Ignored,
    }
}

/// A message of this type around a body that is known to fit.
pub(crate) fn frame(number: u8, body: &[u8]) -> Vec<u8> {
    let mut message = vec![0xff; 16];
    let length = u16::try_from(HEADER + body.len()).unwrap_or(u16::MAX);
    message.extend(length.to_be_bytes());
    message.push(number);
    message.extend(body);
    message
}

/// KEEPALIVE on the wire.
pub(crate) fn keepalive() -> Vec<u8> {
    frame(kind::KEEPALIVE, &[])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_taken_only_when_whole() {
        let bytes = keepalive();
        for cut in 0..bytes.len() {
            assert_eq!(take_message(&bytes[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(take_message(&bytes), Ok(Some((Message::KeepAlive, 19))));
        let notification = Notification { code: 6, subcode: 2, data: vec![1, 2] };
        let bytes = notification.encode();
        assert_eq!(take_message(&bytes), Ok(Some((Message::Notification(notification), 23))));
    }

    #[test]
    fn header_errors_name_what_is_wrong() {
        let mut bytes = keepalive();
        bytes[3] = 0;
        assert_eq!(take_message(&bytes), Err(MessageError::Marker));
        let mut bytes = keepalive();
        bytes[17] = 18;
        assert_eq!(take_message(&bytes), Err(MessageError::Length { length: 18 }));
        let mut bytes = frame(kind::UPDATE, &[0; 4]);
        bytes[16] = 0x10;
        bytes[17] = 0x01;
        assert_eq!(take_message(&bytes), Err(MessageError::Length { length: 4097 }));
        assert_eq!(take_message(&frame(9, &[])), Err(MessageError::Type(9)));
        assert_eq!(MessageError::Type(9).notification().encode()[19..], [1, 3, 9]);
    }

    #[test]
    fn refresh_is_answered_for_our_families_only() {
        let ours = frame(kind::ROUTE_REFRESH, &[0, 25, 0, 70]);
        let answer = Message::RouteRefresh(RouteRefresh::Ours(Family::Evpn));
        assert_eq!(take_message(&ours), Ok(Some((answer, 23))));
        let others = frame(kind::ROUTE_REFRESH, &[0, 1, 0, 1]);
        let ignored = Message::RouteRefresh(RouteRefresh::Ignored);
        assert_eq!(take_message(&others), Ok(Some((ignored, 23))));
    }
}
