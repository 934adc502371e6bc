//! Refusals: an errno-like code for the text of the original, and names for people.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whose fault it is, in the original's numbers (reference cli.md section 1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorCode {
    /// The object does not exist (ENOENT).
    NotFound,
    /// Out of memory or of table space (ENOMEM).
    NoMemory,
    /// The index lies beyond the table, or there is no such device (ENODEV).
    NoDevice,
    /// A field is wrong (EINVAL): retrying does not help.
    Invalid,
    /// Another process holds it (EBUSY): retry later.
    Busy,
    /// No version in common (EPROTO).
    Version,
    /// The server does not know this request (EOPNOTSUPP).
    Unsupported,
    /// The object belongs to the dataplane itself (EPERM).
    NotPermitted,
    /// The kernel refused (EIO); the message has its words.
    System,
    /// The index is another object's by now (EBADF).
    Stale,
    /// The object is not the one that was meant (EFAULT).
    Mismatch,
    /// There is one like it already (EEXIST).
    Exists,
}

impl ErrorCode {
    /// The positive errno.
    pub const fn errno(self) -> i32 {
        match self {
            ErrorCode::NotPermitted => 1,
            ErrorCode::NotFound => 2,
            ErrorCode::System => 5,
            ErrorCode::Stale => 9,
            ErrorCode::NoMemory => 12,
            ErrorCode::Mismatch => 14,
            ErrorCode::Busy => 16,
            ErrorCode::Exists => 17,
            ErrorCode::NoDevice => 19,
            ErrorCode::Invalid => 22,
            ErrorCode::Version => 71,
            ErrorCode::Unsupported => 95,
        }
    }

    /// The text of `strerror`, as glibc has it.
    pub const fn text(self) -> &'static str {
        match self {
            ErrorCode::NotPermitted => "Operation not permitted",
            ErrorCode::NotFound => "No such file or directory",
            ErrorCode::System => "Input/output error",
            ErrorCode::Stale => "Bad file descriptor",
            ErrorCode::NoMemory => "Cannot allocate memory",
            ErrorCode::Mismatch => "Bad address",
            ErrorCode::Busy => "Device or resource busy",
            ErrorCode::Exists => "File exists",
            ErrorCode::NoDevice => "No such device",
            ErrorCode::Invalid => "Invalid argument",
            ErrorCode::Version => "Protocol error",
            ErrorCode::Unsupported => "Operation not supported",
        }
    }
}

/// Why a request was refused. Nothing of a refused request was done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// What kind of refusal.
    pub code: ErrorCode,
    /// The object, as `vif 3`; empty if the request names none.
    pub object: String,
    /// The field of it; empty if it is about the whole object.
    pub field: String,
    /// What is wrong and what would be allowed.
    pub message: String,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for name in [&self.object, &self.field] {
            if !name.is_empty() {
                write!(f, "{name}: ")?;
            }
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

impl ApiError {
    /// A refusal about an object as a whole.
    pub fn new(code: ErrorCode, object: impl Into<String>, message: impl Into<String>) -> ApiError {
        ApiError { code, object: object.into(), field: String::new(), message: message.into() }
    }

    /// The same refusal, naming the field.
    #[must_use]
    pub fn in_field(mut self, field: impl Into<String>) -> ApiError {
        self.field = field.into();
        self
    }

    /// The refusal of a missing object.
    pub fn not_found(object: impl Into<String>) -> ApiError {
        ApiError::new(ErrorCode::NotFound, object, "does not exist")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_text_names_object_and_field() {
        let error =
            ApiError::new(ErrorCode::Invalid, "vif 3", "9999 is above 4095").in_field("vrf");
        assert_eq!(error.to_string(), "vif 3: vrf: 9999 is above 4095");
        assert_eq!(ApiError::not_found("next hop 7").to_string(), "next hop 7: does not exist");
        assert_eq!(ApiError::new(ErrorCode::Version, "", "no").to_string(), "no");
    }
}
