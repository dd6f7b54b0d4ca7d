//! Packet sessions in Python's hands: who asks, and by which way the answer lets it go.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use byway_engine::completion::{Event, Token};
use byway_engine::datagrams::framed::Framing;
use byway_engine::datagrams::{
    Ask as CoreAsk, Asks, FarHandle, PacketListener as Core, PacketOptions, Place,
};
use byway_engine::failure::Failure;
use byway_engine::reactor::Reactors;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::bucket::{Bucket, drawn};
use crate::failure::{misuse, to_python};
use crate::listener::TAKEN;
use crate::ops::{Hub, Slot};
use crate::relay::Relay;
use crate::stream::{Packed, packed};
use crate::values::{seconds, socket_address};

/// (idle, sessions, targets, waiting, only, mark)
pub type PacketArgs = (f64, usize, usize, usize, Option<(String, u16)>, Option<u32>);

/// A target as Python has it: its host, its port, and its packed address unless it is a name.
type PlaceParts = (String, u16, Option<Vec<u8>>);

/// A way out for packets; shared by the targets of one session.
#[pyclass(frozen, module = "byway._engine")]
pub struct Datagrams {
    far: Mutex<Option<FarHandle>>,
}

impl Datagrams {
    pub fn new(far: FarHandle) -> Self {
        Self {
            far: Mutex::new(Some(far)),
        }
    }

    /// The way itself, still shared.
    fn share(&self, py: Python<'_>) -> PyResult<FarHandle> {
        let far = self
            .far
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        far.ok_or_else(|| misuse(py, "the datagrams were closed or wrapped"))
    }

    /// The way itself, for a layer around it.
    pub fn consume(&self, py: Python<'_>) -> PyResult<FarHandle> {
        let far = self
            .far
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        far.ok_or_else(|| misuse(py, "the datagrams were closed or wrapped"))
    }
}

#[pymethods]
impl Datagrams {
    /// End its flows and give up its sockets. Idempotent.
    fn close(&self) {
        if let Some(far) = self
            .far
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            far.close();
        }
    }
}

/// A bound packet socket and its sessions.
#[pyclass(frozen, module = "byway._engine")]
pub struct PacketListener {
    core: Mutex<Option<Core>>,
    asks: Arc<Asks>,
    token: Token,
    hub: Arc<Hub>,
}

impl PacketListener {
    pub fn new(core: Core, asks: Arc<Asks>, token: Token, hub: Arc<Hub>) -> Self {
        let taken = Arc::clone(&asks);
        let slot = Slot::collecting(move |py, hub| match taken.take() {
            asks if asks.is_empty() => Ok(None),
            asks => wrap_asks(py, hub, asks).map(Some),
        });
        hub.slots.put(token, slot);
        Self {
            core: Mutex::new(Some(core)),
            asks,
            token,
            hub,
        }
    }
}

#[pymethods]
impl PacketListener {
    /// A list of asks at once, or a wait for one.
    fn accept(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let accepted = self.hub.wait_at(py, self.token, TAKEN)?;
        accepted.ok_or_else(|| misuse(py, "the listener is closed"))
    }

    #[getter]
    fn address(&self) -> Option<Packed> {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        core.as_ref().map(|core| packed(core.address))
    }

    /// Have DNS queries answered by a table, as far as it can.
    fn answer_by(&self, messages: &crate::messages::Messages, scope: u64) {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(core) = core.as_ref() {
            core.answer_by(messages.quick(scope));
        }
    }

    /// What it did so far, by name.
    fn stats(&self) -> Vec<(&'static str, u64)> {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(stats) = core.as_ref().map(Core::stats) else {
            return Vec::new();
        };
        vec![
            ("sessions", stats.sessions),
            ("flows", stats.flows),
            ("packets_up", stats.packets_up),
            ("packets_down", stats.packets_down),
            ("malformed", stats.malformed),
            ("stranger", stats.stranger),
            ("forged", stats.forged),
            ("replayed", stats.replayed),
            ("refused", stats.refused),
            ("full", stats.full),
            ("congested", stats.congested),
            ("unsendable", stats.unsendable),
            ("limited", stats.limited),
            ("gro", stats.gro.into()),
            ("gso", stats.gso.into()),
        ]
    }

    /// End its sessions and unbind. Idempotent.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let core = self
            .core
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(core);
        drop(self.asks.take());
        match self.hub.slots.free(self.token) {
            Some(slot) => slot.fail(py, "the listener was closed"),
            None => Ok(()),
        }
    }
}

