//! What becomes of each packet: up from a source to its flow's way, down from a target to the source.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Codec;
use super::batch::{Address, Exit, Outbox, Span};
use super::codec::{self, NAME, Place, Spot};
use super::far::{self, Envelope, FarHandle};
use super::framed::{Framing, LONGEST, Tube};
use super::hub::Hub;
use super::mmsg::Message;
use super::near::Ask;
use super::sealed::{Bad, Door, Opened, TAIL};
use super::session::{Carried, Origin, SessionId, State};
use super::table::{Found, Table};
use super::tally::Tally;
use crate::bucket::Direction;
use crate::relay::End;

/// What becomes of packets on their way up.
pub struct Up<'a> {
    pub hub: &'a Arc<Hub>,
    pub table: &'a mut Table,
    pub door: Option<&'a mut Door>,
    pub outbox: &'a mut Outbox,
    pub data: &'a mut [u8],
    pub now: u64,
    /// The last packet: the next one is most often alike.
    pub known: Option<Known>,
}

/// A packet that found its flow.
pub struct Known {
    pub from: SocketAddr,
    pub origin: Origin,
    /// The header that told its target.
    pub head: Span,
    pub flow: u32,
}

impl Up<'_> {
    /// All packets of a message; whether one of them was well-formed.
    pub fn message(&mut self, message: &Message) -> bool {
        let mut good = false;
        for (at, len) in message.packets() {
            let taken = if self.door.is_some() {
                self.sealed(message, at, len)
            } else {
                self.packet(message, Origin::Source(message.from), at..at + len)
            };
            good |= taken.map_err(|bad| self.hub.tally.dropped(bad)).is_ok();
        }
        good
    }

    fn sealed(&mut self, message: &Message, at: usize, len: usize) -> Result<(), Bad> {
        let (hub, door) = (self.hub, self.door.as_mut().ok_or(Bad::Malformed)?);
        let Opened {
            origin,
            body,
            newest,
            relayed,
        } = door.open(message.from, &mut self.data[at..at + len])?;
        let body = at + body.start..at + body.end;
        let known = |known: &Known| known.from == message.from && known.origin == origin;
        if newest && !self.known.as_ref().is_some_and(known) {
            self.table.moved(origin, message.from, local_of(message));
        }
        if !relayed {
            return self.packet(message, origin, body);
        }
        let Codec::Sealed(keys) = &hub.codec else {
            return Err(Bad::Malformed);
        };
        let target = keys.relay(origin).ok_or(Bad::Malformed)?.spot();
        if let Some(flow) = self.find(message.from, local_of(message), origin, target) {
            self.pass(flow, body.start, body.len());
        }
        Ok(())
    }

    /// A packet whose header and payload are there.
    fn packet(
        &mut self,
        message: &Message,
        origin: Origin,
        whole: Range<usize>,
    ) -> Result<(), Bad> {
        let (at, packet) = (whole.start, &self.data[whole]);
        let len = packet.len();
        if let Some(known) = &self.known
            && known.from == message.from
            && known.origin == origin
            && packet.starts_with(known.head.of(self.data))
        {
            let head = known.head.range().len();
            self.pass(known.flow, at + head, len - head);
            return Ok(());
        }
        let mut scratch = [0; NAME];
        let (target, head) = match &self.hub.codec {
            Codec::Socks5 => codec::decode(packet, &mut scratch),
            Codec::Sealed(_) => codec::decode_place(packet, &mut scratch),
            Codec::Fixed(target) => Some((target.spot(), 0)),
            Codec::Framed(_) => None,
        }
        .filter(|(target, _)| target.port() != 0)
        .ok_or(Bad::Malformed)?;
        if let Some(flow) = self.find(message.from, local_of(message), origin, target) {
            self.known = Some(Known {
                from: message.from,
                origin,
                head: Span::new(at, head),
                flow,
            });
            self.pass(flow, at + head, len - head);
        }
        Ok(())
    }

    /// The flow of a target; a new one is asked for.
    pub fn find(
        &mut self,
        source: SocketAddr,
        local: Option<IpAddr>,
        origin: Origin,
        target: Spot<'_>,
    ) -> Option<u32> {
        let session = self.table.session(origin, source, local, self.now);
        match self.table.flow(session, target, self.now) {
            Found::Flow(flow) => Some(flow),
            Found::New(flow) => {
                // A flow that made room may be the one that is known.
                self.known = None;
                let ask = Ask {
                    session: self.table.sessions[session as usize].id.serial,
                    source,
                    target: target.to_place(),
                    user: origin.user(),
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

    /// A packet of this flow.
    pub fn pass(&mut self, flow: u32, at: usize, len: usize) {
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
                    &Body::Inbox(Span::new(at, len), self.data),
                );
            }
        }
    }
}

/// The address of this host that a source sends to.
fn local_of(message: &Message) -> Option<IpAddr> {
    message.to.filter(|ip| !ip.is_multicast())
}

