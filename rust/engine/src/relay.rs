//! Two streams joined: where a flow spends its life, without the interpreter.
//!
//! One task polls both directions. Small exchanges go through the thread's scratch buffer; a
//! direction that keeps filling it turns to splice where both ends are bare sockets. An idle flow
//! owns no buffer and no pipe.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::failure::{Failure, Outcome, panic_text};
use crate::io::Io;
use crate::limits::Permit;
use crate::pipe::Pipe;
use crate::stream::{SCRATCH, Stream, with_scratch};

/// How long held bytes wait for company before they go out alone.
const HOLD: Duration = Duration::from_millis(5);

/// A splice that moves less than this is dearer than a copy.
const WORTH_SPLICING: usize = 16 * 1024;

/// Why a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Both sides said all they had.
    Closed,
    /// Nothing moved for too long.
    Idle,
    /// The near side failed.
    Near(io::ErrorKind),
    /// The far side failed.
    Far(io::ErrorKind),
    /// Cut from outside.
    Cut,
}

/// What can be seen of a relay, and done to it, from outside. Shared with the owner.
#[derive(Default)]
pub struct Gauge {
    /// Bytes from near to far.
    pub up: AtomicU64,
    /// Bytes from far to near.
    pub down: AtomicU64,
    cut: AtomicU8,
    waker: AtomicWaker,
    reason: Mutex<Option<String>>,
}

impl Gauge {
    /// End the relay; its owner will learn `reason`.
    pub fn cut(&self, reason: &str) {
        let mut kept = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_with(|| reason.to_owned());
        drop(kept);
        self.cut.store(1, Ordering::Release);
        self.waker.wake();
    }

    /// Why it was cut, if it was.
    pub fn reason(&self) -> Option<String> {
        self.reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether a cut was asked for; the task is woken by the next one.
    pub fn poll_cut(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.cut.load(Ordering::Acquire) != 0
    }
}

/// One direction's state.
struct Way {
    /// To be written before anything is read.
    ahead: BytesMut,
    /// How much in front of that is a protocol's, not the flow's.
    overhead: usize,
    /// Goes with the first bytes read.
    held: Vec<u8>,
    pipe: Option<Pipe>,
    splicing: bool,
    read_out: bool,
    over: bool,
}

/// What the end of one direction is to say to its sink.
#[derive(Clone, Copy)]
enum Closing {
    /// The end of this direction.
    Half,
    /// The other direction is over too: the close that follows says it all, except through a layer.
    Whole,
    /// Nothing: what was heard after the other side broke off must not look whole.
    Torn,
}

impl Closing {
    fn of(other: &Way, torn: Option<End>) -> Self {
        match torn {
            Some(_) => Self::Torn,
            None if other.over => Self::Whole,
            None => Self::Half,
        }
    }
}

enum Fault {
    Source(io::Error),
    Sink(io::Error),
}

impl Way {
    /// `outgoing` is an unfinished write, `said` what the other side had sent before the relay began.
    fn new(outgoing: BytesMut, mut held: Vec<u8>, said: &[u8]) -> Self {
        let mut ahead = outgoing;
        if !said.is_empty() {
            ahead.extend_from_slice(&std::mem::take(&mut held));
        }
        let overhead = ahead.len();
        ahead.extend_from_slice(said);
        Self {
            ahead,
            overhead,
            held,
            pipe: None,
            splicing: false,
            read_out: false,
            over: false,
        }
    }

