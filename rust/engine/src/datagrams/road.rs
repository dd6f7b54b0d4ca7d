//! What becomes of each packet: up from a source to its flow's way, down from a target to the source.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::address::{NAME, Place, Spot};
use super::asks::{Ask, Asks, Desk};
use super::codec::{Codec, Form};
use super::far::{FarHandle, Route};
use super::ground::{Frame, Sink};
use super::hop::{self, Envelope};
use super::ids::{Origin, SessionId};
use super::session::State;
use super::table::{Found, Table};
use super::tally::{Bad, Tally};
use crate::bucket::Direction;
use crate::messages::{Found as Answered, Quick};
use crate::relay::End;
use crate::udp::{Address, Exit, Marker, Message, Outbox, Span};

/// The port of DNS servers.
const DNS: u16 = 53;

/// What becomes of packets on their way up.
pub struct Up<'a> {
    pub pairs: Pairs<'a>,
    pub codec: &'a mut dyn Codec,
    /// Whether the codec opens packets.
    pub opens: bool,
    /// What answers DNS queries at once.
    pub quick: Option<Quick>,
    /// What answers to sources leave by.
    pub exit: &'a Arc<dyn Exit>,
    pub outbox: &'a mut Outbox,
    pub data: &'a mut [u8],
    /// The last packet: the next one is most often alike.
    pub known: Option<Known>,
}

/// A packet that found its flow.
pub struct Known {
    from: SocketAddr,
    origin: Origin,
    /// The header that told its target.
    head: Span,
    flow: u32,
}

