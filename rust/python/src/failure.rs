//! One match maps the engine's failures to Python's exceptions.

use byway_engine::failure::Failure;
use byway_engine::relay::QUOTA;
use pyo3::exceptions::{PyEOFError, PyOSError, PyTimeoutError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// The exception that says what failed, and whose fault it was.
pub fn to_python(py: Python<'_>, failure: Failure) -> PyErr {
    match failure {
        Failure::Ended => PyEOFError::new_err("the stream ended"),
        Failure::Os(error) => match error.raw_os_error() {
            Some(code) => {
                let text = error.to_string();
                let text = text
                    .split(" (os error")
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                PyOSError::new_err((code, text))
            }
            None => PyOSError::new_err(error.to_string()),
        },
        Failure::TimedOut => PyTimeoutError::new_err("timed out"),
        Failure::Peer(text) => ours(py, "PeerError", text.to_owned()),
        Failure::Tls(text) => ours(py, "PeerError", format!("TLS: {text}")),
        Failure::Spent => ours(py, "Refused", QUOTA.to_owned()),
        Failure::TooLong => PyValueError::new_err("more bytes than allowed before the mark"),
        Failure::Misuse(text) => ours(py, "EngineError", text.to_owned()),
        Failure::Panicked(text) => ours(py, "EngineError", format!("the engine panicked: {text}")),
    }
}

/// A misuse of a handle, as `EngineError`.
pub fn misuse(py: Python<'_>, text: &'static str) -> PyErr {
    to_python(py, Failure::Misuse(text))
}

fn ours(py: Python<'_>, class: &'static str, text: String) -> PyErr {
    static PEER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static REFUSED: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static ENGINE: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let cell = match class {
        "PeerError" => &PEER,
        "Refused" => &REFUSED,
        _ => &ENGINE,
    };
    match cell.import(py, "byway.errors", class) {
        Ok(class) => PyErr::from_type(class.clone(), (text,)),
        Err(error) => error,
    }
}
