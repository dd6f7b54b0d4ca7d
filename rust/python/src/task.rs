//! The task of one flow: a coroutine that the drain steps itself.
//!
//! To asyncio it is a task (see "Extending" in its documentation): `current_task`, `timeout` and
//! `TaskGroup` work in it, it has a context of its own, and it awaits futures of the loop like any
//! other. But it begins where it is made, without a turn of the loop, and goes on in the drain.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::asyncio::CancelledError;
use pyo3::exceptions::{PyKeyboardInterrupt, PyRuntimeError, PyStopIteration, PySystemExit};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{IntoPyDict, PyDict};

use crate::asyncio::cancelled;
use crate::ops::Hub;
use crate::wait::{Wait, Waker, When};

/// One flow's task.
#[pyclass(frozen, weakref, module = "byway._engine")]
pub struct Task {
    hub: Arc<Hub>,
    context: Py<PyAny>,
    coroutine: Py<PyAny>,
    /// Called with the task at its end.
    ended: Py<PyAny>,
    stage: Mutex<Stage>,
}

/// What a cancel says, if anything.
struct Words(Option<Py<PyAny>>);

#[derive(Default)]
struct Stage {
    /// What it waits for.
    awaited: Option<Py<PyAny>>,
    /// To be thrown at its next step, with these words.
    cancel: Option<Words>,
    cancels: usize,
    over: bool,
}

impl Task {
    /// Make a task and take its first step here and now, in whatever task runs.
    pub fn start(
        py: Python<'_>,
        hub: &Arc<Hub>,
        coroutine: Py<PyAny>,
        ended: Py<PyAny>,
    ) -> PyResult<Py<Self>> {
        let asyncio = &hub.asyncio;
        let event_loop = asyncio.event_loop.bind(py);
        let task = Self {
            hub: Arc::clone(hub),
            context: asyncio.new_context.call0(py)?,
            coroutine,
            ended,
            stage: Mutex::default(),
        };
        let task = Bound::new(py, task)?;
        let current = asyncio.current.bind(py).call1((event_loop,))?;
        if current.is_none() {
            Self::step(&task, None)?;
        } else {
            asyncio.leave.call1(py, (event_loop, &current))?;
            let stepped = Self::step(&task, None);
            asyncio.enter.call1(py, (event_loop, current))?;
            stepped?;
        }
        Ok(task.unbind())
    }

    /// Go on, with an exception where there is one to throw, until it waits again or is over. Fails only
    /// with what is to bring the whole program down.
    pub fn step(slf: &Bound<'_, Self>, thrown: Option<PyErr>) -> PyResult<()> {
        let (py, task) = (slf.py(), slf.get());
        let cancel = {
            let mut stage = task.stage();
            if stage.over {
                return Ok(());
            }
            stage.awaited = None;
            stage.cancel.take()
        };
        let thrown = match cancel {
            Some(Words(words)) => Some(cancelled(py, words.as_ref())),
            None => thrown,
        };
        let asyncio = &task.hub.asyncio;
        let event_loop = asyncio.event_loop.bind(py);
        asyncio.enter.call1(py, (event_loop, slf))?;
        let coroutine = task.coroutine.bind(py);
        let context = task.context.bind(py);
        let run = intern!(py, "run");
        let stepped = match thrown {
            None => coroutine
                .getattr(intern!(py, "send"))
                .and_then(|send| context.call_method1(run, (send, py.None()))),
            Some(error) => coroutine
                .getattr(intern!(py, "throw"))
                .and_then(|throw| context.call_method1(run, (throw, error))),
        };
        asyncio.leave.call1(py, (event_loop, slf))?;
        match stepped {
            Ok(awaited) => Self::rest(slf, &awaited),
            Err(last) => Self::end(slf, last),
        }
    }

