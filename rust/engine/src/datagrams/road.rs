//! What becomes of each packet: up from a source to its flow's way, down from a target to the source.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Codec;
use super::batch::{Address, Outbox, Span};
use super::codec::{self, NAME, Place, Spot};
use super::far::FarHandle;
use super::hub::{Hub, Tally};
use super::mmsg::Message;
use super::near::Ask;
use super::session::{SessionId, State};
use super::table::{Found, Table};
use crate::bucket::Direction;
use crate::relay::End;

/// What becomes of packets on their way up.
pub struct Up<'a> {
    pub hub: &'a Arc<Hub>,
    pub table: &'a mut Table,
    pub outbox: &'a mut Outbox,
    pub data: &'a [u8],
    pub now: u64,
    /// The last packet's source, header and flow: the next one is most often alike.
    pub known: Option<(SocketAddr, &'a [u8], u32)>,
}

impl Up<'_> {
    /// All packets of a message; whether one of them was well-formed.
    pub fn message(&mut self, message: &Message) -> bool {
        let mut good = false;
        for (at, len) in message.packets() {
            good |= self.packet(message, at, len);
        }
        good
    }

    fn packet(&mut self, message: &Message, at: usize, len: usize) -> bool {
        let packet = &self.data[at..at + len];
        if let Some((source, head, flow)) = self.known
            && source == message.from
            && packet.starts_with(head)
        {
            self.pass(flow, at + head.len(), len - head.len());
            return true;
        }
        let mut scratch = [0; NAME];
        let read = match &self.hub.codec {
            Codec::Socks5 => {
                codec::decode(packet, &mut scratch).filter(|(target, _)| target.port() != 0)
            }
            Codec::Fixed(target) => Some((target.spot(), 0)),
        };
        let Some((target, head)) = read else {
            self.hub.tally.malformed.fetch_add(1, Relaxed);
            return false;
        };
        if let Some(flow) = self.find(message, target) {
            self.known = Some((message.from, &packet[..head], flow));
            self.pass(flow, at + head, len - head);
        }
        true
    }

    /// The flow of a target; a new one is asked for.
    fn find(&mut self, message: &Message, target: Spot<'_>) -> Option<u32> {
        let local = message.to.filter(|ip| !ip.is_multicast());
        let session = self.table.session(message.from, local, self.now);
        match self.table.flow(session, target, self.now) {
            Found::Flow(flow) => Some(flow),
            Found::New(flow) => {
                // A flow that made room may be the one that is known.
                self.known = None;
                let ask = Ask {
                    session: self.table.sessions[session as usize].id.serial,
                    source: message.from,
                    target: target.to_place(),
                    flow: self.table.flows[flow as usize].id,
                    hub: Arc::downgrade(self.hub),
                };
                if self.hub.asks.add(ask) {
                    return Some(flow);
                }
                self.hub.tally.full.fetch_add(1, Relaxed);
                self.table.end(flow, End::Cut);
                None
            }
        }
    }

    fn pass(&mut self, flow: u32, at: usize, len: usize) {
        match &self.table.flows[flow as usize].state {
            State::Refused => {
                self.hub.tally.refused.fetch_add(1, Relaxed);
            }
            State::Asked(_) => {
                self.table.touch(flow, self.now);
                if !self.table.wait(flow, &self.data[at..at + len]) {
                    self.hub.tally.full.fetch_add(1, Relaxed);
                }
            }
            State::Carried(carried) => {
                if carried.alias.is_none() && matches!(carried.located, Place::Name(..)) {
                    self.table.note_named(flow);
                }
                self.table.touch(flow, self.now);
                send_up(
                    self.table,
                    self.outbox,
                    &self.hub.tally,
                    flow,
                    &Body::Inbox(Span::new(at, len)),
                );
            }
        }
    }
}

/// Where a payload is.
pub enum Body<'a> {
    Inbox(Span),
    Own(&'a [u8]),
}

impl Body<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Inbox(span) => span.len(),
            Self::Own(payload) => payload.len(),
        }
    }
}

