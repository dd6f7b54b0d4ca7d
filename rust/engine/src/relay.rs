//! Two streams joined: where a flow spends its life, without the interpreter.
//!
//! One task polls both directions. Small exchanges go through the thread's scratch buffer; a
//! direction that keeps filling it turns to splice where both ends are bare sockets. An idle flow
//! owns no buffer and no pipe.

mod way;

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::task::AtomicWaker;
use tokio::time::{Instant, Sleep, sleep_until};

use self::way::{Closing, Fault, Way};
use crate::bucket::{Buckets, Direction, Throttle};
use crate::failure::{Failure, Outcome, panic_text};
use crate::held;
use crate::io::Io;
use crate::limits::Permit;
use crate::stream::Stream;

/// How long held bytes wait for company before they go out alone.
const HOLD: Duration = Duration::from_millis(5);

/// When one that has ended its own direction is looked at: nothing is read from it any more, so that
/// a reset of it would go unnoticed. Each look is twice as far off, since it costs a wake-up.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// The bytes of a relay that moves nothing, without its sockets and what it was asked with.
pub const SIZE: usize =
    size_of::<Run>() + size_of::<Gauge>() + size_of::<Sleep>() + 2 * size_of::<usize>();

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
    /// What it draws from.
    pub buckets: Buckets,
    cut: AtomicU8,
    waker: AtomicWaker,
    reason: Mutex<Option<String>>,
}

/// Why a flow is cut whose quota is used up.
pub const QUOTA: &str = "quota";

impl Gauge {
    /// Of a flow that draws from these.
    pub fn limited(buckets: Buckets) -> Self {
        Self {
            buckets,
            ..Self::default()
        }
    }

    /// End the relay; its owner will learn `reason`.
    pub fn cut(&self, reason: &str) {
        self.tell(reason);
        self.cut.store(1, Ordering::Release);
        self.waker.wake();
    }

    /// Note why it ends; the first reason stays.
    fn tell(&self, reason: &str) {
        let mut kept = self.reason.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get_or_insert_with(|| reason.to_owned());
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
    /// When the side that has ended its own direction is looked at next.
    look: Option<Look>,
    /// How it will end, once the direction that still works is through.
    torn: Option<End>,
    _permits: (Option<Permit>, Option<Permit>),
}

/// A look at the side that has ended its own direction.
#[derive(Clone, Copy)]
struct Look {
    at: Instant,
    every: Duration,
}

impl Look {
    fn first(now: Instant) -> Self {
        let every = LOOK.0;
        let at = now + every;
        Self { at, every }
    }

    /// Itself while it is still to come, then the next one.
    fn after(self, now: Instant) -> Self {
        if now < self.at {
            return self;
        }
        let every = (2 * self.every).min(LOOK.1);
        let at = now + every;
        Self { at, every }
    }
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
        held::RELAYS.add(1);
        let now = Instant::now();
        let buckets = &gauge.buckets;
        let (rising, falling) = (
            Throttle::new(buckets, Direction::Up),
            Throttle::new(buckets, Direction::Down),
        );
        let holding = !near.held.is_empty() || !far.held.is_empty();
        let first = if holding { HOLD } else { idle };
        Ok(Self {
            near: near.io,
            far: far.io,
            up: Way::new(far.outgoing, far.held, up, rising),
            down: Way::new(near.outgoing, near.held, down, falling),
            gauge,
            idle,
            last: now,
            timer: Box::pin(sleep_until(now + first)),
            over: false,
            look: None,
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
            Poll::Ready(Err(fault)) => match self.faulted(cx, fault, true) {
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
            Poll::Ready(Err(fault)) => match self.faulted(cx, fault, false) {
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
                Some(End::Far(_)) => self.near.abort(),
                Some(_) => self.abort(),
                None => {}
            }
            Poll::Ready(self.torn.unwrap_or(End::Closed))
        } else {
            Poll::Pending
        }
    }

    /// One that takes no more may have said why before it broke off (a server that refuses an upload
    /// does): where only the writing failed, the other direction is heard out first.
    fn faulted(&mut self, cx: &Context<'_>, fault: Fault, going_up: bool) -> Option<End> {
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
            Fault::Spent if !other.over => {
                // What the other direction has taken in is paid for. It comes to the same end.
                way.over = true;
                self.torn = Some(End::Cut);
                self.gauge.tell(QUOTA);
                cx.waker().wake_by_ref();
                None
            }
            fault => Some(self.fail(fault, going_up)),
        }
    }

    fn abort(&mut self) {
        self.near.abort();
        self.far.abort();
    }

    /// A failure on one side is passed on to the other as a reset: a torn stream must not look whole.
    fn fail(&mut self, fault: Fault, going_up: bool) -> End {
        let (near_failed, error) = match fault {
            Fault::Source(error) => (going_up, error),
            Fault::Sink(error) => (!going_up, error),
            Fault::Spent => {
                self.gauge.tell(QUOTA);
                self.abort();
                return End::Cut;
            }
        };
        if near_failed {
            self.far.abort();
            End::Near(error.kind())
        } else {
            self.near.abort();
            End::Far(error.kind())
        }
    }

    /// Nobody has said anything for too long: a plain end for both, save for one who has not had all
    /// that was for it.
    fn part(&mut self, cx: &mut Context<'_>) {
        if !self.down.is_through() || self.near.poll_shutdown(cx).is_pending() {
            self.near.abort();
        }
        if !self.up.is_through() || self.far.poll_shutdown(cx).is_pending() {
            self.far.abort();
        }
    }

    /// How it ends if the side whose direction is over has broken off.
    fn gone(&mut self) -> Option<End> {
        let (silent, other, end) = if self.up.over {
            (&self.near, &mut self.far, End::Near as fn(_) -> _)
        } else {
            (&self.far, &mut self.near, End::Far as fn(_) -> _)
        };
        silent.is_broken().then(|| {
            other.abort();
            end(io::ErrorKind::ConnectionReset)
        })
    }

    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while self.timer.as_mut().poll(cx).is_ready() {
            if !self.up.held.is_empty() || !self.down.held.is_empty() {
                self.up.release_held();
                self.down.release_held();
                cx.waker().wake_by_ref();
            }
            if self.up.waits() || self.down.waits() {
                self.last = Instant::now();
            }
            let (now, mut due) = (Instant::now(), self.last + self.idle);
            if due <= now {
                self.part(cx);
                return Poll::Ready(End::Idle);
            }
            if let Some(look) = self.look {
                if let Some(end) = self.gone() {
                    return Poll::Ready(end);
                }
                let look = look.after(now);
                self.look = Some(look);
                due = due.min(look.at);
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
            this.abort();
            return Poll::Ready(End::Cut);
        }
        let mut end = this.poll_ways(cx);
        if end.is_pending() && this.look.is_none() && this.up.over != this.down.over {
            let look = Look::first(Instant::now());
            this.look = Some(look);
            if look.at < this.timer.deadline() {
                this.timer.as_mut().reset(look.at);
            }
        }
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
        held::RELAYS.sub(1);
        if !self.over {
            self.abort();
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
