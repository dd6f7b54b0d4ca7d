//! Operations that wait, what they yield, and the hub that joins tokens to those who wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use byway_engine::AbortHandle;
use byway_engine::completion::{Completions, Event, Token};
use byway_engine::datagrams::Asks;
use byway_engine::failure::{Failure, Outcome, panic_text};
use byway_engine::listen::Arrivals;
use byway_engine::reactor::Reactors;
use byway_engine::relay::End;
use byway_engine::stream::{Stream as Core, Want};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::datagrams::wrap_asks;
use crate::failure::to_python;
use crate::held::Held;
use crate::relay::Life;
use crate::slots::Slots;
use crate::stream::Stream;
use crate::task::Asyncio;
use crate::wait::Wait;

/// A stream that Python owns; empty once it was consumed or closed.
pub type Cell = Arc<Mutex<Option<Box<Core>>>>;

/// What a spawned operation hands over.
pub enum Done {
    /// A dial.
    Dialled(Outcome<Core>),
    /// A relay.
    Relayed(Outcome<End>),
    /// A body, with its payload's length.
    Moved(Outcome<u64>),
}

/// What an operation polled here yields.
pub enum Yield {
    Bytes(Bytes),
    Nothing,
}

/// How an operation began.
pub enum Started {
    /// It had its value at once.
    Over(Py<PyAny>),
    /// It waits at this place.
    Waiting(Token, Py<Wait>),
}

/// An operation polled by the thread that drains.
pub enum Polled {
    Read(Cell, Want),
    Write(Cell),
    End(Cell),
}

/// Who waits at a place.
pub enum Slot {
    Polled {
        op: Polled,
        waker: Waker,
        wait: Py<Wait>,
    },
    Spawned {
        wait: Py<Wait>,
        _abort: AbortOnDrop,
    },
    Listener {
        arrived: Arrived,
        wait: Option<Py<Wait>>,
    },
    Relay {
        life: Arc<Life>,
        wait: Option<Py<Wait>>,
    },
}

/// What a listener has collected.
#[derive(Clone)]
pub enum Arrived {
    Streams(Arc<Arrivals>),
    Asks(Arc<Asks>),
}

impl Arrived {
    /// All that came since last asked, as a Python list; None when nothing did.
    fn take(&self, py: Python<'_>, hub: &Arc<Hub>) -> PyResult<Option<Py<PyAny>>> {
        match self {
            Self::Streams(arrivals) => match arrivals.take() {
                streams if streams.is_empty() => Ok(None),
                streams => hub.wrap_all(py, streams).map(Some),
            },
            Self::Asks(asks) => match asks.take() {
                asks if asks.is_empty() => Ok(None),
                asks => wrap_asks(py, hub, asks).map(Some),
            },
        }
    }
}

