//! A stream whose other side says first whether it leads anywhere: one byte before all it sends.
//!
//! That byte comes with the first bytes of the target, if it ever speaks, so nobody can wait for it
//! before a relay begins. Source: sing-mux, whose streams begin so.

use std::io;
use std::task::{Context, Poll, ready};

use crate::io::{Io, Layer};
use crate::stream::Stream;

const FINE: u8 = 0;

/// A stream, and whether its status is still to come.
pub struct Status {
    io: Io,
    awaited: bool,
}

impl Status {
    /// Expect a status before what `stream` brings, which must not have been read from yet: a stream
    /// that was just opened. What it holds goes out first, as before.
    pub fn over(mut stream: Stream) -> Stream {
        let (outgoing, held) = stream.take_outgoing();
        let layer = Self {
            io: stream.io,
            awaited: true,
        };
        let mut layered = Stream::new(Io::Layer(Box::new(layer)), stream.home, stream.remote);
        layered.held = [&outgoing[..], &held].concat();
        layered.permit = stream.permit;
        layered
    }
}

impl Layer for Status {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        if !self.awaited || into.is_empty() {
            return self.io.poll_read(cx, into);
        }
        let mut status = [0];
        if ready!(self.io.poll_read(cx, &mut status))? == 0 {
            return Poll::Ready(Ok(0));
        }
        if status[0] != FINE {
            let refused = io::Error::from_raw_os_error(libc::ECONNREFUSED);
            return Poll::Ready(Err(refused));
        }
        self.awaited = false;
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
