//! Bulk bytes: sent from one file in memory, taken without a copy.

use std::io;
use std::os::fd::OwnedFd;

use crate::sys;

const FILE: usize = 4 << 20;
const CHUNK: usize = 512 << 10;

/// Where bulk bytes come from and go to.
pub struct Payload {
    file: OwnedFd,
    copied: Option<Vec<u8>>,
}

impl Payload {
    /// `copy` turns the zero-copy ways off.
    pub fn new(copy: bool) -> io::Result<Self> {
        let content = noise(FILE);
        let file = sys::memory_file(&content)?;
        Ok(Self {
            file,
            copied: copy.then(|| content[..CHUNK].to_vec()),
        })
    }

    /// Sends as much as the socket takes, at most a chunk. `offset` is the connection's own.
    pub fn push(&self, fd: &OwnedFd, offset: &mut i64) -> io::Result<usize> {
        if let Some(bytes) = &self.copied {
            return sys::send(fd, bytes);
        }
        if *offset >= FILE as i64 {
            *offset = 0;
        }
        let left = FILE - *offset as usize;
        sys::send_file(fd, &self.file, offset, left.min(CHUNK))
    }

    /// Takes what has come; 0 is the end.
    pub fn pull(&mut self, fd: &OwnedFd) -> io::Result<usize> {
        match &mut self.copied {
            Some(bytes) => sys::receive(fd, bytes),
            None => sys::discard(fd, 4 * CHUNK),
        }
    }
}

/// Bytes that do not compress (xorshift, Marsaglia 2003), the same each time.
fn noise(size: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes
}
