//! The listener: packets of all sources come in here, are told apart, judged once per target, and sent
//! on; and what the far sockets hear goes back. One task reads the near socket and one each far socket,
//! all on one reactor thread, so the table's lock is never waited for.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{Instant, Sleep, sleep_until};

use super::batch::{Address, Boxes, Line, Outbox, Span, with_boxes};
use super::codec::{self, NAME, Place, Spot};
use super::far::FarHandle;
use super::mmsg::{self, Message};
use super::table::{Carried, Done, FlowId, Found, SessionId, State, Table};
use super::wheel::TICKS;
use super::{Codec, PacketOptions, Stats};
use crate::reactor::Reactors;
use crate::relay::{End, Gauge};

/// Batches taken from one socket before others of the thread have their turn.
const ROUNDS: usize = 4;

/// Asks that may wait for their owner; packets of further new targets are dropped.
const ASKS: usize = 4096;

/// New (session, target) pairs that wait for their owner.
pub struct Asks {
    waiting: Mutex<Vec<Ask>>,
    signal: Box<dyn Fn() + Send + Sync>,
}

impl Asks {
    /// `signal` is called when the first of a batch has come.
    pub fn new(signal: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { waiting: Mutex::default(), signal: Box::new(signal) })
    }

    /// Take all that have come.
    pub fn take(&self) -> Vec<Ask> {
        std::mem::take(&mut *lock(&self.waiting))
    }

    /// Whether it was taken in.
    fn add(&self, ask: Ask) -> bool {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= ASKS {
            return false;
        }
        waiting.push(ask);
        let first = waiting.len() == 1;
        drop(waiting);
        if first {
            (self.signal)();
        }
        true
    }
}

/// A new (session, target) pair that waits for its verdict. Dropping it refuses.
pub struct Ask {
    /// Which session; never used twice by one listener.
    pub session: u64,
    /// Whose packets they are.
    pub source: SocketAddr,
    /// Where they want to go.
    pub target: Place,
    flow: FlowId,
    hub: Weak<Hub>,
}

impl Ask {
    /// Let its packets pass by `far` to `located`, the target in a form that `far` can carry. What
    /// waited goes first. `done` is called exactly once, perhaps before this returns.
    pub fn relay(mut self, far: &FarHandle, located: Place, gauge: Arc<Gauge>, done: Done) {
        let far = Arc::clone(far);
        match std::mem::take(&mut self.hub).upgrade() {
            Some(hub) => hub.mail(Mail::Relay(Box::new(Relay { flow: self.flow, far, located, gauge, done }))),
            None => done(End::Closed),
        }
    }

    /// Drop its packets. This is remembered for the idle limit, then a packet asks anew.
    pub fn refuse(self) {}
}

impl Drop for Ask {
    fn drop(&mut self) {
        if let Some(hub) = self.hub.upgrade() {
            hub.mail(Mail::Refuse(self.flow));
        }
    }
}

/// A bound UDP socket and the sessions behind it. Dropping it ends them.
pub struct PacketListener {
    /// Where it listens.
    pub address: SocketAddr,
    hub: Arc<Hub>,
}

impl PacketListener {
    /// Listen on an address; new pairs go to `asks`. IPv6 addresses mean IPv6 alone.
    pub fn bind(
        address: SocketAddr,
        codec: Codec,
        options: &PacketOptions,
        reactors: &Reactors,
        asks: Arc<Asks>,
    ) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        if address.ip().is_unspecified() {
            // Answers must leave from the address that was asked.
            if address.is_ipv4() {
                mmsg::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            } else {
                mmsg::set_option(socket.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO, 1)?;
            }
        }
        let bound = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let home = reactors.home(reactors.next_home());
        let _entered = home.enter();
        let hub = Arc::new(Hub::new(Arc::new(Line::new(socket)?), codec, options, asks));
        home.spawn(Near::new(Arc::clone(&hub)));
        Ok(Self { address: bound, hub })
    }

    /// What it did so far.
    pub fn stats(&self) -> Stats {
        let tally = &self.hub.tally;
        Stats {
            sessions: tally.sessions.load(Relaxed),
            flows: tally.flows.load(Relaxed),
            packets_up: tally.packets_up.load(Relaxed),
            packets_down: tally.packets_down.load(Relaxed),
            malformed: tally.malformed.load(Relaxed),
            stranger: tally.stranger.load(Relaxed),
            refused: tally.refused.load(Relaxed),
            full: tally.full.load(Relaxed),
            congested: tally.congested.load(Relaxed),
            unsendable: tally.unsendable.load(Relaxed),
            gro: self.hub.line.gro(),
            gso: self.hub.line.gso(),
        }
    }
}

