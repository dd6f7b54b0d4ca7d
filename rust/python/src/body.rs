//! HTTP bodies on their way, and how Python sees them go.

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use byway_engine::body::BodyMove;
use byway_engine::failure::{Failure, Outcome};
use byway_engine::timeout;
use pyo3::prelude::*;

use crate::ops::Cell;

/// Counts payload bytes while they move.
#[pyclass(frozen, module = "byway._engine")]
pub struct Meter {
    pub count: Arc<AtomicU64>,
}

#[pymethods]
impl Meter {
    #[new]
    fn new() -> Self {
        Self {
            count: Arc::default(),
        }
    }

    #[getter]
    fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

/// Move a body between streams that stay in Python's hands. Fails with `TimedOut` when nothing has
/// moved for `idle`.
pub async fn move_body(
    source: Cell,
    sink: Cell,
    mut body: BodyMove,
    idle: Duration,
    meter: Arc<AtomicU64>,
) -> Outcome<u64> {
    loop {
        let before = meter.load(Ordering::Relaxed);
        let moving = poll_fn(|cx| poll_between(cx, &source, &sink, &mut body));
        match timeout(idle, moving).await {
            Ok(outcome) => return outcome,
            Err(_) if meter.load(Ordering::Relaxed) != before || body.waits() => {}
            Err(_) => return Err(Failure::TimedOut),
        }
    }
}

fn poll_between(
    cx: &mut Context<'_>,
    source: &Cell,
    sink: &Cell,
    body: &mut BodyMove,
) -> Poll<Outcome<u64>> {
    const GONE: Failure = Failure::Misuse("the stream was closed or handed on");
    // Two bodies may move between the same streams in opposite directions: always the same lock first.
    let ordered = Arc::as_ptr(source) < Arc::as_ptr(sink);
    let (one, other) = if ordered {
        (source, sink)
    } else {
        (sink, source)
    };
    let mut one = one.lock().unwrap_or_else(PoisonError::into_inner);
    let mut other = other.lock().unwrap_or_else(PoisonError::into_inner);
    let (Some(one), Some(other)) = (one.as_mut(), other.as_mut()) else {
        return Poll::Ready(Err(GONE));
    };
    if ordered {
        body.poll(cx, one, other)
    } else {
        body.poll(cx, other, one)
    }
}