impl Up<'_> {
    /// All packets of a message; whether one of them was well-formed.
    pub fn message(&mut self, message: &Message) -> bool {
        let local = message.to.filter(|ip| !ip.is_multicast());
        let mut good = false;
        for (at, len) in message.packets() {
            good |= self.packet((message.from, local), at..at + len);
        }
        good
    }

    /// A whole packet, as the codec reads it, from that source, sent to that address of this host.
    /// Whether it was well-formed.
    #[inline]
    pub fn packet(&mut self, place: (SocketAddr, Option<IpAddr>), whole: Range<usize>) -> bool {
        if !self.opens
            && let Some(known) = &self.known
            && known.from == place.0
            && self.data[whole.clone()].starts_with(known.head.of(self.data))
        {
            let (flow, head) = (known.flow, known.head.range().len());
            self.pass(flow, whole.start + head..whole.end);
            return true;
        }
        let taken = self.take(place, whole);
        taken.map_err(|bad| self.pairs.tally.dropped(bad)).is_ok()
    }

    fn take(
        &mut self,
        (from, local): (SocketAddr, Option<IpAddr>),
        whole: Range<usize>,
    ) -> Result<(), Bad> {
        let begin = whole.start;
        let opened = self.codec.open(from, &mut self.data[whole])?;
        let (at, end) = (begin + opened.body.start, begin + opened.body.end);
        let origin = opened.origin;
        let known = self
            .known
            .as_ref()
            .filter(|known| known.from == from && known.origin == origin);
        if opened.newest && known.is_none() {
            self.pairs.table.moved(origin, from, local);
        }
        let packet = &self.data[at..end];
        if let Some(known) = known
            && packet.starts_with(known.head.of(self.data))
        {
            let (flow, head) = (known.flow, known.head.range().len());
            self.pass(flow, at + head..end);
            return Ok(());
        }
        let mut scratch = [0; NAME];
        let target = self.codec.target(origin, packet, &mut scratch);
        let (target, head) = target
            .filter(|(target, _)| target.port() != 0)
            .ok_or(Bad::Malformed)?;
        if let Some(quick) = &self.quick
            && target.port() == DNS
        {
            let asked = Asked {
                origin,
                to: from,
                local,
                target,
            };
            let payload = &self.data[at + head..end];
            if asked.answer(quick, &*self.codec, self.exit, self.outbox, payload) {
                return Ok(());
            }
        }
        let flow = self.pairs.find((from, local), origin, target);
        self.learn(flow, from, origin, Span::new(at, head), at + head..end);
        Ok(())
    }

    /// Whether a packet of a flow is a query that could be answered at once, and was.
    fn answered(&mut self, flow: u32, payload: &Range<usize>) -> bool {
        let Some(quick) = &self.quick else {
            return false;
        };
        let table = &*self.pairs.table;
        let entry = &table.flows[flow as usize];
        if entry.target.port() != DNS || matches!(entry.state, State::Refused) {
            return false;
        }
        let session = &table.sessions[entry.session as usize];
        let asked = Asked {
            origin: session.origin,
            to: session.source,
            local: session.local,
            target: entry.target.spot(),
        };
        let payload = &self.data[payload.clone()];
        asked.answer(quick, &*self.codec, self.exit, self.outbox, payload)
    }

    /// A packet from that source whose header lies apart from its payload.
    pub fn parts(&mut self, from: SocketAddr, head: Span, payload: Range<usize>) {
        let header = head.of(self.data);
        if let Some(known) = &self.known
            && known.from == from
            && known.head.of(self.data) == header
        {
            self.pass(known.flow, payload);
            return;
        }
        let origin = Origin::Source(from);
        let mut scratch = [0; NAME];
        let target = self.codec.target(origin, header, &mut scratch);
        let Some((target, _)) = target.filter(|(target, _)| target.port() != 0) else {
            self.pairs.tally.dropped(Bad::Malformed);
            return;
        };
        let flow = self.pairs.find((from, None), origin, target);
        self.learn(flow, from, origin, head, payload);
    }

    /// A packet found its flow, or none: one that made room for another may be the one that is known.
    fn learn(
        &mut self,
        flow: Option<u32>,
        from: SocketAddr,
        origin: Origin,
        head: Span,
        payload: Range<usize>,
    ) {
        self.known = flow.map(|flow| Known {
            from,
            origin,
            head,
            flow,
        });
        if let Some(flow) = flow {
            self.pass(flow, payload);
        }
    }

    /// A packet of this flow.
    fn pass(&mut self, flow: u32, payload: Range<usize>) {
        if self.quick.is_some() && self.answered(flow, &payload) {
            let now = self.pairs.now;
            self.pairs.table.touch(flow, now);
            return;
        }
        let Pairs {
            table, tally, now, ..
        } = &mut self.pairs;
        match &table.flows[flow as usize].state {
            State::Refused => {
                tally.refused.fetch_add(1, Relaxed);
            }
            State::Asked(_) => {
                table.touch(flow, *now);
                if !table.wait(flow, &self.data[payload]) {
                    tally.full.fetch_add(1, Relaxed);
                }
            }
            State::Carried(carried) => {
                if carried.alias.is_none() && matches!(carried.located, Place::Name(..)) {
                    table.note_named(flow);
                }
                table.touch(flow, *now);
                let body = Span::new(payload.start, payload.len());
                let body = Body::Inbox(body, self.data);
                send_up(table, self.outbox, tally, flow, &body);
            }
        }
    }
}

/// A query of a source to a target.
struct Asked<'a> {
    origin: Origin,
    to: SocketAddr,
    local: Option<IpAddr>,
    target: Spot<'a>,
}

impl Asked<'_> {
    /// Answer it as its target would, if that can be done at once.
    fn answer(
        &self,
        quick: &Quick,
        codec: &dyn Codec,
        exit: &Arc<dyn Exit>,
        outbox: &mut Outbox,
        query: &[u8],
    ) -> bool {
        if !matches!(codec.form(self.origin, true), Some(Form::Prefix)) {
            return false;
        }
        let mut found = None;
        let mut head = 0;
        let whole = outbox.lay(|arena| {
            let begin = arena.len();
            codec.put_head(self.origin, self.target, 0, arena);
            head = arena.len() - begin;
            found = quick.messages.answer(quick.scope, query, false, arena);
            if found != Some(Answered::Fresh) {
                arena.truncate(begin);
            }
        });
        if found != Some(Answered::Fresh) {
            return false;
        }
        let from = match (codec.masks(), self.target) {
            (true, Spot::Address(asked)) => Some(asked),
            (true, Spot::Name(..)) => return false,
            (false, _) => self.local.map(|local| SocketAddr::new(local, 0)),
        };
        let address = Address {
            exit,
            to: self.to,
            from,
            flow: u32::MAX,
        };
        let payload = whole.range().len() - head;
        outbox.add(
            &mut Marker::default(),
            &address,
            whole,
            payload,
            Span::default(),
        );
        true
    }
}