impl Drop for PacketListener {
    fn drop(&mut self) {
        self.hub.closed.store(true, Ordering::Release);
        self.hub.waker.wake();
    }
}

/// What is counted; any thread may read it.
#[derive(Default)]
pub struct Tally {
    sessions: AtomicU64,
    flows: AtomicU64,
    packets_up: AtomicU64,
    packets_down: AtomicU64,
    malformed: AtomicU64,
    stranger: AtomicU64,
    refused: AtomicU64,
    full: AtomicU64,
    pub(super) congested: AtomicU64,
    unsendable: AtomicU64,
}

impl Tally {
    /// The kernel did not send so many packets.
    pub fn lost(&self, error: &io::Error, packets: usize) {
        let counter = match error.raw_os_error() {
            Some(libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) => &self.congested,
            _ => &self.unsendable,
        };
        counter.fetch_add(packets as u64, Relaxed);
    }
}

/// What other threads tell the listener's task.
enum Mail {
    Relay(Box<Relay>),
    Refuse(FlowId),
    Cut(FlowId),
    Dead { session: SessionId, far: usize, end: End },
}

impl Mail {
    /// The listener is gone.
    fn bounce(self) {
        if let Self::Relay(relay) = self {
            (relay.done)(End::Closed);
        }
    }
}

struct Relay {
    flow: FlowId,
    far: FarHandle,
    located: Place,
    gauge: Arc<Gauge>,
    done: Done,
}

/// What the tasks of a listener share.
pub struct Hub {
    line: Arc<Line>,
    codec: Codec,
    only: Option<IpAddr>,
    table: Mutex<Table>,
    mail: Mutex<Vec<Mail>>,
    waker: AtomicWaker,
    closed: AtomicBool,
    asks: Arc<Asks>,
    tally: Tally,
    begun: Instant,
    tick: Duration,
}

impl Hub {
    fn new(line: Arc<Line>, codec: Codec, options: &PacketOptions, asks: Arc<Asks>) -> Self {
        let sessions = if options.only.is_some() { 1 } else { options.sessions };
        Self {
            line,
            codec,
            only: options.only.map(|ip| ip.to_canonical()),
            table: Mutex::new(Table::new(sessions, options.targets, options.waiting)),
            mail: Mutex::default(),
            waker: AtomicWaker::new(),
            closed: AtomicBool::new(false),
            asks,
            tally: Tally::default(),
            begun: Instant::now(),
            tick: (options.idle / TICKS as u32).max(Duration::from_millis(1)),
        }
    }

    fn now(&self) -> u64 {
        (self.begun.elapsed().as_nanos() / self.tick.as_nanos()) as u64
    }

    fn mail(&self, mail: Mail) {
        let mut waiting = lock(&self.mail);
        // Looked at under the lock: what is pushed before is answered by the task's end.
        if !self.closed.load(Ordering::Acquire) {
            waiting.push(mail);
            drop(waiting);
            self.waker.wake();
            return;
        }
        drop(waiting);
        mail.bounce();
    }

    /// A far that a session uses has died.
    pub fn tell_dead(&self, session: SessionId, far: usize, end: End) {
        self.mail(Mail::Dead { session, far, end });
    }

