//! The listener as its owner sees it, and the task of its socket, of the clock and of the mail.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::{Instant, Sleep, sleep_until};

use super::batch::{Exit, Line};
use super::codec::Place;
use super::far::FarHandle;
use super::hub::{Hub, Mail, Relay, lock, poll_rounds};
use super::mmsg;
use super::session::{Done, FlowId};
use super::{Codec, PacketOptions, Stats};
use crate::reactor::Reactors;
use crate::relay::{End, Gauge};

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
        Arc::new(Self {
            waiting: Mutex::default(),
            signal: Box::new(signal),
        })
    }

    /// Take all that have come.
    pub fn take(&self) -> Vec<Ask> {
        std::mem::take(&mut *lock(&self.waiting))
    }

    /// Whether it was taken in.
    pub(super) fn add(&self, ask: Ask) -> bool {
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
    /// Which of several users of the listener's keys it is.
    pub user: Option<u32>,
    pub(super) flow: FlowId,
    pub(super) hub: Weak<Hub>,
}

impl Ask {
    /// Let its packets pass by `far` to `located`, the target in a form that `far` can carry. What
    /// waited goes first. `done` is called exactly once, perhaps before this returns.
    pub fn relay(mut self, far: &FarHandle, located: Place, gauge: Arc<Gauge>, done: Done) {
        let far = Arc::clone(far);
        match std::mem::take(&mut self.hub).upgrade() {
            Some(hub) => hub.mail(Mail::Relay(Box::new(Relay {
                flow: self.flow,
                far,
                located,
                gauge,
                done,
            }))),
            None => done(End::Closed),
        }
    }

    /// Copies of the packets that wait with it, in the order they came.
    pub fn waiting(&self) -> Vec<Box<[u8]>> {
        self.hub
            .upgrade()
            .map_or_else(Vec::new, |hub| lock(&hub.table).waiting(self.flow).to_vec())
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
    /// Where it listens; unspecified for a stream.
    pub address: SocketAddr,
    pub(super) hub: Arc<Hub>,
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
        let socket = Socket::new(
            Domain::for_address(address),
            Type::DGRAM,
            Some(Protocol::UDP),
        )?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&address.into())?;
        if address.ip().is_unspecified() {
            // Answers must leave from the address that was asked.
            if address.is_ipv4() {
                mmsg::set_option(socket.as_fd(), libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
            } else {
                mmsg::set_option(
                    socket.as_fd(),
                    libc::IPPROTO_IPV6,
                    libc::IPV6_RECVPKTINFO,
                    1,
                )?;
            }
        }
        let bound = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let home = reactors.next_home();
        let reactor = reactors.home(home)?;
        let _entered = reactor.enter();
        let line = Arc::new(Line::new(socket)?);
        let exit = Exit::Line(Arc::clone(&line));
        let hub = Hub::new((exit, home), codec, options, asks).map_err(io::Error::other)?;
        let hub = Arc::new(hub);
        reactor.spawn(Near::new(Arc::clone(&hub), line));
        Ok(Self {
            address: bound,
            hub,
        })
    }

    /// What it did so far.
    pub fn stats(&self) -> Stats {
        self.hub.tally.stats(&self.hub.exit)
    }
}

impl Drop for PacketListener {
    fn drop(&mut self) {
        self.hub.closed.store(true, Ordering::Release);
        self.hub.waker.wake();
    }
}

/// The clock and the mail of a listener. Its sessions end with it.
pub(super) struct Keeper {
    hub: Arc<Hub>,
    timer: Pin<Box<Sleep>>,
    armed: bool,
}

impl Keeper {
    pub fn new(hub: Arc<Hub>) -> Self {
        Self {
            timer: Box::pin(sleep_until(hub.begun)),
            hub,
            armed: false,
        }
    }

    /// Do what was asked for. Ready when the listener was closed.
    pub fn poll_mail(&self, cx: &Context<'_>) -> Poll<()> {
        self.hub.waker.register(cx.waker());
        if self.hub.closed.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.hub.open_mail();
        Poll::Pending
    }

    /// End what is idle; whether any flow is left.
    pub fn poll_clock(&mut self, cx: &mut Context<'_>) -> bool {
        if self.armed && self.timer.as_mut().poll(cx).is_pending() {
            return self.hub.tally.flows.load(Ordering::Relaxed) > 0;
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
        self.armed
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.hub.closed.store(true, Ordering::Release);
        self.hub.with_table(|table| table.end_all(End::Closed));
        // What was asked of a listener that is gone.
        let unread = std::mem::take(&mut *lock(&self.hub.mail));
        unread.into_iter().for_each(Mail::bounce);
    }
}

/// The task of the near socket.
struct Near {
    hub: Arc<Hub>,
    line: Arc<Line>,
    keeper: Keeper,
    port: Option<u16>,
}

impl Near {
    fn new(hub: Arc<Hub>, line: Arc<Line>) -> Self {
        let port = hub.only.map(|only| only.port());
        Self {
            keeper: Keeper::new(Arc::clone(&hub)),
            hub,
            line,
            port: port.filter(|port| *port != 0),
        }
    }
}

impl Future for Near {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.keeper.poll_mail(cx).is_ready() {
            return Poll::Ready(());
        }
        let polled = poll_rounds(&this.line, cx, |boxes| {
            this.hub.take_up(boxes, &this.line, &mut this.port)
        });
        this.keeper.poll_clock(cx);
        polled
    }
}
