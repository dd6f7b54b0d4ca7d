//! Sessions and their flows: who has what, who was silent longest, which flow an answer belongs to.
//! No socket is touched here, and time is a tick that is passed in.

use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hashbrown::{DefaultHashBuilder, HashTable};
use slab::Slab;

use super::address::{Place, Spot};
use super::far::FarHandle;
use super::ids::{FlowId, Origin, SessionId};
use super::options::OVERHEAD;
use super::order::{Links, NONE, Order};
use super::session::{Carried, Done, Flow, Session, State, Way};
use super::wheel::{TURN, Wheel};
use crate::relay::End;
use crate::udp::Marker;

/// Bytes that may wait for verdicts in one table.
const WAITING_BYTES: usize = 8 << 20;

/// What a new packet met.
pub enum Found {
    /// This flow, which exists.
    Flow(u32),
    /// This flow, just made; a verdict must be asked.
    New(u32),
}

/// The sessions and flows of one listener.
pub struct Table {
    pub sessions: Slab<Session>,
    pub flows: Slab<Flow>,
    by_origin: HashTable<u32>,
    by_target: HashTable<u32>,
    by_sender: HashTable<u32>,
    /// Sessions that nothing came back to, and those that were answered.
    orders: [Order; 2],
    hasher: DefaultHashBuilder,
    wheel: Wheel<FlowId>,
    serial: u64,
    most_sessions: usize,
    most_targets: usize,
    most_waiting: usize,
    waiting_bytes: usize,
    ended: Vec<(Done, End)>,
}

impl Table {
    /// An empty table: so many sessions, targets in each, bytes waiting for the verdicts of each.
    pub fn new(sessions: usize, targets: usize, waiting: usize) -> Self {
        Self {
            sessions: Slab::new(),
            flows: Slab::new(),
            by_origin: HashTable::new(),
            by_target: HashTable::new(),
            by_sender: HashTable::new(),
            orders: [Order::default(); 2],
            hasher: DefaultHashBuilder::default(),
            wheel: Wheel::new(),
            serial: 0,
            most_sessions: sessions.max(1),
            most_targets: targets.max(1),
            most_waiting: waiting,
            waiting_bytes: 0,
            ended: Vec::new(),
        }
    }

    /// The session of an origin, made if it is new; the one silent longest makes room.
    pub fn session(
        &mut self,
        origin: Origin,
        source: SocketAddr,
        local: Option<IpAddr>,
        now: u64,
    ) -> u32 {
        let hash = self.hasher.hash_one(origin);
        let sessions = &self.sessions;
        let same = |&at: &u32| sessions[at as usize].origin == origin;
        if let Some(&found) = self.by_origin.find(hash, same) {
            return found;
        }
        if self.sessions.len() >= self.most_sessions {
            self.displace_session();
        }
        let entry = self.sessions.vacant_entry();
        self.serial += 1;
        let id = SessionId {
            index: entry.key() as u32,
            serial: self.serial,
        };
        entry.insert(Session {
            id,
            origin,
            source,
            local,
            ways: Vec::new(),
            flows: Order::default(),
            answered: false,
            waiting: 0,
            last: now,
            links: Links::default(),
        });
        self.orders[0].add(&mut self.sessions, id.index);
        let (sessions, hasher) = (&self.sessions, &self.hasher);
        self.by_origin.insert_unique(hash, id.index, |&at| {
            hasher.hash_one(sessions[at as usize].origin)
        });
        id.index
    }

    /// Answers to the session of this origin, if there is one, go to that source from now on.
    pub fn moved(&mut self, origin: Origin, source: SocketAddr, local: Option<IpAddr>) {
        let sessions = &self.sessions;
        let same = |&at: &u32| sessions[at as usize].origin == origin;
        let hash = self.hasher.hash_one(origin);
        if let Some(&found) = self.by_origin.find(hash, same) {
            let session = &mut self.sessions[found as usize];
            (session.source, session.local) = (source, local);
        }
    }

    /// End a session to make room: of those that nothing came back to while they are many, so that
    /// forged sources cannot displace the ones that are at work.
    fn displace_session(&mut self) {
        let [unanswered, answered] = &self.orders;
        let many = unanswered.len() > self.most_sessions / 4;
        let first = if many { unanswered } else { answered };
        if let Some(session) = first.oldest().or(unanswered.oldest()) {
            while let Some(flow) = self.sessions[session as usize].flows.oldest() {
                self.displace(flow, "displaced by newer sessions");
            }
            self.remove_session(session);
        }
    }

