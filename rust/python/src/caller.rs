//! The caller's end of a packet session inside this process.

use std::sync::{Arc, Mutex};

use byway_engine::completion::Token;
use byway_engine::datagrams::Caller as Core;
use byway_engine::lock::lock;
use pyo3::exceptions::PyEOFError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::failure::misuse;
use crate::ops::{Hub, Slot};

/// Sends and receives packets without a socket.
#[pyclass(frozen, module = "byway._engine")]
pub struct Caller {
    core: Mutex<Option<Arc<Core>>>,
    token: Token,
    hub: Arc<Hub>,
}

impl Caller {
    /// At its reserved place, which is woken when packets have come.
    pub fn new(hub: &Arc<Hub>, token: Token, core: Core) -> Self {
        let core = Arc::new(core);
        let taken = Arc::clone(&core);
        let slot = Slot::collecting(move |py, _| match taken.take() {
            None => Err(PyEOFError::new_err("the packet session has ended")),
            Some(packets) if packets.is_empty() => Ok(None),
            Some(packets) => {
                let packets = packets.iter().map(|packet| PyBytes::new(py, packet));
                Ok(Some(PyList::new(py, packets)?.into_any().unbind()))
            }
        });
        hub.slots.put(token, slot);
        Self {
            core: Mutex::new(Some(core)),
            token,
            hub: Arc::clone(hub),
        }
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        // Whoever receives holds the handle, so nobody does.
        self.hub.slots.free(self.token);
    }
}

#[pymethods]
impl Caller {
    /// Whether there was room for it.
    fn send(&self, packet: &[u8]) -> bool {
        lock(&self.core)
            .as_ref()
            .is_some_and(|core| core.send(packet))
    }

    /// A list of packets at once, or a wait for one.
    fn receive(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let taken = "somebody else receives here already";
        let received = self.hub.wait_at(py, self.token, taken)?;
        received.ok_or_else(|| misuse(py, "the caller was closed"))
    }

    /// End the session. Idempotent.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        drop(lock(&self.core).take());
        match self.hub.slots.free(self.token) {
            Some(slot) => slot.fail(py, "the caller was closed"),
            None => Ok(()),
        }
    }
}