    /// Work on the table, then tell the owners of flows that ended by it.
    fn with_table<R>(&self, work: impl FnOnce(&mut Table) -> R) -> R {
        let mut table = lock(&self.table);
        let result = work(&mut table);
        let ended = table.take_ended();
        self.tally.sessions.store(table.sessions.len() as u64, Relaxed);
        self.tally.flows.store(table.flows.len() as u64, Relaxed);
        drop(table);
        for (done, end) in ended {
            done(end);
        }
        result
    }

    /// One batch from the sources.
    fn take_up(self: &Arc<Self>, boxes: &mut Boxes, port: &mut Option<u16>) -> io::Result<()> {
        let messages = self.line.receive(&mut boxes.inbox)?;
        let now = self.now();
        self.with_table(|table| {
            boxes.outbox.clear();
            let mut up = Up { hub: self, table, outbox: &mut boxes.outbox, data: boxes.inbox.data(), now, known: None };
            let mut packets = 0;
            for message in (0..messages).filter_map(|at| boxes.inbox.message(at)) {
                let count = message.len.div_ceil(message.segment).max(1) as u64;
                packets += count;
                if self.admits(message.from, *port) {
                    if up.message(&message) {
                        *port = Some(message.from.port());
                    }
                } else {
                    self.tally.stranger.fetch_add(count, Relaxed);
                }
            }
            self.tally.packets_up.fetch_add(packets, Relaxed);
            self.flush(&mut boxes.outbox, boxes.inbox.data(), table, true);
        });
        Ok(())
    }

    fn admits(&self, from: SocketAddr, port: Option<u16>) -> bool {
        self.only.is_none_or(|only| from.ip().to_canonical() == only && port.is_none_or(|port| port == from.port()))
    }

    fn flush(&self, outbox: &mut Outbox, data: &[u8], table: &Table, up: bool) {
        outbox.flush(data, &self.tally, |flow, bytes| {
            if let Some(State::Carried(carried)) = table.flows.get(flow as usize).map(|flow| &flow.state) {
                let counter = if up { &carried.gauge.up } else { &carried.gauge.down };
                counter.fetch_add(bytes, Relaxed);
            }
        });
    }

    /// One batch from the targets of a session. False when the session is gone.
    fn take_down(&self, boxes: &mut Boxes, line: &Line, session: SessionId, way: usize) -> io::Result<bool> {
        let messages = line.receive(&mut boxes.inbox)?;
        let now = self.now();
        Ok(self.with_table(|table| {
            boxes.outbox.clear();
            let Some((to, from, far)) = table
                .alive(session)
                .and_then(|session| Some((session.source, session.local, Arc::clone(&session.ways.get(way)?.far))))
            else {
                return false;
            };
            let mut down = Down { hub: self, table, outbox: &mut boxes.outbox, data: boxes.inbox.data(), now, session, way, to, from, known: None };
            for message in (0..messages).filter_map(|at| boxes.inbox.message(at)) {
                down.message(&message, &far);
            }
            self.flush(&mut boxes.outbox, boxes.inbox.data(), table, false);
            true
        }))
    }

    /// Do what other threads asked for.
    fn open_mail(self: &Arc<Self>) {
        let mails = std::mem::take(&mut *lock(&self.mail));
        if mails.is_empty() {
            return;
        }
        let now = self.now();
        for mail in mails {
            let rejected = self.with_table(|table| match mail {
                Mail::Relay(relay) => self.begin(table, *relay, now).err(),
                Mail::Refuse(flow) => {
                    table.refuse(flow);
                    None
                }
                Mail::Cut(flow) => {
                    if table.lives(flow) {
                        table.end(flow.index, End::Cut);
                    }
                    None
                }
                Mail::Dead { session, far, end } => {
                    let way = table
                        .alive(session)
                        .and_then(|session| session.ways.iter().position(|way| Arc::as_ptr(&way.far).addr() == far));
                    if let Some(way) = way {
                        table.end_way(session.index, way, end);
                    }
                    None
                }
            });
            if let Some((done, end)) = rejected {
                done(end);
            }
        }
    }

