//! Pipes for splice, pooled per thread: two descriptors and a page array are taken only while data
//! is on its way.

use std::cell::RefCell;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::{io, mem};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::held;

/// What one splice may move. A larger pipe than the default 64 KiB means fewer wake-ups per byte.
pub const CAPACITY: usize = 1 << 20;

/// Empty pipes kept per thread for the next flow that needs one.
const POOLED: usize = 32;

thread_local! {
    static POOL: RefCell<Vec<Pipe>> = const { RefCell::new(Vec::new()) };
}

static MOST: AtomicU64 = AtomicU64::new(256);

/// Have at most so many pipes in this process; what finds none is copied. (Two threads that look at
/// the same moment may make one more.)
pub fn set_most(pipes: u64) {
    MOST.store(pipes, Ordering::Relaxed);
}

/// A pipe, and how many bytes wait in it.
pub struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    held: usize,
}

impl Pipe {
    /// Take one from the pool, or make one. Fails when descriptors have run out, or their share.
    pub fn take() -> io::Result<Self> {
        if let Some(pipe) = POOL.with_borrow_mut(Vec::pop) {
            return Ok(pipe);
        }
        if held::PIPES.now() >= MOST.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Refused past the user's pipe budget; the default size then does.
        let _ = fcntl_setpipe_size(&writer, CAPACITY);
        held::PIPES.add(1);
        Ok(Self {
            reader,
            writer,
            held: 0,
        })
    }

    /// Give an empty pipe back; one with bytes in it is closed.
    pub fn give_back(self) {
        if self.held == 0 {
            POOL.with_borrow_mut(|pool| {
                if pool.len() < POOLED {
                    pool.push(self);
                }
            });
        }
    }

    /// Bytes that wait in the pipe.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Move at most so many bytes from a socket into the pipe; 0 at the socket's end.
    pub fn fill(&mut self, from: BorrowedFd<'_>, most: usize) -> io::Result<usize> {
        let moved = splice(from, None, &self.writer, None, most, flags())?;
        self.held += moved;
        Ok(moved)
    }

    /// Move bytes from the pipe into a socket.
    pub fn drain(&mut self, into: BorrowedFd<'_>) -> io::Result<usize> {
        let moved = splice(&self.reader, None, into, None, self.held, flags())?;
        self.held -= moved;
        Ok(moved)
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        held::PIPES.sub(1);
    }
}

/// Close the pooled pipes of the calling thread.
pub fn clear_pool() {
    drop(POOL.with_borrow_mut(mem::take));
}

fn flags() -> SpliceFlags {
    SpliceFlags::MOVE | SpliceFlags::NONBLOCK
}
