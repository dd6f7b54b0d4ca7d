//! HTTP bodies on their way, and how Python sees them go.

use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use byway_engine::body::BodyMove;
use byway_engine::failure::{Failure, Outcome};
use byway_engine::timeout;
use pyo3::prelude::*;

use crate::stream::Cell;

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

/// How often a body that does not move is asked whether anybody still waits for it.
const LOOK: Duration = Duration::from_secs(15);

/// Move a body between streams that stay in Python's hands. Fails with `TimedOut` when nothing has
/// moved for `idle`, and as the sink would when that has broken off meanwhile.
pub async fn move_body(
    source: Cell,
    sink: Cell,
    mut body: BodyMove,
    idle: Duration,
    meter: Arc<AtomicU64>,
) -> Outcome<u64> {
    let mut still = Duration::ZERO;
    loop {
        let before = meter.load(Ordering::Relaxed);
        let moving = poll_fn(|cx| poll_between(cx, &source, &sink, &mut body));
        let look = LOOK.min(idle.saturating_sub(still));
        if let Ok(outcome) = timeout(look, moving).await {
            return outcome;
        }
        if meter.load(Ordering::Relaxed) != before || body.waits() {
            still = Duration::ZERO;
            continue;
        }
        still += look;
        if is_broken(&sink) {
            return Err(Failure::Os(io::ErrorKind::ConnectionReset.into()));
        }
        if still >= idle {
            return Err(Failure::TimedOut);
        }
    }
}

/// Whether there is nobody any more who could take what is moved.
fn is_broken(sink: &Cell) -> bool {
    let sink = sink.lock().unwrap_or_else(PoisonError::into_inner);
    sink.as_ref().is_some_and(|sink| sink.io.is_broken())
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