    /// A flow may pass. Fails, with whom to tell, when there is no such flow any more or no way out; the
    /// latter counts as refused for a while, so that its packets do not ask at every turn.
    fn begin(self: &Arc<Self>, table: &mut Table, relay: Relay, now: u64) -> Result<(), (Done, End)> {
        let Relay { flow, far, located, gauge, done } = relay;
        let Some(session) = table.asked(flow).map(|flow| flow.session) else { return Err((done, End::Idle)) };
        let located = match located {
            Place::Address(address) => address.into(),
            name @ Place::Name(..) => name,
        };
        let way_out = self.way_out(table, session, &far, &located);
        let (way, line, to, head) = match way_out {
            Ok(found) => found,
            Err(end) => {
                table.refuse(flow);
                return Err((done, end));
            }
        };
        let carried =
            Carried { way, located, alias: None, line, to, head, gauge: Arc::clone(&gauge), done: Some(done) };
        let waited = table.carry(flow, carried);
        table.touch(flow.index, now);
        table.note_named(flow.index);
        with_boxes(|boxes| {
            boxes.outbox.clear();
            for packet in waited {
                send_up(table, &mut boxes.outbox, flow.index, &Body::Own(&packet));
            }
            self.flush(&mut boxes.outbox, &[], table, true);
        });
        let waker = Waker::from(Arc::new(CutWaker { hub: Arc::downgrade(self), flow }));
        if gauge.poll_cut(&Context::from_waker(&waker)) {
            table.end(flow.index, End::Cut);
        }
        Ok(())
    }

    fn way_out(
        self: &Arc<Self>,
        table: &mut Table,
        session: u32,
        far: &FarHandle,
        located: &Place,
    ) -> Result<WayOut, End> {
        let id = table.sessions[session as usize].id;
        far.claim(self, id)?;
        let (to, head) = far.route(located)?;
        let way = table.way(session, far);
        let lines = &mut table.sessions[session as usize].ways[way].lines;
        let slot = &mut lines[usize::from(to.is_ipv6())];
        if let Some((line, _)) = slot {
            return Ok((way, Arc::clone(line), to, head));
        }
        let line = far.open(to).map_err(|error| End::Far(error.kind()))?;
        let reader = Reader { hub: Arc::clone(self), line: Arc::clone(&line), session: id, way };
        let task = tokio::spawn(reader);
        *slot = Some((Arc::clone(&line), task.abort_handle()));
        Ok((way, line, to, head))
    }
}

/// The number of the way, its socket, the address to send to, and what goes before each payload.
type WayOut = (usize, Arc<Line>, SocketAddr, Box<[u8]>);

/// What becomes of packets on their way up.
struct Up<'a> {
    hub: &'a Arc<Hub>,
    table: &'a mut Table,
    outbox: &'a mut Outbox,
    data: &'a [u8],
    now: u64,
    /// The last packet's source, header and flow: the next one is most often alike.
    known: Option<(SocketAddr, &'a [u8], u32)>,
}

impl Up<'_> {
    /// All packets of a message; whether one of them was well-formed.
    fn message(&mut self, message: &Message) -> bool {
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
            Codec::Socks5 => codec::decode(packet, &mut scratch).filter(|(target, _)| target.port() != 0),
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
        let Some(session) = self.table.session(message.from, message.to) else {
            self.hub.tally.full.fetch_add(1, Relaxed);
            return None;
        };
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
                send_up(self.table, self.outbox, flow, &Body::Inbox(Span::new(at, len)));
            }
        }
    }
}

/// Where a payload is.
enum Body<'a> {
    Inbox(Span),
    Own(&'a [u8]),
}

