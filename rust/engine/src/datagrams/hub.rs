//! What the tasks of a listener share: one reads the near socket and one each far socket, all on one
//! reactor thread, so the table's lock is never waited for. Other threads write mail.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::batch::{Boxes, Exit, Line, Outbox, with_boxes};
use super::codec::{Place, canonical};
use super::far::{FarHandle, Ground, Route};
use super::framed::Outlet;
use super::mmsg::Messages;
use super::near::Asks;
use super::road::{Body, Down, Up, send_up};
use super::sealed::{BadKeys, Door};
use super::session::{Carried, Done, FlowId, SessionId, State};
use super::table::Table;
use super::tally::Tally;
use super::wheel::TICKS;
use super::{Codec, PacketOptions};
use crate::bucket::Turns;
use crate::relay::{End, Gauge};

/// Batches taken from one socket before others of the thread have their turn.
pub const ROUNDS: usize = 4;

/// Clients' own sessions that a sealed port remembers, for each that it may have: a client's next one
/// begins before the last is forgotten.
const REMEMBERED: usize = 4;

/// What other threads tell the listener's task.
pub enum Mail {
    Relay(Box<Relay>),
    Refuse(FlowId),
    Cut(FlowId),
    Dead {
        session: SessionId,
        far: usize,
        end: End,
    },
}

impl Mail {
    /// The listener is gone.
    pub fn bounce(self) {
        if let Self::Relay(relay) = self {
            (relay.done)(End::Closed);
        }
    }
}

/// A yes on its way to the listener's task.
pub struct Relay {
    pub flow: FlowId,
    pub far: FarHandle,
    pub located: Place,
    pub gauge: Arc<Gauge>,
    pub done: Done,
}

/// The number of the way, what packets leave by, and how.
type WayOut = (usize, Exit, Route);

/// What the tasks of a listener share.
pub struct Hub {
    /// What packets for the sources leave by.
    pub exit: Exit,
    /// The reactor its tasks run on.
    pub home: usize,
    pub codec: Codec,
    /// Of a codec that seals; locked with the table, and after it.
    pub door: Option<Mutex<Door>>,
    pub only: Option<SocketAddr>,
    pub table: Mutex<Table>,
    pub mail: Mutex<Vec<Mail>>,
    pub waker: AtomicWaker,
    pub closed: AtomicBool,
    pub asks: Arc<Asks>,
    pub tally: Tally,
    pub begun: Instant,
    pub tick: Duration,
}

impl Hub {
    /// Of a near side, with an empty table.
    pub fn new(
        place: (Exit, usize),
        codec: Codec,
        options: &PacketOptions,
        asks: Arc<Asks>,
    ) -> Result<Self, BadKeys> {
        let door = match &codec {
            Codec::Sealed(keys) => {
                let sessions = most_sessions(options).saturating_mul(REMEMBERED);
                Some(Mutex::new(Door::new(keys, sessions)?))
            }
            Codec::Socks5 | Codec::Fixed(_) | Codec::Framed(_) => None,
        };
        let hub = Self::unsealed(place, codec, options, asks);
        Ok(Self { door, ..hub })
    }

