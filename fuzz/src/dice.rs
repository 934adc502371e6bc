//! Any `Deserialize` type from bytes. Every byte string means something: enum variants are taken modulo their number,
//! numbers and addresses mostly come from the bench, lengths are small, and bytes that have run out are zero. Models
//! made this way refer to each other instead of being refused, and a new field or variant is covered as it appears.

use serde::de::value::{Error, U32Deserializer};
use serde::de::{
    DeserializeOwned, DeserializeSeed, EnumAccess, IntoDeserializer, SeqAccess, VariantAccess,
    Visitor,
};
use serde::{Deserializer, forward_to_deserialize_any};

/// Numbers of the bench: vifs, VRFs, next hops, labels, VNIs, flags.
const NUMBERS: &[u32] = &[
    0, 1, 2, 3, 4, 5, 6, 10, 20, 21, 30, 31, 33, 40, 41, 42, 43, 50, 51, 52, 53, 54, 60, 61, 80,
    81, 82, 90, 1024, 1500, 5001, 6001,
];

/// MACs of the bench.
const MACS: &[[u8; 6]] = &[
    [2, 0, 0, 0, 0xa1, 3],
    [2, 0, 0, 0, 0xa1, 4],
    [2, 0, 0, 0, 0xa1, 9],
    [0, 0, 0x5e, 0, 1, 0],
    [2, 0, 0, 0, 0xf0, 1],
    [2, 0, 0, 0, 0xf0, 2],
    [0xff; 6],
    [0x33, 0x33, 0, 0, 0, 1],
];

/// IPv4 addresses of the bench.
const INET: &[[u8; 4]] = &[
    [10, 10, 1, 3],
    [10, 10, 1, 4],
    [10, 10, 1, 9],
    [10, 10, 1, 1],
    [192, 0, 2, 1],
    [192, 0, 2, 2],
    [0, 0, 0, 0],
    [224, 0, 0, 5],
];

/// Last bytes of the bench's IPv6 addresses, 2001:db8:a:1::.
const INET6: &[u8] = &[3, 4, 9, 1];

/// A source of values.
#[derive(Clone, Debug)]
pub struct Dice<'a> {
    bytes: &'a [u8],
    depth: u8,
}

impl<'a> Dice<'a> {
    /// Values from these bytes.
    pub fn new(bytes: &'a [u8]) -> Dice<'a> {
        Dice { bytes, depth: 0 }
    }

    /// Whether all bytes are used up.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The next byte, or 0.
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    /// The next `length` bytes, or as many as there are.
    pub fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(length.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    /// One of these; they must not be none.
    pub fn one_of<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::from(self.byte()) % of.len()]
    }

    /// A value of any type; `None` when the type itself refuses the bytes.
    pub fn roll<T: DeserializeOwned>(&mut self) -> Option<T> {
        self.depth = 0;
        T::deserialize(self).ok()
    }

    fn number(&mut self) -> u64 {
        match self.byte() {
            first @ ..=0xdf => u64::from(NUMBERS[usize::from(first) % NUMBERS.len()]),
            // Flags, mostly: one bit.
            first @ 0xe0..=0xef => 1 << (u32::from(first & 0xf) + u32::from(self.byte() & 0x10)),
            _ => self.take(4).iter().fold(0, |value, byte| value << 8 | u64::from(*byte)),
        }
    }

    /// Bytes of the bench where a type has as many as an address.
    fn array(&mut self, length: usize) -> Vec<u8> {
        let from_bench = self.byte() < 0xe0;
        match (length, from_bench) {
            (6, true) => self.one_of(MACS).to_vec(),
            (4, true) => self.one_of(INET).to_vec(),
            (16, true) => {
                let last = self.one_of(INET6);
                [&[0x20, 1, 0xd, 0xb8, 0, 0xa, 0, 1, 0, 0, 0, 0, 0, 0, 0][..], &[last]].concat()
            }
            _ => {
                let mut bytes = self.take(length).to_vec();
                bytes.resize(length, 0);
                bytes
            }
        }
    }

    fn truncated<T: TryFrom<u64> + Default>(&mut self, max: u64) -> T {
        T::try_from(self.number() & max).unwrap_or_default()
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $int:ty),*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            let value: $int = self.truncated(<$int>::MAX as u64);
            visitor.$visit(value)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Dice<'_> {
    type Error = Error;

    numbers!(
        deserialize_u16 visit_u16 u16, deserialize_u32 visit_u32 u32, deserialize_u64 visit_u64 u64,
        deserialize_i8 visit_i8 i8, deserialize_i16 visit_i16 i16, deserialize_i32 visit_i32 i32
    );

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u64(self.number())
    }

    fn deserialize_i64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_i64(i64::try_from(self.number()).unwrap_or(-1))
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_u8(self.byte())
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_bool(self.byte() & 1 == 1)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_char(char::from(self.byte()))
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let name =
            self.one_of(&["", "eth0", "tap3", "tap4", "vhost0", "pkt0", "a b\n\u{1b}\u{fffd}"]);
        visitor.visit_str(name)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let length = usize::from(self.byte() & 0x3f);
        visitor.visit_bytes(self.take(length))
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.byte().is_multiple_of(3) { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Short, and of 14 bytes more often than not: that is how long an Ethernet header is.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let left = match self.byte() {
            length @ ..=0x7f => usize::from(length) % 5,
            _ => 14,
        };
        visitor.visit_seq(Items { dice: self, left })
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        if matches!(length, 4 | 6 | 16) {
            let bytes = self.array(length);
            return visitor.visit_seq(Bytes { bytes: bytes.into_iter() });
        }
        visitor.visit_seq(Items { dice: self, left: length })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Items { dice: self, left: length })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Items { dice: self, left: fields.len() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > 200 {
            return Err(serde::de::Error::custom("too deep"));
        }
        let index = u32::from(self.byte()) % u32::try_from(variants.len()).unwrap_or(1);
        visitor.visit_enum(Variant { dice: self, index })
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! { i128 u128 f32 f64 map identifier ignored_any }
}

struct Items<'d, 'b> {
    dice: &'d mut Dice<'b>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Items<'_, '_> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.dice).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

struct Bytes {
    bytes: std::vec::IntoIter<u8>,
}

impl<'de> SeqAccess<'de> for Bytes {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        self.bytes.next().map(|byte| seed.deserialize(byte.into_deserializer())).transpose()
    }
}

struct Variant<'d, 'b> {
    dice: &'d mut Dice<'b>,
    index: u32,
}

impl<'d, 'b, 'de> EnumAccess<'de> for Variant<'d, 'b> {
    type Error = Error;
    type Variant = &'d mut Dice<'b>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, Self::Variant), Error> {
        let index: U32Deserializer<Error> = self.index.into_deserializer();
        Ok((seed.deserialize(index)?, self.dice))
    }
}

impl<'de> VariantAccess<'de> for &mut Dice<'_> {
    type Error = Error;

    fn unit_variant(self) -> Result<(), Error> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Error> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_seq(Items { dice: self, left: length })
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_seq(Items { dice: self, left: fields.len() })
    }
}
