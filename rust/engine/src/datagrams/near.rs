//! The listener as its owner sees it, whatever its near end is, and its one task: of the near end, the
//! clock and the mail.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

use super::asks::Asks;
use super::codec::Codec;
use super::hub::{Hub, Mail};
use super::options::PacketOptions;
use super::tally::Stats;
use crate::lock::lock;
use crate::messages::Quick;
use crate::reactor::Reactors;
use crate::relay::End;
use crate::udp::Exit;

/// Where packets of sources come in, and answers leave: a socket, a stream, this process itself.
pub trait Near: Send + Unpin + 'static {
    /// What packets for the sources leave by.
    fn exit(&self) -> Arc<dyn Exit>;

    /// Give what has come to the hub. Ready when it is of no use any more, with the end of its flows.
    fn poll(&mut self, hub: &Arc<Hub>, cx: &mut Context<'_>) -> Poll<End>;

    /// The listener's clock was looked at: whether it has any flows. Ready as `poll`.
    fn poll_quiet(&mut self, _busy: bool, _cx: &mut Context<'_>) -> Poll<End> {
        Poll::Pending
    }
}

/// A near end and the sessions behind it. Dropping it ends them.
pub struct PacketListener {
    /// Where it listens; unspecified where that is no socket.
    pub address: SocketAddr,
    hub: Arc<Hub>,
}

impl PacketListener {
    /// Take the packets of a near end, on the reactor thread `home` that it was made for; new pairs go
    /// to `asks`, and its end to `told`, when all flows have ended and it is gone.
    pub(crate) fn start(
        near: impl Near,
        (address, home): (SocketAddr, usize),
        codec: Box<dyn Codec>,
        options: &PacketOptions,
        reactors: &Reactors,
        asks: Arc<Asks>,
        told: impl FnOnce(End) + Send + 'static,
    ) -> Self {
        let hub = Arc::new(Hub::new((near.exit(), home), codec, options, asks));
        let mut teller = Teller(End::Closed, Some(told));
        let shared = Arc::clone(&hub);
        reactors.spawn(home, async move {
            let keeper = Keeper::new(Arc::clone(&shared));
            let task = Task {
                keeper,
                hub: shared,
                near,
            };
            teller.learn(task.await);
        });
        Self { address, hub }
    }

    /// Have DNS queries (to port 53) answered by a table, as far as it can.
    pub fn answer_by(&self, quick: Quick) {
        *lock(&self.hub.quick) = Some(quick);
    }

    /// What it did so far.
    pub fn stats(&self) -> Stats {
        self.hub.tally.stats(&*self.hub.exit)
    }
}

impl Drop for PacketListener {
    fn drop(&mut self) {
        self.hub.closed.store(true, Ordering::Release);
        self.hub.waker.wake();
    }
}

/// Tells when all else is over, also when the engine stops.
struct Teller<F: FnOnce(End)>(End, Option<F>);

impl<F: FnOnce(End)> Teller<F> {
    fn learn(&mut self, end: End) {
        self.0 = end;
    }
}

impl<F: FnOnce(End)> Drop for Teller<F> {
    fn drop(&mut self) {
        if let Some(told) = self.1.take() {
            told(self.0);
        }
    }
}

/// The task of a listener.
struct Task<N> {
    hub: Arc<Hub>,
    keeper: Keeper,
    near: N,
}

impl<N: Near> Task<N> {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.keeper.poll_mail(cx).is_ready() {
            return Poll::Ready(End::Closed);
        }
        if let Poll::Ready(end) = self.near.poll(&self.hub, cx) {
            return Poll::Ready(end);
        }
        let busy = self.keeper.poll_clock(cx);
        self.near.poll_quiet(busy, cx)
    }
}

impl<N: Near> Future for Task<N> {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let end = ready!(self.poll_end(cx));
        self.hub.with_table(|table| table.end_all(end));
        Poll::Ready(end)
    }
}

/// The clock and the mail of a listener. Its sessions end with it.
struct Keeper {
    hub: Arc<Hub>,
    timer: Pin<Box<Sleep>>,
    armed: bool,
}

impl Keeper {
    fn new(hub: Arc<Hub>) -> Self {
        Self {
            timer: Box::pin(sleep_until(hub.begun)),
            hub,
            armed: false,
        }
    }

    /// Do what was asked for. Ready when the listener was closed.
    fn poll_mail(&self, cx: &Context<'_>) -> Poll<()> {
        self.hub.waker.register(cx.waker());
        if self.hub.closed.load(Ordering::Acquire) {
            return Poll::Ready(());
        }
        self.hub.open_mail();
        Poll::Pending
    }

    /// End what is idle; whether any flow is left.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> bool {
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
