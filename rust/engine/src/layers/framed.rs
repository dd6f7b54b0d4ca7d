//! The part that all byte framings share: moving bytes between a pure framing and the stream below.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};

use super::Broken;
use crate::io::{Io, Layer};
use crate::layers::tls::Facts;
use crate::stream::Stream;

/// What is sealed or opened at once: the largest chunk of any framing (0xFFFF and two tags), or four
/// TLS records, and their headers.
pub const ROOM: usize = 68 * 1024;

/// What is taken of a write at once. The rest of `ROOM` is for headers and tags.
pub const TAKEN: usize = 64 * 1024;

/// Sealed bytes that may come in a row without any payload: empty pieces, tickets, new keys. The longest
/// handshake message fits twice; of empty chunks it is 7,700.
const BARREN: usize = 256 * 1024;

/// How many buffers a thread keeps: layers nest, and each level has one in use.
const KEPT: usize = 4;

thread_local! {
    static BUFFERS: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Lend a buffer of `ROOM` bytes. Unlike the scratch of `stream` it can be lent again meanwhile.
fn with_buffer<R>(work: impl FnOnce(&mut [u8]) -> R) -> R {
    let mut buffer = BUFFERS
        .with_borrow_mut(Vec::pop)
        .unwrap_or_else(|| vec![0; ROOM].into_boxed_slice());
    let result = work(&mut buffer);
    BUFFERS.with_borrow_mut(|kept| {
        if kept.len() < KEPT {
            kept.push(buffer);
        }
    });
    result
}

/// What came of looking at sealed bytes.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Opened {
    /// Sealed bytes that are done with.
    pub used: usize,
    /// Payload bytes laid in front of `into`.
    pub made: usize,
}

/// Turns payload into sealed bytes and back. Pure: no socket, no clock but what it was given.
pub trait Framing: Send {
    /// Seal the front of `data` (at most `TAKEN` bytes) into `out` (of `ROOM`): how many bytes were
    /// taken, and how many made.
    fn seal(&mut self, data: &[u8], out: &mut [u8]) -> io::Result<(usize, usize)>;
    /// Open as many whole chunks of `sealed` as fit `into`. When the first is whole and does not fit,
    /// it must still be taken (and given out in pieces), so that one byte of room is progress.
    fn open(&mut self, sealed: &mut [u8], into: &mut [u8]) -> io::Result<Opened>;
    /// How many sealed bytes are needed before `open` can do anything with bytes that begin so.
    fn needed(&self, sealed: &[u8]) -> usize;
    /// Whether the other side has said that nothing more comes.
    fn ended(&self) -> bool {
        false
    }
    /// The stream below has ended with nothing half-read. Whether that is an end, or a cut.
    fn may_end(&self) -> bool {
        true
    }
    /// What opening made necessary to say (a key update), sealed.
    fn reply(&mut self) -> Option<Vec<u8>> {
        None
    }
    /// What says that nothing more comes, sealed.
    fn end(&mut self) -> Vec<u8> {
        Vec::new()
    }
    /// What a handshake has settled, if this is TLS.
    fn facts(&self) -> Option<&Facts> {
        None
    }
}

/// A framing over a stream.
pub struct Framed<F: Framing> {
    io: Io,
    framing: F,
    /// Read, still sealed: at most a chunk in part, or what did not fit.
    unread: BytesMut,
    /// Sealed, not yet sent.
    out: BytesMut,
    /// Sealed bytes that were opened since there was payload in any.
    barren: usize,
    read_out: bool,
    ending: bool,
    aborted: bool,
}

impl<F: Framing + 'static> Framed<F> {
    /// Put `framing` over `stream`: what it had read is sealed, and what it had to send goes first.
    pub fn over(mut stream: Stream, framing: F) -> Stream {
        let (mut out, held) = stream.take_outgoing();
        out.extend_from_slice(&held);
        let layer = Self {
            io: stream.io,
            framing,
            unread: stream.unread,
            out,
            barren: 0,
            read_out: false,
            ending: false,
            aborted: false,
        };
        let mut layered = Stream::new(Io::Layer(Box::new(layer)), stream.home, stream.remote);
        layered.permit = stream.permit;
        layered
    }
}

