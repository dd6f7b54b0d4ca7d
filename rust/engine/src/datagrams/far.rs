//! The ways out: a direct one, and layers over it that put each packet in a header for a relay.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures_util::future::poll_fn;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::AbortHandle;

use super::batch::Line;
use super::codec::{self, Place, Spot};
use super::hub::Hub;
use super::session::SessionId;
use crate::dial::DialOptions;
use crate::failure::Failure;
use crate::reactor::Reactors;
use crate::relay::End;
use crate::stream::{Stream, Want};

/// A way out as its owners hold it: one for the ledger, one for each target.
pub type FarHandle = Arc<Far>;

/// A way out for the packets of one session. It opens a socket per address family when the first
/// packet needs it, so that all targets see one mapping.
pub struct Far {
    options: DialOptions,
    /// The relays on the way, the nearest first.
    relays: Vec<Place>,
    inner: Option<FarHandle>,
    outer: OnceLock<Weak<Self>>,
    watcher: OnceLock<AbortHandle>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    dead: Option<End>,
    user: Option<(Weak<Hub>, SessionId)>,
}

impl Far {
    /// A direct way: packets leave by UDP sockets made with `options`. It carries addresses only.
    pub fn direct(options: DialOptions) -> FarHandle {
        Self::with(options, Vec::new(), None)
    }

    /// A way through `inner` to a SOCKS5 relay, which carries names too. It lives as long as `control`
    /// (RFC 1928, section 6): when that ends, the flows of this way and of all built on it end with
    /// `End::Far`. `inner` must not be given to a session itself.
    pub fn wrap_socks5(
        inner: &FarHandle,
        relay: Place,
        control: Stream,
        reactors: &Reactors,
    ) -> FarHandle {
        let mut relays = inner.relays.clone();
        relays.push(match relay {
            Place::Address(address) => address.into(),
            name @ Place::Name(..) => name,
        });
        let far = Self::with(inner.options.clone(), relays, Some(Arc::clone(inner)));
        let _ = inner.outer.set(Arc::downgrade(&far));
        if let Some(end) = inner.dead() {
            far.kill(end);
        }
        let watcher = reactors
            .home(control.home)
            .spawn(watch(control, Arc::downgrade(&far)));
        let _ = far.watcher.set(watcher.abort_handle());
        far
    }

    fn with(options: DialOptions, relays: Vec<Place>, inner: Option<FarHandle>) -> FarHandle {
        Arc::new(Self {
            options,
            relays,
            inner,
            outer: OnceLock::new(),
            watcher: OnceLock::new(),
            state: Mutex::default(),
        })
    }

    /// Close it, and what it stands on: its flows end with `End::Closed`. Idempotent.
    pub fn close(&self) {
        self.kill(End::Closed);
    }

    fn kill(&self, end: End) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.dead.is_some() {
            return;
        }
        state.dead = Some(end);
        let user = state.user.take();
        drop(state);
        if let Some(watcher) = self.watcher.get() {
            watcher.abort();
        }
        if let Some((hub, session)) = user
            && let Some(hub) = hub.upgrade()
        {
            hub.tell_dead(session, std::ptr::from_ref(self).addr(), end);
        }
        if let Some(outer) = self.outer.get().and_then(Weak::upgrade) {
            outer.kill(end);
        }
        if let Some(inner) = &self.inner {
            inner.kill(End::Closed);
        }
    }

    fn dead(&self) -> Option<End> {
        self.state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .dead
    }

    /// Whether it has ended: closed, or its control stream is gone.
    pub fn is_dead(&self) -> bool {
        self.dead().is_some()
    }

    /// Take it for a session. Fails when it is dead or serves another one.
    pub(super) fn claim(&self, hub: &Arc<Hub>, session: SessionId) -> Result<(), End> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(end) = state.dead {
            return Err(end);
        }
        let taken = self
            .outer
            .get()
            .is_some_and(|outer| outer.strong_count() > 0);
        match &state.user {
            None if !taken => state.user = Some((Arc::downgrade(hub), session)),
            Some((user, of)) if *of == session && std::ptr::eq(user.as_ptr(), Arc::as_ptr(hub)) => {
            }
            _ => return Err(End::Far(io::ErrorKind::InvalidInput)),
        }
        Ok(())
    }

    /// How packets for `target` leave: the address they are sent to, and the headers before them.
    pub(super) fn route(&self, target: &Place) -> Result<(SocketAddr, Box<[u8]>), End> {
        let mut hops = self.relays.iter().chain([target]);
        let Some(Place::Address(first)) = hops.next() else {
            return Err(End::Far(io::ErrorKind::InvalidInput));
        };
        let mut head = Vec::new();
        for hop in hops {
            codec::encode(hop.spot(), &mut head);
        }
        Ok((*first, head.into_boxed_slice()))
    }

    /// The real sender of a packet that came from `from`, and the length of the headers before its
    /// payload. None when it did not come by the relays of this way.
    pub(super) fn unwrap<'a>(
        &self,
        from: SocketAddr,
        packet: &[u8],
        scratch: &'a mut codec::Scratch,
    ) -> Option<(Spot<'a>, usize)> {
        let Some((nearest, beyond)) = self.relays.split_first() else {
            return Some((Spot::Address(from), 0));
        };
        if *nearest != Place::Address(from) {
            return None;
        }
        let mut at = 0;
        for relay in beyond {
            let (sender, n) = codec::decode(packet.get(at..)?, scratch)?;
            // A relay known by name answers from an address that only the relay before it knows.
            if matches!(relay, Place::Address(_)) && sender != relay.spot() {
                return None;
            }
            at += n;
        }
        let (sender, n) = codec::decode(packet.get(at..)?, scratch)?;
        Some((sender, at + n))
    }

    /// Whether packets may be for targets known by name alone.
    pub(super) fn carries_names(&self) -> bool {
        !self.relays.is_empty()
    }

    /// Open a socket of the family that `to` needs.
    pub(super) fn open(&self, to: SocketAddr) -> io::Result<Arc<Line>> {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        self.options.mark_socket(&socket)?;
        if to.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if let Some(bind) = self.options.bind {
            if bind.is_ipv4() != to.is_ipv4() {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            }
            socket.bind(&SocketAddr::new(bind, 0).into())?;
        }
        Ok(Arc::new(Line::new(socket)?))
    }
}

impl Drop for Far {
    fn drop(&mut self) {
        if let Some(watcher) = self.watcher.get() {
            watcher.abort();
        }
    }
}

/// Hold the control stream; what comes on it means nothing, its end means all.
async fn watch(mut control: Stream, far: Weak<Far>) {
    let end = poll_fn(|cx| poll_end(&mut control, cx)).await;
    drop(control);
    if let Some(far) = far.upgrade() {
        far.kill(end);
    }
}

fn poll_end(control: &mut Stream, cx: &mut Context<'_>) -> Poll<End> {
    loop {
        let kind = match ready!(control.poll_want(cx, &Want::Some(4096))) {
            Ok(_) => continue,
            Err(Failure::Os(error)) => error.kind(),
            Err(_) => io::ErrorKind::UnexpectedEof,
        };
        return Poll::Ready(End::Far(kind));
    }
}
