//! Sources, targets and an owner on loopback, played by the test.

pub use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
pub use std::os::unix::net::UnixStream;
pub use std::sync::Arc;
pub use std::sync::atomic::Ordering::Relaxed;
pub use std::sync::mpsc::{Receiver, Sender, channel};
pub use std::time::{Duration, Instant};

pub use byway_engine::datagrams::address::{NAME, decode, encode};
pub use byway_engine::datagrams::framed::{Framing, LONGEST};
pub use byway_engine::datagrams::{
    Ask, Asks, Caller, Codec, Far, FarHandle, Fixed, PacketListener, PacketOptions, Place, Socks5,
    Stats,
};
pub use byway_engine::dial::DialOptions;
pub use byway_engine::io::Io;
pub use byway_engine::reactor::Reactors;
pub use byway_engine::relay::{End, Gauge};
pub use byway_engine::stream::Stream;

pub const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
pub const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
pub const LIMIT: Duration = Duration::from_secs(20);

/// A listener and its owner.
pub struct Rig {
    pub listener: PacketListener,
    pub asks: Arc<Asks>,
    pub signal: Receiver<()>,
    pub queue: Vec<Ask>,
    pub reactors: Reactors,
}

impl Rig {
    pub fn new(address: IpAddr, codec: Box<dyn Codec>, options: &PacketOptions) -> Self {
        let reactors = Reactors::start(1).expect("threads");
        let (sender, signal) = channel();
        let asks = Asks::new(move || _ = sender.send(()));
        let listener = PacketListener::bind(
            (address, 0).into(),
            codec,
            options,
            &reactors,
            Arc::clone(&asks),
        )
        .expect("bind");
        Self {
            listener,
            asks,
            signal,
            queue: Vec::new(),
            reactors,
        }
    }

    pub fn socks(options: &PacketOptions) -> Self {
        Self::new(V4, Box::new(Socks5), options)
    }

    /// One session, inside a stream whose other end the test holds; and how the stream ended.
    pub fn over(
        framing: Framing,
        options: &PacketOptions,
        quiet: Duration,
    ) -> (Self, UnixStream, Receiver<End>) {
        let reactors = Reactors::start(1).expect("threads");
        let (sender, signal) = channel();
        let asks = Asks::new(move || _ = sender.send(()));
        let (ours, theirs) = pair(&reactors);
        let (told, ended) = channel();
        let listener = PacketListener::over(
            ours,
            framing,
            options,
            quiet,
            &reactors,
            Arc::clone(&asks),
            (Arc::default(), Box::new(move |end| _ = told.send(end))),
        );
        let rig = Self {
            listener,
            asks,
            signal,
            queue: Vec::new(),
            reactors,
        };
        (rig, theirs, ended)
    }

    /// One session, of a caller in this process, and what is told when answers come.
    pub fn inside(codec: Box<dyn Codec>, options: &PacketOptions) -> (Self, Caller, Receiver<()>) {
        let reactors = Reactors::start(1).expect("threads");
        let (sender, signal) = channel();
        let asks = Asks::new(move || _ = sender.send(()));
        let (sender, answers) = channel();
        let (listener, caller) =
            PacketListener::inside(codec, options, &reactors, Arc::clone(&asks), move || {
                _ = sender.send(());
            });
        let rig = Self {
            listener,
            asks,
            signal,
            queue: Vec::new(),
            reactors,
        };
        (rig, caller, answers)
    }

    pub fn ask(&mut self) -> Ask {
        while self.queue.is_empty() {
            self.signal.recv_timeout(LIMIT).expect("an ask");
            self.queue = self.asks.take();
        }
        self.queue.remove(0)
    }

    /// Let the next ask pass, to the target itself.
    pub fn allow(&mut self, far: &FarHandle) -> Flow {
        let ask = self.ask();
        let located = ask.target.clone();
        Flow::begin(ask, far, located)
    }

