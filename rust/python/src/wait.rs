//! What a call gives that cannot have its value at once: an awaitable that the drain itself resumes.
//!
//! To asyncio it is a future: any task may await it, time out at it and be cancelled at it. But its
//! value takes no detour through the event loop: the drain calls what the waiting task left here, in
//! that task's context, and the coroutine goes on before the drain returns.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use byway_engine::completion::Token;
use byway_engine::failure::Failure;
use pyo3::exceptions::PyStopIteration;
use pyo3::exceptions::asyncio::InvalidStateError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::IntoPyDict;

use crate::asyncio::{Asyncio, cancelled};
use crate::failure::to_python;

/// Where operations wait.
pub trait Places: Send + Sync {
    /// Forget an operation that nobody waits for any more.
    fn give_up(&self, token: Token);
    /// The event loop of those who wait.
    fn asyncio(&self) -> &Asyncio;
}

/// When a task goes on: before the call returns, or when the loop comes to it.
#[derive(Clone, Copy)]
pub enum When {
    Now,
    Soon,
}

/// One wait of one task.
#[pyclass(frozen, module = "byway._engine")]
pub struct Wait {
    places: Arc<dyn Places>,
    stage: Mutex<Stage>,
    /// Set while the task that awaits it is told of it: how asyncio knows futures (see "Extending").
    blocking: AtomicBool,
}

enum Stage {
    /// Of the operation at this place, by whom.
    Waiting(Token, Option<Waker>),
    Over(PyResult<Py<PyAny>>),
    /// With the words of whoever cancelled it.
    Cancelled(Option<Py<PyAny>>),
}

/// Who awaits it.
pub enum Waker {
    /// A task of ours, and how to have it go on.
    Task(Py<PyAny>, fn(&Bound<'_, PyAny>, When) -> PyResult<()>),
    /// One of asyncio's: what wakes it, and the context to call that in.
    Call(Py<PyAny>, Py<PyAny>),
}

impl Wait {
    /// The wait for an operation at this place, which a cancel frees.
    pub fn new(py: Python<'_>, places: Arc<dyn Places>, token: Token) -> PyResult<Py<Self>> {
        let wait = Self {
            places,
            stage: Mutex::new(Stage::Waiting(token, None)),
            blocking: AtomicBool::new(false),
        };
        Py::new(py, wait)
    }

    /// Whether somebody waits, or may still begin to.
    pub fn lasts(&self) -> bool {
        matches!(*self.stage(), Stage::Waiting(..))
    }

    /// End it and let the task go on, before this returns. For the drain alone, which runs in no task.
    /// Fails only as a task does that brings the whole program down.
    pub fn resume(slf: &Bound<'_, Self>, outcome: PyResult<Py<PyAny>>) -> PyResult<()> {
        let py = slf.py();
        match slf.get().end(Stage::Over(outcome)) {
            Some(Waker::Task(task, go_on)) => go_on(task.bind(py), When::Now),
            Some(Waker::Call(wake, context)) => {
                let run = intern!(py, "run");
                context.bind(py).call_method1(run, (wake, slf)).map(drop)
            }
            None => Ok(()),
        }
    }

    /// Fail it; the task goes on when the loop comes to it.
    pub fn fail(slf: &Bound<'_, Self>, text: &'static str) -> PyResult<()> {
        let error = to_python(slf.py(), Failure::Misuse(text));
        Self::end_soon(slf, Stage::Over(Err(error))).map(|_| ())
    }

    /// Whether it was still to be ended.
    fn end_soon(slf: &Bound<'_, Self>, last: Stage) -> PyResult<bool> {
        let wait = slf.get();
        if !wait.lasts() {
            return Ok(false);
        }
        let py = slf.py();
        match wait.end(last) {
            Some(Waker::Task(task, go_on)) => go_on(task.bind(py), When::Soon)?,
            Some(Waker::Call(wake, context)) => {
                let named = [("context", context)].into_py_dict(py)?;
                let event_loop = wait.places.asyncio().event_loop.bind(py);
                event_loop.call_method(intern!(py, "call_soon"), (wake, slf), Some(&named))?;
            }
            None => {}
        }
        Ok(true)
    }

    /// Have this waker called at the end: there is one at most.
    pub fn wake(&self, by: Waker) -> PyResult<()> {
        match &mut *self.stage() {
            Stage::Waiting(_, waker @ None) => {
                *waker = Some(by);
                Ok(())
            }
            _ => Err(InvalidStateError::new_err(
                "somebody awaits this already, or it is over",
            )),
        }
    }

    fn end(&self, last: Stage) -> Option<Waker> {
        match std::mem::replace(&mut *self.stage(), last) {
            Stage::Waiting(_, waker) => waker,
            _ => None,
        }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Wait {
    fn __await__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(slf: Bound<'_, Self>) -> PyResult<Option<Bound<'_, Self>>> {
        let wait = slf.get();
        if wait.lasts() {
            wait.blocking.store(true, Ordering::Relaxed);
            return Ok(Some(slf));
        }
        let value = wait.result(slf.py())?;
        Err(PyStopIteration::new_err((value,)))
    }

    #[getter(_asyncio_future_blocking)]
    fn blocking(&self) -> bool {
        self.blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, blocking: bool) {
        self.blocking.store(blocking, Ordering::Relaxed);
    }

    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.places.asyncio().event_loop.clone_ref(py)
    }

    /// For the one task that awaits it.
    #[pyo3(signature = (wake, /, *, context))]
    fn add_done_callback(&self, wake: Py<PyAny>, context: Py<PyAny>) -> PyResult<()> {
        self.wake(Waker::Call(wake, context))
    }

    /// Give up the operation. What had come for it stays where it was, or is closed.
    #[pyo3(signature = (msg = None))]
    fn cancel(slf: &Bound<'_, Self>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let token = match &*slf.get().stage() {
            Stage::Waiting(token, _) => *token,
            _ => return Ok(false),
        };
        slf.get().places.give_up(token);
        Self::end_soon(slf, Stage::Cancelled(msg))
    }

    fn result(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match &*self.stage() {
            Stage::Waiting(..) => Err(InvalidStateError::new_err("it is not over yet")),
            Stage::Over(Ok(value)) => Ok(value.clone_ref(py)),
            Stage::Over(Err(error)) => Err(error.clone_ref(py)),
            Stage::Cancelled(words) => Err(cancelled(py, words.as_ref())),
        }
    }
}
