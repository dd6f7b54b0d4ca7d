//! The ways out: a direct one, one inside a stream, and layers over these that put each packet in a
//! header for a relay, or seal it for a server.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, ready};

use futures_util::future::poll_fn;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::AbortHandle;

use super::batch::Line;
use super::codec::{self, Place, Spot};
use super::framed::Framing;
use super::hub::{Hub, lock};
use super::sealed::{Bad, Client, TAIL};
use super::session::SessionId;
use crate::dial::DialOptions;
use crate::failure::Failure;
use crate::reactor::Reactors;
use crate::relay::End;
use crate::stream::{Stream, Want};

/// A way out as its owners hold it: one for the ledger, one for each target.
pub type FarHandle = Arc<Far>;

/// A way out for the packets of one session. A direct one opens a socket per address family when the
/// first packet needs it, so that all targets see one mapping.
pub struct Far {
    ground: Arc<Ground>,
    /// The relays and servers on the way, the nearest first.
    hops: Vec<Arc<Hop>>,
    inner: Option<FarHandle>,
    outer: OnceLock<Weak<Self>>,
    watcher: OnceLock<AbortHandle>,
    state: Mutex<State>,
}

/// What all layers of a way stand on.
pub(super) enum Ground {
    /// UDP sockets made with these options.
    Sockets(DialOptions),
    /// A stream, until a session takes it up, and how packets look in it.
    Stream(Framing, Mutex<Option<Request>>),
}

/// A stream whose request is still to be sent: what it holds, the first packet's target in SOCKS5's
/// form, and this. Servers route by that target, though none says that they do.
pub(super) struct Request {
    pub stream: Stream,
    pub tail: Vec<u8>,
}

impl Request {
    /// The stream, with its request for a target held.
    pub fn to(self, target: &Place) -> Stream {
        let Self { mut stream, tail } = self;
        codec::encode_place(target.spot(), &mut stream.held);
        stream.held.extend_from_slice(&tail);
        stream
    }
}

/// How packets for one target leave.
pub struct Route {
    /// The address that a socket sends them to.
    pub to: SocketAddr,
    /// The address that each frame of a stream shows.
    pub frame: Box<[u8]>,
    /// What goes around each payload.
    pub envelope: Envelope,
}

/// A station on the way, and how packets are made for it: SOCKS5, or sealed.
struct Hop {
    place: Place,
    client: Option<Mutex<Client>>,
}

impl Hop {
    fn new(place: Place, client: Option<Client>) -> Arc<Self> {
        let place = match place {
            Place::Address(address) => address.into(),
            name @ Place::Name(..) => name,
        };
        let client = client.map(Mutex::new);
        Arc::new(Self { place, client })
    }
}

impl Hop {
    /// Open what is left of a packet; its sender, and the length of its header. `left` is narrowed to
    /// what was in it.
    fn sender<'a>(
        &self,
        packet: &mut [u8],
        left: &mut Range<usize>,
        scratch: &'a mut codec::Scratch,
    ) -> Result<(Spot<'a>, usize), Bad> {
        let part = packet.get_mut(left.clone()).ok_or(Bad::Malformed)?;
        let Some(client) = &self.client else {
            return codec::decode(part, scratch).ok_or(Bad::Malformed);
        };
        let body = lock(client).open(part)?;
        *left = left.start + body.start..left.start + body.end;
        let plain = part.get(body).ok_or(Bad::Malformed)?;
        codec::decode_place(plain, scratch).ok_or(Bad::Malformed)
    }
}

/// What goes around each payload of a flow.
pub enum Envelope {
    /// These bytes before it.
    Plain(Box<[u8]>),
    /// Layers, the outermost first.
    Sealed(Box<[Fold]>),
}

impl Default for Envelope {
    fn default() -> Self {
        Self::Plain(Box::default())
    }
}

/// One layer of an envelope: the next station's address, sealed with all behind it or not.
pub struct Fold {
    hop: Arc<Hop>,
    head: Box<[u8]>,
    port: u16,
}

impl Fold {
    fn new(hop: &Arc<Hop>, next: Spot<'_>) -> Self {
        let mut head = Vec::new();
        match hop.client {
            Some(_) => codec::encode_place(next, &mut head),
            None => codec::encode(next, &mut head),
        }
        Self {
            hop: Arc::clone(hop),
            head: head.into_boxed_slice(),
            port: next.port(),
        }
    }
}

/// Append the packet that these layers make of a payload. False when it cannot be sealed.
pub fn wrap(folds: &[Fold], payload: &[u8], arena: &mut Vec<u8>) -> bool {
    let Some((fold, rest)) = folds.split_first() else {
        arena.extend_from_slice(payload);
        return true;
    };
    let Some(client) = &fold.hop.client else {
        arena.extend_from_slice(&fold.head);
        return wrap(rest, payload, arena);
    };
    let mut client = lock(client);
    let padding = client.padding(fold.port, payload.len());
    let begin = arena.len();
    arena.resize(begin + client.prefix(padding), 0);
    arena.extend_from_slice(&fold.head);
    if !wrap(rest, payload, arena) {
        return false;
    }
    arena.resize(arena.len() + TAIL, 0);
    client.seal(&mut arena[begin..], padding)
}