    /// Let the next ask pass directly; its target.
    pub fn ask_target(&mut self) -> Place {
        let ask = self.ask();
        let target = ask.target.clone();
        Flow::begin(ask, &direct(), target.clone());
        target
    }

    pub fn eventually(&self, what: &str, met: impl Fn(&Stats) -> bool) -> Stats {
        let begun = Instant::now();
        loop {
            let stats = self.listener.stats();
            if met(&stats) {
                return stats;
            }
            assert!(begun.elapsed() < LIMIT, "{what}: {stats:?}");
            std::thread::yield_now();
        }
    }
}

/// A stream for the engine, and its other end for the test.
pub fn pair(reactors: &Reactors) -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("pair");
    ours.set_nonblocking(true).expect("nonblocking");
    theirs.set_read_timeout(Some(LIMIT)).expect("timeout");
    let home = reactors.home(0).expect("it runs");
    let _entered = home.enter();
    let socket = tokio::net::UnixStream::from_std(ours).expect("register");
    (Stream::new(Io::Unix(socket), 0, None), theirs)
}

/// A flow as its owner sees it.
pub struct Flow {
    pub gauge: Arc<Gauge>,
    pub over: Receiver<End>,
}

impl Flow {
    pub fn begin(ask: Ask, far: &FarHandle, located: Place) -> Self {
        let gauge = Arc::new(Gauge::default());
        let (sender, over): (Sender<End>, _) = channel();
        ask.relay(
            far,
            located,
            Arc::clone(&gauge),
            Box::new(move |end| _ = sender.send(end)),
        );
        Self { gauge, over }
    }

    /// The end, and that it is told once.
    pub fn end(&self) -> End {
        let end = self.over.recv_timeout(LIMIT).expect("an end");
        assert!(self.over.try_recv().is_err());
        end
    }

    pub fn counted(&self) -> (u64, u64) {
        (self.gauge.up.load(Relaxed), self.gauge.down.load(Relaxed))
    }

    /// A packet is counted when it has been sent, which its receiver may see first.
    pub fn counts(&self, up: u64, down: u64) {
        let begun = Instant::now();
        while self.counted() != (up, down) {
            assert!(
                begun.elapsed() < LIMIT,
                "{:?} is not {:?}",
                self.counted(),
                (up, down)
            );
            std::thread::yield_now();
        }
    }
}

/// A source or a target.
pub struct Host(pub UdpSocket);

impl Host {
    pub fn new(ip: IpAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("bind");
        socket.set_read_timeout(Some(LIMIT)).expect("timeout");
        Self(socket)
    }

    pub fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("address")
    }

    pub fn place(&self) -> Place {
        self.address().into()
    }

    pub fn send(&self, rig: &Rig, payload: &[u8]) {
        self.0.send_to(payload, rig.listener.address).expect("send");
    }

    pub fn send_for(&self, rig: &Rig, target: &Place, payload: &[u8]) {
        let mut packet = Vec::new();
        encode(target.spot(), &mut packet);
        packet.extend_from_slice(payload);
        self.send(rig, &packet);
    }

    pub fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65536];
        let (n, from) = self.0.recv_from(&mut buffer).expect("a packet");
        buffer.truncate(n);
        (buffer, from)
    }

    pub fn receive_from(&self) -> (Place, Vec<u8>) {
        let (packet, _) = self.receive();
        let mut scratch = [0; NAME];
        let (place, n) = decode(&packet, &mut scratch).expect("a header");
        (place.to_place(), packet[n..].to_vec())
    }

    /// Nothing is there for it.
    pub fn silent(&self) -> bool {
        self.0.set_nonblocking(true).expect("nonblocking");
        let result = self.0.recv_from(&mut [0; 16]);
        self.0.set_nonblocking(false).expect("blocking");
        matches!(result, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

pub fn direct() -> FarHandle {
    Far::direct(DialOptions::default())
}

pub fn patient() -> PacketOptions {
    PacketOptions::default()
}

pub fn hasty() -> PacketOptions {
    PacketOptions {
        idle: Duration::from_millis(64),
        ..PacketOptions::default()
    }
}
