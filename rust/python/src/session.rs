//! Sessions in Python's hands: one stream that carries many.

use std::sync::Arc;
use std::task::{Context, Poll};

use byway_engine::session::{Protocol, Session as Core, Yamux};
use byway_engine::stream::Stream as CoreStream;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::failure::to_python;
use crate::ops::{Hub, Operation, Started};
use crate::stream::{Stream, handle};

/// The next stream that the other side opened.
struct Accept(Arc<Core>);

impl Operation for Accept {
    fn poll(
        &mut self,
        py: Python<'_>,
        hub: &Arc<Hub>,
        cx: &mut Context<'_>,
    ) -> Poll<PyResult<Py<PyAny>>> {
        let accepted = self.0.poll_accept(cx);
        accepted.map(|outcome| match outcome {
            Ok(stream) => handle(py, hub, stream),
            Err(failure) => Err(to_python(py, failure)),
        })
    }
}

/// One session; let go, it ends when its streams have.
#[pyclass(frozen, module = "byway._engine")]
pub struct Session {
    core: Arc<Core>,
    hub: Arc<Hub>,
}

impl Session {
    /// Put one over a stream, and drive it on that stream's loop.
    pub fn over(
        stream: CoreStream,
        protocol: &str,
        client: bool,
        hub: &Arc<Hub>,
    ) -> PyResult<Self> {
        let protocol: Box<dyn Protocol> = match protocol {
            "yamux" => Box::new(Yamux::new(client)),
            _ => return Err(PyValueError::new_err(format!("no protocol {protocol:?}"))),
        };
        let home = stream.home;
        let (core, drive) = Core::over(stream, protocol);
        hub.reactors.spawn(home, async move {
            let _ = drive.await; // its streams say why
        });
        Ok(Self {
            core: Arc::new(core),
            hub: Arc::clone(hub),
        })
    }
}

#[pymethods]
impl Session {
    /// A new stream.
    fn open(&self, py: Python<'_>) -> PyResult<Stream> {
        let opened = self.core.open();
        let stream = opened.map_err(|failure| to_python(py, failure))?;
        Ok(Stream::new(stream, &self.hub))
    }

    /// The next stream of the other side at once, or a wait for it.
    fn accept(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.hub.run(py, Accept(Arc::clone(&self.core)))? {
            Started::Over(stream) => Ok(stream),
            Started::Waiting(_, wait) => Ok(wait.into_any()),
        }
    }

    #[getter]
    fn is_open(&self) -> bool {
        self.core.is_open()
    }

    #[getter]
    fn streams(&self) -> usize {
        self.core.streams()
    }

    /// Bytes that wait in it, both ways.
    #[getter]
    fn waiting(&self) -> usize {
        self.core.waiting()
    }

    fn leave(&self) {
        self.core.leave();
    }

    fn close(&self) {
        self.core.close();
    }
}
