//! Relays in Python's hands: counters to read, a reason to learn.

use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use byway_engine::bucket::Buckets;
use byway_engine::completion::{Completions, Event, Token};
use byway_engine::failure::Outcome;
use byway_engine::relay::{End, Gauge, Run};
use pyo3::prelude::*;

use crate::failure::{misuse, to_python};
use crate::ops::{Done, Hub, Slot};
use crate::wait::Wait;

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

/// What a relay shows, and how it ended.
pub struct Life {
    pub gauge: Arc<Gauge>,
    ended: Mutex<Option<Outcome<End>>>,
}

impl Life {
    /// Note the end.
    pub fn end(&self, outcome: Outcome<End>) {
        *self.ended() = Some(outcome);
    }

    /// Why it ended. Fails with what broke the engine itself, once, and for a relay given up.
    pub fn reason(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let mut ended = self.ended();
        match ended.take() {
            None => Err(misuse(py, "the relay was given up before it ended")),
            Some(Ok(end)) => {
                *ended = Some(Ok(end));
                Ok(self.words(end).into_pyobject(py)?.into_any().unbind())
            }
            Some(Err(failure)) => Err(to_python(py, failure)),
        }
    }

    fn ended(&self) -> MutexGuard<'_, Option<Outcome<End>>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

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

/// A running or ended relay.
#[pyclass(frozen, module = "byway._engine")]
pub struct Relay {
    life: Arc<Life>,
    token: Token,
    hub: Arc<Hub>,
}

impl Relay {
    /// Reserve a place for a relay that is about to start, and draws from these.
    pub fn place(hub: &Hub, buckets: Buckets) -> (Token, Arc<Gauge>) {
        (hub.slots.reserve(), Arc::new(Gauge::limited(buckets)))
    }

    pub fn new(hub: &Arc<Hub>, token: Token, gauge: Arc<Gauge>) -> Self {
        let ended = Mutex::new(None);
        let life = Arc::new(Life { gauge, ended });
        let placed = Arc::clone(&life);
        let wait = None;
        hub.slots.put(token, Slot::Relay { life: placed, wait });
        Self {
            life,
            token,
            hub: Arc::clone(hub),
        }
    }
}

#[pymethods]
impl Relay {
    #[getter]
    fn up(&self) -> u64 {
        self.life.gauge.up.load(Ordering::Relaxed)
    }

    #[getter]
    fn down(&self) -> u64 {
        self.life.gauge.down.load(Ordering::Relaxed)
    }

    /// Why it ended, or a wait for that; giving that up closes both sides. One may wait at a time.
    fn wait(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Some(Slot::Relay { life, wait }) = self.hub.slots.take(self.token) else {
            return self.life.reason(py);
        };
        let taken = wait.is_some();
        let wait = match wait {
            Some(wait) => wait,
            None => Wait::new(py, &self.hub, self.token)?,
        };
        let waiting = Some(wait.clone_ref(py));
        let slot = Slot::Relay {
            life,
            wait: waiting,
        };
        self.hub.slots.put(self.token, slot);
        if taken {
            return Err(misuse(py, "somebody else waits for this relay already"));
        }
        Ok(wait.into_any())
    }

    fn cut(&self, reason: &str) {
        self.life.gauge.cut(reason);
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