    /// The same, of a codec that seals nothing.
    pub fn unsealed(
        (exit, home): (Exit, usize),
        codec: Codec,
        options: &PacketOptions,
        asks: Arc<Asks>,
    ) -> Self {
        let sessions = most_sessions(options);
        Self {
            exit,
            home,
            codec,
            door: None,
            only: options.only.map(canonical),
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

    /// The tick it is.
    pub fn now(&self) -> u64 {
        (self.begun.elapsed().as_nanos() / self.tick.as_nanos()) as u64
    }

    /// Have the listener's task do something.
    pub fn mail(&self, mail: Mail) {
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
    pub fn with_table<R>(&self, work: impl FnOnce(&mut Table) -> R) -> R {
        let mut table = lock(&self.table);
        let result = work(&mut table);
        let ended = table.take_ended();
        self.tally
            .sessions
            .store(table.sessions.len() as u64, Relaxed);
        self.tally.flows.store(table.flows.len() as u64, Relaxed);
        drop(table);
        for (done, end) in ended {
            done(end);
        }
        result
    }

    /// One batch from the sources.
    pub fn take_up(
        self: &Arc<Self>,
        boxes: &mut Boxes,
        line: &Line,
        port: &mut Option<u16>,
    ) -> io::Result<()> {
        let messages = line.receive(&mut boxes.inbox)?;
        self.with_up(boxes, |up, inbox| {
            let mut packets = 0;
            for message in (0..messages).filter_map(|at| inbox.message(at)) {
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
        });
        Ok(())
    }

    /// Have what came from the sources into the inbox sent.
    pub fn with_up<R>(
        self: &Arc<Self>,
        boxes: &mut Boxes,
        work: impl FnOnce(&mut Up<'_>, &Messages<'_>) -> R,
    ) -> R {
        let now = self.now();
        self.with_table(|table| {
            boxes.outbox.clear();
            let (inbox, data) = boxes.inbox.split();
            let mut door = self.door.as_ref().map(lock);
            let mut up = Up {
                hub: self,
                table,
                door: door.as_deref_mut(),
                outbox: &mut boxes.outbox,
                data,
                now,
                known: None,
            };
            let result = work(&mut up, &inbox);
            self.flush(&mut boxes.outbox, boxes.inbox.data(), table, true);
            result
        })
    }

    fn admits(&self, from: SocketAddr, port: Option<u16>) -> bool {
        self.only.is_none_or(|only| {
            from.ip().to_canonical() == only.ip() && port.is_none_or(|port| port == from.port())
        })
    }

    fn flush(&self, outbox: &mut Outbox, data: &[u8], table: &Table, up: bool) {
        outbox.flush(data, &self.tally, |flow, bytes| {
            if let Some(State::Carried(carried)) =
                table.flows.get(flow as usize).map(|flow| &flow.state)
            {
                let counter = if up {
                    &carried.gauge.up
                } else {
                    &carried.gauge.down
                };
                counter.fetch_add(bytes, Relaxed);
            }
        });
    }

    /// One batch from the targets of a session. False when the session is gone.
    fn take_down(
        &self,
        boxes: &mut Boxes,
        line: &Line,
        session: SessionId,
        way: usize,
    ) -> io::Result<bool> {
        let messages = line.receive(&mut boxes.inbox)?;
        Ok(self.with_down(boxes, session, way, |down, inbox, far| {
            for message in (0..messages).filter_map(|at| inbox.message(at)) {
                down.message(&message, far);
            }
        }))
    }

    /// Have what came for a session into the inbox sent. False when the session is gone.
    pub fn with_down(
        &self,
        boxes: &mut Boxes,
        session: SessionId,
        way: usize,
        work: impl FnOnce(&mut Down<'_>, &Messages<'_>, &FarHandle),
    ) -> bool {
        let now = self.now();
        self.with_table(|table| {
            boxes.outbox.clear();
            let Some((origin, to, from, far)) = table.alive(session).and_then(|session| {
                Some((
                    session.origin,
                    session.source,
                    session.local,
                    Arc::clone(&session.ways.get(way)?.far),
                ))
            }) else {
                return false;
            };
            let (inbox, data) = boxes.inbox.split();
            let mut door = self.door.as_ref().map(lock);
            let mut down = Down {
                hub: self,
                table,
                door: door.as_deref_mut(),
                outbox: &mut boxes.outbox,
                data,
                now,
                session,
                origin,
                way,
                to,
                from,
                known: None,
            };
            work(&mut down, &inbox, &far);
            self.flush(&mut boxes.outbox, boxes.inbox.data(), table, false);
            true
        })
    }

    /// Do what other threads asked for.
    pub fn open_mail(self: &Arc<Self>) {
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
                    let way = table.alive(session).and_then(|session| {
                        session
                            .ways
                            .iter()
                            .position(|way| Arc::as_ptr(&way.far).addr() == far)
                    });
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
    fn begin(
        self: &Arc<Self>,
        table: &mut Table,
        relay: Relay,
        now: u64,
    ) -> Result<(), (Done, End)> {
        let Relay {
            flow,
            far,
            located,
            gauge,
            done,
        } = relay;
        let Some(session) = table.asked(flow).map(|flow| flow.session) else {
            return Err((done, End::Idle));
        };
        let located = match located {
            Place::Address(address) => address.into(),
            name @ Place::Name(..) => name,
        };
        let way_out = self.way_out(table, session, &far, &located);
        let (way, exit, route) = match way_out {
            Ok(found) => found,
            Err(end) => {
                if far.is_dead() {
                    // The next packet may ask for a living one.
                    table.end(flow.index, end);
                } else {
                    table.refuse(flow);
                }
                return Err((done, end));
            }
        };
        let carried = Carried {
            way,
            located,
            alias: None,
            exit,
            route,
            gauge: Arc::clone(&gauge),
            turns: Turns::new(&gauge.buckets),
            done: Some(done),
        };
        let waited = table.carry(flow, carried);
        table.touch(flow.index, now);
        table.note_named(flow.index);
        with_boxes(|boxes| {
            boxes.outbox.clear();
            for packet in waited {
                let body = Body::Own(&packet);
                send_up(table, &mut boxes.outbox, &self.tally, flow.index, &body);
            }
            self.flush(&mut boxes.outbox, &[], table, true);
        });
        let waker = Waker::from(Arc::new(CutWaker {
            hub: Arc::downgrade(self),
            flow,
        }));
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
        let route = far.route(located)?;
        let way = table.way(session, far);
        let exits = &mut table.sessions[session as usize].ways[way].exits;
        let slot = &mut exits[usize::from(route.to.is_ipv6())];
        if let Some((exit, _)) = slot {
            return Ok((way, exit.clone(), route));
        }
        let opened = match far.ground() {
            Ground::Sockets(options) => {
                Ground::socket(options, route.to).map(|line| Reader::start(self, line, id, way))
            }
            Ground::Stream(framing, spare) => {
                let stream = lock(spare)
                    .take()
                    .map(|request| request.to(far.first(located)));
                Outlet::start(self, stream, framing, far, (id, way))
            }
        };
        let (exit, task) = opened.map_err(|error| End::Far(error.kind()))?;
        *slot = Some((exit.clone(), task));
        Ok((way, exit, route))
    }
}

/// An association has one session.
fn most_sessions(options: &PacketOptions) -> usize {
    if options.only.is_some() {
        1
    } else {
        options.sessions
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

/// The task of one far socket.
struct Reader {
    hub: Arc<Hub>,
    line: Arc<Line>,
    session: SessionId,
    way: usize,
}

impl Reader {
    fn start(
        hub: &Arc<Hub>,
        line: Arc<Line>,
        session: SessionId,
        way: usize,
    ) -> (Exit, AbortHandle) {
        let exit = Exit::Line(Arc::clone(&line));
        let reader = Self {
            hub: Arc::clone(hub),
            line,
            session,
            way,
        };
        (exit, tokio::spawn(reader).abort_handle())
    }
}

impl Future for Reader {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        poll_rounds(&self.line, cx, |boxes| {
            let alive = self
                .hub
                .take_down(boxes, &self.line, self.session, self.way)?;
            if alive {
                Ok(())
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        })
    }
}

/// Take some batches while the socket has any. Ready when it is of no use any more.
pub fn poll_rounds(
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

/// A panic elsewhere leaves the data as they are: whole at every step that matters.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