    /// Take what was held in front of what goes next; it is not payload, so it is not counted.
    fn release_held(&mut self) {
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
    fn poll(
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
        loop {
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
            if self.splicing {
                ready!(self.poll_splice(cx, source))?;
            } else {
                ready!(self.poll_copy(cx, source, sink, count, moved))?;
            }
        }
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
        with_scratch(|scratch| {
            let polled = source.poll_read(cx, scratch);
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
            }
            if !self.held.is_empty() {
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
        match bare.poll_in(cx, |fd| pipe.fill(fd)) {
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

/// The joined pair; resolves to why it ended, with both sides closed.
pub struct Relay {
    near: Io,
    far: Io,
    up: Way,
    down: Way,
    gauge: Arc<Gauge>,
    idle: Duration,
    last: Instant,
    timer: Pin<Box<Sleep>>,
    over: bool,
    /// How it will end, once the direction that still works is through.
    torn: Option<End>,
    _permits: (Option<Permit>, Option<Permit>),
}

impl Relay {
    /// Join two streams. Must be called on the reactor thread that will poll it, which takes over
    /// sockets that were registered elsewhere. Unfinished writes, held and unread bytes go first.
    fn new(
        near: Stream,
        far: Stream,
        home: usize,
        idle: Duration,
        gauge: Arc<Gauge>,
    ) -> io::Result<Self> {
        let (up, near) = Half::of(near, home)?;
        let (down, far) = Half::of(far, home)?;
        let now = Instant::now();
        let holding = !near.held.is_empty() || !far.held.is_empty();
        let first = if holding { HOLD } else { idle };
        Ok(Self {
            near: near.io,
            far: far.io,
            up: Way::new(far.outgoing, far.held, &up),
            down: Way::new(near.outgoing, near.held, &down),
            gauge,
            idle,
            last: now,
            timer: Box::pin(sleep_until(now + first)),
            over: false,
            torn: None,
            _permits: (near.permit, far.permit),
        })
    }

    fn poll_ways(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut moved = false;
        let closing = Closing::of(&self.down, self.torn);
        let up = self.up.poll(
            cx,
            &mut self.near,
            &mut self.far,
            &self.gauge.up,
            &mut moved,
            closing,
        );
        let up = match up {
            Poll::Ready(Err(fault)) => match self.faulted(fault, true) {
                Some(end) => return Poll::Ready(end),
                None => true,
            },
            other => other.is_ready(),
        };
        let closing = Closing::of(&self.up, self.torn);
        let down = self.down.poll(
            cx,
            &mut self.far,
            &mut self.near,
            &self.gauge.down,
            &mut moved,
            closing,
        );
        let down = match down {
            Poll::Ready(Err(fault)) => match self.faulted(fault, false) {
                Some(end) => return Poll::Ready(end),
                None => true,
            },
            other => other.is_ready(),
        };
        if moved {
            self.last = Instant::now();
        }
        if up && down {
            match self.torn {
                Some(End::Near(_)) => self.far.abort(),
                Some(_) => self.near.abort(),
                None => {}
            }
            Poll::Ready(self.torn.unwrap_or(End::Closed))
        } else {
            Poll::Pending
        }
    }

    /// One that takes no more may have said why before it broke off (a server that refuses an upload
    /// does): where only the writing failed, the other direction is heard out first.
    fn faulted(&mut self, fault: Fault, going_up: bool) -> Option<End> {
        let (way, other) = if going_up {
            (&mut self.up, &self.down)
        } else {
            (&mut self.down, &self.up)
        };
        match fault {
            Fault::Sink(error) if !other.over => {
                way.over = true;
                let end = if going_up { End::Far } else { End::Near };
                self.torn = Some(end(error.kind()));
                None
            }
            fault => Some(self.fail(fault, going_up)),
        }
    }

    /// A failure on one side is passed on to the other as a reset: a torn stream must not look whole.
    fn fail(&mut self, fault: Fault, going_up: bool) -> End {
        let (near_failed, error) = match fault {
            Fault::Source(error) => (going_up, error),
            Fault::Sink(error) => (!going_up, error),
        };
        if near_failed {
            self.far.abort();
            End::Near(error.kind())
        } else {
            self.near.abort();
            End::Far(error.kind())
        }
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if !self.up.held.is_empty() || !self.down.held.is_empty() {
                self.up.release_held();
                self.down.release_held();
                cx.waker().wake_by_ref();
            }
            let due = self.last + self.idle;
            if due <= Instant::now() {
                self.near.abort();
                self.far.abort();
                return Poll::Ready(End::Idle);
            }
            self.timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

impl Future for Relay {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let this = &mut *self;
        if this.gauge.poll_cut(cx) {
            this.near.abort();
            this.far.abort();
            return Poll::Ready(End::Cut);
        }
        let mut end = this.poll_ways(cx);
        if end.is_pending() {
            end = this.poll_timer(cx);
        }
        this.over = end.is_ready();
        end
    }
}

/// Dropped before its end, as its thread stops: neither side may take what it has for the whole.
impl Drop for Relay {
    fn drop(&mut self) {
        if !self.over {
            self.near.abort();
            self.far.abort();
        }
    }
}

/// A relay from before its first poll: the streams, then the joined pair. One small future instead
/// of nested async blocks, whose states would add up to a kilobyte per idle flow.
pub struct Run(State);

#[expect(
    clippy::large_enum_variant,
    reason = "a relay is nearly always running; a box would cost more"
)]
enum State {
    Fresh(Option<Box<Fresh>>),
    Running(Relay),
}

struct Fresh {
    near: Stream,
    far: Stream,
    home: usize,
    idle: Duration,
    gauge: Arc<Gauge>,
}

impl Run {
    /// Join two streams once polled, on the reactor `home`.
    pub fn new(near: Stream, far: Stream, home: usize, idle: Duration, gauge: Arc<Gauge>) -> Self {
        Self(State::Fresh(Some(Box::new(Fresh {
            near,
            far,
            home,
            idle,
            gauge,
        }))))
    }
}

impl Future for Run {
    type Output = Outcome<End>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<End>> {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            if let State::Fresh(fresh) = &mut self.0 {
                let Some(Fresh {
                    near,
                    far,
                    home,
                    idle,
                    gauge,
                }) = fresh.take().map(|fresh| *fresh)
                else {
                    return Poll::Ready(Err(Failure::Misuse("polled after a panic")));
                };
                self.0 = State::Running(Relay::new(near, far, home, idle, gauge)?);
            }
            match &mut self.0 {
                State::Running(relay) => Pin::new(relay).poll(cx).map(Ok),
                State::Fresh(_) => Poll::Pending,
            }
        }));
        panicked
            .unwrap_or_else(|payload| Poll::Ready(Err(Failure::Panicked(panic_text(&*payload)))))
    }
}

struct Half {
    io: Io,
    outgoing: BytesMut,
    held: Vec<u8>,
    permit: Option<Permit>,
}

impl Half {
    /// What was read but not taken, and the rest of the stream, at home on this thread.
    fn of(mut stream: Stream, home: usize) -> io::Result<(BytesMut, Self)> {
        let (outgoing, held) = stream.take_outgoing();
        if stream.home != home {
            stream.io.rehome()?;
        }
        Ok((
            stream.unread,
            Self {
                io: stream.io,
                outgoing,
                held,
                permit: stream.permit,
            },
        ))
    }
}