/// The (session, target) pairs of a listener, and those who are asked about new ones.
pub struct Pairs<'a> {
    pub desk: &'a Arc<dyn Desk>,
    pub asks: &'a Asks,
    pub tally: &'a Tally,
    pub table: &'a mut Table,
    pub now: u64,
}

impl Pairs<'_> {
    /// The flow of a target; a new one is asked for.
    fn find(
        &mut self,
        (source, local): (SocketAddr, Option<IpAddr>),
        origin: Origin,
        target: Spot<'_>,
    ) -> Option<u32> {
        let session = self.table.session(origin, source, local, self.now);
        let flow = match self.table.flow(session, target, self.now) {
            Found::Flow(flow) => return Some(flow),
            Found::New(flow) => flow,
        };
        let ask = Ask {
            session: self.table.sessions[session as usize].id.serial,
            source,
            target: target.to_place(),
            user: origin.user(),
            flow: self.table.flows[flow as usize].id,
            desk: Some(Arc::downgrade(self.desk)),
        };
        if self.asks.add(ask) {
            return Some(flow);
        }
        self.tally.full.fetch_add(1, Relaxed);
        self.table.end(flow, End::Cut);
        None
    }
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
        to: carried.route.lead.to,
        from: None,
        flow,
    };
    let marker = &mut entry.markers[0];
    let Route { lead, envelope } = &carried.route;
    let (head, body) = match (&lead.frame, envelope, *body) {
        (None, Envelope::Plain(head), Body::Inbox(body, _)) => match &**head {
            [] => (Span::default(), body),
            head => (outbox.lay(|arena| arena.extend_from_slice(head)), body),
        },
        (frame, envelope, body) => {
            let payload = body.bytes();
            let mut made = false;
            let whole = outbox.lay(|arena| made = wrap(frame.as_deref(), envelope, payload, arena));
            if !made {
                tally.losses.unsendable.fetch_add(1, Relaxed);
                return;
            }
            outbox.add(marker, &address, whole, payload.len(), Span::default());
            return;
        }
    };
    outbox.add(marker, &address, head, 0, body);
}

/// Append a whole packet. False when it is longer than its frame can say, or cannot be sealed.
fn wrap(
    frame: Option<&dyn Frame>,
    envelope: &Envelope,
    payload: &[u8],
    arena: &mut Vec<u8>,
) -> bool {
    let begin = arena.len();
    if let Some(frame) = frame {
        frame.begin(arena);
    }
    match envelope {
        Envelope::Plain(head) => {
            arena.extend_from_slice(head);
            arena.extend_from_slice(payload);
        }
        Envelope::Sealed(folds) => {
            if !hop::wrap(folds, payload, arena) {
                return false;
            }
        }
    }
    frame.is_none_or(|frame| frame.finish(&mut arena[begin..]))
}

/// What becomes of packets on their way down.
pub struct Down<'a> {
    pub exit: &'a Arc<dyn Exit>,
    pub tally: &'a Tally,
    pub far: &'a FarHandle,
    pub table: &'a mut Table,
    pub codec: &'a mut dyn Codec,
    pub outbox: &'a mut Outbox,
    pub data: &'a mut [u8],
    pub now: u64,
    pub session: SessionId,
    pub origin: Origin,
    pub way: usize,
    pub to: SocketAddr,
    pub from: Option<IpAddr>,
    /// How many came.
    pub packets: u64,
    /// The last packet's sender, its flow, and how the source is shown it.
    pub known: Option<(Place, Shown)>,
}

/// A sender as the source is shown it.
#[derive(Clone, Copy)]
pub struct Shown {
    flow: u32,
    form: Form,
    /// Who it is said to be, where that is another address: the one that the source asked.
    said: Option<SocketAddr>,
    /// The address that it leaves with.
    from: Option<SocketAddr>,
    /// In the arena, unless each packet has its own.
    head: Span,
}

