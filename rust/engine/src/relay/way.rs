//! One direction of a relay: read, wait for its turn, write, pass the end on.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};

use super::End;
use crate::bucket::{Spent, Throttle};
use crate::buffer::Buffer;
use crate::held;
use crate::io::Io;
use crate::pipe::{CAPACITY, Pipe};
use crate::stream::{SCRATCH, with_scratch};

/// Chunks that one direction moves before others have a turn.
const TURN: usize = 16;

/// A splice that moves less than this is dearer than a copy.
const WORTH_SPLICING: usize = 16 * 1024;

/// One direction's state.
pub struct Way {
    /// To be written before anything is read.
    ahead: BytesMut,
    /// How much in front of that is a protocol's, not the flow's.
    overhead: usize,
    /// Goes with the first bytes read.
    pub held: Vec<u8>,
    /// Taken from a source in its own memory, and not written yet.
    rest: Option<Buffer>,
    pipe: Option<Pipe>,
    splicing: bool,
    read_out: bool,
    pub over: bool,
    throttle: Option<Box<Throttle>>,
}

/// What the end of one direction is to say to its sink.
#[derive(Clone, Copy)]
pub enum Closing {
    /// The end of this direction.
    Half,
    /// The other direction is over too: the close that follows says it all, except through a layer.
    Whole,
    /// Nothing: what was heard after the other side broke off must not look whole.
    Torn,
}

impl Closing {
    pub fn of(other: &Way, torn: Option<End>) -> Self {
        match torn {
            Some(_) => Self::Torn,
            None if other.over => Self::Whole,
            None => Self::Half,
        }
    }
}

pub enum Fault {
    Source(io::Error),
    Sink(io::Error),
    /// There is more, and no quota for it.
    Spent,
}

impl Way {
    /// `outgoing` is an unfinished write, `said` what the other side had sent before the relay began.
    pub fn new(
        outgoing: BytesMut,
        mut held: Vec<u8>,
        said: BytesMut,
        mut throttle: Option<Box<Throttle>>,
    ) -> Self {
        let mut ahead = outgoing;
        if !said.is_empty() {
            ahead.extend_from_slice(&std::mem::take(&mut held));
        }
        let overhead = ahead.len();
        match &mut throttle {
            Some(throttle) => throttle.ahead = said,
            None => ahead.extend_from_slice(&said),
        }
        Self {
            ahead,
            overhead,
            held,
            rest: None,
            pipe: None,
            splicing: false,
            read_out: false,
            over: false,
            throttle,
        }
    }

    /// Whether something waits for its turn.
    pub fn waits(&self) -> bool {
        self.throttle
            .as_ref()
            .is_some_and(|throttle| throttle.waits())
    }

    /// Whether all that was taken in has gone on.
    pub fn is_through(&self) -> bool {
        self.ahead.is_empty()
            && self.rest.is_none()
            && self.pipe.is_none()
            && self.held.is_empty()
            && !self.waits()
    }

    /// How much may be read, of `want`; `took` must follow.
    fn poll_room(&mut self, cx: &Context<'_>, want: usize) -> Poll<Result<usize, Fault>> {
        match &mut self.throttle {
            None => Poll::Ready(Ok(want)),
            Some(throttle) => throttle.poll_room(cx, want).map_err(|Spent| Fault::Spent),
        }
    }

    /// So much was read. Whether it has to wait for its turn.
    fn took(&mut self, n: usize) -> bool {
        self.throttle.as_mut().is_some_and(|throttle| {
            throttle.took(n);
            throttle.waits()
        })
    }

    /// Take in what came before the relay began. Whether there was something.
    fn poll_said(&mut self, cx: &Context<'_>) -> Poll<Result<bool, Fault>> {
        let said = match &self.throttle {
            Some(throttle) if !throttle.ahead.is_empty() => throttle.ahead.len(),
            _ => return Poll::Ready(Ok(false)),
        };
        let n = ready!(self.poll_room(cx, said))?;
        if let Some(throttle) = &mut self.throttle {
            self.ahead.extend_from_slice(&throttle.ahead.split_to(n));
            throttle.took(n);
        }
        Poll::Ready(Ok(true))
    }

