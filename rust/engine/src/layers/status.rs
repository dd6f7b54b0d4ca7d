//! A stream whose other side puts a few bytes before all it sends: whether it leads anywhere.
//!
//! They come with the first bytes of the target, if it ever speaks, so nobody can wait for them before
//! a relay begins. Sources: sing-mux, whose streams begin with one byte; VLESS, whose servers begin
//! with a zero, a length, and as many bytes that mean nothing here.

use std::io;
use std::task::{Context, Poll, ready};

use super::Broken;
use crate::io::{Io, Layer};
use crate::stream::Stream;

const FINE: u8 = 0;

/// What still comes before the target's bytes.
#[derive(Debug, Clone, Copy)]
pub enum Awaited {
    /// One byte: whether it leads anywhere.
    Status,
    /// The zero that an answer begins with.
    Answer,
    /// The length of the answer's rest.
    Length,
    /// So many bytes.
    Rest(u8),
}

/// A stream, and what is still to come before its bytes.
pub struct Status {
    io: Io,
    awaited: Option<Awaited>,
}

impl Status {
    /// Expect this before what `stream` brings, which must not have been read from yet: a stream
    /// that was just opened. What it holds goes out first, as before.
    pub fn over(mut stream: Stream, awaited: Awaited) -> Stream {
        let (outgoing, held) = stream.take_outgoing();
        let layer = Self {
            io: stream.io,
            awaited: Some(awaited),
        };
        let mut layered = Stream::new(Io::Layer(Box::new(layer)), stream.home, stream.remote);
        layered.held = [&outgoing[..], &held].concat();
        layered.permit = stream.permit;
        layered
    }
}

impl Layer for Status {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut room = [0; 255];
        while let Some(awaited) = self.awaited {
            if into.is_empty() {
                break;
            }
            let wanted = match awaited {
                Awaited::Rest(left) => usize::from(left),
                _ => 1,
            };
            let got = ready!(self.io.poll_read(cx, &mut room[..wanted]))?;
            if got == 0 {
                return Poll::Ready(Ok(0));
            }
            self.awaited = match awaited {
                Awaited::Status if room[0] == FINE => None,
                Awaited::Status => {
                    let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
                    return Poll::Ready(Err(refused));
                }
                Awaited::Answer if room[0] == 0 => Some(Awaited::Length),
                Awaited::Answer => {
                    return Poll::Ready(Err(Broken("the server's answer is no answer").into()));
                }
                Awaited::Length => (room[0] > 0).then_some(Awaited::Rest(room[0])),
                Awaited::Rest(left) => {
                    let left = left - got as u8;
                    (left > 0).then_some(Awaited::Rest(left))
                }
            };
        }
        self.io.poll_read(cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.io.poll_write(cx, data)
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io.poll_shutdown(cx)
    }

    fn abort(&mut self) {
        self.io.abort();
    }

    fn below(&self) -> Option<&Io> {
        Some(&self.io)
    }

    fn rehome(&mut self) -> io::Result<()> {
        self.io.rehome()
    }
}
