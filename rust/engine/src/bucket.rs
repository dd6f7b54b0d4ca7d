//! What several flows may use together: bytes per second each way, and bytes in all.
//!
//! A bucket is one clock per direction, which runs ahead of the real one by what was booked. Who has
//! bytes to move books them and may move them once the clock has reached the booking's begin: so
//! every flow gets its turn in the order it asked, one quantum at a time, and nobody starves. All of
//! it is a few atomics, so that threads never wait for each other. `now` is passed in, in
//! nanoseconds; `clock` gives it.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use tokio::time::{Sleep, sleep};

/// What was not used lately may be made up for, so far back.
const BURST: u64 = 50_000_000;

/// Of a second, as the fraction's denominator, is what one flow may move in one turn.
const TURNS: u64 = 64;

/// A turn is not worth a system call below this, and no buffer holds one above.
const QUANTUM: (u64, u64) = (256, 1 << 20);

/// A turn so close is not waited for: timers are no finer. It is booked all the same.
const SOON: u64 = 500_000;

/// Parts of a nanosecond that the clocks count in, so that rounding is of no weight.
const TICKS: u64 = 64;

const SECOND: u64 = 1_000_000_000;

/// Stands for no quota.
const ENDLESS: u64 = u64::MAX;

/// Nanoseconds since some moment before the first call.
pub fn clock() -> u64 {
    static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGUN.elapsed().as_nanos() as u64 + SECOND
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the target.
    Up,
    /// Back.
    Down,
}

/// One direction's rate. 0: there is no limit.
#[derive(Default)]
struct Pace {
    rate: AtomicU64,
    booked: AtomicU64,
    moved: AtomicU64,
}

impl Pace {
    fn quantum(&self) -> u64 {
        match self.rate.load(Relaxed) {
            0 => QUANTUM.1,
            rate => (rate / TURNS).clamp(QUANTUM.0, QUANTUM.1),
        }
    }

    /// Another rate from now on: what was booked at the old one would stand for another time.
    fn set(&self, rate: u64) {
        if self.rate.swap(rate, Relaxed) != rate {
            self.booked.store(0, Relaxed);
        }
    }

    /// Book bytes: the moment from which they may move.
    fn book(&self, n: u64, now: u64) -> u64 {
        let rate = self.rate.load(Relaxed);
        if rate == 0 {
            return 0;
        }
        let (cost, floor) = (cost(n, rate), now.saturating_sub(BURST) * TICKS);
        let step = |booked: u64| Some(booked.max(floor).saturating_add(cost));
        let before = self.booked.fetch_update(Relaxed, Relaxed, step);
        before.unwrap_or_default().max(floor).div_ceil(TICKS)
    }

    /// Take back what was booked and did not move.
    fn refund(&self, n: u64) {
        let rate = self.rate.load(Relaxed);
        if rate > 0 {
            let step = |booked: u64| Some(booked.saturating_sub(cost(n, rate)));
            let _ = self.booked.fetch_update(Relaxed, Relaxed, step);
        }
    }
}

fn cost(n: u64, rate: u64) -> u64 {
    // At most 2^20 bytes, 2^30 nanoseconds and 2^6 ticks: no overflow.
    (n.min(QUANTUM.1) * SECOND * TICKS).div_ceil(rate)
}

/// The limits of one user, inbound, outbound or rule.
pub struct Bucket {
    up: Pace,
    down: Pace,
    quota: AtomicU64,
    /// Moved, or promised to a flow that is just moving it.
    taken: AtomicU64,
    used: AtomicU64,
    /// Somebody wanted more than was left.
    spent: AtomicBool,
    waits: AtomicU64,
    dropped: AtomicU64,
}

/// What a bucket has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Bytes moved up.
    pub up: u64,
    /// Bytes moved down.
    pub down: u64,
    /// Bytes of the quota that are used.
    pub used: u64,
    /// How often a flow had to wait for its turn.
    pub waits: u64,
    /// Packets that were dropped, since their turn had not come.
    pub dropped: u64,
}

impl Bucket {
    /// Rates in bytes per second (0: none), a quota in bytes, and how much of it is used already.
    pub fn new(up: u64, down: u64, quota: Option<u64>, used: u64) -> Self {
        let bucket = Self {
            up: Pace::default(),
            down: Pace::default(),
            quota: AtomicU64::new(ENDLESS),
            taken: AtomicU64::new(used),
            used: AtomicU64::new(used),
            spent: AtomicBool::new(false),
            waits: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        };
        bucket.set(up, down, quota);
        bucket
    }

    /// Other limits from now on, also for the flows under way. What is used stays used.
    pub fn set(&self, up: u64, down: u64, quota: Option<u64>) {
        self.up.set(up);
        self.down.set(down);
        self.quota.store(quota.unwrap_or(ENDLESS), Relaxed);
        self.spent.store(false, Relaxed);
    }

