//! The engine: sockets, relays, TLS, packet sessions: all that runs per byte. It is handed sockets,
//! tables and limits; it knows no configuration and no names, and nothing of Python.
//!
//! Read in this order: `reactor` (the threads), `completion` (how results leave), `stream`, `listen`
//! and `dial` (how streams come to be), `relay` (where they spend their lives), `bucket` (how fast), `body`, `udp`
//! (the floor of packets in sockets), `datagrams`, `packets` (IP as bytes), `stack`, `tun`.

pub mod answers;
pub mod body;
pub mod bucket;
pub mod buffer;
pub mod completion;
pub mod datagrams;
pub mod dial;
pub mod failure;
pub mod held;
pub mod io;
pub mod layers;
pub mod limits;
pub mod listen;
pub mod lock;
pub mod meet;
pub mod messages;
pub mod packets;
pub mod pair;
pub mod pipe;
pub mod reactor;
pub mod relay;
pub mod session;
pub mod sets;
pub mod stack;
pub mod start;
pub mod stream;
pub mod tun;
pub mod udp;
mod watched;

use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
pub use futures_util::future::{AbortHandle, abortable};
pub use tokio::net::UnixStream;
pub use tokio::time::timeout;

/// Run a future; a panic in it becomes the failure of this one operation.
pub async fn catching<T>(work: impl Future<Output = failure::Outcome<T>>) -> failure::Outcome<T> {
    match AssertUnwindSafe(work).catch_unwind().await {
        Ok(outcome) => outcome,
        Err(payload) => Err(failure::Failure::Panicked(failure::panic_text(&*payload))),
    }
}