/// A new (session, target) pair that waits for its verdict. Dropped unanswered, it is refused.
#[pyclass(frozen, module = "byway._engine")]
pub struct Ask {
    core: Mutex<Option<CoreAsk>>,
    hub: Arc<Hub>,
    #[pyo3(get)]
    session: u64,
    #[pyo3(get)]
    source: Packed,
    #[pyo3(get)]
    target: PlaceParts,
    #[pyo3(get)]
    user: Option<u32>,
}

impl Ask {
    fn new(core: CoreAsk, hub: &Arc<Hub>) -> Self {
        let (session, source, target) = (core.session, packed(core.source), parts(&core.target));
        let user = core.user;
        Self {
            core: Mutex::new(Some(core)),
            hub: Arc::clone(hub),
            session,
            source,
            target,
            user,
        }
    }
}

#[pymethods]
impl Ask {
    /// Let it go by `far`, to `host` (an address or a name) and `port`.
    fn relay(
        &self,
        py: Python<'_>,
        far: &Bound<'_, Datagrams>,
        host: &str,
        port: u16,
        buckets: Vec<Py<Bucket>>,
    ) -> PyResult<Relay> {
        self.hub.check(py)?;
        let far = far.get().share(py)?;
        let ask = self
            .core
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let ask = ask.ok_or_else(|| misuse(py, "the ask was answered already"))?;
        let (relay, gauge, report) = Relay::new(&self.hub, drawn(&buckets));
        let done = move |end| report.end(Ok(end));
        ask.relay(&far, place(host, port), gauge, Box::new(done));
        Ok(relay)
    }

    /// Copies of the packets that wait with it.
    fn waiting<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let core = self.core.lock().unwrap_or_else(PoisonError::into_inner);
        let packets = core.as_ref().map(CoreAsk::waiting).unwrap_or_default();
        PyList::new(py, packets.iter().map(|packet| PyBytes::new(py, packet)))
    }

    /// Say no, until the session ends.
    fn refuse(&self) {
        if let Some(ask) = self
            .core
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
        {
            ask.refuse();
        }
    }
}

/// What `bind` opens, whose asks Python waits for.
pub fn open_packets(
    py: Python<'_>,
    hub: &Arc<Hub>,
    bind: impl FnOnce(&Reactors, Arc<Asks>) -> std::io::Result<Core>,
) -> PyResult<PacketListener> {
    let token = hub.slots.reserve();
    let completions = Arc::clone(&hub.completions);
    let asks = Asks::new(move || completions.push(Event::Woken(token)));
    match bind(&hub.reactors, Arc::clone(&asks)) {
        Ok(core) => Ok(PacketListener::new(core, asks, token, Arc::clone(hub))),
        Err(error) => {
            hub.slots.free(token);
            Err(to_python(py, Failure::Os(error)))
        }
    }
}

/// Python handles for a batch of asks.
fn wrap_asks(py: Python<'_>, hub: &Arc<Hub>, asks: Vec<CoreAsk>) -> PyResult<Py<PyAny>> {
    let list = PyList::empty(py);
    for ask in asks {
        list.append(Py::new(py, Ask::new(ask, hub))?)?;
    }
    Ok(list.into_any().unbind())
}

/// The engine's form of a host and a port.
pub fn place(host: &str, port: u16) -> Place {
    match host.parse() {
        Ok(address) => Place::Address(SocketAddr::new(address, port)),
        Err(_) => Place::Name(host.to_owned(), port),
    }
}

/// The engine's form of `byway.engine.PacketOptions`.
pub fn packet_options(
    (idle, sessions, targets, waiting, only, mark): PacketArgs,
) -> PyResult<PacketOptions> {
    let only = only.map(|place| socket_address(&place)).transpose()?;
    Ok(PacketOptions {
        idle: seconds(idle),
        sessions,
        targets,
        waiting,
        only,
        mark,
    })
}

/// How packets look in a stream; `fixed` is the target of all of them.
pub fn framing_of(name: &str, fixed: Option<(String, u16)>) -> PyResult<Framing> {
    match (name, fixed) {
        ("trojan", None) => Ok(Framing::Trojan),
        ("uot", None) => Ok(Framing::Uot),
        ("addressed", None) => Ok(Framing::Socks),
        ("xudp", None) => Ok(Framing::Xudp),
        ("uot", Some((host, port))) => Ok(Framing::Connected(place(&host, port))),
        _ => Err(PyValueError::new_err(format!(
            "no framing {name:?} of that kind"
        ))),
    }
}

fn parts(place: &Place) -> PlaceParts {
    match place {
        Place::Address(address) => {
            let (bytes, port) = packed(*address);
            (address.ip().to_string(), port, Some(bytes))
        }
        Place::Name(name, port) => (name.clone(), *port, None),
    }
}
