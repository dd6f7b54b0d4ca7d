//! Memory for what comes and goes in pieces of up to 64 KiB: it is handed on whole in place of being
//! copied, and the large ones are used again.

use std::cell::RefCell;
use std::ops::Deref;

/// Room in front of the bytes for whoever puts headers there.
pub const HEAD: usize = 128;

/// The most bytes of a large one, behind its head: a packet of IP at its longest.
pub const ROOM: usize = 65_536;

/// With what a device puts before a packet.
const LARGE: usize = HEAD + ROOM + 64;

/// Large ones kept per thread; the last one given back is the first to go out, as it is still in
/// the processor's cache.
const POOLED: usize = 32;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Bytes, with room behind them.
#[derive(Default)]
pub struct Buffer {
    memory: Vec<u8>,
    from: usize,
    to: usize,
}

impl Buffer {
    /// An empty one with `ROOM` bytes of room.
    pub fn large() -> Self {
        let memory = POOL
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| vec![0; LARGE]);
        Self {
            memory,
            from: HEAD,
            to: HEAD,
        }
    }

    /// One that holds just these bytes, with some room where they are few.
    pub fn of(bytes: &[u8]) -> Self {
        let mut memory = Vec::with_capacity(bytes.len().next_power_of_two().max(512));
        memory.extend_from_slice(bytes);
        memory.resize(memory.capacity(), 0);
        Self {
            memory,
            from: 0,
            to: bytes.len(),
        }
    }

    /// Whether it has no memory: it was taken.
    pub fn is_taken(&self) -> bool {
        self.memory.is_empty()
    }

    /// Drop all bytes, so that there is as much room again as there was.
    pub fn empty(&mut self) {
        let start = if self.memory.len() == LARGE { HEAD } else { 0 };
        (self.from, self.to) = (start, start);
    }

    /// The room behind the bytes.
    pub fn room(&mut self) -> &mut [u8] {
        &mut self.memory[self.to..]
    }

    /// So many bytes were put into the room.
    pub fn grow(&mut self, count: usize) {
        self.to = (self.to + count).min(self.memory.len());
    }

    /// Keep only these of its bytes.
    pub fn keep(&mut self, from: usize, to: usize) {
        let start = self.from;
        self.to = self.to.min(start + to);
        self.from = self.to.min(start + from);
    }

    /// Drop bytes at the front.
    pub fn advance(&mut self, count: usize) {
        self.from = (self.from + count).min(self.to);
    }

    /// Add these bytes if there is room for all of them; whether there was.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        let fits = self.memory.len() - self.to >= bytes.len();
        if fits {
            self.memory[self.to..self.to + bytes.len()].copy_from_slice(bytes);
            self.to += bytes.len();
        }
        fits
    }

    /// Itself in no more memory than it needs, where that is much less than it has.
    #[must_use]
    pub fn compact(self) -> Self {
        if self.len() < ROOM / 8 && self.memory.len() == LARGE {
            Self::of(&self)
        } else {
            self
        }
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.memory[self.from..self.to]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.memory.len() == LARGE {
            let memory = std::mem::take(&mut self.memory);
            // A thread that ends has no pool any more.
            let _ = POOL.try_with(|pool| {
                let mut pool = pool.borrow_mut();
                if pool.len() < POOLED {
                    pool.push(memory);
                }
            });
        }
    }
}

/// Free the pooled ones of the calling thread.
pub fn clear_pool() {
    drop(POOL.with_borrow_mut(std::mem::take));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_kept_dropped_and_added() {
        let mut one = Buffer::large();
        one.room()[..6].copy_from_slice(b"abcdef");
        one.grow(6);
        one.keep(1, 5);
        assert_eq!(&*one, b"bcde");
        one.advance(1);
        assert!(one.append(b"xy"));
        assert_eq!(&*one, b"cdexy");
        let few = one.compact();
        assert_eq!(&*few, b"cdexy");
        assert_eq!(few.memory.len(), 512);
        assert!(!Buffer::of(&[0; 512]).append(b"x"));
    }
}
