//! How results leave the engine: one lock-free queue, one eventfd, one drain for many.
//!
//! Engine threads know tokens, never Python objects. A token is either *woken* (an operation that
//! the drainer polls itself may go on) or *done* (a spawned operation hands over its outcome).

use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

use crossbeam_queue::SegQueue;
use rustix::event::{EventfdFlags, eventfd};

/// Names one waiting operation; never used twice.
pub type Token = u64;

/// One entry of the queue. `T` is whatever a spawned operation yields.
pub enum Event<T> {
    /// Poll the operation of this token again.
    Woken(Token),
    /// The operation of this token has ended with this.
    Done(Token, T),
}

/// The queue that joins engine threads to the one thread that drains it.
pub struct Completions<T> {
    queue: SegQueue<Event<T>>,
    signalled: AtomicBool,
    /// None once it is closed.
    eventfd: Mutex<Option<OwnedFd>>,
    pushed: AtomicU64,
}

impl<T: Send + 'static> Completions<T> {
    /// Make a queue with its eventfd.
    pub fn new() -> std::io::Result<Arc<Self>> {
        let eventfd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Self {
            queue: SegQueue::new(),
            signalled: AtomicBool::new(false),
            eventfd: Mutex::new(Some(eventfd)),
            pushed: AtomicU64::new(0),
        }))
    }

    /// The descriptor that turns readable when there is something to drain; -1 once it is closed.
    pub fn fd(&self) -> RawFd {
        self.with_fd(AsRawFd::as_raw_fd).unwrap_or(-1)
    }

    /// Nobody drains any more: give up the descriptor.
    pub fn close(&self) {
        drop(self.lock().take());
    }

    fn lock(&self) -> MutexGuard<'_, Option<OwnedFd>> {
        self.eventfd.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_fd<R>(&self, work: impl FnOnce(&OwnedFd) -> R) -> Option<R> {
        self.lock().as_ref().map(work)
    }

    /// Add an event and, if the drainer may be asleep, wake it.
    pub fn push(&self, event: Event<T>) {
        self.queue.push(event);
        self.pushed.fetch_add(1, Ordering::Relaxed);
        self.signal();
    }

    /// End a drain that leaves events behind: another one will take them.
    pub fn leave(&self) {
        if !self.queue.is_empty() {
            self.signal();
        }
    }

    fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            // A full counter is impossible here (it is reset at each drain), so the result says nothing.
            self.with_fd(|fd| _ = rustix::io::write(fd, &1u64.to_ne_bytes()));
        }
    }

    /// Take note that a drain begins: clears the eventfd so that later events signal anew.
    pub fn begin(&self) {
        let mut count = [0u8; 8];
        self.with_fd(|fd| _ = rustix::io::read(fd, &mut count));
        // A swap, to see all that was pushed before the signal it takes back.
        self.signalled.swap(false, Ordering::AcqRel);
    }

    /// The next event, if any.
    pub fn pop(&self) -> Option<Event<T>> {
        self.queue.pop()
    }

    /// How many events have been pushed since the start: the crossings.
    pub fn crossings(&self) -> u64 {
        self.pushed.load(Ordering::Relaxed)
    }

    /// A waker that pushes `Woken(token)`.
    pub fn waker(self: &Arc<Self>, token: Token) -> Waker {
        Waker::from(Arc::new(TokenWaker {
            token,
            completions: Arc::clone(self),
        }))
    }
}

struct TokenWaker<T> {
    token: Token,
    completions: Arc<Completions<T>>,
}

impl<T: Send + 'static> Wake for TokenWaker<T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.completions.push(Event::Woken(self.token));
    }
}