fn send_up(table: &mut Table, outbox: &mut Outbox, flow: u32, body: &Body<'_>) {
    let entry = &mut table.flows[flow as usize];
    let State::Carried(carried) = &entry.state else { return };
    let address = Address { line: &carried.line, to: carried.to, from: None, flow };
    let marker = &mut entry.markers[0];
    match *body {
        Body::Inbox(body) if carried.head.is_empty() => outbox.add(marker, &address, Span::default(), 0, body),
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
struct Down<'a> {
    hub: &'a Hub,
    table: &'a mut Table,
    outbox: &'a mut Outbox,
    data: &'a [u8],
    now: u64,
    session: SessionId,
    way: usize,
    to: SocketAddr,
    from: Option<IpAddr>,
    /// The last packet's sender, its flow, and the header that the source is shown.
    known: Option<(Place, u32, Span)>,
}

impl Down<'_> {
    fn message(&mut self, message: &Message, far: &FarHandle) {
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
        let known = self.known.as_ref().filter(|(place, ..)| place.spot() == sender);
        let (flow, head) = match known {
            Some((_, flow, head)) => (*flow, *head),
            None => {
                let Some(found) = self.find(sender) else {
                    self.hub.tally.stranger.fetch_add(1, Relaxed);
                    return;
                };
                found
            }
        };
        let address = Address { line: &self.hub.line, to: self.to, from: self.from, flow };
        let marker = &mut self.table.flows[flow as usize].markers[1];
        self.outbox.add(marker, &address, head, 0, Span::new(at, len));
    }

    /// Whose packet it is, and the header to show with it. None when the source must not see it.
    fn find(&mut self, sender: Spot<'_>) -> Option<(u32, Span)> {
        let (flow, expected) = self.table.answered(self.session.index, self.way, sender)?;
        if expected {
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

/// Tells the listener's task that a flow was cut.
struct CutWaker {
    hub: Weak<Hub>,
    flow: FlowId,
}

impl Wake for CutWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if let Some(hub) = self.hub.upgrade() {
            hub.mail(Mail::Cut(self.flow));
        }
    }
}

/// The task of the near socket, of the clock and of the mail.
struct Near {
    hub: Arc<Hub>,
    timer: Pin<Box<Sleep>>,
    armed: bool,
    port: Option<u16>,
}

impl Near {
    fn new(hub: Arc<Hub>) -> Self {
        Self { timer: Box::pin(sleep_until(hub.begun)), hub, armed: false, port: None }
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) {
        if self.armed && self.timer.as_mut().poll(cx).is_pending() {
            return;
        }
        let now = self.hub.now();
        let left = self.hub.with_table(|table| {
            table.expire(now);
            table.flows.len()
        });
        self.armed = left > 0;
        if self.armed {
            self.timer.as_mut().reset(Instant::now() + self.hub.tick);
            if self.timer.as_mut().poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
    }
}

impl Future for Near {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.hub.waker.register(cx.waker());
        if this.hub.closed.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        this.hub.open_mail();
        let polled = poll_rounds(&this.hub.line, cx, |boxes| this.hub.take_up(boxes, &mut this.port));
        this.poll_clock(cx);
        polled
    }
}

impl Drop for Near {
    fn drop(&mut self) {
        self.hub.closed.store(true, Ordering::Release);
        self.hub.with_table(|table| table.end_all(End::Closed));
        // What was asked of a listener that is gone.
        let unread = std::mem::take(&mut *lock(&self.hub.mail));
        unread.into_iter().for_each(Mail::bounce);
    }
}

/// The task of one far socket.
struct Reader {
    hub: Arc<Hub>,
    line: Arc<Line>,
    session: SessionId,
    way: usize,
}

impl Future for Reader {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        poll_rounds(&self.line, cx, |boxes| {
            let alive = self.hub.take_down(boxes, &self.line, self.session, self.way)?;
            if alive { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
        })
    }
}

/// Take some batches while the socket has any. Ready when it is of no use any more.
fn poll_rounds(
    line: &Line,
    cx: &mut Context<'_>,
    mut take: impl FnMut(&mut Boxes) -> io::Result<()>,
) -> Poll<()> {
    for _ in 0..ROUNDS {
        match line.socket().poll_recv_ready(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Ready(Ok(())) => {}
        }
        match with_boxes(&mut take) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Poll::Ready(()),
            // An error that a packet of ours caused (ICMP) says nothing of the socket.
            _ => {}
        }
    }
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
