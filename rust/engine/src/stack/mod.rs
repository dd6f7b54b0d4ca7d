//! TCP for the programs behind a TUN: their packets become streams, and streams become packets.
//!
//! ```text
//! segments --> Stack::hear --> Tcp (one per connection, pure) <--> Part (a stream) <--> relay
//!                               \--> Link --> Wire: packets
//! ```
//!
//! Between a program and its TUN nothing is reordered, and little is lost: so a connection has flow
//! control, acknowledgements, retransmission and keep-alives, but no congestion control. Payload goes
//! from the packet that it came in to whoever reads, and from whoever writes to the device, in the same
//! memory. A window that is open for a mebibyte is closed by whoever does not read, so that a stalled
//! stream is neither buffered without bound nor stops the others.
//!
//! Read in this order: `head` (a segment as a value), `receive` and `send` (the two halves), `tcp` (the
//! connection; pure), `wire` and `link` (its packets), `conn` (its sharing between the loop and the
//! stream), `timers`.

mod conn;
mod head;
mod link;
mod receive;
mod send;
mod tcp;
#[cfg(test)]
mod tests;
mod timers;
mod wire;

use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;
use std::time::{Duration, Instant};

use hashbrown::HashMap;

use self::conn::{Conn, Part};
use self::head::{ACK, FIN, Head, RST, SYN};
use self::link::Link;
use self::tcp::{Say, Stage, Tcp, Then};
use self::timers::Timers;
pub use self::wire::{Outgoing, Wire};
use crate::buffer::Buffer;
use crate::io::{Io, Refusal};
use crate::limits::Turnstile;
use crate::listen::Arrivals;
use crate::packets::{Pair, Segment};
use crate::stream::Stream;

/// Connections that linger at once; past that the oldest is forgotten.
const LINGERING: usize = 1024;

/// Bytes that all connections together may hold before new ones get small windows.
const HELD: usize = 256 << 20;

/// How often silent programs are looked for.
const ROUND: Duration = Duration::from_secs(30);

/// The payload of segments where the program has not said (RFC 9293, section 3.7.1).
const LEAST_MSS: u16 = 536;

/// When a SYN is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// At once, as a listener would.
    AtOnce,
    /// When somebody reads or writes its stream: after the far side has answered.
    AfterDial,
}

/// Where new connections go, and who is let in.
pub struct Door {
    /// Where they wait.
    pub arrivals: Arc<Arrivals>,
    /// Who counts them.
    pub turnstile: Turnstile,
    /// When they are answered.
    pub answer: Answer,
    /// The loop on which they live.
    pub home: usize,
    /// The largest packet, headers included.
    pub mtu: usize,
}

/// All connections of a device. It belongs to one loop.
pub struct Stack {
    wire: Arc<dyn Wire>,
    door: Door,
    table: HashMap<Pair, Arc<Conn>>,
    /// Those whose acknowledgement is due.
    due: Vec<Arc<Conn>>,
    lingering: VecDeque<Arc<Conn>>,
    timers: Arc<Timers<Arc<Conn>>>,
    held: Arc<AtomicUsize>,
    round: Instant,
    secret: RandomState,
    began: Instant,
}

impl Stack {
    /// None yet. New ones arrive at `door`, and what they send leaves by `wire`.
    pub fn new(wire: Arc<dyn Wire>, door: Door) -> Self {
        let now = Instant::now();
        Self {
            wire,
            door,
            table: HashMap::new(),
            due: Vec::new(),
            lingering: VecDeque::new(),
            timers: Arc::new(Timers::new()),
            held: Arc::default(),
            round: now + ROUND,
            secret: RandomState::new(),
            began: now,
        }
    }

