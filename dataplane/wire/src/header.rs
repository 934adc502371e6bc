//! How a header type is made: one length check gives a view, after which no accessor can fail.
//!
//! A header is a `repr(C)` struct of unaligned big-endian fields. A reference to it inside a frame is the *view*; an
//! owned copy is the *value*. Both have the same accessors, which speak host order, so byte order stays in this crate.

/// Declares a header struct with private fields and its three doors: `parse`, `parse_mut`, `emit`.
macro_rules! header {
    ($(#[$doc:meta])* $name:ident [$len:literal] { $($field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(
            Clone,
            Copy,
            Debug,
            PartialEq,
            Eq,
            zerocopy::FromBytes,
            zerocopy::IntoBytes,
            zerocopy::KnownLayout,
            zerocopy::Immutable,
            zerocopy::Unaligned,
        )]
        #[repr(C)]
        pub struct $name {
            $($field: $ty,)*
        }

        const _: () = assert!(size_of::<$name>() == $len);

        impl $name {
            /// Length on the wire in bytes, without options.
            pub const LEN: usize = $len;

            /// The header at the start of `bytes`, and what follows it. `None` when too short.
            #[inline]
            pub fn parse(bytes: &[u8]) -> Option<(&Self, &[u8])> {
                <Self as zerocopy::FromBytes>::ref_from_prefix(bytes).ok()
            }

            /// Like `parse`, writable in place.
            #[inline]
            pub fn parse_mut(bytes: &mut [u8]) -> Option<(&mut Self, &mut [u8])> {
                <Self as zerocopy::FromBytes>::mut_from_prefix(bytes).ok()
            }

            /// Writes the header to the start of `out`. `None` (and nothing written) when it does not fit.
            #[inline]
            pub fn emit(&self, out: &mut [u8]) -> Option<()> {
                zerocopy::IntoBytes::write_to_prefix(self, out).ok()
            }

            /// The header as bytes.
            #[inline]
            pub fn bytes(&self) -> &[u8] {
                zerocopy::IntoBytes::as_bytes(self)
            }
        }
    };
}

pub(crate) use header;
