//! UDP sessions: one per source, many targets, one mapping per way out (RFC 4787, section 4.1:
//! endpoint-independent), everything that happens per packet.
//!
//! ```text
//! near end --inbox--> codec --> (session, target) --> flow --> layers of its Far --outbox--> far end
//!    ^                             | new: Ask, judged once                                          |
//!    +---outbox--- codec <-- flow of the sender <-- layers of the Far <------------inbox--------------+
//! ```
//!
//! How its owner works with it, in the order of a session's life:
//!
//! 1. `Asks::new(signal)`, then `PacketListener::bind(address, codec, &options, &reactors, asks)`.
//!    `signal` is called when the first of a batch of new (session, target) pairs waits; `Asks::take`
//!    then gives all of them. Dropping the listener ends its sessions (`End::Closed`).
//!    `PacketListener::over(stream, ...)` is the same for the packets inside one stream,
//!    `PacketListener::inside(...)` for those of a `Caller` in this process.
//! 2. `Far::direct(options)` makes a way out, `Far::framed(stream, framing, tail)` one inside a stream,
//!    `Far::wrap_socks5(&far, relay, control, &reactors)` and `Far::wrap_sealed(&far, server, client)`
//!    one through either. A far belongs to the first session that it is given to and serves all its
//!    targets; clone the `Arc` for each. `Far::close` ends its flows; so does dropping the session.
//! 3. Each `Ask` is answered once, from any thread: `relay(far, located, gauge, done)` or `refuse()`
//!    (dropping it refuses). `gauge` counts payload bytes and can cut the flow; `done` is called
//!    exactly once, on an engine thread or where the listener is dropped, with the counters final.
//!
//! What is likely to have further kinds stands behind a trait: `near::Near` (where packets of sources
//! come in: a socket in `listen`, one of others' packets in `diverted`, a stream in `framed`, this
//! process in `caller`), `codec::Codec` (what
//! they look like there: `codec`, `socks5`, `framed`, `sealed`), `ground::Ground` (what a way out stands
//! on: `sockets`, `framed`) and `hop::Hop` (stations on it: `socks5`, `sealed`). Sockets themselves are
//! the floor below, `crate::udp`.
//!
//! Read in this order: `address` (the headers), `codec`, `session` and `table` (who has what, no sockets
//! in it), `near` and `asks` (the listener), `hub` (what its tasks share), `road` (what becomes of each
//! packet), `ground`, `hop` and `far` (the ways out).

pub mod address;
mod asks;
mod caller;
mod codec;
mod diverted;
mod far;
pub mod framed;
mod ground;
mod hop;
mod hub;
mod ids;
mod listen;
mod near;
mod options;
mod order;
mod road;
pub mod sealed;
mod session;
mod sockets;
mod socks5;
mod table;
mod tally;
mod wheel;

pub use address::Place;
pub use asks::{Ask, Asks};
pub use caller::Caller;
pub use codec::{Codec, Fixed};
pub(crate) use diverted::Asked;
pub use far::{Far, FarHandle};
pub(crate) use hub::Hub;
pub use ids::Origin;
pub(crate) use near::Near;
pub use near::PacketListener;
pub use options::{OVERHEAD, PacketOptions};
pub use socks5::Socks5;
pub use tally::{Bad, Stats};
