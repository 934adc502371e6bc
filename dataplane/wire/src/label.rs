//! MPLS labels (RFC 3032: 20 bits) and VXLAN network identifiers (RFC 7348: 24 bits).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A number too large for a label or a VNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LabelError {
    /// The number given.
    pub value: u32,
    /// The largest allowed.
    pub max: u32,
}

impl fmt::Display for LabelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is above {}", self.value, self.max)
    }
}

impl std::error::Error for LabelError {}

macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u32", into = "u32")]
        pub struct $name(u32);

        impl $name {
            /// The largest value.
            pub const MAX: u32 = $max;

            /// The plain number.
            #[inline]
            pub const fn get(self) -> u32 {
                self.0
            }
        }

        impl TryFrom<u32> for $name {
            type Error = LabelError;

            fn try_from(value: u32) -> Result<Self, LabelError> {
                if value > Self::MAX { Err(LabelError { value, max: Self::MAX }) } else { Ok($name(value)) }
            }
        }

        impl From<$name> for u32 {
            fn from(value: $name) -> u32 {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

bounded!(
    /// An MPLS label, 0 to 2^20 - 1 (RFC 3032 section 2.1).
    Label, 0x000f_ffff);
bounded!(
    /// A VXLAN network identifier, 0 to 2^24 - 1 (RFC 7348 section 5).
    Vni, 0x00ff_ffff);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_and_twenty_four_bits_are_the_bounds() {
        assert!(Label::try_from(0xfffff).is_ok());
        assert!(Label::try_from(0x0010_0000).is_err());
        assert_eq!(Vni::try_from(11_158_251).map(Vni::get), Ok(11_158_251));
        assert!(Vni::try_from(0x0100_0000).is_err());
    }
}