    /// Take what was held in front of what goes next; it is not payload, so it is not counted.
    pub fn release_held(&mut self) {
        self.overhead += self.held.len();
        self.ahead
            .extend_from_slice(&std::mem::take(&mut self.held));
    }

    fn written(&mut self, n: usize, count: &AtomicU64) {
        let overhead = n.min(self.overhead);
        self.overhead -= overhead;
        count.fetch_add((n - overhead) as u64, Ordering::Relaxed);
    }

    /// Move what can be moved. Ready when this direction has been closed through.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Io,
        sink: &mut Io,
        count: &AtomicU64,
        moved: &mut bool,
        closing: Closing,
    ) -> Poll<Result<(), Fault>> {
        if self.over {
            return Poll::Ready(Ok(()));
        }
        let mut chunks = 0;
        loop {
            if let Some(throttle) = &mut self.throttle {
                ready!(throttle.poll_turn(cx));
            }
            while !self.ahead.is_empty() {
                let n = ready!(sink.poll_write(cx, &self.ahead)).map_err(Fault::Sink)?;
                if n == 0 {
                    return Poll::Ready(Err(Fault::Sink(io::ErrorKind::WriteZero.into())));
                }
                self.written(n, count);
                self.ahead.advance(n);
                *moved = true;
                if self.ahead.is_empty() {
                    self.ahead = BytesMut::new();
                }
            }
            if self.rest.is_some() {
                ready!(self.poll_rest(cx, sink, count, moved))?;
            }
            if self.pipe.is_some() {
                ready!(self.poll_unpipe(cx, sink, count, moved))?;
            }
            if self.read_out {
                if !self.held.is_empty() {
                    self.release_held();
                    continue;
                }
                let say = match closing {
                    Closing::Half => true,
                    Closing::Whole => sink.bare().is_none(),
                    Closing::Torn => false,
                };
                if say {
                    ready!(sink.poll_shutdown(cx)).map_err(Fault::Sink)?;
                }
                self.over = true;
                return Poll::Ready(Ok(()));
            }
            if chunks == TURN {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            chunks += 1;
            if self.throttle.is_some() && ready!(self.poll_said(cx))? {
                continue;
            }
            if self.splicing {
                ready!(self.poll_splice(cx, source))?;
            } else if self.throttle.is_none() && self.held.is_empty() {
                ready!(self.poll_move(cx, source, sink, count, moved))?;
            } else {
                ready!(self.poll_copy(cx, source, sink, count, moved))?;
            }
        }
    }

    /// Move bytes in the memory of the side that has some of its own; else copy them.
    fn poll_move(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Io,
        sink: &mut Io,
        count: &AtomicU64,
        moved: &mut bool,
    ) -> Poll<Result<(), Fault>> {
        if let Some(source) = source.buffered() {
            if matches!(sink, Io::Layer(_)) {
                ready!(sink.poll_flush(cx)).map_err(Fault::Sink)?;
            }
            match ready!(source.poll_take(cx)).map_err(Fault::Source)? {
                None => self.read_out = true,
                some => self.rest = some,
            }
            return Poll::Ready(Ok(()));
        }
        let Some(sink) = sink.buffered() else {
            return self.poll_copy(cx, source, sink, count, moved);
        };
        let room = ready!(sink.poll_room(cx)).map_err(Fault::Sink)?;
        let mut buffer = Buffer::large();
        let n = ready!(source.poll_read(cx, &mut buffer.room()[..room])).map_err(Fault::Source)?;
        if n == 0 {
            self.read_out = true;
        } else {
            buffer.grow(n);
            sink.put(buffer);
            count.fetch_add(n as u64, Ordering::Relaxed);
            *moved = true;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_rest(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut Io,
        count: &AtomicU64,
        moved: &mut bool,
    ) -> Poll<Result<(), Fault>> {
        while let Some(rest) = self.rest.as_mut().filter(|rest| !rest.is_empty()) {
            let n = ready!(sink.poll_write(cx, rest)).map_err(Fault::Sink)?;
            if n == 0 {
                return Poll::Ready(Err(Fault::Sink(io::ErrorKind::WriteZero.into())));
            }
            rest.advance(n);
            count.fetch_add(n as u64, Ordering::Relaxed);
            *moved = true;
        }
        self.rest = None;
        Poll::Ready(Ok(()))
    }

    fn poll_copy(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Io,
        sink: &mut Io,
        count: &AtomicU64,
        moved: &mut bool,
    ) -> Poll<Result<(), Fault>> {
        if matches!(sink, Io::Layer(_)) {
            // What it has sealed and not sent goes first: reading more would only be to keep it.
            ready!(sink.poll_flush(cx)).map_err(Fault::Sink)?;
        }
        let room = ready!(self.poll_room(cx, SCRATCH))?;
        with_scratch(|scratch| {
            let polled = source.poll_read(cx, &mut scratch[..room]);
            let late = match &polled {
                Poll::Ready(Ok(n)) => self.took(*n),
                _ => self.took(0),
            };
            if polled.is_pending() {
                // What a layer has buffered must not wait for more to come.
                let _ = sink.poll_flush(cx).map_err(Fault::Sink)?;
                return Poll::Pending;
            }
            let n = ready!(polled).map_err(Fault::Source)?;
            if n == 0 {
                self.read_out = true;
                return Poll::Ready(Ok(()));
            }
            if n == SCRATCH && source.bare().is_some() && sink.bare().is_some() {
                self.splicing = true;
                held::SPLICED.add(1);
            }
            if late || !self.held.is_empty() {
                self.release_held();
                self.ahead.extend_from_slice(&scratch[..n]);
                return Poll::Ready(Ok(()));
            }
            let mut sent = 0;
            while sent < n {
                match sink.poll_write(cx, &scratch[sent..n]) {
                    Poll::Ready(Ok(0)) => {
                        return Poll::Ready(Err(Fault::Sink(io::ErrorKind::WriteZero.into())));
                    }
                    Poll::Ready(Ok(m)) => {
                        sent += m;
                        count.fetch_add(m as u64, Ordering::Relaxed);
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(Fault::Sink(error))),
                    Poll::Pending => {
                        self.ahead.extend_from_slice(&scratch[sent..n]);
                        break;
                    }
                }
            }
            *moved = true;
            Poll::Ready(Ok(()))
        })
    }

    fn poll_splice(&mut self, cx: &mut Context<'_>, source: &mut Io) -> Poll<Result<(), Fault>> {
        let Some(bare) = source.bare() else {
            self.splicing = false;
            return Poll::Ready(Ok(()));
        };
        let Ok(mut pipe) = self.pipe.take().map_or_else(Pipe::take, Ok) else {
            // Out of descriptors: copying needs none.
            self.splicing = false;
            return Poll::Ready(Ok(()));
        };
        let room = match self.poll_room(cx, CAPACITY) {
            Poll::Ready(Ok(room)) => room,
            other => {
                pipe.give_back();
                return other.map_ok(|_| ());
            }
        };
        let polled = bare.poll_in(cx, |fd| pipe.fill(fd, room));
        match &polled {
            Poll::Ready(Ok(n)) => self.took(*n),
            _ => self.took(0),
        };
        match polled {
            Poll::Pending => {
                pipe.give_back();
                Poll::Pending
            }
            Poll::Ready(Ok(n)) => {
                self.read_out = n == 0;
                self.splicing = n >= WORTH_SPLICING;
                if n == 0 {
                    pipe.give_back();
                } else {
                    self.pipe = Some(pipe);
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) if error.raw_os_error() == Some(libc::EINVAL) => {
                self.splicing = false;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(Fault::Source(error))),
        }
    }

    fn poll_unpipe(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut Io,
        count: &AtomicU64,
        moved: &mut bool,
    ) -> Poll<Result<(), Fault>> {
        let (Some(pipe), Some(bare)) = (self.pipe.as_mut(), sink.bare()) else {
            return Poll::Ready(Err(Fault::Sink(io::ErrorKind::InvalidInput.into())));
        };
        while pipe.held() > 0 {
            let n = ready!(bare.poll_out(cx, |fd| pipe.drain(fd))).map_err(Fault::Sink)?;
            if n == 0 {
                return Poll::Ready(Err(Fault::Sink(io::ErrorKind::WriteZero.into())));
            }
            count.fetch_add(n as u64, Ordering::Relaxed);
            *moved = true;
        }
        if !self.splicing
            && let Some(pipe) = self.pipe.take()
        {
            pipe.give_back();
        }
        Poll::Ready(Ok(()))
    }
}