    /// The quota is whole again.
    pub fn renew(&self) {
        let used = self.used.swap(0, Relaxed);
        self.taken.fetch_sub(used, Relaxed);
        self.spent.store(false, Relaxed);
    }

    /// Whether nothing of the quota is left.
    pub fn is_spent(&self) -> bool {
        let quota = self.quota.load(Relaxed);
        quota != ENDLESS && (self.used.load(Relaxed) >= quota || self.spent.load(Relaxed))
    }

    /// What it has seen so far.
    pub fn seen(&self) -> Seen {
        Seen {
            up: self.up.moved.load(Relaxed),
            down: self.down.moved.load(Relaxed),
            used: self.used.load(Relaxed),
            waits: self.waits.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }

    /// Count bytes that moved elsewhere; nobody waits for them, but for what comes after.
    pub fn charge(&self, direction: Direction, n: u64, now: u64) {
        self.taken.fetch_add(n, Relaxed);
        self.settle(n, n);
        let pace = self.pace(direction);
        pace.moved.fetch_add(n, Relaxed);
        pace.book(n, now);
    }

    fn pace(&self, direction: Direction) -> &Pace {
        match direction {
            Direction::Up => &self.up,
            Direction::Down => &self.down,
        }
    }

    /// Have so many bytes promised, or what is left of them.
    fn reserve(&self, want: u64) -> u64 {
        let quota = self.quota.load(Relaxed);
        let mut granted = want;
        let step = |taken: u64| {
            granted = want.min(quota.saturating_sub(taken));
            Some(taken + granted)
        };
        let _ = self.taken.fetch_update(Relaxed, Relaxed, step);
        granted
    }

    /// So much of what was promised has moved.
    fn settle(&self, promised: u64, moved: u64) {
        self.taken.fetch_sub(promised - moved, Relaxed);
        self.used.fetch_add(moved, Relaxed);
    }

    fn refund(&self, direction: Direction, n: u64) {
        let pace = self.pace(direction);
        pace.moved.fetch_sub(n, Relaxed);
        pace.refund(n);
        // The quota may have been renewed since: then no more is left to give back than was used.
        let step = |used: u64| Some(used.saturating_sub(n));
        let used = self.used.fetch_update(Relaxed, Relaxed, step);
        self.taken
            .fetch_sub(n.min(used.unwrap_or_default()), Relaxed);
    }
}

/// How much a flow may take in now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// At most so many bytes, at least one.
    For(u64),
    /// What is left is promised to others, of which some may come back in a moment.
    Busy,
    /// A quota is used up.
    Spent,
}

/// All buckets that a flow draws from; all of them must allow.
#[derive(Clone, Default)]
pub struct Buckets(Box<[Arc<Bucket>]>);

impl Buckets {
    /// Of a flow. None at all cost nothing.
    pub fn new(buckets: Vec<Arc<Bucket>>) -> Self {
        Self(buckets.into_boxed_slice())
    }

    /// Whether there is nothing to hold to.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What may be taken in, of `want`. It is promised: `take` or `leave` must follow.
    pub fn room(&self, direction: Direction, want: u64) -> Room {
        let quanta = self.0.iter().map(|one| one.pace(direction).quantum());
        let mut granted = quanta.fold(want, u64::min);
        for (at, bucket) in self.0.iter().enumerate() {
            let got = bucket.reserve(granted);
            for former in &self.0[..at] {
                former.settle(granted - got, 0);
            }
            granted = got;
            if granted == 0 {
                return if bucket.is_spent() {
                    Room::Spent
                } else {
                    Room::Busy
                };
            }
        }
        Room::For(granted)
    }

    /// So much was taken in, of what was promised. The moment from which it may go on its way.
    pub fn take(&self, direction: Direction, promised: u64, n: u64, now: u64) -> u64 {
        let mut start = 0;
        for bucket in &self.0 {
            bucket.settle(promised, n);
            if n > 0 {
                let pace = bucket.pace(direction);
                pace.moved.fetch_add(n, Relaxed);
                let begin = pace.book(n, now);
                if begin > now + SOON {
                    bucket.waits.fetch_add(1, Relaxed);
                }
                start = start.max(begin);
            }
        }
        start
    }

    /// Nothing was taken in.
    pub fn leave(&self, promised: u64) {
        for bucket in &self.0 {
            bucket.settle(promised, 0);
        }
    }

    fn refund(&self, direction: Direction, n: u64) {
        for bucket in &self.0 {
            bucket.refund(direction, n);
        }
    }
}