    /// Wake this one when something is due earlier than `look` has said.
    pub fn register(&self, waker: &Waker) {
        self.timers.looker.register(waker);
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// Take a segment, whose payload is all of `buffer`; that may be taken with it.
    pub fn hear(&mut self, segment: &Segment, buffer: &mut Buffer) {
        let (pair, head) = (segment.pair, Head::of(segment));
        if let Some(conn) = self.table.get(&pair) {
            let conn = Arc::clone(conn);
            match conn.with(|tcp, now, link| tcp.hear(&head, buffer, now, link)) {
                Then::Nothing => return,
                Then::Acknowledge => return self.due.push(conn),
                Then::Linger => return self.linger(conn),
                Then::Anew => {}
            }
        }
        if head.has(SYN) && !head.has(ACK) && !head.has(RST) && !head.has(FIN) {
            self.knock(pair, &head);
        } else if !head.has(RST) {
            self.deny(pair, &head, buffer.len());
        }
    }

    /// A program asks for a connection.
    fn knock(&mut self, pair: Pair, head: &Head) {
        let headers = if pair.local.is_ipv4() { 40 } else { 60 };
        let mine = self.door.mtu.saturating_sub(headers).clamp(64, 65_495) as u16;
        let link = Link {
            wire: Arc::clone(&self.wire),
            pair,
            mss: head.options.mss.unwrap_or(LEAST_MSS).clamp(64, mine),
        };
        if self.door.arrivals.is_full() {
            return; // it asks again
        }
        let Some(permit) = self.door.turnstile.enter(Some(pair.remote.ip())) else {
            return link.refuse(head.sequence, Refusal::Reset);
        };
        let mut tcp = Tcp::new(head, self.number(&pair), mine, Instant::now());
        if self.held.load(Ordering::Relaxed) > HELD {
            tcp.narrow();
        }
        let (timers, held) = (Arc::clone(&self.timers), Arc::clone(&self.held));
        let conn = Arc::new(Conn::new(link, head.sequence, tcp, timers, held));
        if self.door.answer == Answer::AtOnce {
            conn.with(Tcp::answer);
        }
        self.table.insert(pair, Arc::clone(&conn));
        let io = Io::Layer(Box::new(Part(conn)));
        let mut stream = Stream::new(io, self.door.home, Some(pair.remote));
        stream.permit = Some(permit);
        self.door.arrivals.add(stream);
    }

    /// A first number that nobody can guess, and that grows with time (RFC 6528).
    fn number(&self, pair: &Pair) -> u32 {
        let secret = self.secret.hash_one(pair) as u32;
        secret.wrapping_add((self.began.elapsed().as_micros() / 4) as u32)
    }

    /// There is no such connection.
    fn deny(&self, pair: Pair, head: &Head, payload: usize) {
        let link = Link {
            wire: Arc::clone(&self.wire),
            pair,
            mss: u16::MAX,
        };
        let length = payload as u32 + u32::from(head.has(SYN)) + u32::from(head.has(FIN));
        let reset = if head.has(ACK) {
            Head {
                sequence: head.acknowledged,
                flags: RST,
                ..Head::default()
            }
        } else {
            Head {
                acknowledged: head.sequence.wrapping_add(length),
                flags: RST.and(ACK),
                ..Head::default()
            }
        };
        link.send(reset, &[]);
    }

    /// Send the acknowledgements that are due. Whether there were any.
    pub fn acknowledge(&mut self) {
        for conn in self.due.drain(..) {
            conn.with(|tcp, _, link| tcp.flush(link));
        }
    }

    /// Whether acknowledgements are due.
    pub fn owes(&self) -> bool {
        !self.due.is_empty()
    }

    /// Do what is due. When to come again.
    pub fn look(&mut self, now: Instant) -> Instant {
        while let Some((at, conn)) = self.timers.next(now) {
            if conn.brought_up(at) {
                self.forget(&conn);
            }
        }
        while let Some(oldest) = self.lingering.front()
            && oldest.with(|tcp, _, _| tcp.stage) == Stage::Closed
        {
            self.lingering.pop_front();
        }
        if now >= self.round {
            self.round = now + ROUND;
            for conn in self.table.values() {
                conn.with(Tcp::ask);
            }
        }
        self.timers
            .due()
            .map_or(self.round, |due| due.min(self.round))
    }

    fn linger(&mut self, conn: Arc<Conn>) {
        self.lingering.push_back(conn);
        if self.lingering.len() > LINGERING
            && let Some(oldest) = self.lingering.pop_front()
        {
            oldest.with(|tcp, _, _| tcp.forget());
        }
    }

    fn forget(&mut self, conn: &Arc<Conn>) {
        let key = conn.link.pair;
        if let Some(known) = self.table.get(&key)
            && Arc::ptr_eq(known, conn)
        {
            self.table.remove(&key);
        }
    }
}

/// The device is gone, and nothing more comes from the programs.
impl Drop for Stack {
    fn drop(&mut self) {
        self.due.clear();
        self.lingering.clear();
        for (_, conn) in self.table.drain() {
            conn.with(|tcp, _, link| tcp.abort(link));
        }
        self.timers.close();
    }
}
