//! A stream in Python's hands.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use byway_engine::completion::Token;
use byway_engine::io::Io;
use byway_engine::stream::{Stream as Core, Want};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::failure::{misuse, to_python};
use crate::ops::{Cell, Hub, Polled, Slot, Started};
use crate::wait::Wait;

/// An address as packed bytes and a port.
pub type Packed = (Vec<u8>, u16);

/// (version, alpn, name, cipher, resumed)
type Facts = (&'static str, Option<String>, Option<String>, String, bool);

/// The packed form of an address.
pub fn packed(address: SocketAddr) -> (Vec<u8>, u16) {
    let bytes = match address {
        SocketAddr::V4(address) => address.ip().octets().to_vec(),
        SocketAddr::V6(address) => address.ip().octets().to_vec(),
    };
    (bytes, address.port())
}

/// One stream handle. Methods that may wait return their value, or a wait when they must.
#[pyclass(frozen, module = "byway._engine")]
pub struct Stream {
    pub cell: Cell,
    hub: Arc<Hub>,
    /// The places of a waiting read, a waiting write, and a body that comes in.
    waiting: [AtomicU64; 3],
}

/// Which wait of a stream: its own reads, its own writes, or a spawned operation that writes.
const READ: usize = 0;
const WRITE: usize = 1;
const FED: usize = 2;
const NOBODY: u64 = u64::MAX;

impl Stream {
    pub fn new(stream: Core, hub: &Arc<Hub>) -> Self {
        Self {
            cell: Arc::new(Mutex::new(Some(Box::new(stream)))),
            hub: Arc::clone(hub),
            waiting: [const { AtomicU64::new(NOBODY) }; 3],
        }
    }

    /// Run an operation of this stream. One that was given up before is forgotten first, and one
    /// that somebody still waits for fails: there is one reader and one writer at a time.
    pub fn wait(&self, py: Python<'_>, which: usize, op: Polled) -> PyResult<Py<PyAny>> {
        self.displace(py, which)?;
        match self.hub.run(py, op)? {
            Started::Over(value) => Ok(value),
            Started::Waiting(token, wait) => {
                self.waiting[which].store(token, Ordering::Relaxed);
                Ok(wait.into_any())
            }
        }
    }

    /// A spawned operation reads from here now; closing the handle ends it.
    pub fn reads_by(&self, py: Python<'_>, token: Token) -> PyResult<()> {
        self.displace(py, READ)?;
        self.waiting[READ].store(token, Ordering::Relaxed);
        Ok(())
    }

    /// A spawned operation writes to here now; closing the handle ends it.
    pub fn fed_by(&self, py: Python<'_>, token: Token) -> PyResult<()> {
        self.displace(py, FED)?;
        self.waiting[FED].store(token, Ordering::Relaxed);
        Ok(())
    }

    fn shut(&self) {
        let stream = self
            .cell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if stream.is_some() && self.hub.reactors.forked() {
            // The epoll set is shared with the owner, whose socket a close here would take from it.
            std::mem::forget(stream);
        }
    }

    fn displace(&self, py: Python<'_>, which: usize) -> PyResult<()> {
        self.fail_wait(py, which, "another wait took this one's place")
    }

    /// Whether somebody waits for a write to end.
    fn writing(&self) -> bool {
        self.hub
            .awaited(self.waiting[WRITE].load(Ordering::Relaxed))
    }

    /// Wake whoever waits on this handle: there is nothing left to wait for.
    fn fail_waits(&self, py: Python<'_>) -> PyResult<()> {
        for which in [READ, WRITE, FED] {
            self.fail_wait(py, which, "the stream was closed or handed on")?;
        }
        Ok(())
    }

    fn fail_wait(&self, py: Python<'_>, which: usize, text: &'static str) -> PyResult<()> {
        let token = self.waiting[which].swap(NOBODY, Ordering::Relaxed);
        if token != NOBODY
            && let Some(Slot::Polled { wait, .. } | Slot::Spawned { wait, .. }) =
                self.hub.slots.free(token)
        {
            Wait::fail(wait.bind(py), text)?;
        }
        Ok(())
    }

    fn forget(&self, which: usize) {
        let token = self.waiting[which].swap(NOBODY, Ordering::Relaxed);
        if token != NOBODY {
            self.hub.slots.free(token);
        }
    }

    /// Take the stream out for a layer or a relay.
    pub fn consume(&self, py: Python<'_>) -> PyResult<Box<Core>> {
        self.fail_waits(py)?;
        let taken = self
            .cell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        taken.ok_or_else(|| misuse(py, "the stream was closed or handed on"))
    }

    /// The loop that it lives on.
    pub fn home(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |stream| stream.home)
    }

    /// Whether it holds bytes back.
    pub fn holds(&self) -> bool {
        let cell = self.cell.lock().unwrap_or_else(PoisonError::into_inner);
        cell.as_ref().is_some_and(|stream| !stream.held.is_empty())
    }

    /// Send what is held, alone; a write that still waits takes it along.
    pub fn flush(&self, py: Python<'_>) -> PyResult<()> {
        if !self.holds() {
            return Ok(());
        }
        if self.writing() {
            return self.with(py, |stream| stream.start_write(&[]));
        }
        self.write(py, &[]).map(drop)
    }

    fn with<R>(&self, py: Python<'_>, work: impl FnOnce(&mut Core) -> R) -> PyResult<R> {
        match self
            .cell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            Some(stream) => Ok(work(stream)),
            None => Err(misuse(py, "the stream was closed or handed on")),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // Whoever waits holds the handle, so nobody does.
        self.forget(READ);
        self.forget(WRITE);
        self.forget(FED);
        self.shut();
    }
}

