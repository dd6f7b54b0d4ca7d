//! Operations that wait, what they yield, and the hub that joins tokens to futures.

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
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::datagrams::wrap_asks;
use crate::failure::to_python;
use crate::slots::Slots;
use crate::stream::Stream;

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
    /// It waits at this place, with this future.
    Waiting(Token, Py<PyAny>),
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
        future: Py<PyAny>,
    },
    Spawned {
        future: Py<PyAny>,
        _abort: AbortOnDrop,
    },
    Listener {
        arrived: Arrived,
        future: Option<Py<PyAny>>,
    },
    Relay {
        ended: Arc<Mutex<Option<Outcome<End>>>>,
        future: Option<Py<PyAny>>,
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

/// What all handles of one engine share.
pub struct Hub {
    pub reactors: Arc<Reactors>,
    pub completions: Arc<Completions<Done>>,
    pub slots: Slots<Slot>,
    pub create_future: Py<PyAny>,
    last_home: AtomicUsize,
}

impl Hub {
    pub fn new(reactors: Reactors, create_future: Py<PyAny>) -> std::io::Result<Self> {
        Ok(Self {
            reactors: Arc::new(reactors),
            completions: Completions::new()?,
            slots: Slots::new(),
            create_future,
            last_home: AtomicUsize::new(0),
        })
    }

    /// The loop of the stream that was read last: a dial that follows is nearly always for the same
    /// flow, and a flow whose two sockets live on one loop moves its bytes without waking another.
    pub fn home_of_last_read(&self) -> usize {
        self.last_home.load(Ordering::Relaxed)
    }

    fn note_home(&self, op: &Polled) {
        if let Polled::Read(cell, _) = op
            && let Some(stream) = cell.lock().unwrap_or_else(PoisonError::into_inner).as_ref()
        {
            self.last_home.store(stream.home, Ordering::Relaxed);
        }
    }

    /// A future of the loop that owns this engine.
    pub fn future(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.create_future.call0(py)
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
    pub fn awaited(&self, py: Python<'_>, token: Token) -> PyResult<bool> {
        let Some(slot) = self.slots.take(token) else {
            return Ok(false);
        };
        let awaited = match &slot {
            Slot::Polled { future, .. } => is_done(py, future).map(|done| !done),
            _ => Ok(false),
        };
        self.slots.put(token, slot);
        awaited
    }

    /// Run an operation: its value at once where it can be had, else a future.
    pub fn run(&self, py: Python<'_>, mut op: Polled) -> PyResult<Started> {
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
                let future = self.future(py)?;
                self.slots.put(
                    token,
                    Slot::Polled {
                        op,
                        waker,
                        future: future.clone_ref(py),
                    },
                );
                Ok(Started::Waiting(token, future))
            }
        }
    }

    /// Hand out everything that has completed.
    pub fn drain(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        self.completions.begin();
        while let Some(event) = self.completions.pop() {
            match event {
                Event::Woken(token) => self.woken(py, token)?,
                Event::Done(token, done) => self.done(py, token, done)?,
            }
        }
        Ok(())
    }

    fn woken(self: &Arc<Self>, py: Python<'_>, token: Token) -> PyResult<()> {
        match self.slots.take(token) {
            Some(Slot::Polled {
                mut op,
                waker,
                future,
            }) => {
                if is_done(py, &future)? {
                    self.slots.free(token);
                    return Ok(());
                }
                match poll_guarded(&mut op, &mut Context::from_waker(&waker)) {
                    Poll::Pending => self.slots.put(token, Slot::Polled { op, waker, future }),
                    Poll::Ready(outcome) => {
                        self.slots.free(token);
                        let outcome = outcome.map_err(|failure| to_python(py, failure));
                        resolve(py, &future, outcome.map(|value| to_object(py, value)))?;
                    }
                }
            }
            Some(Slot::Listener { arrived, future }) => {
                let waiting = match future {
                    Some(future) if !is_done(py, &future)? => Some(future),
                    _ => None,
                };
                let Some(future) = waiting else {
                    self.slots.put(
                        token,
                        Slot::Listener {
                            arrived,
                            future: None,
                        },
                    );
                    return Ok(());
                };
                let taken = arrived.take(py, self);
                let nothing = matches!(taken, Ok(None));
                let kept = nothing.then(|| future.clone_ref(py));
                self.slots.put(
                    token,
                    Slot::Listener {
                        arrived,
                        future: kept,
                    },
                );
                if let Some(outcome) = taken.transpose() {
                    resolve(py, &future, outcome)?;
                }
            }
            Some(other) => self.slots.put(token, other),
            None => {}
        }
        Ok(())
    }

    fn done(self: &Arc<Self>, py: Python<'_>, token: Token, done: Done) -> PyResult<()> {
        match (self.slots.free(token), done) {
            (Some(Slot::Spawned { future, .. }), Done::Dialled(outcome))
                if !is_done(py, &future)? =>
            {
                let outcome = outcome.map_err(|failure| to_python(py, failure));
                resolve(
                    py,
                    &future,
                    outcome.and_then(|stream| self.wrap(py, stream)),
                )
            }
            (Some(Slot::Spawned { future, .. }), Done::Moved(outcome))
                if !is_done(py, &future)? =>
            {
                let count = outcome.map_err(|failure| to_python(py, failure));
                let count =
                    count.and_then(|count| Ok(count.into_pyobject(py)?.into_any().unbind()));
                resolve(py, &future, count)
            }
            (Some(Slot::Relay { ended, future }), Done::Relayed(outcome)) => {
                *ended.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
                match future {
                    Some(future) if !is_done(py, &future)? => resolve(py, &future, Ok(py.None())),
                    _ => Ok(()),
                }
            }
            // Given up meanwhile: what came is dropped, and a stream dropped is a stream closed.
            _ => Ok(()),
        }
    }

    /// What a listener has collected at once, or a future of it.
    pub fn accept(
        self: &Arc<Self>,
        py: Python<'_>,
        token: Token,
        arrived: Arrived,
    ) -> PyResult<Py<PyAny>> {
        match self.slots.take(token) {
            Some(Slot::Listener { future: None, .. }) => {}
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
        let future = if matches!(taken, Ok(None)) {
            Some(self.future(py)?)
        } else {
            None
        };
        let waiting = future.as_ref().map(|future| future.clone_ref(py));
        self.slots.put(
            token,
            Slot::Listener {
                arrived,
                future: waiting,
            },
        );
        match (future, taken?) {
            (Some(future), _) => Ok(future),
            (None, list) => Ok(list.unwrap_or_else(|| py.None())),
        }
    }

    /// Forget a cancelled accept.
    pub fn forget_accept(&self, token: Token, arrived: Arrived) {
        if self.slots.take(token).is_some() {
            self.slots.put(
                token,
                Slot::Listener {
                    arrived,
                    future: None,
                },
            );
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

/// Whether nobody waits for this future any more.
pub fn is_done(py: Python<'_>, future: &Py<PyAny>) -> PyResult<bool> {
    future.call_method0(py, intern!(py, "done"))?.extract(py)
}

fn resolve(py: Python<'_>, future: &Py<PyAny>, outcome: PyResult<Py<PyAny>>) -> PyResult<()> {
    match outcome {
        Ok(value) => future.call_method1(py, intern!(py, "set_result"), (value,))?,
        Err(error) => future.call_method1(py, intern!(py, "set_exception"), (error,))?,
    };
    Ok(())
}

/// Fail a future because the engine is closing.
pub fn fail(py: Python<'_>, future: &Py<PyAny>, text: &'static str) -> PyResult<()> {
    if is_done(py, future)? {
        return Ok(());
    }
    resolve(py, future, Err(to_python(py, Failure::Misuse(text))))
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
