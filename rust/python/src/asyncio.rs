//! What asyncio lends to what is not its own.

use pyo3::exceptions::asyncio::CancelledError;
use pyo3::prelude::*;

/// The event loop, and what tasks need of it.
pub struct Asyncio {
    /// The event loop that drains.
    pub event_loop: Py<PyAny>,
    pub enter: Py<PyAny>,
    pub leave: Py<PyAny>,
    pub current: Py<PyAny>,
    pub new_context: Py<PyAny>,
}

impl Asyncio {
    pub fn new(py: Python<'_>, event_loop: Py<PyAny>) -> PyResult<Self> {
        let tasks = py.import("asyncio.tasks")?;
        Ok(Self {
            event_loop,
            enter: tasks.getattr("_enter_task")?.unbind(),
            leave: tasks.getattr("_leave_task")?.unbind(),
            current: tasks.getattr("current_task")?.unbind(),
            new_context: py.import("contextvars")?.getattr("copy_context")?.unbind(),
        })
    }
}

/// What a cancel throws.
pub fn cancelled(py: Python<'_>, words: Option<&Py<PyAny>>) -> PyErr {
    match words {
        None => CancelledError::new_err(()),
        Some(words) => CancelledError::new_err((words.clone_ref(py),)),
    }
}