/// Add a packet to what goes up on a flow, if it passes.
pub fn send_up(table: &mut Table, outbox: &mut Outbox, tally: &Tally, flow: u32, body: &Body<'_>) {
    let entry = &mut table.flows[flow as usize];
    let State::Carried(carried) = &mut entry.state else {
        return;
    };
    if carried.turns.is_some() && !carried.admits(Direction::Up, body.len()) {
        tally.limited.fetch_add(1, Relaxed);
        return;
    }
    let address = Address {
        line: &carried.line,
        to: carried.to,
        from: None,
        flow,
    };
    let marker = &mut entry.markers[0];
    match *body {
        Body::Inbox(body) if carried.head.is_empty() => {
            outbox.add(marker, &address, Span::default(), 0, body);
        }
        Body::Inbox(body) => {
            let head = outbox.lay(|arena| arena.extend_from_slice(&carried.head));
            outbox.add(marker, &address, head, 0, body);
        }
        Body::Own(payload) => {
            let whole = outbox.lay(|arena| {
                arena.extend_from_slice(&carried.head);
                arena.extend_from_slice(payload);
            });
            outbox.add(marker, &address, whole, payload.len(), Span::default());
        }
    }
}

/// What becomes of packets on their way down.
pub struct Down<'a> {
    pub hub: &'a Hub,
    pub table: &'a mut Table,
    pub outbox: &'a mut Outbox,
    pub data: &'a [u8],
    pub now: u64,
    pub session: SessionId,
    pub way: usize,
    pub to: SocketAddr,
    pub from: Option<IpAddr>,
    /// The last packet's sender, its flow, and the header that the source is shown.
    pub known: Option<(Place, u32, Span)>,
}

impl Down<'_> {
    pub fn message(&mut self, message: &Message, far: &FarHandle) {
        let mut scratch = [0; NAME];
        let mut packets = 0;
        for (at, len) in message.packets() {
            packets += 1;
            match far.unwrap(message.from, &self.data[at..at + len], &mut scratch) {
                Some((sender, head)) => self.packet(sender, at + head, len - head),
                None if far.carries_names() => _ = self.hub.tally.malformed.fetch_add(1, Relaxed),
                None => _ = self.hub.tally.stranger.fetch_add(1, Relaxed),
            }
        }
        self.hub.tally.packets_down.fetch_add(packets, Relaxed);
    }

    fn packet(&mut self, sender: Spot<'_>, at: usize, len: usize) {
        let known = self
            .known
            .as_ref()
            .filter(|(place, ..)| place.spot() == sender);
        let found = match known {
            Some((_, flow, head)) => Some((*flow, *head)),
            None => self.find(sender),
        };
        let Some((flow, head)) = found else {
            self.hub.tally.stranger.fetch_add(1, Relaxed);
            return;
        };
        let address = Address {
            line: &self.hub.line,
            to: self.to,
            from: self.from,
            flow,
        };
        let entry = &mut self.table.flows[flow as usize];
        if let State::Carried(carried) = &mut entry.state
            && carried.turns.is_some()
            && !carried.admits(Direction::Down, len)
        {
            self.hub.tally.limited.fetch_add(1, Relaxed);
            return;
        }
        let marker = &mut entry.markers[1];
        self.outbox
            .add(marker, &address, head, 0, Span::new(at, len));
    }

    /// Whose packet it is, and the header to show with it. None when the source must not see it.
    fn find(&mut self, sender: Spot<'_>) -> Option<(u32, Span)> {
        let (flow, expected) = self.table.answered(self.session.index, self.way, sender)?;
        if expected {
            self.table.note_answered(self.session.index);
            self.table.touch(flow, self.now);
        }
        let head = match self.hub.codec {
            Codec::Socks5 => self.outbox.lay(|arena| codec::encode(sender, arena)),
            Codec::Fixed(_) if expected => Span::default(),
            Codec::Fixed(_) => return None,
        };
        self.known = Some((sender.to_place(), flow, head));
        Some((flow, head))
    }
}
