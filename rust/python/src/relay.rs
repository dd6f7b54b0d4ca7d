//! Relays in Python's hands: counters to read, a reason to learn.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use byway_engine::bucket::Buckets;
use byway_engine::completion::{Completions, Event, Token};
use byway_engine::failure::Outcome;
use byway_engine::relay::{End, Gauge, Run};
use pyo3::prelude::*;

use crate::failure::to_python;
use crate::ops::{Done, Hub, Slot};

/// A relay that reports its own end.
pub struct Reported {
    pub run: Run,
    pub token: Token,
    pub completions: Arc<Completions<Done>>,
}

impl Future for Reported {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let outcome = ready!(Pin::new(&mut self.run).poll(cx));
        let done = Event::Done(self.token, Done::Relayed(outcome));
        self.completions.push(done);
        Poll::Ready(())
    }
}

/// A running or ended relay.
#[pyclass(frozen, module = "byway._engine")]
pub struct Relay {
    gauge: Arc<Gauge>,
    ended: Arc<Mutex<Option<Outcome<End>>>>,
    token: Token,
    hub: Arc<Hub>,
}

impl Relay {
    /// Reserve a place for a relay that is about to start, and draws from these.
    pub fn place(hub: &Hub, buckets: Buckets) -> (Token, Arc<Gauge>) {
        (hub.slots.reserve(), Arc::new(Gauge::limited(buckets)))
    }

    pub fn new(hub: &Arc<Hub>, token: Token, gauge: Arc<Gauge>) -> Self {
        let ended = Arc::new(Mutex::new(None));
        hub.slots.put(
            token,
            Slot::Relay {
                ended: Arc::clone(&ended),
                future: None,
            },
        );
        Self {
            gauge,
            ended,
            token,
            hub: Arc::clone(hub),
        }
    }
}

#[pymethods]
impl Relay {
    #[getter]
    fn up(&self) -> u64 {
        self.gauge.up.load(Ordering::Relaxed)
    }

    #[getter]
    fn down(&self) -> u64 {
        self.gauge.down.load(Ordering::Relaxed)
    }

    /// None when it has ended, else a future that resolves when it does.
    fn wait(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let hub = &self.hub;
        let Some(Slot::Relay { ended, future }) = hub.slots.take(self.token) else {
            return Ok(None);
        };
        let future = match future {
            Some(future) => future,
            None => hub.future(py)?,
        };
        hub.slots.put(
            self.token,
            Slot::Relay {
                ended,
                future: Some(future.clone_ref(py)),
            },
        );
        Ok(Some(future))
    }

    /// Why it ended, or None while it runs. Raises what broke the engine itself.
    fn ending(&self, py: Python<'_>) -> PyResult<Option<String>> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match ended.take() {
            None => Ok(None),
            Some(Ok(end)) => {
                *ended = Some(Ok(end));
                drop(ended);
                Ok(Some(self.words(end)))
            }
            Some(Err(failure)) => Err(to_python(py, failure)),
        }
    }

    fn cut(&self, reason: &str) {
        self.gauge.cut(reason);
    }

    /// Close both sides at once and tell nobody.
    fn abort(&self) {
        self.hub.slots.free(self.token);
        self.gauge.cut("given up");
    }
}

impl Relay {
    fn words(&self, end: End) -> String {
        match end {
            // A cut that the end overtook is still why its owner wanted it over.
            End::Closed => self.gauge.reason().unwrap_or_else(|| "closed".to_owned()),
            End::Idle => "idle for too long".to_owned(),
            End::Near(kind) => format!("near side: {}", kind_words(kind)),
            End::Far(kind) => format!("far side: {}", kind_words(kind)),
            End::Cut => self.gauge.reason().unwrap_or_else(|| "cut".to_owned()),
        }
    }
}

fn kind_words(kind: io::ErrorKind) -> String {
    match kind {
        io::ErrorKind::ConnectionReset => "connection reset".to_owned(),
        io::ErrorKind::BrokenPipe => "closed while being written to".to_owned(),
        io::ErrorKind::TimedOut => "connection timed out".to_owned(),
        io::ErrorKind::UnexpectedEof => "its stream ended".to_owned(),
        io::ErrorKind::InvalidData => "it broke its protocol".to_owned(),
        other => other.to_string(),
    }
}