    /// Whether that session still lives.
    pub fn alive(&self, id: SessionId) -> Option<&Session> {
        self.sessions
            .get(id.index as usize)
            .filter(|session| session.id == id)
    }

    /// The flow of a session to a target, made if it is new; the one silent longest makes room.
    pub fn flow(&mut self, session: u32, target: Spot<'_>, now: u64) -> Found {
        let hash = hash_target(&self.hasher, session, target);
        let flows = &self.flows;
        let same = |&at: &u32| {
            let flow: &Flow = &flows[at as usize];
            flow.session == session && flow.target.spot() == target
        };
        if let Some(&found) = self.by_target.find(hash, same) {
            return Found::Flow(found);
        }
        let others = &self.sessions[session as usize].flows;
        if others.len() >= self.most_targets
            && let Some(oldest) = others.oldest()
        {
            self.displace(oldest, "displaced by newer targets of the same session");
        }
        let entry = self.flows.vacant_entry();
        self.serial += 1;
        let id = FlowId {
            index: entry.key() as u32,
            serial: self.serial,
        };
        entry.insert(Flow {
            id,
            session,
            target: target.to_place(),
            state: State::Asked(Vec::new()),
            markers: [Marker::default(); 2],
            last: now,
            links: Links::default(),
        });
        let (flows, hasher) = (&self.flows, &self.hasher);
        self.by_target.insert_unique(hash, id.index, |&at| {
            let flow = &flows[at as usize];
            hash_target(hasher, flow.session, flow.target.spot())
        });
        self.sessions[session as usize]
            .flows
            .add(&mut self.flows, id.index);
        self.wheel.add(id, now + TURN);
        Found::New(id.index)
    }

    /// End a flow to make room; its session stays for the one that comes.
    fn displace(&mut self, flow: u32, why: &str) {
        if let State::Carried(carried) = &self.flows[flow as usize].state {
            carried.gauge.cut(why);
        }
        self.remove(flow, End::Cut);
    }

    /// A packet moved on this flow.
    pub fn touch(&mut self, flow: u32, now: u64) {
        let entry = &mut self.flows[flow as usize];
        if entry.last != now {
            entry.last = now;
            let session = &mut self.sessions[entry.session as usize];
            session.flows.remove(&mut self.flows, flow);
            session.flows.add(&mut self.flows, flow);
            if session.last != now {
                session.last = now;
                let (at, order) = (
                    session.id.index,
                    &mut self.orders[usize::from(session.answered)],
                );
                order.remove(&mut self.sessions, at);
                order.add(&mut self.sessions, at);
            }
        }
    }

    /// Something came back to this session.
    pub fn note_answered(&mut self, session: u32) {
        if !std::mem::replace(&mut self.sessions[session as usize].answered, true) {
            self.orders[0].remove(&mut self.sessions, session);
            self.orders[1].add(&mut self.sessions, session);
        }
    }

    /// Let a packet wait for the verdict. False when there is no room.
    pub fn wait(&mut self, flow: u32, payload: &[u8]) -> bool {
        let entry = &mut self.flows[flow as usize];
        let State::Asked(waiting) = &mut entry.state else {
            return false;
        };
        let session = &mut self.sessions[entry.session as usize];
        let size = payload.len() + OVERHEAD;
        if session.waiting + size > self.most_waiting || self.waiting_bytes + size > WAITING_BYTES {
            return false;
        }
        session.waiting += size;
        self.waiting_bytes += size;
        waiting.push(payload.into());
        true
    }

    /// The flow of that name, if it still waits for its verdict.
    pub fn asked(&self, id: FlowId) -> Option<&Flow> {
        let flow = self
            .flows
            .get(id.index as usize)
            .filter(|flow| flow.id == id)?;
        matches!(flow.state, State::Asked(_)).then_some(flow)
    }

    /// The packets that wait for its verdict.
    pub fn waiting(&self, id: FlowId) -> &[Box<[u8]>] {
        match self.asked(id).map(|flow| &flow.state) {
            Some(State::Asked(waiting)) => waiting,
            _ => &[],
        }
    }

    /// Whether that flow still lives.
    pub fn lives(&self, id: FlowId) -> bool {
        self.flows
            .get(id.index as usize)
            .is_some_and(|flow| flow.id == id)
    }

