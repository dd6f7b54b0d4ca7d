//! What the engines of this process hold, by part, for whoever asks where the memory is.
//!
//! Counted where it is taken and given back, once per flow or entry, never per byte.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One part's count.
pub struct Held(AtomicU64);

/// Relays that run.
pub static RELAYS: Held = Held::none();
/// Turns to splicing, since the start: of a relay, one each way, or more where its flow pauses.
pub static SPLICED: Held = Held::none();
/// Pipes for splicing, those in the pools included.
pub static PIPES: Held = Held::none();
/// Bytes of large sets.
pub static SETS: Held = Held::none();
/// Bytes of the salts that were seen.
pub static SALTS: Held = Held::none();

impl Held {
    const fn none() -> Self {
        Self(AtomicU64::new(0))
    }

    /// So many more.
    pub fn add(&self, count: usize) {
        self.0.fetch_add(count as u64, Relaxed);
    }

    /// So many fewer.
    pub fn sub(&self, count: usize) {
        self.0.fetch_sub(count as u64, Relaxed);
    }

    /// How many there are now.
    pub fn now(&self) -> u64 {
        self.0.load(Relaxed)
    }
}