impl Sink for Down<'_> {
    fn data(&self) -> &[u8] {
        self.data
    }

    fn message(&mut self, message: &Message) {
        for (at, len) in message.packets() {
            self.packet(Spot::Address(message.from), at, len);
        }
    }

    #[inline]
    fn packet(&mut self, from: Spot<'_>, at: usize, len: usize) {
        self.packets += 1;
        let mut scratch = [0; NAME];
        let packet = &mut self.data[at..at + len];
        match self.far.unwrap(from, packet, &mut scratch) {
            Ok((sender, body)) => {
                self.answer(sender, Span::new(at + body.start, body.len()));
            }
            Err(bad) => self.tally.dropped(bad),
        }
    }

    fn malformed(&mut self) {
        self.packets += 1;
        self.tally.dropped(Bad::Malformed);
    }
}

impl Down<'_> {
    fn answer(&mut self, sender: Spot<'_>, body: Span) {
        let known = self
            .known
            .as_ref()
            .filter(|(place, _)| place.spot() == sender);
        let shown = match known {
            Some((_, shown)) => Some(*shown),
            None => self.find(sender),
        };
        let Some(Shown {
            flow,
            form,
            said,
            from,
            head,
        }) = shown
        else {
            self.tally.dropped(Bad::Stranger);
            return;
        };
        let sender = said.map_or(sender, Spot::Address);
        let address = Address {
            exit: self.exit,
            to: self.to,
            from,
            flow,
        };
        let len = body.range().len();
        let entry = &mut self.table.flows[flow as usize];
        if let State::Carried(carried) = &mut entry.state
            && carried.turns.is_some()
            && !carried.admits(Direction::Down, len)
        {
            self.tally.limited.fetch_add(1, Relaxed);
            return;
        }
        let marker = &mut entry.markers[1];
        let (origin, codec) = (self.origin, &mut *self.codec);
        let head = match form {
            Form::Prefix => head,
            Form::Head => self
                .outbox
                .lay(|arena| codec.put_head(origin, sender, len, arena)),
            Form::Sealed => {
                let (port, payload) = (sender.port(), body.of(self.data));
                let mut made = false;
                let whole = self
                    .outbox
                    .lay(|arena| made = codec.seal(origin, port, head.range(), payload, arena));
                if !made {
                    // Its client's session was forgotten: nobody there could open it.
                    self.tally.dropped(Bad::Stranger);
                    return;
                }
                return self
                    .outbox
                    .add(marker, &address, whole, len, Span::default());
            }
        };
        self.outbox.add(marker, &address, head, 0, body);
    }

    /// Whose packet it is, and the head to show with it. None when the source must not see it.
    fn find(&mut self, sender: Spot<'_>) -> Option<Shown> {
        let (flow, expected) = self.table.answered(self.session.index, self.way, sender)?;
        if expected {
            self.table.note_answered(self.session.index);
            self.table.touch(flow, self.now);
        }
        let (origin, codec) = (self.origin, &*self.codec);
        let form = codec.form(origin, expected)?;
        // A source that asked an address hears from it, though its name may be found elsewhere.
        let said = match &self.table.flows[flow as usize].target {
            Place::Address(asked) if expected => Some(*asked),
            _ => None,
        };
        let named = said.map_or(sender, Spot::Address);
        let head = match form {
            Form::Head => Span::default(),
            Form::Prefix | Form::Sealed => self
                .outbox
                .lay(|arena| codec.put_head(origin, named, 0, arena)),
        };
        let from = if codec.masks() {
            match (&self.table.flows[flow as usize].target, sender) {
                (Place::Address(asked), _) if expected => Some(*asked),
                (_, Spot::Address(sender)) => Some(sender),
                (_, Spot::Name(..)) => return None,
            }
        } else {
            self.from.map(|local| SocketAddr::new(local, 0))
        };
        let shown = Shown {
            flow,
            form,
            said,
            from,
            head,
        };
        self.known = Some((sender.to_place(), shown));
        Some(shown)
    }
}
