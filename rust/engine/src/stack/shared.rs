//! All connections of a stack, under one lock.

use std::hash::BuildHasher;
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use hashbrown::HashMap;
use slab::Slab;

use super::conn::{Conn, Life, NARROW, ROOM};
use super::wire::{Outgoing, Wire};
use crate::io::Refusal;
use crate::limits::{Permit, Turnstile};
use crate::listen::Arrivals;
use crate::lock::lock;
use crate::packets::{
    Flags, IP_MOST, Options, Packet, Pair, Segment, Unreachable, protocol, put_ip, put_tcp,
    unreachable,
};

/// Bytes that may wait to be read in all connections; then each may have but little.
const ALL: u64 = 256 << 20;

/// The bytes of a SYN that an answer may quote.
const QUOTED: usize = 128;

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

/// The connections of one device.
pub struct Shared {
    state: Mutex<State>,
    wire: Arc<dyn Wire>,
    pub door: Door,
    secret: std::hash::RandomState,
    /// Woken when something is due earlier than was known.
    pub waker: AtomicWaker,
}

struct State {
    conns: Slab<Conn>,
    by_pair: HashMap<Pair, usize>,
    /// The SYNs that are not answered, to be quoted.
    syns: HashMap<usize, Box<[u8]>>,
    /// Those that owe an acknowledgement.
    owing: Vec<usize>,
    /// Bytes that wait in all.
    waiting: u64,
    /// When the first is due, as far as is known.
    due: Option<Instant>,
    closed: bool,
}

impl State {
    fn room(&self) -> u32 {
        if self.waiting > ALL { NARROW } else { ROOM }
    }

    /// Take it out, its owner's part excepted.
    fn let_go(&mut self, id: usize, owned: bool) {
        let Some(conn) = self.conns.get_mut(id) else {
            return;
        };
        if self.by_pair.get(&conn.pair) == Some(&id) {
            self.by_pair.remove(&conn.pair);
        }
        self.syns.remove(&id);
        if owned {
            conn.fail();
        } else {
            self.waiting -= u64::from(conn.waiting);
            self.conns.remove(id);
        }
    }
}

impl Shared {
    /// None yet.
    pub fn new(wire: Arc<dyn Wire>, door: Door) -> Self {
        Self {
            state: Mutex::new(State {
                conns: Slab::new(),
                by_pair: HashMap::new(),
                syns: HashMap::new(),
                owing: Vec::new(),
                waiting: 0,
                due: None,
                closed: false,
            }),
            wire,
            door,
            secret: std::hash::RandomState::new(),
            waker: AtomicWaker::new(),
        }
    }

    /// How many connections there are.
    pub fn count(&self) -> usize {
        lock(&self.state).conns.len()
    }

    /// Take a segment. `take` gives the bytes of a range of its packet.
    /// A connection that is new by it comes back.
    pub fn hear(
        &self,
        packet: (&Packet, &[u8]),
        segment: &Segment,
        take: &mut dyn FnMut(Range<usize>) -> Bytes,
        now: Instant,
    ) -> Option<(usize, Permit)> {
        let mut state = lock(&self.state);
        let Some(&id) = state.by_pair.get(&segment.pair) else {
            let opens = segment.flags.has(Flags::SYN) && !segment.flags.has(Flags::ACK);
            let opened = if opens && !segment.flags.has(Flags::RST) && !state.closed {
                self.open(&mut state, packet.1, segment, now)
            } else {
                None
            };
            if opened.is_none() {
                self.deny(segment);
            }
            return opened;
        };
        let room = state.room();
        let State {
            conns,
            owing,
            waiting,
            ..
        } = &mut *state;
        let conn = conns.get_mut(id)?;
        let before = conn.waiting;
        let owed = conn.owes;
        let life = conn.hear(segment, room, take, &*self.wire, now);
        *waiting = *waiting + u64::from(conn.waiting) - u64::from(before);
        if conn.owes && !owed {
            owing.push(id);
        }
        let due = conn.due;
        if life == Life::Over {
            let owned = !conn.is_forgotten();
            state.let_go(id, owned);
        } else {
            self.sooner(&mut state, due);
        }
        None
    }

    /// A batch is over: say what was put off for it.
    pub fn finish(&self) {
        let mut state = lock(&self.state);
        let room = state.room();
        let State { conns, owing, .. } = &mut *state;
        for id in owing.drain(..) {
            if let Some(conn) = conns.get_mut(id).filter(|conn| conn.owes) {
                conn.acknowledge(&*self.wire, room);
            }
        }
    }

    /// Do what is due. When it is to be called next.
    pub fn on_time(&self, now: Instant) -> Option<Instant> {
        let mut state = lock(&self.state);
        if state.due.is_some_and(|due| due <= now) {
            let room = state.room();
            let mut over = Vec::new();
            let mut next: Option<Instant> = None;
            for (id, conn) in &mut state.conns {
                if conn.is_reset() {
                    continue; // its owner has not noticed yet
                }
                if conn.on_time(room, &*self.wire, now) == Life::Over {
                    over.push((id, !conn.is_forgotten()));
                } else {
                    next = Some(next.map_or(conn.due, |next| next.min(conn.due)));
                }
            }
            for (id, owned) in over {
                state.let_go(id, owned);
            }
            state.due = next;
        }
        state.due
    }

