//! What moves a session's bytes: one task on the loop of the stream below.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::BytesMut;

use super::shared::Shared;
use crate::failure::{Failure, Outcome};
use crate::io::Io;
use crate::limits::Permit;
use crate::stream::{Stream, with_scratch};

/// Reads that are made before others have a turn.
const TURN: usize = 16;

/// Runs a session; resolves when it is over, with its streams.
pub struct Drive {
    io: Io,
    shared: Arc<Shared>,
    input: BytesMut,
    read_out: bool,
    /// Nothing more is read until the other side takes what it was answered.
    full: bool,
    _permit: Option<Permit>,
}

impl Drive {
    pub(super) fn new(mut stream: Stream, shared: Arc<Shared>) -> Self {
        let (mut outgoing, held) = stream.take_outgoing();
        outgoing.extend_from_slice(&held);
        shared.lock().out = outgoing;
        Self {
            io: stream.io,
            shared,
            input: stream.unread,
            read_out: false,
            full: false,
            _permit: stream.permit,
        }
    }

    /// Send what there is. Ready when nothing waits.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<()>> {
        loop {
            let state = self.shared.lock();
            if state.out.is_empty() {
                break;
            }
            // The lock is held while the socket takes the bytes, which spares a copy of them.
            let n = ready!(self.io.poll_write(cx, &state.out))?;
            drop(state);
            if n == 0 {
                return Poll::Ready(Err(Failure::Ended));
            }
            self.shared.sent(n);
        }
        ready!(self.io.poll_flush(cx))?;
        Poll::Ready(Ok(()))
    }

    /// Take what came.
    fn poll_in(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<()>> {
        for _ in 0..TURN {
            self.shared
                .hear(&mut self.input)
                .map_err(|broken| Failure::Peer(broken.0))?;
            if self.read_out {
                return Poll::Ready(Err(Failure::Ended));
            }
            self.full = self.shared.is_full();
            if self.full {
                return Poll::Pending;
            }
            let (io, input) = (&mut self.io, &mut self.input);
            let n = ready!(with_scratch(|scratch| {
                let n = ready!(io.poll_read(cx, scratch))?;
                input.extend_from_slice(&scratch[..n]);
                Poll::Ready(std::io::Result::Ok(n))
            }))?;
            self.read_out = n == 0;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<()>> {
        self.shared.driver.register(cx.waker());
        // What is heard may be answered, so it is taken first; what does not fit the socket waits.
        let heard = self.poll_in(cx)?;
        let sent = self.poll_out(cx)?;
        // A write that waits wakes this task; one that made room at once has to do so itself.
        if self.full && !self.shared.is_full() {
            cx.waker().wake_by_ref();
        }
        let over = self.shared.lock().is_over();
        if over && sent.is_ready() {
            return self.io.poll_shutdown(cx).map_err(Failure::from);
        }
        if heard.is_ready() {
            return Poll::Ready(Err(Failure::Ended));
        }
        Poll::Pending
    }
}

impl Future for Drive {
    type Output = Outcome<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<()>> {
        let outcome = ready!(self.poll_work(cx));
        match &outcome {
            Err(Failure::Peer(why)) => {
                self.io.abort();
                self.shared.fail(why);
            }
            _ => self.shared.fail("the session is over"),
        }
        Poll::Ready(outcome)
    }
}

impl Drop for Drive {
    fn drop(&mut self) {
        self.shared.fail("the session is over");
    }
}