    /// The verdict is no.
    pub fn refuse(&mut self, id: FlowId) {
        if self.asked(id).is_some() {
            self.settle(id.index, State::Refused);
        }
    }

    /// The verdict is yes: what waited is handed over.
    pub fn carry(&mut self, id: FlowId, carried: Carried) -> Vec<Box<[u8]>> {
        let entry = &self.flows[id.index as usize];
        let way = &mut self.sessions[entry.session as usize].ways[carried.way];
        way.flows += 1;
        if way.first == NONE {
            way.first = id.index;
        }
        let sender = match &carried.located {
            Place::Address(address) => Some(*address),
            Place::Name(..) => None,
        };
        let (session, way) = (entry.session, carried.way);
        let waited = self.settle(id.index, State::Carried(carried));
        if let Some(sender) = sender {
            self.expect(session, way, sender, id.index);
        }
        waited
    }

    fn settle(&mut self, flow: u32, state: State) -> Vec<Box<[u8]>> {
        let entry = &mut self.flows[flow as usize];
        match std::mem::replace(&mut entry.state, state) {
            State::Asked(waited) => {
                let size: usize = waited.iter().map(|packet| packet.len() + OVERHEAD).sum();
                self.sessions[entry.session as usize].waiting -= size;
                self.waiting_bytes -= size;
                waited
            }
            _ => Vec::new(),
        }
    }

    /// The number of a far among the ways of a session.
    pub fn way(&mut self, session: u32, far: &FarHandle) -> usize {
        let ways = &mut self.sessions[session as usize].ways;
        if let Some(at) = ways.iter().position(|way| Arc::ptr_eq(&way.far, far)) {
            return at;
        }
        let way = Way {
            far: Arc::clone(far),
            exits: [None, None],
            first: NONE,
            named: NONE,
            flows: 0,
        };
        // One that nobody uses any more and that nobody can use again gives its place.
        if let Some(at) = ways
            .iter()
            .position(|way| way.flows == 0 && way.far.is_dead())
        {
            ways[at] = way;
            return at;
        }
        ways.push(way);
        ways.len() - 1
    }

    /// Remember that packets for a target known by name alone go out on this flow.
    pub fn note_named(&mut self, flow: u32) {
        if let Some(Flow {
            session,
            state: State::Carried(carried),
            ..
        }) = self.flows.get(flow as usize)
            && carried.alias.is_none()
            && matches!(carried.located, Place::Name(..))
        {
            self.sessions[*session as usize].ways[carried.way].named = flow;
        }
    }

    /// The flow that a packet from `sender` belongs to, and whether it shows that flow alive. A sender
    /// that nobody wrote to is heard too (endpoint-independent filtering, RFC 4787 section 5): on the
    /// flow whose named target it may well be, else on the way's first flow, which it does not keep
    /// alive.
    pub fn answered(&mut self, session: u32, way: usize, sender: Spot<'_>) -> Option<(u32, bool)> {
        let flows = &self.flows;
        if let Spot::Address(sender) = sender {
            let hash = self.hasher.hash_one((session, way, sender));
            let same = |&at: &u32| expects(&flows[at as usize], session, way, sender);
            if let Some(&found) = self.by_sender.find(hash, same) {
                return Some((found, true));
            }
        } else if let Some(&found) =
            self.by_target
                .find(hash_target(&self.hasher, session, sender), |&at| {
                    let flow = &flows[at as usize];
                    flow.session == session && flow.uses(way) && flow.target.spot() == sender
                })
        {
            return Some((found, true));
        }
        let entry = self.sessions.get(session as usize)?.ways.get(way)?;
        let (named, first, flows) = (entry.named, entry.first, entry.flows);
        if let Some(flow) = self.flows.get_mut(named as usize)
            && let Spot::Address(address) = sender
            && let State::Carried(carried) = &mut flow.state
            && carried.located.port() == address.port()
        {
            carried.alias = Some(address);
            self.sessions[session as usize].ways[way].named = NONE;
            self.expect(session, way, address, named);
            return Some((named, true));
        }
        if first != NONE || flows == 0 {
            return (first != NONE).then_some((first, false));
        }
        let first = self
            .of_session(session)
            .find(|&at| self.flows[at as usize].uses(way))?;
        self.sessions[session as usize].ways[way].first = first;
        Some((first, false))
    }