impl<F: Framing> Framed<F> {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let n = ready!(self.io.poll_write(cx, &self.out))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.out.advance(n);
            if self.out.is_empty() {
                self.out = BytesMut::new();
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Send now what can be sent now, and keep the rest. Only while `out` is empty, so that no writer
    /// waits below and loses its waker.
    fn send(&mut self, cx: &mut Context<'_>, mut sealed: &[u8]) -> io::Result<()> {
        while !sealed.is_empty() {
            match self.io.poll_write(cx, sealed) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(n)) => sealed = &sealed[n..],
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    self.out.extend_from_slice(sealed);
                    break;
                }
            }
        }
        Ok(())
    }

    fn send_reply(&mut self) -> io::Result<()> {
        let Some(reply) = self.framing.reply() else {
            return Ok(());
        };
        if self.out.is_empty() && !self.ending {
            self.send(&mut Context::from_waker(Waker::noop()), &reply)?;
        } else if !self.ending {
            self.out.extend_from_slice(&reply);
        }
        Ok(())
    }

    /// One look at what is there: payload, or nothing yet (0), or the end.
    fn poll_open(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.framing.ended() {
                return Poll::Ready(Ok(0));
            }
            let kept = self.unread.len();
            // What has waited because it did not fit may be more than there is room for.
            let room = if self.read_out || kept >= buffer.len() {
                &mut [][..]
            } else {
                &mut buffer[kept..]
            };
            let polled = if room.is_empty() {
                Poll::Ready(Ok(0))
            } else {
                self.io.poll_read(cx, room)
            };
            let (got, pending) = match polled {
                Poll::Ready(got) => (got?, false),
                Poll::Pending => (0, true),
            };
            self.read_out |= got == 0 && !pending && !room.is_empty();
            let opened = self.open_all(kept, got, into, buffer)?;
            if opened.made > 0 {
                self.barren = 0;
                return Poll::Ready(Ok(opened.made));
            }
            self.barren += opened.used;
            if self.barren > BARREN {
                return Poll::Ready(Err(Broken(
                    "the other side sends pieces with nothing in them",
                )
                .into()));
            }
            if self.framing.ended() || opened.used > 0 {
                continue;
            }
            if self.read_out {
                if !self.unread.is_empty() || !self.framing.may_end() {
                    return Poll::Ready(Err(io::Error::from_raw_os_error(libc::ECONNRESET)));
                }
                return Poll::Ready(Ok(0));
            }
            if pending {
                return Poll::Pending;
            }
        }
    }

    /// Open what is whole of the `kept` bytes and the `got` behind them in `buffer`.
    fn open_all(
        &mut self,
        kept: usize,
        got: usize,
        into: &mut [u8],
        buffer: &mut [u8],
    ) -> io::Result<Opened> {
        if kept > 0 {
            // A chunk that comes in many small reads is gathered once, not moved back and forth.
            let short = kept + got < self.framing.needed(&self.unread);
            if short || kept >= buffer.len() {
                self.unread
                    .extend_from_slice(&buffer[kept.min(buffer.len())..][..got]);
                if short {
                    return Ok(Opened::default());
                }
                let opened = self.framing.open(&mut self.unread, into)?;
                self.unread.advance(opened.used);
                self.send_reply()?;
                return Ok(opened);
            }
            buffer[..kept].copy_from_slice(&self.unread);
        }
        let all = &mut buffer[..kept + got];
        let opened = self.framing.open(all, into)?;
        let rest = &all[opened.used..];
        if rest.is_empty() {
            self.unread = BytesMut::new();
        } else {
            self.unread.clear();
            self.unread.extend_from_slice(rest);
        }
        self.send_reply()?;
        Ok(opened)
    }
}

impl<F: Framing> Layer for Framed<F> {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        with_buffer(|buffer| self.poll_open(cx, into, buffer))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if self.ending {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EPIPE)));
        }
        ready!(self.poll_out(cx))?;
        with_buffer(|buffer| {
            let data = &data[..data.len().min(TAKEN)];
            let (taken, made) = self.framing.seal(data, buffer)?;
            self.send(cx, &buffer[..made])?;
            Poll::Ready(Ok(taken))
        })
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_out(cx))?;
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.ending {
            self.ending = true;
            let end = self.framing.end();
            self.out.extend_from_slice(&end);
        }
        ready!(self.poll_flush(cx))?;
        self.io.poll_shutdown(cx)
    }

    fn abort(&mut self) {
        self.aborted = true;
        self.io.abort();
    }

    fn below(&self) -> Option<&Io> {
        Some(&self.io)
    }

    fn rehome(&mut self) -> io::Result<()> {
        self.io.rehome()
    }

    fn facts(&self) -> Option<&Facts> {
        self.framing.facts()
    }
}

impl<F: Framing> Drop for Framed<F> {
    /// A close says that it is one, where the framing has words for it and nothing is in the way.
    fn drop(&mut self) {
        if self.aborted || self.ending || !self.out.is_empty() {
            return;
        }
        let end = self.framing.end();
        if end.is_empty() {
            return;
        }
        let cx = &mut Context::from_waker(Waker::noop());
        // Bytes that nobody has read (a session ticket) would turn the close into a reset.
        with_buffer(|buffer| {
            let _ = self.io.poll_read(cx, buffer);
        });
        let _ = self.io.poll_write(cx, &end);
    }
}