    /// End all.
    pub fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        let ids: Vec<usize> = state.conns.iter().map(|(id, _)| id).collect();
        for id in ids {
            if let Some(conn) = state.conns.get_mut(id) {
                conn.abort(&*self.wire);
                let owned = !conn.is_forgotten();
                state.let_go(id, owned);
            }
        }
    }

    fn open(
        &self,
        state: &mut State,
        bytes: &[u8],
        segment: &Segment,
        now: Instant,
    ) -> Option<(usize, Permit)> {
        if self.door.arrivals.is_full() {
            return None;
        }
        let permit = self.door.turnstile.enter(Some(segment.pair.remote.ip()))?;
        let headers = if segment.pair.local.is_ipv4() { 40 } else { 60 };
        let mss = self.door.mtu.saturating_sub(headers).min(0xFFFF) as u16;
        let first = self.secret.hash_one((segment.pair, segment.seq, now)) as u32;
        let mut conn = Conn::new(segment, first, mss, now);
        let held = self.door.answer == Answer::AfterDial;
        if !held {
            conn.answer(&*self.wire, now);
        }
        let due = conn.due;
        let id = state.conns.insert(conn);
        state.by_pair.insert(segment.pair, id);
        if held {
            state
                .syns
                .insert(id, bytes[..bytes.len().min(QUOTED)].into());
        }
        self.sooner(state, due);
        Some((id, permit))
    }

    /// Nobody has this connection.
    fn deny(&self, segment: &Segment) {
        if segment.flags.has(Flags::RST) {
            return;
        }
        let mut length = segment.payload.len() as u32;
        length +=
            u32::from(segment.flags.has(Flags::SYN)) + u32::from(segment.flags.has(Flags::FIN));
        let (numbers, flags) = if segment.flags.has(Flags::ACK) {
            ((segment.ack, 0), Flags::RST)
        } else {
            (
                (0, segment.seq.wrapping_add(length)),
                Flags::RST.and(Flags::ACK),
            )
        };
        let mut head = Vec::with_capacity(IP_MOST + 20);
        let (local, remote) = (segment.pair.local.ip(), segment.pair.remote.ip());
        put_ip(local, remote, protocol::TCP, 20, &mut head);
        let transport = head.len();
        put_tcp(
            &segment.pair,
            numbers,
            flags,
            0,
            Options::default(),
            0,
            &mut head,
        );
        let _ = self.wire.send(&Outgoing {
            head: &head,
            transport,
            checksum: 16,
            parts: &[],
            segment: 0,
        });
    }

    fn sooner(&self, state: &mut State, due: Instant) {
        if state.due.is_none_or(|known| due < known) {
            state.due = Some(due);
            self.waker.wake();
        }
    }

    /// Work on a connection that has an owner.
    fn with<R>(
        &self,
        id: usize,
        work: impl FnOnce(&mut Conn, u32, &dyn Wire, Instant) -> R,
    ) -> Option<R> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let room = state.room();
        let conn = state.conns.get_mut(id)?;
        let before = conn.waiting;
        let held = conn.is_held();
        let result = work(conn, room, &*self.wire, now);
        let (waiting, due) = (conn.waiting, conn.due);
        let answered = held && !conn.is_held();
        state.waiting = state.waiting + u64::from(waiting) - u64::from(before);
        if answered {
            state.syns.remove(&id);
        }
        self.sooner(&mut state, due);
        Some(result)
    }

    pub fn poll_read(
        &self,
        id: usize,
        cx: &Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = self.with(id, |conn, room, wire, now| {
            conn.read(cx.waker(), into, room, wire, now)
        });
        read.unwrap_or_else(|| Poll::Ready(Err(io::ErrorKind::NotConnected.into())))
    }

    pub fn poll_write(&self, id: usize, cx: &Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let written = self.with(id, |conn, room, wire, now| {
            conn.write_bytes(cx.waker(), data, room, wire, now)
        });
        written.unwrap_or_else(|| Poll::Ready(Err(io::ErrorKind::NotConnected.into())))
    }

    pub fn end(&self, id: usize) {
        self.with(id, |conn, room, wire, now| conn.end(room, wire, now));
    }

    /// End a connection so that the program sees it.
    pub fn abort(&self, id: usize) {
        let mut state = lock(&self.state);
        if let Some(conn) = state.conns.get_mut(id) {
            conn.abort(&*self.wire);
            state.let_go(id, true);
        }
    }

    /// Say no to a SYN that was not answered; any other connection ends.
    pub fn refuse(&self, id: usize, why: Refusal) {
        let mut state = lock(&self.state);
        let quoted = state.syns.remove(&id);
        let Some(conn) = state.conns.get_mut(id) else {
            return;
        };
        let why = match why {
            Refusal::Reset => None,
            Refusal::Silent => Some(None),
            Refusal::Network => Some(Some(Unreachable::Network)),
            Refusal::Host => Some(Some(Unreachable::Host)),
            Refusal::Prohibited => Some(Some(Unreachable::Prohibited)),
        };
        match (quoted, why) {
            (Some(syn), Some(why)) if conn.is_held() => {
                let answer = why.and_then(|why| unreachable(why, &Packet::parse(&syn).ok()?, &syn));
                if let Some(answer) = answer {
                    let _ = self.wire.send_whole(&answer);
                }
                conn.fail();
            }
            _ => conn.abort(&*self.wire),
        }
        state.let_go(id, true);
    }

    pub fn forget(&self, id: usize) {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let room = state.room();
        let Some(conn) = state.conns.get_mut(id) else {
            return;
        };
        let life = conn.forget(room, &*self.wire, now);
        let due = conn.due;
        if life == Life::Over {
            state.let_go(id, false);
        } else {
            self.sooner(&mut state, due);
        }
    }
}