    fn expect(&mut self, session: u32, way: usize, sender: SocketAddr, flow: u32) {
        let hash = self.hasher.hash_one((session, way, sender));
        let (flows, hasher) = (&self.flows, &self.hasher);
        self.by_sender
            .insert_unique(hash, flow, |&at| hash_sender(hasher, &flows[at as usize]));
    }

    /// The flow is over; `take_ended` tells whom to tell. Its session ends with its last flow.
    pub fn end(&mut self, flow: u32, end: End) {
        let session = self.remove(flow, end);
        if self.sessions[session as usize].flows.len() == 0 {
            self.remove_session(session);
        }
    }

    /// End what uses this way of this session.
    pub fn end_way(&mut self, session: u32, way: usize, end: End) {
        let over: Vec<u32> = self
            .of_session(session)
            .filter(|&at| self.flows[at as usize].uses(way))
            .collect();
        for flow in over {
            self.end(flow, end);
        }
    }

    /// End everything.
    pub fn end_all(&mut self, end: End) {
        while let Some((at, _)) = self.flows.iter().next() {
            self.end(at as u32, end);
        }
    }

    /// End what has been silent for a turn at tick `now`.
    pub fn expire(&mut self, now: u64) {
        while let Some(due) = self.wheel.advance(now) {
            for id in due {
                if !self.lives(id) {
                    continue;
                }
                let last = self.flows[id.index as usize].last;
                if now.saturating_sub(last) >= TURN {
                    self.end(id.index, End::Idle);
                } else {
                    self.wheel.add(id, last + TURN);
                }
            }
        }
    }

    /// Whom to tell of flows that are over; to be called when the table is not locked.
    pub fn take_ended(&mut self) -> Vec<(Done, End)> {
        std::mem::take(&mut self.ended)
    }

    fn of_session(&self, session: u32) -> impl Iterator<Item = u32> {
        let flows = self
            .sessions
            .get(session as usize)
            .map(|session| session.flows)
            .unwrap_or_default();
        flows.iter(&self.flows)
    }

    /// Take a flow out of every index. Its session may be left without any.
    fn remove(&mut self, flow: u32, end: End) -> u32 {
        if let State::Asked(_) = self.flows[flow as usize].state {
            self.settle(flow, State::Refused);
        }
        let entry = &self.flows[flow as usize];
        let hash = hash_target(&self.hasher, entry.session, entry.target.spot());
        if let Ok(entry) = self.by_target.find_entry(hash, |&at| at == flow) {
            entry.remove();
        }
        if entry.sender().is_some()
            && let Ok(entry) = self
                .by_sender
                .find_entry(hash_sender(&self.hasher, entry), |&at| at == flow)
        {
            entry.remove();
        }
        let session = &mut self.sessions[entry.session as usize];
        session.flows.remove(&mut self.flows, flow);
        let mut entry = self.flows.remove(flow as usize);
        if let State::Carried(carried) = &mut entry.state {
            let way = &mut session.ways[carried.way];
            way.flows -= 1;
            for mark in [&mut way.first, &mut way.named] {
                if *mark == flow {
                    *mark = NONE;
                }
            }
            self.ended
                .extend(carried.done.take().map(|done| (done, end)));
        }
        entry.session
    }

    /// Take a session that has no flows out of every index.
    fn remove_session(&mut self, session: u32) {
        let entry = &self.sessions[session as usize];
        let hash = self.hasher.hash_one(entry.origin);
        self.orders[usize::from(entry.answered)].remove(&mut self.sessions, session);
        if let Ok(entry) = self.by_origin.find_entry(hash, |&at| at == session) {
            entry.remove();
        }
        self.sessions.remove(session as usize);
    }
}

fn expects(flow: &Flow, session: u32, way: usize, sender: SocketAddr) -> bool {
    flow.session == session && flow.uses(way) && flow.sender() == Some(sender)
}

fn hash_target(hasher: &DefaultHashBuilder, session: u32, target: Spot<'_>) -> u64 {
    hasher.hash_one((session, target))
}

fn hash_sender(hasher: &DefaultHashBuilder, flow: &Flow) -> u64 {
    match (&flow.state, flow.sender()) {
        (State::Carried(carried), Some(sender)) => {
            hasher.hash_one((flow.session, carried.way, sender))
        }
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
