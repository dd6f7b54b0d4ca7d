//! What a session and its flows are.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::address::Place;
use super::far::{FarHandle, Route};
use super::ids::{FlowId, Origin, SessionId};
use super::order::{Linked, Links, Order};
use crate::bucket::{Direction, Pass, Turns, clock};
use crate::relay::{End, Gauge, QUOTA};
use crate::udp::{Exit, Marker};

/// What is called at a flow's end.
pub type Done = Box<dyn FnOnce(End) + Send>;

/// All of one source's flows.
pub struct Session {
    pub id: SessionId,
    pub origin: Origin,
    /// Where its packets come from, at the last.
    pub source: SocketAddr,
    /// The local address that the source sends to, when the listener has many.
    pub local: Option<IpAddr>,
    /// The ways out it uses.
    pub ways: Vec<Way>,
    pub flows: Order,
    /// Whether anything ever came back to it.
    pub answered: bool,
    /// Bytes of packets that wait for verdicts, and their overhead.
    pub waiting: usize,
    pub last: u64,
    pub links: Links,
}

/// A far in use by a session: its sockets by family (or its stream), and the tasks that read them.
pub struct Way {
    pub far: FarHandle,
    pub exits: [Option<(Arc<dyn Exit>, AbortHandle)>; 2],
    /// A flow that answers for packets from senders that nobody wrote to.
    pub first: u32,
    /// The flow known by name alone that was written to last.
    pub named: u32,
    pub flows: usize,
}

impl Drop for Way {
    fn drop(&mut self) {
        for (_, reader) in self.exits.iter().flatten() {
            reader.abort();
        }
        self.far.close();
    }
}

/// One target of one session.
pub struct Flow {
    pub id: FlowId,
    pub session: u32,
    pub target: Place,
    pub state: State,
    /// Where its packets of the present batch gather, going up and down.
    pub markers: [Marker; 2],
    pub last: u64,
    pub links: Links,
}

/// What became of a flow.
pub enum State {
    /// The verdict is awaited, and these with it.
    Asked(Vec<Box<[u8]>>),
    /// The verdict was no.
    Refused,
    /// Packets pass.
    Carried(Carried),
}

/// What a passing flow needs per packet.
pub struct Carried {
    /// Which of the session's ways.
    pub way: usize,
    /// The target as located.
    pub located: Place,
    /// Who answered for a target known by name alone.
    pub alias: Option<SocketAddr>,
    /// What its packets leave by, and how.
    pub exit: Arc<dyn Exit>,
    pub route: Route,
    pub gauge: Arc<Gauge>,
    pub turns: Option<Box<Turns>>,
    pub done: Option<Done>,
}

impl Carried {
    /// Whether a packet may pass now, as far as limits go. One that no quota has room for ends the flow.
    pub fn admits(&mut self, direction: Direction, len: usize) -> bool {
        let Some(turns) = &mut self.turns else {
            return true;
        };
        match turns.packet(direction, len, clock()) {
            Pass::Yes => true,
            Pass::Early => false,
            Pass::Spent => {
                self.gauge.cut(QUOTA);
                false
            }
        }
    }
}

impl Flow {
    /// Whether it passes by that way of its session.
    pub fn uses(&self, way: usize) -> bool {
        matches!(&self.state, State::Carried(carried) if carried.way == way)
    }

    /// The address that its answers come from, as far as it is known.
    pub fn sender(&self) -> Option<SocketAddr> {
        let State::Carried(carried) = &self.state else {
            return None;
        };
        match carried.located {
            Place::Address(address) => Some(address),
            Place::Name(..) => carried.alias,
        }
    }
}

impl Linked for Flow {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Linked for Session {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}
