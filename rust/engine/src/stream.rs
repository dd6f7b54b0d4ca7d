//! A stream before it is relayed: what is read but not taken, what is held back, and the socket.
//!
//! A read is a *want* that can be polled: bytes gather in `unread` until the want is met, so a
//! cancelled wait loses nothing. The owner polls from its own thread; a want that can be met at once
//! costs no trip through any event loop.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use memchr::memmem;
use socket2::SockRef;

use crate::failure::{Failure, Outcome};
use crate::io::Io;
use crate::limits::Permit;

/// The scratch that every read of a thread goes through, so that no idle stream owns a buffer.
pub const SCRATCH: usize = 64 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into_boxed_slice());
}

/// Lend the thread's scratch buffer.
pub fn with_scratch<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    BUFFER.with_borrow_mut(|buffer| work(buffer))
}

/// What a reader waits for.
#[derive(Debug, Clone)]
pub enum Want {
    /// Anything, at most so many bytes.
    Some(usize),
    /// Just so many bytes.
    Exactly(usize),
    /// Up to and including a mark, within so many bytes.
    Until(Bytes, usize),
    /// Anything, at most so many bytes, left in place; empty at the end.
    Peek(usize),
}

/// A stream that nobody relays yet.
pub struct Stream {
    /// What it stands on.
    pub io: Io,
    /// Read from the socket (or put back), not yet taken.
    pub unread: BytesMut,
    /// Goes out with the next bytes.
    pub held: Vec<u8>,
    /// Accepted by a `write` that could not finish.
    outgoing: BytesMut,
    /// The reactor it is registered with.
    pub home: usize,
    /// Its place at a listener's turnstile.
    pub permit: Option<Permit>,
    /// The other side's address.
    pub remote: Option<SocketAddr>,
    searched: usize,
    ended: bool,
}

impl Stream {
    /// A fresh stream over `io`, registered with the reactor `home`.
    pub fn new(io: Io, home: usize, remote: Option<SocketAddr>) -> Self {
        Self {
            io,
            unread: BytesMut::new(),
            held: Vec::new(),
            outgoing: BytesMut::new(),
            home,
            permit: None,
            remote,
            searched: 0,
            ended: false,
        }
    }

    /// This side's address, where there is one.
    pub fn local(&self) -> Option<SocketAddr> {
        self.io.local()
    }

    /// Where the connection was sent to before the kernel's NAT redirected it here: this side's address
    /// where it did not. Fails where nothing knows.
    pub fn asked(&self) -> io::Result<SocketAddr> {
        let socket = self.io.bottom().ok_or(io::ErrorKind::Unsupported)?;
        let known = SockRef::from(socket);
        let asked = if socket.local_addr()?.is_ipv4() {
            known.original_dst_v4()?
        } else {
            known.original_dst_v6()?
        };
        asked
            .as_socket()
            .ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// Whether the other side's end has been read.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Begin a read: one that was given up may have sought another mark.
    pub fn begin_want(&mut self) {
        self.searched = 0;
    }

    /// Go on with a read. When it fails with `Ended` or `TooLong`, what came stays readable.
    pub fn poll_want(&mut self, cx: &mut Context<'_>, want: &Want) -> Poll<Outcome<Bytes>> {
        loop {
            if let Some(outcome) = self.met(want) {
                self.searched = 0;
                return Poll::Ready(outcome);
            }
            match ready!(self.poll_fill(cx)) {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
    }

    /// Wait until `unread` holds something. Fails with `Ended` at the end.
    pub fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<()>> {
        while self.unread.is_empty() {
            if self.ended {
                return Poll::Ready(Err(Failure::Ended));
            }
            self.ended = ready!(self.poll_fill(cx))? == 0;
        }
        Poll::Ready(Ok(()))
    }

    /// How many bytes were taken to be sent and are not yet.
    pub fn unsent(&self) -> usize {
        self.outgoing.len()
    }

    fn met(&mut self, want: &Want) -> Option<Outcome<Bytes>> {
        match want {
            Want::Some(limit) => {
                if !self.unread.is_empty() {
                    let n = self.unread.len().min(*limit);
                    return Some(Ok(self.take(n)));
                }
            }
            Want::Exactly(n) => {
                if self.unread.len() >= *n {
                    return Some(Ok(self.take(*n)));
                }
            }
            Want::Until(mark, limit) => {
                let from = self.searched.saturating_sub(mark.len());
                if let Some(at) = memmem::find(&self.unread[from..], mark) {
                    let n = from + at + mark.len();
                    return Some(if n <= *limit {
                        Ok(self.take(n))
                    } else {
                        Err(Failure::TooLong)
                    });
                }
                self.searched = self.unread.len();
                if self.unread.len() >= *limit {
                    return Some(Err(Failure::TooLong));
                }
            }
            Want::Peek(limit) => {
                if !self.unread.is_empty() || self.ended {
                    let n = self.unread.len().min(*limit);
                    return Some(Ok(Bytes::copy_from_slice(&self.unread[..n])));
                }
            }
        }
        self.ended.then_some(Err(Failure::Ended))
    }

    fn take(&mut self, n: usize) -> Bytes {
        let taken = Bytes::copy_from_slice(&self.unread[..n]);
        self.unread.advance(n);
        if self.unread.is_empty() {
            self.unread = BytesMut::new();
        }
        taken
    }

    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        with_scratch(|scratch| {
            let n = ready!(self.io.poll_read(cx, scratch))?;
            self.unread.extend_from_slice(&scratch[..n]);
            Poll::Ready(Ok(n))
        })
    }

    /// Put bytes back in front of what is to be read.
    pub fn put_back(&mut self, data: &[u8]) {
        let mut joined = BytesMut::with_capacity(data.len() + self.unread.len());
        joined.extend_from_slice(data);
        joined.extend_from_slice(&self.unread);
        self.unread = joined;
        self.searched = 0;
    }

    /// Take bytes to be sent; `poll_sent` sees them out. What was held goes first.
    pub fn start_write(&mut self, data: &[u8]) {
        if !self.held.is_empty() {
            let held = std::mem::take(&mut self.held);
            self.outgoing.extend_from_slice(&held);
        }
        self.outgoing.extend_from_slice(data);
    }

    /// Send `data` at once if all of it goes, sparing the copy; else keep the rest for `poll_sent`.
    pub fn write_now(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<Outcome<()>> {
        if self.held.is_empty() && self.outgoing.is_empty() {
            match self.io.poll_write(cx, data) {
                Poll::Ready(Ok(n)) => self.outgoing.extend_from_slice(&data[n..]),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error.into())),
                Poll::Pending => self.outgoing.extend_from_slice(data),
            }
        } else {
            self.start_write(data);
        }
        self.poll_sent(cx)
    }

    /// Go on sending what was taken.
    pub fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<()>> {
        while !self.outgoing.is_empty() {
            let n = ready!(self.io.poll_write(cx, &self.outgoing))?;
            if n == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.outgoing.advance(n);
        }
        self.outgoing = BytesMut::new();
        ready!(self.io.poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    /// Send what is left, then half-close.
    pub fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<()>> {
        self.start_write(&[]);
        ready!(self.poll_sent(cx))?;
        ready!(self.io.poll_shutdown(cx))?;
        Poll::Ready(Ok(()))
    }

    /// What must go out before anything else: unfinished writes, then what was held.
    pub fn take_outgoing(&mut self) -> (BytesMut, Vec<u8>) {
        (
            std::mem::take(&mut self.outgoing),
            std::mem::take(&mut self.held),
        )
    }
}
