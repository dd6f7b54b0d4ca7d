//! Operations that wait, and the hub that joins tokens to those who wait.
//!
//! The hub knows no kinds of operations: whoever starts one says what its completion becomes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use byway_engine::completion::{Completions, Event, Token};
use byway_engine::failure::{Failure, Outcome, panic_text};
use byway_engine::reactor::Reactors;
use byway_engine::{AbortHandle, abortable, catching};
use pyo3::prelude::*;

use crate::asyncio::Asyncio;
use crate::failure::to_python;
use crate::held::Held;
use crate::slots::Slots;
use crate::wait::{Places, Wait};

/// An operation that is looked at by the thread that drains.
pub trait Operation: Send {
    /// Its value, if it has one now; else the waker is called when it may have. What reports its own end
    /// never has one here.
    fn poll(
        &mut self,
        _py: Python<'_>,
        _hub: &Arc<Hub>,
        _cx: &mut Context<'_>,
    ) -> Poll<PyResult<Py<PyAny>>> {
        Poll::Pending
    }

    /// Whether it goes on after a value, and when nobody waits: a listener does.
    fn lasts(&self) -> bool {
        false
    }

    /// Nobody waits for it any more, and it does not last.
    fn give_up(&self) {}
}

/// What an operation that ran on an engine thread becomes, in the hands of whoever waits for it, if
/// anybody does. Dropped uncalled when it was given up before.
pub type Done = Box<dyn FnOnce(Python<'_>, &Arc<Hub>, Option<Py<Wait>>) -> PyResult<()> + Send>;

/// What waits at a place, and by whom it is waited for.
pub struct Slot {
    operation: Box<dyn Operation>,
    waker: Waker,
    pub wait: Option<Py<Wait>>,
}

impl Slot {
    /// An operation whose token is pushed when it may have a value; nobody waits yet.
    pub fn new(operation: impl Operation + 'static) -> Self {
        Self {
            operation: Box::new(operation),
            waker: Waker::noop().clone(),
            wait: None,
        }
    }

    /// What collects values until it is freed: `take` gives all that came since last asked.
    pub fn collecting(
        take: impl FnMut(Python<'_>, &Arc<Hub>) -> PyResult<Option<Py<PyAny>>> + Send + 'static,
    ) -> Self {
        Self::new(Collecting(take))
    }

    /// Fail whoever waits for what was here.
    pub fn fail(self, py: Python<'_>, text: &'static str) -> PyResult<()> {
        match self.wait {
            Some(wait) => Wait::fail(wait.bind(py), text),
            None => Ok(()),
        }
    }
}

struct Collecting<F>(F);

impl<F> Operation for Collecting<F>
where
    F: FnMut(Python<'_>, &Arc<Hub>) -> PyResult<Option<Py<PyAny>>> + Send,
{
    fn poll(
        &mut self,
        py: Python<'_>,
        hub: &Arc<Hub>,
        _cx: &mut Context<'_>,
    ) -> Poll<PyResult<Py<PyAny>>> {
        (self.0)(py, hub)
            .transpose()
            .map_or(Poll::Pending, Poll::Ready)
    }

    fn lasts(&self) -> bool {
        true
    }
}

/// How an operation began.
pub enum Started {
    /// It had its value at once.
    Over(Py<PyAny>),
    /// It waits at this place.
    Waiting(Token, Py<Wait>),
}

/// What runs on an engine thread; it ends when its place is freed. Ending what is over does nothing.
struct Spawned(AbortHandle);

impl Operation for Spawned {}

impl Drop for Spawned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How many events one drain hands out, so that the loop's other work gets its turn.
const MOST_DRAINED: usize = 128;

/// What all handles of one engine share.
pub struct Hub {
    pub reactors: Arc<Reactors>,
    pub completions: Arc<Completions<Done>>,
    pub slots: Slots<Slot>,
    pub asyncio: Asyncio,
    pub held: Arc<Held>,
    dialled: AtomicUsize,
}

impl Hub {
    pub fn new(reactors: Reactors, asyncio: Asyncio) -> std::io::Result<Self> {
        Ok(Self {
            reactors: Arc::new(reactors),
            completions: Completions::new()?,
            slots: Slots::new(),
            asyncio,
            held: Arc::default(),
            dialled: AtomicUsize::new(0),
        })
    }

    /// A loop for a dial that no stream waits for. Such dials take turns of their own: among those of
    /// accepted sockets they would put every flow on the same loop.
    pub fn any_home(&self) -> usize {
        self.dialled.fetch_add(1, Ordering::Relaxed) % self.reactors.count()
    }

    /// Refuse to work after a fork or after `close`.
    pub fn check(&self, py: Python<'_>) -> PyResult<()> {
        if self.reactors.alive() {
            return Ok(());
        }
        Err(to_python(
            py,
            Failure::Misuse("the engine is closed, or this process is a fork of its owner"),
        ))
    }

    /// Whether somebody waits at a place.
    pub fn awaited(&self, token: Token) -> bool {
        let Some(slot) = self.slots.take(token) else {
            return false;
        };
        let awaited = slot.wait.as_ref().is_some_and(|wait| wait.get().lasts());
        self.slots.put(token, slot);
        awaited
    }

    /// Run an operation: its value at once where it can be had, else a wait.
    pub fn run(
        self: &Arc<Self>,
        py: Python<'_>,
        mut operation: impl Operation + 'static,
    ) -> PyResult<Started> {
        self.check(py)?;
        let noop = &mut Context::from_waker(Waker::noop());
        if let Poll::Ready(outcome) = self.poll(py, &mut operation, noop) {
            return outcome.map(Started::Over);
        }
        let token = self.slots.reserve();
        let waker = self.completions.waker(token);
        match self.poll(py, &mut operation, &mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => {
                self.slots.free(token);
                outcome.map(Started::Over)
            }
            Poll::Pending => {
                let wait = Wait::new(py, Arc::clone(self) as _, token)?;
                let slot = Slot {
                    operation: Box::new(operation),
                    waker,
                    wait: Some(wait.clone_ref(py)),
                };
                self.slots.put(token, slot);
                Ok(Started::Waiting(token, wait))
            }
        }
    }

    /// Run work on an engine thread: its place, and the wait for what `value` makes of its outcome.
    pub fn spawn<T: Send + 'static>(
        self: &Arc<Self>,
        py: Python<'_>,
        home: usize,
        work: impl Future<Output = Outcome<T>> + Send + 'static,
        value: fn(Python<'_>, &Arc<Self>, T) -> PyResult<Py<PyAny>>,
    ) -> PyResult<(Token, Py<Wait>)> {
        self.check(py)?;
        let token = self.slots.reserve();
        let completions = Arc::clone(&self.completions);
        let (work, abort) = abortable(catching(work));
        self.reactors.spawn(home, async move {
            let Ok(outcome) = work.await else { return };
            let done: Done = Box::new(move |py, hub, wait| {
                let Some(wait) = wait else { return Ok(()) };
                let outcome = outcome.map_err(|failure| to_python(py, failure));
                Wait::resume(wait.bind(py), outcome.and_then(|got| value(py, hub, got)))
            });
            completions.push(Event::Done(token, done));
        });
        let wait = Wait::new(py, Arc::clone(self) as _, token)?;
        let mut slot = Slot::new(Spawned(abort));
        slot.wait = Some(wait.clone_ref(py));
        self.slots.put(token, slot);
        Ok((token, wait))
    }

    /// What the operation at this place has at once, or a wait for it; None when it is gone. One may wait
    /// at a time, others are told `taken`.
    pub fn wait_at(
        self: &Arc<Self>,
        py: Python<'_>,
        token: Token,
        taken: &'static str,
    ) -> PyResult<Option<Py<PyAny>>> {
        let Some(mut slot) = self.slots.take(token) else {
            return Ok(None);
        };
        if slot.wait.is_some() {
            self.slots.put(token, slot);
            return Err(to_python(py, Failure::Misuse(taken)));
        }
        let waker = slot.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        let value = match self.poll(py, &mut *slot.operation, cx) {
            Poll::Ready(outcome) => outcome,
            Poll::Pending => Wait::new(py, Arc::clone(self) as _, token).map(|wait| {
                slot.wait = Some(wait.clone_ref(py));
                wait.into_any()
            }),
        };
        self.slots.put(token, slot);
        value.map(Some)
    }

    /// A panic in the engine is an error of this one operation.
    fn poll(
        self: &Arc<Self>,
        py: Python<'_>,
        operation: &mut dyn Operation,
        cx: &mut Context<'_>,
    ) -> Poll<PyResult<Py<PyAny>>> {
        match catch_unwind(AssertUnwindSafe(|| operation.poll(py, self, cx))) {
            Ok(polled) => polled,
            Err(payload) => {
                let failure = Failure::Panicked(panic_text(&*payload));
                Poll::Ready(Err(to_python(py, failure)))
            }
        }
    }

    /// Hand out what has completed: whoever waits for it goes on here and now.
    pub fn drain(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        self.completions.begin();
        self.held.begin();
        let mut handed = Ok(());
        for _ in 0..MOST_DRAINED {
            handed = match self.completions.pop() {
                Some(Event::Woken(token)) => self.woken(py, token),
                Some(Event::Done(token, done)) => self.done(py, token, done),
                None => break,
            };
            if handed.is_err() {
                break;
            }
        }
        self.completions.leave();
        let event_loop = self.asyncio.event_loop.bind(py);
        handed.and(self.held.end(event_loop))
    }

    fn woken(self: &Arc<Self>, py: Python<'_>, token: Token) -> PyResult<()> {
        let Some(mut slot) = self.slots.take(token) else {
            return Ok(());
        };
        let Some(wait) = slot.wait.take() else {
            self.slots.put(token, slot);
            return Ok(());
        };
        let waker = slot.waker.clone();
        match self.poll(py, &mut *slot.operation, &mut Context::from_waker(&waker)) {
            Poll::Pending => {
                slot.wait = Some(wait);
                self.slots.put(token, slot);
                Ok(())
            }
            Poll::Ready(outcome) => {
                if slot.operation.lasts() {
                    self.slots.put(token, slot);
                } else {
                    self.slots.free(token);
                }
                Wait::resume(wait.bind(py), outcome)
            }
        }
    }

    fn done(self: &Arc<Self>, py: Python<'_>, token: Token, done: Done) -> PyResult<()> {
        match self.slots.free(token) {
            Some(slot) => done(py, self, slot.wait),
            // Given up meanwhile: what came is dropped, and a stream dropped is a stream closed.
            None => Ok(()),
        }
    }
}

impl Places for Hub {
    fn give_up(&self, token: Token) {
        match self.slots.take(token) {
            Some(mut slot) if slot.operation.lasts() => {
                slot.wait = None;
                self.slots.put(token, slot);
            }
            Some(slot) => {
                self.slots.free(token);
                slot.operation.give_up();
            }
            None => {}
        }
    }

    fn asyncio(&self) -> &Asyncio {
        &self.asyncio
    }
}
