//! Reading big-endian fields, with the offset kept for error messages.

/// The bytes ended before the field did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Short {
    /// Where the field starts, from the start of the message.
    pub(crate) offset: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Cursor<'a> {
    /// Reads `bytes`, the first of which is at `offset` of the message.
    pub(crate) fn new(bytes: &'a [u8], offset: usize) -> Self {
        Cursor { bytes, offset }
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Short> {
        let (head, tail) = self.bytes.split_at_checked(n).ok_or(Short { offset: self.offset })?;
        self.bytes = tail;
        self.offset += n;
        Ok(head)
    }

    /// The next `n` bytes as a cursor of their own.
    pub(crate) fn sub(&mut self, n: usize) -> Result<Cursor<'a>, Short> {
        let offset = self.offset;
        Ok(Cursor { bytes: self.take(n)?, offset })
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let offset = self.offset;
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Short { offset })
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Short> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Short> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_be_bytes)
    }
}
