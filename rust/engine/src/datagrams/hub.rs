//! What the tasks of a listener share: one reads the near end and one each far end, all on one reactor
//! thread, so the table's lock is never waited for. Other threads write mail.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use tokio::time::Instant;

use super::address::Place;
use super::asks::{Asks, Desk, Pass};
use super::codec::Codec;
use super::far::{Far, FarHandle, Route, User};
use super::ground::{Back, Work};
use super::ids::{FlowId, SessionId};
use super::options::PacketOptions;
use super::road::{Body, Down, Pairs, Up, send_up};
use super::session::{Carried, Done, State};
use super::table::Table;
use super::tally::Tally;
use super::wheel::TICKS;
use crate::bucket::Turns;
use crate::lock::lock;
use crate::messages::Quick;
use crate::relay::End;
use crate::udp::{Boxes, Exit, Messages, Outbox, with_boxes};

/// What other threads tell the listener's task.
pub enum Mail {
    Pass(Box<Pass>),
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
        if let Self::Pass(pass) = self {
            (pass.done)(End::Closed);
        }
    }
}

/// The number of the way, what packets leave by, and how.
type WayOut = (usize, Arc<dyn Exit>, Route);

/// What the tasks of a listener share.
pub struct Hub {
    /// What packets for the sources leave by.
    pub exit: Arc<dyn Exit>,
    /// The reactor its tasks run on.
    pub home: usize,
    /// Locked with the table, and after it.
    codec: Mutex<Box<dyn Codec>>,
    table: Mutex<Table>,
    pub mail: Mutex<Vec<Mail>>,
    pub waker: AtomicWaker,
    pub closed: AtomicBool,
    asks: Arc<Asks>,
    /// What answers DNS queries before anybody is asked.
    pub quick: Mutex<Option<Quick>>,
    pub tally: Tally,
    pub begun: Instant,
    pub tick: Duration,
}

impl Hub {
    /// Of a near end, with an empty table.
    pub fn new(
        (exit, home): (Arc<dyn Exit>, usize),
        codec: Box<dyn Codec>,
        options: &PacketOptions,
        asks: Arc<Asks>,
    ) -> Self {
        let sessions = options.most_sessions();
        Self {
            exit,
            home,
            codec: Mutex::new(codec),
            table: Mutex::new(Table::new(sessions, options.targets, options.waiting)),
            mail: Mutex::default(),
            waker: AtomicWaker::new(),
            closed: AtomicBool::new(false),
            asks,
            quick: Mutex::default(),
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
            let desk: Arc<dyn Desk> = Arc::clone(self) as _;
            let mut codec = lock(&self.codec);
            let mut up = Up {
                pairs: Pairs {
                    desk: &desk,
                    asks: &self.asks,
                    tally: &self.tally,
                    table,
                    now,
                },
                opens: codec.opens(),
                quick: lock(&self.quick).clone(),
                exit: &self.exit,
                codec: &mut **codec,
                outbox: &mut boxes.outbox,
                data,
                known: None,
            };
            let result = work(&mut up, &inbox);
            self.flush(&mut boxes.outbox, boxes.inbox.data(), table, true);
            result
        })
    }

    fn flush(&self, outbox: &mut Outbox, data: &[u8], table: &Table, up: bool) {
        outbox.flush(data, &self.tally.losses, |flow, bytes| {
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

    /// Have what came for a session into the inbox sent. False when the session is gone.
    fn with_down(
        &self,
        boxes: &mut Boxes,
        (session, way): (SessionId, usize),
        work: &mut Work<'_>,
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
            let mut down = Down {
                exit: &self.exit,
                tally: &self.tally,
                far: &far,
                table,
                codec: &mut **lock(&self.codec),
                outbox: &mut boxes.outbox,
                data,
                now,
                session,
                origin,
                way,
                to,
                from,
                packets: 0,
                known: None,
            };
            work(&mut down, &inbox);
            self.tally.packets_down.fetch_add(down.packets, Relaxed);
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
                Mail::Pass(pass) => self.begin(table, *pass, now).err(),
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
    fn begin(self: &Arc<Self>, table: &mut Table, pass: Pass, now: u64) -> Result<(), (Done, End)> {
        let Pass {
            flow,
            far,
            located,
            gauge,
            done,
        } = pass;
        let Some(session) = table.asked(flow).map(|flow| flow.session) else {
            return Err((done, End::Idle));
        };
        let located = located.canonical();
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
        let user: Weak<dyn User> = Arc::downgrade(self) as _;
        far.claim(&user, id)?;
        let route = far.route(located)?;
        let way = table.way(session, far);
        let exits = &mut table.sessions[session as usize].ways[way].exits;
        let slot = &mut exits[usize::from(route.lead.to.is_ipv6())];
        if let Some((exit, _)) = slot {
            return Ok((way, Arc::clone(exit), route));
        }
        let back = Return {
            hub: Arc::clone(self),
            far: Arc::downgrade(far),
            session: id,
            way,
        };
        let opened = far
            .ground()
            .open(route.lead.to, far.first(located), Box::new(back));
        let (exit, task) = opened.map_err(|error| End::Far(error.kind()))?;
        *slot = Some((Arc::clone(&exit), task));
        Ok((way, exit, route))
    }
}

impl Desk for Hub {
    fn pass(&self, pass: Pass) {
        self.mail(Mail::Pass(Box::new(pass)));
    }

    fn refuse(&self, flow: FlowId) {
        self.mail(Mail::Refuse(flow));
    }

    fn waiting(&self, flow: FlowId) -> Vec<Box<[u8]>> {
        lock(&self.table).waiting(flow).to_vec()
    }
}

impl User for Hub {
    fn lost(&self, session: SessionId, far: usize, end: End) {
        self.mail(Mail::Dead { session, far, end });
    }
}

/// Where the answers of one way of a session go.
struct Return {
    hub: Arc<Hub>,
    far: Weak<Far>,
    session: SessionId,
    way: usize,
}

impl Back for Return {
    fn home(&self) -> usize {
        self.hub.home
    }

    fn take(&self, boxes: &mut Boxes, work: &mut Work<'_>) -> bool {
        self.hub.with_down(boxes, (self.session, self.way), work)
    }

    fn end(&self, kind: io::ErrorKind) {
        if let Some(far) = self.far.upgrade() {
            far.kill(End::Far(kind));
        }
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
