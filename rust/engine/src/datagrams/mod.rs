//! UDP sessions: one per source, many targets, one mapping per way out (RFC 4787, section 4.1:
//! endpoint-independent), everything that happens per packet.
//!
//! ```text
//! near socket --recvmmsg--> codec --> (session, target) --> flow --> layers of its Far --sendmmsg--> far socket
//!      ^                                   | new: Ask, judged once                                      |
//!      +----sendmmsg---- codec <-- flow of the sender <-- layers of the Far <-------recvmmsg------------+
//! ```
//!
//! How its owner works with it, in the order of a session's life:
//!
//! 1. `Asks::new(signal)`, then `PacketListener::bind(address, codec, &options, &reactors, asks)`.
//!    `signal` is called when the first of a batch of new (session, target) pairs waits; `Asks::take`
//!    then gives all of them. Dropping the listener ends its sessions (`End::Closed`).
//!    `PacketListener::over(stream, ...)` is the same for the packets inside one stream.
//! 2. `Far::direct(options)` makes a way out, `Far::framed(stream, framing)` one inside a stream,
//!    `Far::wrap_socks5(&far, relay, control, &reactors)` and `Far::wrap_sealed(&far, server, client)`
//!    one through either. A far belongs to the first session that it is given to and serves all its
//!    targets; clone the `Arc` for each. `Far::close` ends its flows; so does dropping the session.
//! 3. Each `Ask` is answered once, from any thread: `relay(far, located, gauge, done)` or `refuse()`
//!    (dropping it refuses). `gauge` counts payload bytes and can cut the flow; `done` is called
//!    exactly once, on an engine thread or where the listener is dropped, with the counters final.
//!
//! Read in this order: `codec` (the headers), `sealed` (shadowsocks), `session` and `table` (who has
//! what, no sockets in it), `near` (the listener), `hub` (what its tasks share), `road` (what becomes of
//! each packet), `far` (the ways out), `framed` (packets inside streams, near and far), `batch` (packets
//! to many sockets, joined where the kernel can cut them again), `mmsg` (the system calls; the only
//! unsafe code here).

mod batch;
pub mod codec;
mod far;
pub mod framed;
mod hub;
mod mmsg;
mod near;
mod order;
mod road;
pub mod sealed;
mod session;
mod table;
mod tally;
mod wheel;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub use codec::Place;
pub use far::{Far, FarHandle};
pub use near::{Ask, Asks, PacketListener};
use sealed::DoorKeys;
pub use session::Origin;

/// How packets of a listener say where they want to go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Codec {
    /// Each packet has a header with its target (RFC 1928, section 7); replies carry their sender.
    Socks5,
    /// Bare packets, all for this target; only its replies come back.
    Fixed(Place),
    /// Packets inside a stream (`framed`): no socket, one source.
    Framed(framed::Framing),
    /// Shadowsocks packets of clients that have one of these keys.
    Sealed(Arc<DoorKeys>),
}

/// What a packet that waits counts beside its payload: about what keeping it takes.
pub const OVERHEAD: usize = 64;

/// The bounds of a listener.
#[derive(Debug, Clone)]
pub struct PacketOptions {
    /// A flow without packets for so long ends, and a session with its last flow.
    pub idle: Duration,
    /// Sessions at once; a further one displaces the one that was silent longest, of those that were
    /// never answered while these are more than a quarter.
    pub sessions: usize,
    /// Targets per session; a further one displaces the one that was silent longest.
    pub targets: usize,
    /// Bytes of packets that may wait for the verdicts of one session, `OVERHEAD` for each
    /// packet; further ones are dropped.
    pub waiting: usize,
    /// Accept from this source alone (a SOCKS association). Port zero stands for the first one seen.
    pub only: Option<SocketAddr>,
}

impl Default for PacketOptions {
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(60),
            sessions: 4096,
            targets: 1024,
            waiting: 512 * 1024,
            only: None,
        }
    }
}

/// What a listener did so far. The first two are of now, the others count up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions alive.
    pub sessions: u64,
    /// Flows alive: (session, target) pairs, the asked and refused ones included.
    pub flows: u64,
    /// Packets taken from sources, good or bad.
    pub packets_up: u64,
    /// Packets taken from targets, good or bad.
    pub packets_down: u64,
    /// Dropped: no well-formed header, fragments included.
    pub malformed: u64,
    /// Dropped: from a source, or a sender, that has no business here.
    pub stranger: u64,
    /// Dropped: not sealed with a key of ours.
    pub forged: u64,
    /// Dropped: authentic, but seen before or of another time.
    pub replayed: u64,
    /// Dropped: the verdict was no.
    pub refused: u64,
    /// Dropped: a bound was reached (waiting packets, unanswered asks).
    pub full: u64,
    /// Dropped: the kernel, or the queue of a slow stream, had no room for it.
    pub congested: u64,
    /// Dropped: the kernel would not send it (no route, not permitted), or it is too long.
    pub unsendable: u64,
    /// Dropped: faster than a limit of their flow allows, or past its quota.
    pub limited: u64,
    /// Whether the kernel joins packets on receive (`UDP_GRO`).
    pub gro: bool,
    /// Whether joined packets are sent for the kernel to cut (`UDP_SEGMENT`).
    pub gso: bool,
}