#[derive(Default)]
struct State {
    dead: Option<End>,
    user: Option<(Weak<Hub>, SessionId)>,
}

impl Far {
    /// A direct way: packets leave by UDP sockets made with `options`. It carries addresses only.
    pub fn direct(options: DialOptions) -> FarHandle {
        Self::with(Arc::new(Ground::Sockets(options)), Vec::new(), None)
    }

    /// A way inside a stream that leads to who understands `framing`. It carries names too; it ends
    /// with the stream, and the stream with it. What the stream holds goes out with the first packets,
    /// behind it the first one's target in SOCKS5's form and `tail`.
    pub fn framed(stream: Stream, framing: Framing, tail: Vec<u8>) -> FarHandle {
        let request = Request { stream, tail };
        let ground = Ground::Stream(framing, Mutex::new(Some(request)));
        Self::with(Arc::new(ground), Vec::new(), None)
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
        let far = Self::over(inner, Hop::new(relay, None));
        match reactors.home(control.home) {
            Ok(home) => {
                let watcher = home.spawn(watch(control, Arc::downgrade(&far)));
                let _ = far.watcher.set(watcher.abort_handle());
            }
            Err(_) => far.kill(End::Closed),
        }
        far
    }

    /// A way through `inner` to a shadowsocks server, one session of its own there. It carries names.
    /// `inner` must not be given to a session itself.
    pub fn wrap_sealed(inner: &FarHandle, server: Place, client: Client) -> FarHandle {
        Self::over(inner, Hop::new(server, Some(client)))
    }

    fn over(inner: &FarHandle, hop: Arc<Hop>) -> FarHandle {
        let hops = inner.hops.iter().cloned().chain([hop]).collect();
        let far = Self::with(Arc::clone(&inner.ground), hops, Some(Arc::clone(inner)));
        let _ = inner.outer.set(Arc::downgrade(&far));
        if let Some(end) = inner.dead() {
            far.kill(end);
        }
        far
    }

    fn with(ground: Arc<Ground>, hops: Vec<Arc<Hop>>, inner: Option<FarHandle>) -> FarHandle {
        Arc::new(Self {
            ground,
            hops,
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

    pub(super) fn kill(&self, end: End) {
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
        match (&self.inner, &*self.ground) {
            (Some(inner), _) => inner.kill(End::Closed),
            (None, Ground::Stream(_, spare)) => drop(lock(spare).take()),
            (None, Ground::Sockets(_)) => {}
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

    /// How packets for `target` leave.
    pub(super) fn route(&self, target: &Place) -> Result<Route, End> {
        let mut stations = self.hops.iter().map(|hop| &hop.place).chain([target]);
        let mut frame = Vec::new();
        let to = match (&*self.ground, stations.next()) {
            (Ground::Sockets(_), Some(Place::Address(first))) => *first,
            (Ground::Stream(framing, _), Some(first)) => {
                framing.put_address(first.spot(), &mut frame);
                (Ipv4Addr::UNSPECIFIED, 0).into()
            }
            _ => return Err(End::Far(io::ErrorKind::InvalidInput)),
        };
        let folds = self.hops.iter().zip(stations);
        let folds = folds.map(|(hop, next)| Fold::new(hop, next.spot()));
        let envelope = if self.hops.iter().any(|hop| hop.client.is_some()) {
            Envelope::Sealed(folds.collect())
        } else {
            Envelope::Plain(folds.flat_map(|fold| fold.head).collect())
        };
        Ok(Route {
            to,
            frame: frame.into_boxed_slice(),
            envelope,
        })
    }

    /// The real sender of a packet that came from `from`, and where its payload is when it has been
    /// opened in place.
    pub(super) fn unwrap<'a>(
        &self,
        from: Spot<'a>,
        packet: &mut [u8],
        scratch: &'a mut codec::Scratch,
    ) -> Result<(Spot<'a>, Range<usize>), Bad> {
        let Some((last, before)) = self.hops.split_last() else {
            return Ok((from, 0..packet.len()));
        };
        let nearest = &self.hops[0].place;
        if matches!(nearest, Place::Address(_)) && from != nearest.spot() {
            return Err(Bad::Stranger);
        }
        let mut left = 0..packet.len();
        for (hop, next) in before.iter().zip(&self.hops[1..]) {
            let (sender, n) = hop.sender(packet, &mut left, scratch)?;
            // A relay known by name answers from an address that only the relay before it knows.
            if matches!(next.place, Place::Address(_)) && sender != next.place.spot() {
                return Err(Bad::Stranger);
            }
            left.start += n;
        }
        let (sender, n) = last.sender(packet, &mut left, scratch)?;
        Ok((sender, left.start + n..left.end))
    }

    /// Where packets for `target` go first: to the nearest hop, or there themselves.
    pub(super) fn first<'a>(&'a self, target: &'a Place) -> &'a Place {
        self.hops.first().map_or(target, |hop| &hop.place)
    }

    /// What it stands on.
    pub(super) fn ground(&self) -> &Ground {
        &self.ground
    }
}

impl Ground {
    /// Open a socket of the family that `to` needs.
    pub fn socket(options: &DialOptions, to: SocketAddr) -> io::Result<Arc<Line>> {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        options.mark_socket(&socket)?;
        if to.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if let Some(bind) = options.bind {
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
