//! New (session, target) pairs, and what their owner answers.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, Weak};

use super::address::Place;
use super::far::FarHandle;
use super::ids::FlowId;
use super::session::Done;
use crate::lock::lock;
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

/// Where asks come from and verdicts go.
pub trait Desk: Send + Sync {
    /// The verdict is yes.
    fn pass(&self, pass: Pass);
    /// The verdict is no, if there was none before.
    fn refuse(&self, flow: FlowId);
    /// Copies of the packets that wait for it.
    fn waiting(&self, flow: FlowId) -> Vec<Box<[u8]>>;
}

/// A yes.
pub struct Pass {
    pub flow: FlowId,
    pub far: FarHandle,
    pub located: Place,
    pub gauge: Arc<Gauge>,
    pub done: Done,
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
    /// None once it was answered.
    pub(super) desk: Option<Weak<dyn Desk>>,
}

impl Ask {
    /// Let its packets pass by `far` to `located`, the target in a form that `far` can carry. What
    /// waited goes first. `done` is called exactly once, perhaps before this returns.
    pub fn relay(mut self, far: &FarHandle, located: Place, gauge: Arc<Gauge>, done: Done) {
        let Some(desk) = self.desk.take().as_ref().and_then(Weak::upgrade) else {
            return done(End::Closed);
        };
        desk.pass(Pass {
            flow: self.flow,
            far: Arc::clone(far),
            located,
            gauge,
            done,
        });
    }

    /// Copies of the packets that wait with it, in the order they came.
    pub fn waiting(&self) -> Vec<Box<[u8]>> {
        self.desk
            .as_ref()
            .and_then(Weak::upgrade)
            .map_or_else(Vec::new, |desk| desk.waiting(self.flow))
    }

    /// Drop its packets. This is remembered for the idle limit, then a packet asks anew.
    pub fn refuse(self) {}
}

impl Drop for Ask {
    fn drop(&mut self) {
        if let Some(desk) = self.desk.take().as_ref().and_then(Weak::upgrade) {
            desk.refuse(self.flow);
        }
    }
}
