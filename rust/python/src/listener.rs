//! Listeners in Python's hands.

use std::sync::{Arc, Mutex, PoisonError};

use byway_engine::completion::Token;
use byway_engine::listen::{Arrivals, Listener as Core};
use pyo3::prelude::*;

use crate::failure::misuse;
use crate::ops::{Hub, Slot, fail};
use crate::stream::{Packed, packed};

/// A bound listener.
#[pyclass(frozen, module = "byway._engine")]
pub struct Listener {
    core: Mutex<Option<Core>>,
    arrivals: Arc<Arrivals>,
    token: Token,
    hub: Arc<Hub>,
}

impl Listener {
    pub fn new(core: Core, arrivals: Arc<Arrivals>, token: Token, hub: Arc<Hub>) -> Self {
        hub.slots.put(token, Slot::Listener { arrivals: Arc::clone(&arrivals), future: None });
        Self { core: Mutex::new(Some(core)), arrivals, token, hub }
    }

    fn with<R>(&self, work: impl FnOnce(&Core) -> R) -> Option<R> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(work)
    }
}

#[pymethods]
impl Listener {
    /// A list of streams at once, or a future of one.
    fn accept(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let hub = &self.hub;
        let Some(Slot::Listener { future: None, .. }) = hub.slots.take(self.token) else {
            return Err(misuse(py, "the listener is closed, or somebody else accepts already"));
        };
        let streams = self.arrivals.take();
        let future = if streams.is_empty() { Some(hub.future(py)?) } else { None };
        let waiting = future.as_ref().map(|future| future.clone_ref(py));
        hub.slots.put(self.token, Slot::Listener { arrivals: Arc::clone(&self.arrivals), future: waiting });
        match future {
            Some(future) => Ok(future),
            None => hub.wrap_all(py, streams),
        }
    }

    /// Forget a cancelled wait, so that the next accept may begin.
    fn forget(&self) {
        if self.hub.slots.take(self.token).is_some() {
            let arrivals = Arc::clone(&self.arrivals);
            self.hub.slots.put(self.token, Slot::Listener { arrivals, future: None });
        }
    }

    #[getter]
    fn address(&self) -> Option<Packed> {
        self.with(|core| core.address.map(packed)).flatten()
    }

    /// Open connections, and how many were turned away since the start.
    fn counts(&self) -> (usize, u64) {
        self.with(|core| core.turnstile.counts()).unwrap_or_default()
    }

    /// Stop listening; what waited unaccepted is closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(core);
        drop(self.arrivals.take());
        match self.hub.slots.free(self.token) {
            Some(Slot::Listener { future: Some(future), .. }) => fail(py, &future, "the listener was closed"),
            _ => Ok(()),
        }
    }
}
