//! What a session and its flows are.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::batch::{Exit, Marker};
use super::codec::Place;
use super::far::{FarHandle, Route};
use super::order::{Linked, Links, Order};
use crate::bucket::{Direction, Pass, Turns, clock};
use crate::relay::{End, Gauge, QUOTA};

/// What is called at a flow's end.
pub type Done = Box<dyn FnOnce(End) + Send>;

/// Names a session for good; its index is used again, its serial never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId {
    pub index: u32,
    pub serial: u64,
}

/// Names a flow for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlowId {
    pub index: u32,
    pub serial: u64,
}

/// What a session is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The address that its packets come from.
    Source(SocketAddr),
    /// An id that the client chose and proves with each packet, and whose it is; such a client may
    /// change its address.
    Guest {
        /// Which of several users; `u32::MAX` where there is one.
        user: u32,
        /// The client's session id.
        id: u64,
    },
}

impl Origin {
    /// A session that proves itself; `user` where there are several.
    pub fn guest(user: Option<u32>, id: u64) -> Self {
        let user = user.unwrap_or(u32::MAX);
        Self::Guest { user, id }
    }

    /// Which of several users.
    pub fn user(self) -> Option<u32> {
        match self {
            Self::Guest { user, .. } if user != u32::MAX => Some(user),
            _ => None,
        }
    }
}

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
    pub exits: [Option<(Exit, AbortHandle)>; 2],
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
    pub exit: Exit,
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
