//! What the slab is made of, or what stands for it where all interleavings are looked at.

#[cfg(not(loom))]
pub(super) use std::sync::atomic::AtomicU64;

#[cfg(not(loom))]
pub(super) use sys::words::Words;

#[cfg(loom)]
pub(super) use loom::sync::atomic::AtomicU64;

/// As many words of the model checker's.
#[cfg(loom)]
#[derive(Debug)]
pub(super) struct Words(Box<[AtomicU64]>);

#[cfg(loom)]
impl Words {
    #[expect(clippy::unnecessary_wraps, reason = "as the other")]
    pub(super) fn shared(count: usize, _: &str) -> std::io::Result<Words> {
        Ok(Words(std::iter::repeat_with(|| AtomicU64::new(0)).take(count).collect()))
    }

    pub(super) fn populate(&self) {}
}

#[cfg(loom)]
impl std::ops::Deref for Words {
    type Target = [AtomicU64];

    fn deref(&self) -> &[AtomicU64] {
        &self.0
    }
}