/// Ends a spawned dial when its place is freed; ending what is over does nothing.
pub struct AbortOnDrop(pub AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// No flow's task runs.
const NOWHERE: usize = usize::MAX;

/// How many events one drain hands out, so that the loop's other work gets its turn.
const MOST_DRAINED: usize = 128;

/// What all handles of one engine share.
pub struct Hub {
    pub reactors: Arc<Reactors>,
    pub completions: Arc<Completions<Done>>,
    pub slots: Slots<Slot>,
    pub asyncio: Asyncio,
    pub held: Held,
    last_home: AtomicUsize,
    flow_home: AtomicUsize,
}

impl Hub {
    pub fn new(reactors: Reactors, asyncio: Asyncio) -> std::io::Result<Self> {
        Ok(Self {
            reactors: Arc::new(reactors),
            completions: Completions::new()?,
            slots: Slots::new(),
            asyncio,
            held: Held::default(),
            last_home: AtomicUsize::new(0),
            flow_home: AtomicUsize::new(NOWHERE),
        })
    }

    /// The loop for a dial: that of the flow whose task runs, so that its two sockets live on one loop
    /// and move its bytes without waking another. Elsewhere that of the stream that was read last, which
    /// is nearly always the right one.
    pub fn home_of_dial(&self) -> usize {
        match self.flow_home.load(Ordering::Relaxed) {
            NOWHERE => self.last_home.load(Ordering::Relaxed),
            home => home,
        }
    }

    /// A task of a flow of this loop runs from now on; the loop of the one that ran before.
    pub fn enter_flow(&self, home: usize) -> usize {
        self.flow_home.swap(home, Ordering::Relaxed)
    }

    fn note_home(&self, op: &Polled) {
        if let Polled::Read(cell, _) = op
            && let Some(stream) = cell.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            self.last_home.store(stream.home, Ordering::Relaxed);
        }
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

    /// Whether somebody waits at a place for an operation polled here.
    pub fn awaited(&self, token: Token) -> bool {
        let Some(slot) = self.slots.take(token) else {
            return false;
        };
        let awaited = matches!(&slot, Slot::Polled { wait, .. } if wait.get().lasts());
        self.slots.put(token, slot);
        awaited
    }

    /// Forget an operation that nobody waits for any more: a listener goes on, a relay is closed.
    pub fn give_up(&self, token: Token) {
        match self.slots.take(token) {
            Some(Slot::Listener { arrived, .. }) => {
                let wait = None;
                self.slots.put(token, Slot::Listener { arrived, wait });
            }
            Some(slot) => {
                self.slots.free(token);
                if let Slot::Relay { life, .. } = slot {
                    life.gauge.cut("given up");
                }
            }
            None => {}
        }
    }

    /// Run an operation: its value at once where it can be had, else a wait.
    pub fn run(self: &Arc<Self>, py: Python<'_>, mut op: Polled) -> PyResult<Started> {
        self.check(py)?;
        op.begin();
        if let Poll::Ready(outcome) = poll_guarded(&mut op, &mut Context::from_waker(Waker::noop()))
        {
            self.note_home(&op);
            let value = outcome.map_err(|failure| to_python(py, failure))?;
            return Ok(Started::Over(to_object(py, value)));
        }
        let token = self.slots.reserve();
        let waker = self.completions.waker(token);
        match poll_guarded(&mut op, &mut Context::from_waker(&waker)) {
            Poll::Ready(outcome) => {
                self.slots.free(token);
                let value = outcome.map_err(|failure| to_python(py, failure))?;
                Ok(Started::Over(to_object(py, value)))
            }
            Poll::Pending => {
                let wait = Wait::new(py, self, token)?;
                let waiting = Slot::Polled {
                    op,
                    waker,
                    wait: wait.clone_ref(py),
                };
                self.slots.put(token, waiting);
                Ok(Started::Waiting(token, wait))
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
        handed.and(self.held.end(self, py))
    }

    fn woken(self: &Arc<Self>, py: Python<'_>, token: Token) -> PyResult<()> {
        match self.slots.take(token) {
            Some(Slot::Polled {
                mut op,
                waker,
                wait,
            }) => match poll_guarded(&mut op, &mut Context::from_waker(&waker)) {
                Poll::Pending => self.slots.put(token, Slot::Polled { op, waker, wait }),
                Poll::Ready(outcome) => {
                    self.slots.free(token);
                    self.note_home(&op);
                    let outcome = outcome.map_err(|failure| to_python(py, failure));
                    Wait::resume(wait.bind(py), outcome.map(|value| to_object(py, value)))?;
                }
            },
            Some(Slot::Listener { arrived, wait }) => {
                let taken = match &wait {
                    Some(_) => arrived.take(py, self).transpose(),
                    None => None,
                };
                let (ready, wait) = match taken {
                    Some(outcome) => (wait.map(|wait| (wait, outcome)), None),
                    None => (None, wait),
                };
                self.slots.put(token, Slot::Listener { arrived, wait });
                if let Some((wait, outcome)) = ready {
                    Wait::resume(wait.bind(py), outcome)?;
                }
            }
            Some(other) => self.slots.put(token, other),
            None => {}
        }
        Ok(())
    }

    fn done(self: &Arc<Self>, py: Python<'_>, token: Token, done: Done) -> PyResult<()> {
        let (wait, outcome) = match (self.slots.free(token), done) {
            (Some(Slot::Spawned { wait, .. }), Done::Dialled(outcome)) => {
                let outcome = outcome.map_err(|failure| to_python(py, failure));
                (wait, outcome.and_then(|stream| self.wrap(py, stream)))
            }
            (Some(Slot::Spawned { wait, .. }), Done::Moved(outcome)) => {
                let outcome = outcome.map_err(|failure| to_python(py, failure));
                let count = outcome.and_then(|count| Ok(count.into_pyobject(py)?.into_any()));
                (wait, count.map(Bound::unbind))
            }
            (Some(Slot::Relay { life, wait }), Done::Relayed(outcome)) => {
                life.end(outcome);
                let Some(wait) = wait else { return Ok(()) };
                (wait, life.reason(py))
            }
            // Given up meanwhile: what came is dropped, and a stream dropped is a stream closed.
            _ => return Ok(()),
        };
        Wait::resume(wait.bind(py), outcome)
    }

    /// What a listener has collected at once, or a wait for it.
    pub fn accept(
        self: &Arc<Self>,
        py: Python<'_>,
        token: Token,
        arrived: Arrived,
    ) -> PyResult<Py<PyAny>> {
        match self.slots.take(token) {
            Some(Slot::Listener { wait: None, .. }) => {}
            Some(taken) => {
                self.slots.put(token, taken);
                return Err(to_python(
                    py,
                    Failure::Misuse("somebody else accepts here already"),
                ));
            }
            None => return Err(to_python(py, Failure::Misuse("the listener is closed"))),
        }
        let taken = arrived.take(py, self);
        let wait = match &taken {
            Ok(None) => Some(Wait::new(py, self, token)?),
            _ => None,
        };
        let waiting = wait.as_ref().map(|wait| wait.clone_ref(py));
        self.slots.put(
            token,
            Slot::Listener {
                arrived,
                wait: waiting,
            },
        );
        match (wait, taken?) {
            (Some(wait), _) => Ok(wait.into_any()),
            (None, list) => Ok(list.unwrap_or_else(|| py.None())),
        }
    }

    /// A Python handle for a stream.
    pub fn wrap(self: &Arc<Self>, py: Python<'_>, stream: Core) -> PyResult<Py<PyAny>> {
        Ok(Py::new(py, Stream::new(stream, self))?.into_any())
    }

    /// Python handles for a batch of streams.
    pub fn wrap_all(self: &Arc<Self>, py: Python<'_>, streams: Vec<Core>) -> PyResult<Py<PyAny>> {
        let list = PyList::empty(py);
        for stream in streams {
            list.append(self.wrap(py, stream)?)?;
        }
        Ok(list.into_any().unbind())
    }
}

fn to_object(py: Python<'_>, value: Yield) -> Py<PyAny> {
    match value {
        Yield::Bytes(bytes) => PyBytes::new(py, &bytes).into_any().unbind(),
        Yield::Nothing => py.None(),
    }
}

/// A panic in the engine is an error of this one operation.
fn poll_guarded(op: &mut Polled, cx: &mut Context<'_>) -> Poll<Outcome<Yield>> {
    match catch_unwind(AssertUnwindSafe(|| op.poll(cx))) {
        Ok(polled) => polled,
        Err(payload) => Poll::Ready(Err(Failure::Panicked(panic_text(&*payload)))),
    }
}

impl Polled {
    fn begin(&self) {
        if let Self::Read(cell, Want::Until(..)) = self
            && let Some(stream) = cell.lock().unwrap_or_else(PoisonError::into_inner).as_mut()
        {
            stream.begin_want();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome<Yield>> {
        match self {
            Self::Read(cell, want) => with_stream(cell, |stream| {
                stream.poll_want(cx, want).map_ok(Yield::Bytes)
            }),
            Self::Write(cell) => with_stream(cell, |stream| {
                stream.poll_sent(cx).map_ok(|()| Yield::Nothing)
            }),
            Self::End(cell) => with_stream(cell, |stream| {
                stream.poll_end(cx).map_ok(|()| Yield::Nothing)
            }),
        }
    }
}

fn with_stream(
    cell: &Cell,
    work: impl FnOnce(&mut Core) -> Poll<Outcome<Yield>>,
) -> Poll<Outcome<Yield>> {
    match cell.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        Some(stream) => work(stream),
        None => Poll::Ready(Err(Failure::Misuse("the stream was closed or handed on"))),
    }
}
