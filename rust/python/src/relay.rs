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
use crate::ops::{Done, Hub, Operation, Slot};
use crate::wait::Wait;

/// A relay that reports its own end.
pub struct Reported {
    run: Run,
    report: Option<Report>,
}

/// How a relay's end reaches whoever waits for it.
pub struct Report {
    life: Arc<Life>,
    token: Token,
    completions: Arc<Completions<Done>>,
}

impl Report {
    /// It has ended.
    pub fn end(self, outcome: Outcome<End>) {
        let Self {
            life,
            token,
            completions,
        } = self;
        let done: Done = Box::new(move |py, _, wait| {
            life.end(outcome);
            match wait {
                Some(wait) => Wait::resume(wait.bind(py), life.reason(py)),
                None => Ok(()),
            }
        });
        completions.push(Event::Done(token, done));
    }
}

impl Future for Reported {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let outcome = ready!(Pin::new(&mut self.run).poll(cx));
        if let Some(report) = self.report.take() {
            report.end(outcome);
        }
        Poll::Ready(())
    }
}

/// What a relay shows, and how it ended.
struct Life {
    gauge: Arc<Gauge>,
    ended: Mutex<Option<Outcome<End>>>,
}

impl Life {
    /// Note the end.
    fn end(&self, outcome: Outcome<End>) {
        *self.ended() = Some(outcome);
    }

    /// Why it ended. Fails with what broke the engine itself, once, and for a relay given up.
    fn reason(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
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

/// A relay at its place. It ends by its report alone; given up, both its sides are closed.
struct Running(Arc<Life>);

impl Operation for Running {
    fn give_up(&self) {
        self.0.gauge.cut("given up");
    }
}

impl Relay {
    /// A place for a relay that is about to start, and draws from these; its gauge, and how to say that it
    /// has ended.
    pub fn new(hub: &Arc<Hub>, buckets: Buckets) -> (Self, Arc<Gauge>, Report) {
        let gauge = Arc::new(Gauge::limited(buckets));
        let life = Arc::new(Life {
            gauge: Arc::clone(&gauge),
            ended: Mutex::new(None),
        });
        let token = hub.slots.reserve();
        hub.slots.put(token, Slot::new(Running(Arc::clone(&life))));
        let report = Report {
            life: Arc::clone(&life),
            token,
            completions: Arc::clone(&hub.completions),
        };
        let relay = Self {
            life,
            token,
            hub: Arc::clone(hub),
        };
        (relay, gauge, report)
    }
}

impl Reported {
    pub fn new(run: Run, report: Report) -> Self {
        Self {
            run,
            report: Some(report),
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
        let taken = "somebody else waits for this relay already";
        match self.hub.wait_at(py, self.token, taken)? {
            Some(waiting) => Ok(waiting),
            None => self.life.reason(py),
        }
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