/// Where a payload is.
#[derive(Clone, Copy)]
pub enum Body<'a> {
    Inbox(Span, &'a [u8]),
    Own(&'a [u8]),
}

impl<'a> Body<'a> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Inbox(span, data) => span.of(data),
            Self::Own(payload) => payload,
        }
    }

    fn len(&self) -> usize {
        self.bytes().len()
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
        exit: &carried.exit,
        to: carried.route.to,
        from: None,
        flow,
    };
    let marker = &mut entry.markers[0];
    if let Exit::Tube(tube) = &carried.exit {
        let (mut fits, extra) = (false, body.len());
        let whole = outbox.lay(|arena| fits = frame(tube, carried, body.bytes(), arena));
        if fits {
            outbox.add(marker, &address, whole, extra, Span::default());
        } else {
            tally.unsendable.fetch_add(1, Relaxed);
        }
        return;
    }
    match (&carried.route.envelope, *body) {
        (Envelope::Plain(head), Body::Inbox(body, _)) => {
            let head = match &**head {
                [] => Span::default(),
                head => outbox.lay(|arena| arena.extend_from_slice(head)),
            };
            outbox.add(marker, &address, head, 0, body);
        }
        (Envelope::Plain(head), Body::Own(payload)) => {
            let whole = outbox.lay(|arena| {
                arena.extend_from_slice(head);
                arena.extend_from_slice(payload);
            });
            outbox.add(marker, &address, whole, payload.len(), Span::default());
        }
        (Envelope::Sealed(folds), body) => {
            let payload = body.bytes();
            let mut made = false;
            let whole = outbox.lay(|arena| made = far::wrap(folds, payload, arena));
            if made {
                outbox.add(marker, &address, whole, payload.len(), Span::default());
            }
        }
    }
}

/// Append the frame of a packet. False when it is longer than a frame can say, or cannot be sealed.
fn frame(tube: &Tube, carried: &Carried, payload: &[u8], arena: &mut Vec<u8>) -> bool {
    let route = &carried.route;
    arena.extend_from_slice(&route.frame);
    let begin = arena.len();
    tube.framing().put_length(0, arena);
    let head = arena.len();
    match &route.envelope {
        Envelope::Plain(front) => {
            arena.extend_from_slice(front);
            arena.extend_from_slice(payload);
        }
        Envelope::Sealed(folds) => {
            if !far::wrap(folds, payload, arena) {
                return false;
            }
        }
    }
    let length = arena.len() - head;
    let Some(told) = arena
        .get_mut(begin..begin + 2)
        .filter(|_| length <= LONGEST)
    else {
        return false;
    };
    told.copy_from_slice(&(length as u16).to_be_bytes());
    true
}

/// What becomes of packets on their way down.
pub struct Down<'a> {
    pub hub: &'a Hub,
    pub table: &'a mut Table,
    pub door: Option<&'a mut Door>,
    pub outbox: &'a mut Outbox,
    pub data: &'a mut [u8],
    pub now: u64,
    pub session: SessionId,
    pub origin: Origin,
    pub way: usize,
    pub to: SocketAddr,
    pub from: Option<IpAddr>,
    /// The last packet's sender, its flow, and the header that the source is shown.
    pub known: Option<(Place, u32, Head)>,
}

/// What a source is shown of a sender.
#[derive(Clone, Copy)]
pub enum Head {
    /// This before the payload, or nothing.
    Plain(Span),
    /// This before the payload, and both sealed.
    Sealed(Span),
}

impl Down<'_> {
    pub fn message(&mut self, message: &Message, far: &FarHandle) {
        let mut packets = 0;
        for (at, len) in message.packets() {
            packets += 1;
            self.wrapped(Spot::Address(message.from), at, len, far);
        }
        self.hub.tally.packets_down.fetch_add(packets, Relaxed);
    }

    /// A packet from the nearest hop of the way, or from its sender where there is none.
    pub fn wrapped(&mut self, from: Spot<'_>, at: usize, len: usize, far: &FarHandle) {
        let mut scratch = [0; NAME];
        match far.unwrap(from, &mut self.data[at..at + len], &mut scratch) {
            Ok((sender, body)) => self.packet(sender, at + body.start, body.len()),
            Err(bad) => self.hub.tally.dropped(bad),
        }
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
            exit: &self.hub.exit,
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
        let body = Span::new(at, len);
        match head {
            Head::Plain(head) => {
                let head = match &self.hub.exit {
                    Exit::Line(_) => head,
                    Exit::Tube(tube) => self.outbox.lay(|arena| tube.put_head(sender, len, arena)),
                };
                self.outbox.add(marker, &address, head, 0, body);
            }
            Head::Sealed(head) => {
                let Some(door) = &mut self.door else {
                    return;
                };
                let (origin, mut made) = (self.origin, false);
                let whole = self.outbox.lay(|arena| {
                    let (begin, padding) = (arena.len(), door.padding(sender.port(), len));
                    arena.resize(begin + door.prefix(padding), 0);
                    arena.extend_from_within(head.range());
                    arena.extend_from_slice(body.of(self.data));
                    arena.resize(arena.len() + TAIL, 0);
                    made = door.seal(origin, &mut arena[begin..], padding);
                });
                if !made {
                    // Its client's session was forgotten: nobody there could open it.
                    self.hub.tally.dropped(Bad::Stranger);
                    return;
                }
                self.outbox
                    .add(marker, &address, whole, len, Span::default());
            }
        }
    }

    /// Whose packet it is, and the header to show with it. None when the source must not see it.
    fn find(&mut self, sender: Spot<'_>) -> Option<(u32, Head)> {
        let (flow, expected) = self.table.answered(self.session.index, self.way, sender)?;
        if expected {
            self.table.note_answered(self.session.index);
            self.table.touch(flow, self.now);
        }
        let head = match &self.hub.codec {
            Codec::Socks5 => Head::Plain(self.outbox.lay(|arena| codec::encode(sender, arena))),
            Codec::Sealed(keys) if keys.relay(self.origin).is_none() => {
                Head::Sealed(self.outbox.lay(|arena| codec::encode_place(sender, arena)))
            }
            // What a relayed user's server has sealed is for them alone.
            Codec::Fixed(_) | Codec::Sealed(_) | Codec::Framed(Framing::Connected(_))
                if !expected =>
            {
                return None;
            }
            Codec::Fixed(_) | Codec::Sealed(_) | Codec::Framed(_) => Head::Plain(Span::default()),
        };
        self.known = Some((sender.to_place(), flow, head));
        Some((flow, head))
    }
}