#[pymethods]
impl Stream {
    /// See `byway.interfaces.Stream.read`.
    fn read(&self, py: Python<'_>, limit: usize) -> PyResult<Py<PyAny>> {
        let want = Want::Some(limit.max(1));
        self.wait(py, READ, Polled::Read(Arc::clone(&self.cell), want))
    }

    fn read_exactly(&self, py: Python<'_>, n: usize) -> PyResult<Py<PyAny>> {
        self.wait(
            py,
            READ,
            Polled::Read(Arc::clone(&self.cell), Want::Exactly(n)),
        )
    }

    fn read_until(&self, py: Python<'_>, mark: &[u8], limit: usize) -> PyResult<Py<PyAny>> {
        let want = Want::Until(Bytes::copy_from_slice(mark), limit);
        self.wait(py, READ, Polled::Read(Arc::clone(&self.cell), want))
    }

    fn peek(&self, py: Python<'_>, limit: usize) -> PyResult<Py<PyAny>> {
        self.wait(
            py,
            READ,
            Polled::Read(Arc::clone(&self.cell), Want::Peek(limit)),
        )
    }

    /// What is read but not taken.
    fn buffered<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        self.with(py, |stream| PyBytes::new(py, &stream.unread))
    }

    fn unread(&self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        self.with(py, |stream| stream.put_back(data))
    }

    /// None when all was sent at once, else a wait.
    fn write(&self, py: Python<'_>, data: &[u8]) -> PyResult<Option<Py<PyAny>>> {
        self.hub.check(py)?;
        let cx = &mut Context::from_waker(Waker::noop());
        match self.with(py, |stream| stream.write_now(cx, data))? {
            Poll::Ready(Ok(())) => Ok(None),
            Poll::Ready(Err(failure)) => Err(to_python(py, failure)),
            Poll::Pending => {
                let waiting = self.wait(py, WRITE, Polled::Write(Arc::clone(&self.cell)))?;
                Ok((!waiting.is_none(py)).then_some(waiting))
            }
        }
    }

    /// Send with the next write or relayed chunk, or alone after a few milliseconds.
    fn hold(slf: &Bound<'_, Self>, data: &[u8]) -> PyResult<()> {
        let first = slf.get().with(slf.py(), |stream| {
            stream.held.extend_from_slice(data);
            stream.held.len() == data.len()
        })?;
        let hub = &slf.get().hub;
        if first {
            hub.held.add(hub, slf)
        } else {
            Ok(())
        }
    }

    fn end(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let waiting = self.wait(py, WRITE, Polled::End(Arc::clone(&self.cell)))?;
        Ok((!waiting.is_none(py)).then_some(waiting))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.shut();
        self.fail_waits(py)
    }

    /// Close so that the other side sees a reset.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(stream) = self
            .cell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            stream.io.abort();
        }
        self.close(py)
    }

    /// Whether the handle was closed, or consumed by a layer or a relay.
    #[getter]
    fn closed(&self) -> bool {
        self.cell
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_none()
    }

    /// Whether its socket is of no use any more: reset, or closed on both sides.
    #[getter]
    fn broken(&self) -> bool {
        let stream = self.cell.lock().unwrap_or_else(PoisonError::into_inner);
        stream.as_ref().is_none_or(|stream| stream.io.is_broken())
    }

    #[getter]
    fn local(&self, py: Python<'_>) -> PyResult<Option<Packed>> {
        self.with(py, |stream| stream.local().map(packed))
    }

    /// What a TLS handshake has settled: (version, alpn, name, cipher, resumed).
    #[getter]
    fn tls(&self, py: Python<'_>) -> PyResult<Option<Facts>> {
        self.with(py, |stream| match &stream.io {
            Io::Layer(layer) => layer.facts().map(|facts| {
                let facts = facts.clone();
                (
                    facts.version,
                    facts.alpn,
                    facts.name,
                    facts.cipher,
                    facts.resumed,
                )
            }),
            _ => None,
        })
    }

    #[getter]
    fn remote(&self, py: Python<'_>) -> PyResult<Option<Packed>> {
        self.with(py, |stream| stream.remote.map(packed))
    }
}