    /// Wait for what the coroutine awaits.
    fn rest(slf: &Bound<'_, Self>, awaited: &Bound<'_, PyAny>) -> PyResult<()> {
        let (py, task) = (slf.py(), slf.get());
        if let Ok(wait) = awaited.cast_exact::<Wait>() {
            let task = slf.clone().into_any().unbind();
            wait.get().wake(Waker::Task(task, resume))?;
        } else if awaited.is_none() {
            return Self::soon(slf);
        } else {
            let blocking = intern!(py, "_asyncio_future_blocking");
            if !awaited
                .getattr(blocking)
                .is_ok_and(|blocks| blocks.is_truthy().unwrap_or(false))
            {
                let error = PyRuntimeError::new_err(format!("a flow awaits {awaited:?}"));
                return Self::step(slf, Some(error));
            }
            awaited.setattr(blocking, false)?;
            let go_on = slf.getattr(intern!(py, "_go_on"))?;
            awaited.call_method1(intern!(py, "add_done_callback"), (go_on,))?;
        }
        let words = {
            let mut stage = task.stage();
            stage.awaited = Some(awaited.clone().unbind());
            // It was cancelled while it ran.
            match stage.cancel.take() {
                Some(Words(words)) => words,
                None => return Ok(()),
            }
        };
        if !cancel(awaited, words.as_ref())? {
            task.stage().cancel = Some(Words(words));
        }
        Ok(())
    }

    /// Go on at the next turn of the loop.
    pub fn soon(slf: &Bound<'_, Self>) -> PyResult<()> {
        let event_loop = slf.get().hub.asyncio.event_loop.bind(slf.py());
        let go_on = slf.getattr(intern!(slf.py(), "_go_on"))?;
        event_loop.call_method1(intern!(slf.py(), "call_soon"), (go_on,))?;
        Ok(())
    }

    fn end(slf: &Bound<'_, Self>, last: PyErr) -> PyResult<()> {
        let (py, task) = (slf.py(), slf.get());
        task.stage().over = true;
        let fatal = last.is_instance_of::<PySystemExit>(py)
            || last.is_instance_of::<PyKeyboardInterrupt>(py);
        let quiet =
            last.is_instance_of::<PyStopIteration>(py) || last.is_instance_of::<CancelledError>(py);
        if !fatal && !quiet {
            let told = PyDict::new(py);
            told.set_item("message", "the task of a flow failed")?;
            told.set_item("exception", last.value(py))?;
            told.set_item("task", slf)?;
            let event_loop = task.hub.asyncio.event_loop.bind(py);
            event_loop.call_method1("call_exception_handler", (told,))?;
        }
        task.ended.call1(py, (slf,))?;
        if fatal { Err(last) } else { Ok(()) }
    }

    fn stage(&self) -> MutexGuard<'_, Stage> {
        self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Task {
    /// Ask for its end: `CancelledError` is thrown where it waits. False when it is over.
    #[pyo3(signature = (msg = None))]
    fn cancel(&self, py: Python<'_>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        let awaited = {
            let mut stage = self.stage();
            if stage.over {
                return Ok(false);
            }
            stage.cancels += 1;
            stage.awaited.as_ref().map(|awaited| awaited.clone_ref(py))
        };
        if let Some(awaited) = awaited
            && cancel(awaited.bind(py), msg.as_ref())?
        {
            return Ok(true);
        }
        self.stage().cancel = Some(Words(msg));
        Ok(true)
    }

    /// How often its end was asked for and not taken back.
    fn cancelling(&self) -> usize {
        self.stage().cancels
    }

    /// Take one request for its end back; how many are left.
    fn uncancel(&self) -> usize {
        let mut stage = self.stage();
        stage.cancels = stage.cancels.saturating_sub(1);
        stage.cancels
    }

    fn done(&self) -> bool {
        self.stage().over
    }

    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.hub.asyncio.event_loop.clone_ref(py)
    }

    /// What futures of the loop call. One that is over gives its value, or its exception, to whoever
    /// awaits it.
    #[pyo3(signature = (_future = None))]
    fn _go_on(slf: &Bound<'_, Self>, _future: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        Self::step(slf, None)
    }
}

/// Have a task go on, for whatever it waited for.
fn resume(task: &Bound<'_, PyAny>, when: When) -> PyResult<()> {
    let task = task.cast_exact::<Task>()?;
    match when {
        When::Now => Task::step(task, None),
        When::Soon => Task::soon(task),
    }
}

/// Cancel what a task awaits; whether it let itself be.
fn cancel(awaited: &Bound<'_, PyAny>, words: Option<&Py<PyAny>>) -> PyResult<bool> {
    let py = awaited.py();
    let named = [("msg", words)].into_py_dict(py)?;
    awaited
        .call_method(intern!(py, "cancel"), (), Some(&named))?
        .is_truthy()
}
