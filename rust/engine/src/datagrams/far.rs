//! Ways out: a ground, and layers over it that put each packet in a header for a relay, or seal it for
//! a server.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use tokio::task::AbortHandle;

use super::address::{Place, Scratch, Spot};
use super::ground::{Ground, Lead};
use super::hop::{Envelope, Hop, Station};
use super::ids::SessionId;
use super::tally::Bad;
use crate::lock::lock;
use crate::relay::End;

/// A way out as its owners hold it: one for the ledger, one for each target.
pub type FarHandle = Arc<Far>;

/// A way out for the packets of one session. Its ground opens when the first packet needs it, so that
/// all targets see one mapping.
pub struct Far {
    ground: Arc<dyn Ground>,
    /// The relays and servers on the way, the nearest first.
    stations: Vec<Station>,
    inner: Option<FarHandle>,
    outer: OnceLock<Weak<Self>>,
    watcher: OnceLock<AbortHandle>,
    state: Mutex<State>,
}

/// Whose sessions use ways out.
pub trait User: Send + Sync {
    /// A way that a session uses, known by its address in memory, has died.
    fn lost(&self, session: SessionId, far: usize, end: End);
}

/// How packets for one target leave.
pub struct Route {
    /// From the ground, to the first station.
    pub lead: Lead,
    /// What goes around each payload.
    pub envelope: Envelope,
}

#[derive(Default)]
struct State {
    dead: Option<End>,
    user: Option<(Weak<dyn User>, SessionId)>,
}

impl Far {
    /// A way that is a ground alone.
    pub fn on(ground: Arc<dyn Ground>) -> FarHandle {
        Self::with(ground, Vec::new(), None)
    }

    /// A way through `inner` to one more station. `inner` must not be given to a session itself.
    pub fn over(inner: &FarHandle, place: Place, hop: Arc<dyn Hop>) -> FarHandle {
        let place = place.canonical();
        let stations = inner.stations.iter().cloned();
        let stations = stations.chain([Station { place, hop }]).collect();
        let far = Self::with(Arc::clone(&inner.ground), stations, Some(Arc::clone(inner)));
        let _ = inner.outer.set(Arc::downgrade(&far));
        if let Some(end) = inner.dead() {
            far.kill(end);
        }
        far
    }

    fn with(
        ground: Arc<dyn Ground>,
        stations: Vec<Station>,
        inner: Option<FarHandle>,
    ) -> FarHandle {
        Arc::new(Self {
            ground,
            stations,
            inner,
            outer: OnceLock::new(),
            watcher: OnceLock::new(),
            state: Mutex::default(),
        })
    }

    /// Keep a task for as long as this lives.
    pub(super) fn keep(&self, watcher: AbortHandle) {
        let _ = self.watcher.set(watcher);
    }

    /// Close it, and what it stands on: its flows end with `End::Closed`. Idempotent.
    pub fn close(&self) {
        self.kill(End::Closed);
    }

    pub(super) fn kill(&self, end: End) {
        let mut state = lock(&self.state);
        if state.dead.is_some() {
            return;
        }
        state.dead = Some(end);
        let user = state.user.take();
        drop(state);
        if let Some(watcher) = self.watcher.get() {
            watcher.abort();
        }
        if let Some((user, session)) = user
            && let Some(user) = user.upgrade()
        {
            user.lost(session, std::ptr::from_ref(self).addr(), end);
        }
        if let Some(outer) = self.outer.get().and_then(Weak::upgrade) {
            outer.kill(end);
        }
        match &self.inner {
            Some(inner) => inner.kill(End::Closed),
            None => self.ground.close(),
        }
    }

    fn dead(&self) -> Option<End> {
        lock(&self.state).dead
    }

    /// Whether it has ended: closed, or its control stream is gone.
    pub fn is_dead(&self) -> bool {
        self.dead().is_some()
    }

    /// Take it for a session. Fails when it is dead or serves another one.
    pub(super) fn claim(&self, user: &Weak<dyn User>, session: SessionId) -> Result<(), End> {
        let mut state = lock(&self.state);
        if let Some(end) = state.dead {
            return Err(end);
        }
        let taken = self
            .outer
            .get()
            .is_some_and(|outer| outer.strong_count() > 0);
        match &state.user {
            None if !taken => state.user = Some((Weak::clone(user), session)),
            Some((by, of)) if *of == session && std::ptr::addr_eq(by.as_ptr(), user.as_ptr()) => {}
            _ => return Err(End::Far(io::ErrorKind::InvalidInput)),
        }
        Ok(())
    }

    /// How packets for `target` leave.
    pub(super) fn route(&self, target: &Place) -> Result<Route, End> {
        let lead = self.ground.lead(self.first(target));
        Ok(Route {
            lead: lead.ok_or(End::Far(io::ErrorKind::InvalidInput))?,
            envelope: Envelope::new(&self.stations, target),
        })
    }

    /// The real sender of a packet that came from `from`, and where its payload is when it has been
    /// opened in place.
    pub(super) fn unwrap<'a>(
        &self,
        from: Spot<'a>,
        packet: &mut [u8],
        scratch: &'a mut Scratch,
    ) -> Result<(Spot<'a>, Range<usize>), Bad> {
        let Some((last, before)) = self.stations.split_last() else {
            return Ok((from, 0..packet.len()));
        };
        let nearest = &self.stations[0].place;
        if matches!(nearest, Place::Address(_)) && from != nearest.spot() {
            return Err(Bad::Stranger);
        }
        let mut left = 0..packet.len();
        for (station, next) in before.iter().zip(&self.stations[1..]) {
            let sender = open(station, packet, &mut left, scratch)?;
            // A relay known by name answers from an address that only the relay before it knows.
            if matches!(next.place, Place::Address(_)) && sender != next.place.spot() {
                return Err(Bad::Stranger);
            }
        }
        let sender = open(last, packet, &mut left, scratch)?;
        Ok((sender, left))
    }

    /// Where packets for `target` go first: to the nearest station, or there themselves.
    pub(super) fn first<'a>(&'a self, target: &'a Place) -> &'a Place {
        self.stations
            .first()
            .map_or(target, |station| &station.place)
    }

    /// What it stands on.
    pub(super) fn ground(&self) -> &dyn Ground {
        &*self.ground
    }
}

/// Open what is left of a packet, which is narrowed to what was in it; its sender.
fn open<'a>(
    station: &Station,
    packet: &mut [u8],
    left: &mut Range<usize>,
    scratch: &'a mut Scratch,
) -> Result<Spot<'a>, Bad> {
    let part = packet.get_mut(left.clone()).ok_or(Bad::Malformed)?;
    let (sender, body) = station.hop.open(part, scratch)?;
    *left = left.start + body.start..left.start + body.end;
    Ok(sender)
}

impl Drop for Far {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.abort();
        }
    }
}
