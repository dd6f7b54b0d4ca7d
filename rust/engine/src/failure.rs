//! How an operation fails; the binding has one match that maps these to Python's exceptions.

use std::io;

use crate::layers::Broken;

/// Why an operation did not give what was asked for.
#[derive(Debug)]
pub enum Failure {
    /// The stream ended first (`EOFError`).
    Ended,
    /// The operating system said no (`OSError`).
    Os(io::Error),
    /// Time ran out (`TimeoutError`).
    TimedOut,
    /// The other side broke its protocol (`PeerError`).
    Peer(&'static str),
    /// A TLS handshake failed (`PeerError`).
    Tls(String),
    /// A quota is used up (`Refused`).
    Spent,
    /// More bytes than the caller allows (`ValueError`).
    TooLong,
    /// The handle was used up, closed, or the engine is shut (`EngineError`).
    Misuse(&'static str),
    /// A panic in the engine, caught for this flow alone (`EngineError`).
    Panicked(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if let Some(Broken(text)) = error.get_ref().and_then(|inner| inner.downcast_ref()) {
            return Self::Peer(text);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::Ended,
            io::ErrorKind::TimedOut if error.raw_os_error().is_none() => Self::TimedOut,
            _ => Self::Os(error),
        }
    }
}

/// What every engine operation returns.
pub type Outcome<T> = Result<T, Failure>;

/// The message of a caught panic.
pub fn panic_text(payload: &(dyn std::any::Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic".to_owned())
}
