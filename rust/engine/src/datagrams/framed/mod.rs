//! Packets inside a stream, for protocols that carry UDP over TCP: a near side and a way out.
//!
//! ```text
//! stream --read--> frames --> (session, target) --> as any packet ... --> frames --write--> stream
//! ```
//!
//! `framing` says how a packet looks in the stream. A `tube` is a stream that packets are written to,
//! many at once, and dropped at rather than kept without bound; who reads it is an `inlet` (the near
//! side: one session) or an `outlet` (the way out of one session).

mod framing;
mod inlet;
mod outlet;
mod tube;

pub use framing::{Frame, Framing, LONGEST, Unframed};