/// One direction of a flow that has limits: what it took in waits here for its turn.
pub struct Throttle {
    buckets: Buckets,
    direction: Direction,
    /// What came before the flow began, to be taken in first.
    pub ahead: BytesMut,
    promised: u64,
    booked: u64,
    until: u64,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Throttle {
    /// None where there is nothing to hold to.
    pub fn new(buckets: &Buckets, direction: Direction) -> Option<Box<Self>> {
        (!buckets.is_empty()).then(|| {
            Box::new(Self {
                buckets: buckets.clone(),
                direction,
                ahead: BytesMut::new(),
                promised: 0,
                booked: 0,
                until: 0,
                sleep: None,
            })
        })
    }

    /// How much may be taken in; `took` must follow. Err: a quota is used up.
    pub fn poll_room(&mut self, cx: &Context<'_>, want: usize) -> Poll<Result<usize, Spent>> {
        match self.buckets.room(self.direction, want as u64) {
            Room::For(n) => {
                self.promised = n;
                Poll::Ready(Ok(n as usize))
            }
            Room::Spent => Poll::Ready(Err(Spent)),
            Room::Busy => {
                cx.waker().wake_by_ref();
                Poll::Pending
            }
        }
    }

    /// So much was taken in; `poll_turn` tells when it may go on.
    pub fn took(&mut self, n: usize) {
        let promised = std::mem::take(&mut self.promised);
        if n == 0 {
            self.buckets.leave(promised);
            return;
        }
        let now = clock();
        let begin = self.buckets.take(self.direction, promised, n as u64, now);
        self.booked = n as u64;
        self.until = if begin > now + SOON { begin } else { 0 };
    }

    /// Whether what was taken in has to wait.
    pub fn waits(&self) -> bool {
        self.until > 0
    }

    /// How much was taken in and is not on its way.
    pub fn booked(&self) -> usize {
        self.booked as usize
    }

    /// What was taken in is on its way.
    pub fn gone(&mut self) {
        self.booked = 0;
    }

    /// Ready when what was taken in may go on its way. On a thread with timers.
    pub fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.until > 0 {
            let now = clock();
            if self.until <= now + SOON {
                self.until = 0;
                break;
            }
            let left = Duration::from_nanos(self.until - now);
            let timer = self.sleep.get_or_insert_with(|| Box::pin(sleep(left)));
            timer.as_mut().reset(tokio::time::Instant::now() + left);
            std::task::ready!(timer.as_mut().poll(cx));
        }
        Poll::Ready(())
    }
}

/// What still waits when its flow ends was not used.
impl Drop for Throttle {
    fn drop(&mut self) {
        self.buckets.leave(self.promised);
        if self.until > 0 {
            self.buckets.refund(self.direction, self.booked);
        }
    }
}

/// A quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent;

/// Both directions of a packet flow that has limits. Packets are not kept: those that come before
/// their flow's turn are dropped, as a link that is full drops them.
pub struct Turns {
    buckets: Buckets,
    turns: [Turn; 2],
}

#[derive(Default)]
struct Turn {
    /// Bytes that were booked and may pass.
    credit: u64,
    from: u64,
    /// What was booked last.
    size: u64,
}

/// What becomes of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    /// It may go on.
    Yes,
    /// It comes before its turn.
    Early,
    /// A quota has no room for it.
    Spent,
}

impl Turns {
    /// None where there is nothing to hold to.
    pub fn new(buckets: &Buckets) -> Option<Box<Self>> {
        (!buckets.is_empty()).then(|| {
            Box::new(Self {
                buckets: buckets.clone(),
                turns: Default::default(),
            })
        })
    }

    /// Whether a packet with so much payload may pass now; if so, it counts.
    pub fn packet(&mut self, direction: Direction, len: usize, now: u64) -> Pass {
        let (buckets, len) = (&self.buckets.0, len as u64);
        let turn = &mut self.turns[usize::from(direction == Direction::Down)];
        if turn.credit < len && now >= turn.from {
            let quanta = buckets.iter().map(|one| one.pace(direction).quantum());
            let most = quanta.fold(QUANTUM.1, u64::min).max(len);
            // By the quantum in the end, so that packets get as much of a turn as streams do; but most
            // flows have a few packets (questions for names), and do not use up what they book ahead.
            turn.size = (2 * turn.size).clamp(len, most);
            turn.from = buckets
                .iter()
                .map(|one| one.pace(direction).book(turn.size, now))
                .fold(0, u64::max);
            turn.credit += turn.size;
        }
        if turn.credit < len || now < turn.from {
            for bucket in buckets {
                bucket.dropped.fetch_add(1, Relaxed);
            }
            return Pass::Early;
        }
        for (at, bucket) in buckets.iter().enumerate() {
            let got = bucket.reserve(len);
            if got < len {
                bucket.settle(got, 0);
                for former in &buckets[..at] {
                    former.settle(len, 0);
                }
                let left = bucket.quota.load(Relaxed);
                if bucket.used.load(Relaxed) + len <= left {
                    return Pass::Early; // promised to others for a moment
                }
                bucket.spent.store(true, Relaxed);
                return Pass::Spent;
            }
        }
        for bucket in buckets {
            bucket.settle(len, len);
            bucket.pace(direction).moved.fetch_add(len, Relaxed);
        }
        turn.credit -= len;
        Pass::Yes
    }
}

#[cfg(test)]
mod tests;
