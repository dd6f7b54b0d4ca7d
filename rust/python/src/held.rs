//! The clock of held bytes: what nobody has taken along by the end of a drain goes out alone soon.
//!
//! Nearly all of it is gone by then, in the write or the relay that it was held for, so there is one
//! timer for whatever is left and none for each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyTuple};

use crate::ops::Hub;
use crate::stream::Stream;

/// Seconds that held bytes wait for company.
const HOLD: f64 = 0.005;

/// Streams that hold bytes back.
#[derive(Default)]
pub struct Held {
    streams: Mutex<Vec<Py<Stream>>>,
    timed: AtomicBool,
    /// A drain is under way, and will look at them at its end.
    draining: AtomicBool,
}

impl Held {
    /// This stream holds bytes from now on.
    pub fn add(&self, hub: &Arc<Hub>, stream: &Bound<'_, Stream>) -> PyResult<()> {
        self.streams().push(stream.clone().unbind());
        if self.draining.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.watch(hub, stream.py())
    }

    /// A drain begins.
    pub fn begin(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// A drain ends: see to those that still hold something.
    pub fn end(&self, hub: &Arc<Hub>, py: Python<'_>) -> PyResult<()> {
        self.draining.store(false, Ordering::Relaxed);
        self.watch(hub, py)
    }

    /// Forget them all, at shutdown.
    pub fn clear(&self) {
        let gone = std::mem::take(&mut *self.streams());
        drop(gone);
    }

    fn watch(&self, hub: &Arc<Hub>, py: Python<'_>) -> PyResult<()> {
        if self.streams().is_empty() {
            return Ok(());
        }
        let kept = std::mem::take(&mut *self.streams());
        let kept = kept.into_iter().filter(|stream| stream.get().holds());
        let kept: Vec<_> = kept.collect();
        if kept.is_empty() {
            return Ok(());
        }
        self.streams().extend(kept);
        if self.timed.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let hub_then = Arc::downgrade(hub);
        let flush = move |args: &Bound<'_, PyTuple>, _: Option<&Bound<'_, pyo3::types::PyDict>>| {
            if let Some(hub) = hub_then.upgrade() {
                hub.held.flush(args.py());
            }
        };
        let flush = PyCFunction::new_closure(py, None, None, flush)?;
        let event_loop = hub.asyncio.event_loop.bind(py);
        event_loop.call_method1(intern!(py, "call_later"), (HOLD, flush))?;
        Ok(())
    }

    fn flush(&self, py: Python<'_>) {
        self.timed.store(false, Ordering::Relaxed);
        let streams = std::mem::take(&mut *self.streams());
        for stream in streams {
            // Whoever uses the stream next learns of a failure.
            let _ = stream.get().flush(py);
        }
    }

    fn streams(&self) -> std::sync::MutexGuard<'_, Vec<Py<Stream>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
