//! A stream in Python's hands.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use byway_engine::completion::Token;
use byway_engine::failure::{Failure, Outcome};
use byway_engine::io::{Io, Refusal};
use byway_engine::lock::lock;
use byway_engine::stream::{Stream as Core, Want};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::failure::{misuse, to_python};
use crate::held::Holding;
use crate::ops::{Hub, Operation, Started};

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

/// A stream that Python owns; empty once it was consumed or closed.
pub type Cell = Arc<Mutex<Option<Box<Core>>>>;

/// A Python handle for a stream.
pub fn handle(py: Python<'_>, hub: &Arc<Hub>, stream: Core) -> PyResult<Py<PyAny>> {
    Ok(Py::new(py, Stream::new(stream, hub))?.into_any())
}

/// Python handles for a batch of streams.
pub fn handles(py: Python<'_>, hub: &Arc<Hub>, streams: Vec<Core>) -> PyResult<Py<PyAny>> {
    let list = PyList::empty(py);
    for stream in streams {
        list.append(handle(py, hub, stream)?)?;
    }
    Ok(list.into_any().unbind())
}

/// Bytes that come in.
struct Read(Cell, Want);

impl Operation for Read {
    fn poll(
        &mut self,
        py: Python<'_>,
        _: &Arc<Hub>,
        cx: &mut Context<'_>,
    ) -> Poll<PyResult<Py<PyAny>>> {
        let Self(cell, want) = self;
        with_stream(py, cell, |stream| {
            let polled = stream.poll_want(cx, want);
            polled.map_ok(|bytes| PyBytes::new(py, &bytes).into_any().unbind())
        })
    }
}

/// What is to be written, or the end of it, sent.
struct Sent(Cell, fn(&mut Core, &mut Context<'_>) -> Poll<Outcome<()>>);

impl Operation for Sent {
    fn poll(
        &mut self,
        py: Python<'_>,
        _hub: &Arc<Hub>,
        cx: &mut Context<'_>,
    ) -> Poll<PyResult<Py<PyAny>>> {
        let Self(cell, poll) = self;
        with_stream(py, cell, |stream| poll(stream, cx).map_ok(|()| py.None()))
    }
}

fn with_stream<T>(
    py: Python<'_>,
    cell: &Cell,
    work: impl FnOnce(&mut Core) -> Poll<Outcome<T>>,
) -> Poll<PyResult<T>> {
    let polled = match lock(cell).as_mut() {
        Some(stream) => work(stream),
        None => Poll::Ready(Err(Failure::Misuse("the stream was closed or handed on"))),
    };
    polled.map_err(|failure| to_python(py, failure))
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
    fn wait(
        &self,
        py: Python<'_>,
        which: usize,
        operation: impl Operation + 'static,
    ) -> PyResult<Py<PyAny>> {
        self.displace(py, which)?;
        match self.hub.run(py, operation)? {
            Started::Over(value) => Ok(value),
            Started::Waiting(token, wait) => {
                self.waiting[which].store(token, Ordering::Relaxed);
                Ok(wait.into_any())
            }
        }
    }

    fn taken(&self, py: Python<'_>, want: Want) -> PyResult<Py<PyAny>> {
        self.wait(py, READ, Read(Arc::clone(&self.cell), want))
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
        let stream = lock(&self.cell).take();
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
            && let Some(slot) = self.hub.slots.free(token)
        {
            return slot.fail(py, text);
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
        let taken = lock(&self.cell).take();
        taken.ok_or_else(|| misuse(py, "the stream was closed or handed on"))
    }

    /// Whether it holds bytes back.
    fn holds(&self) -> bool {
        let cell = lock(&self.cell);
        cell.as_ref().is_some_and(|stream| !stream.held.is_empty())
    }

    /// Send what is held, alone; a write that still waits takes it along.
    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        if !self.holds() {
            return Ok(());
        }
        if self.writing() {
            return self.with(py, |stream| stream.start_write(&[]));
        }
        self.write(py, &[]).map(drop)
    }

    fn with<R>(&self, py: Python<'_>, work: impl FnOnce(&mut Core) -> R) -> PyResult<R> {
        match lock(&self.cell).as_mut() {
            Some(stream) => Ok(work(stream)),
            None => Err(misuse(py, "the stream was closed or handed on")),
        }
    }
}

/// A stream that holds bytes back.
struct Kept(Py<Stream>);

impl Holding for Kept {
    fn holds(&self) -> bool {
        self.0.get().holds()
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        self.0.get().flush(py)
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
        self.taken(py, Want::Some(limit.max(1)))
    }

    fn read_exactly(&self, py: Python<'_>, n: usize) -> PyResult<Py<PyAny>> {
        self.taken(py, Want::Exactly(n))
    }

    fn read_until(&self, py: Python<'_>, mark: &[u8], limit: usize) -> PyResult<Py<PyAny>> {
        if let Some(stream) = lock(&self.cell).as_mut() {
            stream.begin_want();
        }
        let mark = Bytes::copy_from_slice(mark);
        self.taken(py, Want::Until(mark, limit))
    }

    fn peek(&self, py: Python<'_>, limit: usize) -> PyResult<Py<PyAny>> {
        self.taken(py, Want::Peek(limit))
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
                let waiting =
                    self.wait(py, WRITE, Sent(Arc::clone(&self.cell), Core::poll_sent))?;
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
            let event_loop = hub.asyncio.event_loop.bind(slf.py());
            hub.held.add(event_loop, Kept(slf.clone().unbind()))
        } else {
            Ok(())
        }
    }

    fn end(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        let waiting = self.wait(py, WRITE, Sent(Arc::clone(&self.cell), Core::poll_end))?;
        Ok((!waiting.is_none(py)).then_some(waiting))
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        self.shut();
        self.fail_waits(py)
    }

    /// Close so that the other side sees a reset.
    fn abort(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(stream) = lock(&self.cell).as_mut() {
            stream.io.abort();
        }
        self.close(py)
    }

    /// Say no to whoever wishes for this stream, as far as that can still be told: `reset`, `silent`,
    /// `network`, `host`, `prohibited`.
    fn refuse(&self, py: Python<'_>, why: &str) -> PyResult<()> {
        let why = match why {
            "reset" => Refusal::Reset,
            "silent" => Refusal::Silent,
            "network" => Refusal::Network,
            "host" => Refusal::Host,
            "prohibited" => Refusal::Prohibited,
            _ => return Err(PyValueError::new_err(format!("no refusal {why:?}"))),
        };
        if let Some(stream) = lock(&self.cell).as_mut() {
            stream.io.refuse(why);
        }
        self.close(py)
    }

    /// Whether the handle was closed, or consumed by a layer or a relay.
    #[getter]
    fn closed(&self) -> bool {
        lock(&self.cell).is_none()
    }

    /// Whether its socket is of no use any more: reset, or closed on both sides.
    #[getter]
    fn broken(&self) -> bool {
        let stream = lock(&self.cell);
        stream.as_ref().is_none_or(|stream| stream.io.is_broken())
    }

    /// The loop that it lives on.
    #[getter]
    pub fn home(&self, py: Python<'_>) -> PyResult<usize> {
        self.with(py, |stream| stream.home)
    }

    #[getter]
    fn local(&self, py: Python<'_>) -> PyResult<Option<Packed>> {
        self.with(py, |stream| stream.local().map(packed))
    }

    /// Where it was sent to before it was redirected here.
    fn asked(&self, py: Python<'_>) -> PyResult<Packed> {
        let asked = self.with(py, |stream| stream.asked())?;
        let asked = asked.map_err(|error| to_python(py, error.into()))?;
        Ok(packed(asked))
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
