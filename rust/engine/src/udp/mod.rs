//! Packets in and out of sockets, many in one call: the floor below everybody who sends packets. It
//! knows nothing of sessions.
//!
//! ```text
//! line --recvmmsg, GRO--> inbox --> whoever decides --> outbox --> exit --sendmmsg, GSO--> line
//! ```
//!
//! Each offload is probed by itself: a kernel without `UDP_GRO` or `UDP_SEGMENT`, and a way out that
//! cannot do it, still carries the packets. Read in this order: `mmsg` (the system calls; the only
//! unsafe code here), `outbox` (packets of one batch, gathered by flow, joined where the kernel can cut
//! them again), `line` (a socket), `masks` (sockets with the addresses of others), `boxes` (the memory
//! that every thread has once).

mod boxes;
mod line;
mod losses;
mod masks;
mod mmsg;
mod outbox;

pub use boxes::{Boxes, with_boxes};
pub use line::{Line, ROUNDS};
pub use losses::Losses;
pub use masks::{Masks, Opened};
pub use mmsg::{Message, Messages, set_option, set_transparent};
pub use outbox::{Address, Exit, Group, Marker, Memory, Outbox, Run, Span};
