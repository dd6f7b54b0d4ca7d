//! Listeners in Python's hands.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use byway_engine::completion::Token;
use byway_engine::limits::Turnstile as CoreTurnstile;
use byway_engine::listen::{Arrivals, Listener as Core};
use pyo3::prelude::*;

use crate::failure::misuse;
use crate::ops::{Hub, Slot};
use crate::stream::{Packed, handles, packed};

/// How many connections the listeners that share it let in, all together.
#[pyclass(frozen, module = "byway._engine")]
pub struct Turnstile {
    pub core: CoreTurnstile,
}

#[pymethods]
impl Turnstile {
    #[new]
    fn new(total: usize, per_source: usize) -> Self {
        Self {
            core: CoreTurnstile::new(total, per_source),
        }
    }

    /// Other limits from now on; who is in stays in.
    fn set(&self, total: usize, per_source: usize) {
        self.core.set(total, per_source);
    }

    /// Connections that are in, and how many were turned away since the start.
    fn counts(&self) -> (usize, u64) {
        self.core.counts()
    }
}

/// What a second one is told.
pub const TAKEN: &str = "somebody else accepts here already";

/// What is open: a listener, or a device whose connections arrive here too.
pub struct Open {
    pub address: Option<SocketAddr>,
    pub turnstile: CoreTurnstile,
    /// Dropped, it accepts no more.
    pub listener: Option<Core>,
}

impl From<Core> for Open {
    fn from(listener: Core) -> Self {
        Self {
            address: listener.address,
            turnstile: listener.turnstile.clone(),
            listener: Some(listener),
        }
    }
}

/// A bound listener.
#[pyclass(frozen, module = "byway._engine")]
pub struct Listener {
    core: Mutex<Option<Open>>,
    arrivals: Arc<Arrivals>,
    token: Token,
    hub: Arc<Hub>,
}

impl Listener {
    pub fn new(core: Open, arrivals: Arc<Arrivals>, token: Token, hub: Arc<Hub>) -> Self {
        let taken = Arc::clone(&arrivals);
        let slot = Slot::collecting(move |py, hub| match taken.take() {
            streams if streams.is_empty() => Ok(None),
            streams => handles(py, hub, streams).map(Some),
        });
        hub.slots.put(token, slot);
        Self {
            core: Mutex::new(Some(core)),
            arrivals,
            token,
            hub,
        }
    }

    fn with<R>(&self, work: impl FnOnce(&Open) -> R) -> Option<R> {
        self.core
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .map(work)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Whoever accepts holds the handle, so nobody does.
        self.arrivals.close();
        self.hub.slots.free(self.token);
    }
}

#[pymethods]
impl Listener {
    /// A list of streams at once, or a wait for one.
    fn accept(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let accepted = self.hub.wait_at(py, self.token, TAKEN)?;
        accepted.ok_or_else(|| misuse(py, "the listener is closed"))
    }

    #[getter]
    fn address(&self) -> Option<Packed> {
        self.with(|core| core.address.map(packed)).flatten()
    }

    /// Open connections, and how many were turned away since the start.
    fn counts(&self) -> (usize, u64) {
        self.with(|core| core.turnstile.counts())
            .unwrap_or_default()
    }

    /// Stop listening; what waited unaccepted is closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let core = self
            .core
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(core);
        self.arrivals.close();
        match self.hub.slots.free(self.token) {
            Some(slot) => slot.fail(py, "the listener was closed"),
            None => Ok(()),
        }
    }
}
