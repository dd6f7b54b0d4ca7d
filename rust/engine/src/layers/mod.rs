//! Layers: what stands between a flow's bytes and a stream's.
//!
//! ```text
//! payload --poll_write--> Framing::seal --one write of many chunks--> stream below
//! payload <--poll_read--- Framing::open <--one read of many chunks---- stream below
//! ```
//!
//! A `Framing` is pure: it turns payload into sealed bytes and back, and never sees a socket. `Framed`
//! moves the bytes. What both work in is lent by the thread, so an idle flow owns keys and no buffers.
//! Sealing and opening go from one buffer to another, which spares the copy that in-place work needs.
//!
//! Which byte means what is here; which bytes are said (salts, addresses, credentials, checks of a
//! request) is the business of whoever makes the layer.
//!
//! Read in this order: `framed`, `cipher`, `chunks`, `replay`, `websocket`, then `tls`; `status` stands alone.

pub mod chunks;
pub mod cipher;
pub mod framed;
pub mod replay;
pub mod status;
pub mod tls;
pub mod websocket;

use std::fmt;
use std::io;

/// Why a layer gave a stream up: the other side broke the protocol. It travels inside `io::Error` and
/// becomes `Failure::Peer`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken(pub &'static str);

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Broken {}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        Self::new(io::ErrorKind::InvalidData, broken)
    }
}
