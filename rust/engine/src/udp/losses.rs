//! Packets that did not leave.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts what could not be sent; any thread may read it.
#[derive(Default)]
pub struct Losses {
    /// The kernel, or the queue of a slow reader, had no room.
    pub congested: AtomicU64,
    /// The kernel would not send it, or it is too long.
    pub unsendable: AtomicU64,
}

impl Losses {
    /// The kernel did not send so many packets.
    pub fn lost(&self, error: &io::Error, packets: usize) {
        let counter = match error.raw_os_error() {
            Some(libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) => &self.congested,
            _ => &self.unsendable,
        };
        counter.fetch_add(packets as u64, Relaxed);
    }
}
