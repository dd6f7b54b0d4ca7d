//! TCP for the programs behind a TUN: their packets become streams, and streams become packets.
//!
//! ```text
//! device --segment--> Shared.hear --> Conn --> incoming --poll_read--> Part --> relay
//! device <--segment-- Wire <-- Conn <-- out <--poll_write-- Part <-- relay
//! ```
//!
//! Between a program and its TUN nothing is reordered, and little is lost: so a connection has flow
//! control, acknowledgements, retransmission and keep-alives, but no congestion control, and a segment
//! out of order is asked for again. A `Conn` is pure: it has no device and no clock, and whatever it
//! sends goes to a `Wire`. A window that is open for a mebibyte is closed by whoever does not read, so
//! that a stalled stream is neither buffered without bound nor stops the others.
//!
//! Read in this order: `wire`, `conn`, `sending`, `shared`, `part`.

mod conn;
mod part;
mod sending;
mod shared;
#[cfg(test)]
mod tests;
mod wire;

use std::ops::Range;
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;

use self::part::Part;
use self::shared::Shared;
pub use self::shared::{Answer, Door};
pub use self::wire::{Outgoing, Wire};
use crate::packets::{Packet, Segment};

/// The connections of one device.
pub struct Stack(Arc<Shared>);

impl Stack {
    /// None yet. New ones arrive at `door`, and what they send leaves by `wire`.
    pub fn new(wire: Arc<dyn Wire>, door: Door) -> Self {
        Self(Arc::new(Shared::new(wire, door)))
    }

    /// Take a segment of a packet. `take` gives the bytes of a range of it.
    pub fn hear(
        &self,
        packet: (&Packet, &[u8]),
        segment: &Segment,
        take: &mut dyn FnMut(Range<usize>) -> Bytes,
        now: Instant,
    ) {
        if let Some((id, permit)) = self.0.hear(packet, segment, take, now) {
            let door = &self.0.door;
            let mut stream = Part::stream(id, segment.pair, Arc::clone(&self.0), door.home);
            stream.permit = Some(permit);
            door.arrivals.add(stream);
        }
    }

    /// A batch is over: say what was put off for it.
    pub fn finish(&self) {
        self.0.finish();
    }

    /// Do what is due. When it is to be called next, as far as is known; `waker` is woken when that
    /// becomes earlier.
    pub fn on_time(&self, now: Instant) -> Option<Instant> {
        self.0.on_time(now)
    }

    /// Wake this one when something is due earlier than `on_time` has said.
    pub fn register(&self, waker: &Waker) {
        self.0.waker.register(waker);
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.0.count()
    }

    /// End all.
    pub fn close(&self) {
        self.0.close();
    }
}
