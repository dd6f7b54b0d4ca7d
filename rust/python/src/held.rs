//! The clock of held bytes: what nobody has taken along by the end of a drain goes out alone soon.
//!
//! Nearly all of it is gone by then, in the write or the relay that it was held for, so there is one
//! timer for whatever is left and none for each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyTuple};

/// Seconds that held bytes wait for company.
const HOLD: f64 = 0.005;

/// What holds bytes back.
pub trait Holding: Send {
    /// Whether it still does.
    fn holds(&self) -> bool;
    /// Send them, alone.
    fn flush(&self, py: Python<'_>) -> PyResult<()>;
}

/// Streams that hold bytes back.
#[derive(Default)]
pub struct Held {
    streams: Mutex<Vec<Box<dyn Holding>>>,
    timed: AtomicBool,
    /// A drain is under way, and will look at them at its end.
    draining: AtomicBool,
}

impl Held {
    /// This stream holds bytes from now on.
    pub fn add(
        self: &Arc<Self>,
        event_loop: &Bound<'_, PyAny>,
        stream: impl Holding + 'static,
    ) -> PyResult<()> {
        self.streams().push(Box::new(stream));
        if self.draining.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.watch(event_loop)
    }

    /// A drain begins.
    pub fn begin(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// A drain ends: see to those that still hold something.
    pub fn end(self: &Arc<Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        self.draining.store(false, Ordering::Relaxed);
        self.watch(event_loop)
    }

    /// Forget them all, at shutdown.
    pub fn clear(&self) {
        let gone = std::mem::take(&mut *self.streams());
        drop(gone);
    }

    fn watch(self: &Arc<Self>, event_loop: &Bound<'_, PyAny>) -> PyResult<()> {
        if self.streams().is_empty() {
            return Ok(());
        }
        let kept = std::mem::take(&mut *self.streams());
        let kept = kept.into_iter().filter(|stream| stream.holds());
        let kept: Vec<_> = kept.collect();
        if kept.is_empty() {
            return Ok(());
        }
        self.streams().extend(kept);
        if self.timed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let then = Arc::downgrade(self);
        let flush = move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, pyo3::types::PyDict>>| {
            if let Some(held) = then.upgrade() {
                held.flush(args.py());
            }
        };
        let flush = PyCFunction::new_closure(event_loop.py(), None, None, flush)?;
        event_loop.call_method1(intern!(event_loop.py(), "call_later"), (HOLD, flush))?;
        Ok(())
    }

    fn flush(&self, py: Python<'_>) {
        self.timed.store(false, Ordering::Relaxed);
        let streams = std::mem::take(&mut *self.streams());
        for stream in streams {
            // Whoever uses the stream next learns of a failure.
            let _ = stream.flush(py);
        }
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, Vec<Box<dyn Holding>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
