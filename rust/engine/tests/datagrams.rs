//! UDP sessions over real sockets on loopback. The test plays source, owner and target.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use byway_engine::datagrams::codec::{NAME, decode, encode};
use byway_engine::datagrams::{
    Ask, Asks, Codec, Far, FarHandle, PacketListener, PacketOptions, Place, Stats,
};
use byway_engine::dial::DialOptions;
use byway_engine::io::Io;
use byway_engine::reactor::Reactors;
use byway_engine::relay::{End, Gauge};
use byway_engine::stream::Stream;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);
const LIMIT: Duration = Duration::from_secs(20);

/// A listener and its owner.
struct Rig {
    listener: PacketListener,
    asks: Arc<Asks>,
    signal: Receiver<()>,
    queue: Vec<Ask>,
    reactors: Reactors,
}

impl Rig {
    fn new(address: IpAddr, codec: Codec, options: &PacketOptions) -> Self {
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

    fn socks(options: &PacketOptions) -> Self {
        Self::new(V4, Codec::Socks5, options)
    }

    fn ask(&mut self) -> Ask {
        while self.queue.is_empty() {
            self.signal.recv_timeout(LIMIT).expect("an ask");
            self.queue = self.asks.take();
        }
        self.queue.remove(0)
    }

    /// Let the next ask pass, to the target itself.
    fn allow(&mut self, far: &FarHandle) -> Flow {
        let ask = self.ask();
        let located = ask.target.clone();
        Flow::begin(ask, far, located)
    }

    fn eventually(&self, what: &str, met: impl Fn(&Stats) -> bool) -> Stats {
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

/// A flow as its owner sees it.
struct Flow {
    gauge: Arc<Gauge>,
    over: Receiver<End>,
}

impl Flow {
    fn begin(ask: Ask, far: &FarHandle, located: Place) -> Self {
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
    fn end(&self) -> End {
        let end = self.over.recv_timeout(LIMIT).expect("an end");
        assert!(self.over.try_recv().is_err());
        end
    }

    fn counted(&self) -> (u64, u64) {
        (self.gauge.up.load(Relaxed), self.gauge.down.load(Relaxed))
    }

    /// A packet is counted when it has been sent, which its receiver may see first.
    fn counts(&self, up: u64, down: u64) {
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
struct Host(UdpSocket);

impl Host {
    fn new(ip: IpAddr) -> Self {
        let socket = UdpSocket::bind((ip, 0)).expect("bind");
        socket.set_read_timeout(Some(LIMIT)).expect("timeout");
        Self(socket)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("address")
    }

    fn place(&self) -> Place {
        self.address().into()
    }

    fn send(&self, rig: &Rig, payload: &[u8]) {
        self.0.send_to(payload, rig.listener.address).expect("send");
    }

    fn send_for(&self, rig: &Rig, target: &Place, payload: &[u8]) {
        let mut packet = Vec::new();
        encode(target.spot(), &mut packet);
        packet.extend_from_slice(payload);
        self.send(rig, &packet);
    }

    fn receive(&self) -> (Vec<u8>, SocketAddr) {
        let mut buffer = vec![0; 65536];
        let (n, from) = self.0.recv_from(&mut buffer).expect("a packet");
        buffer.truncate(n);
        (buffer, from)
    }

    fn receive_from(&self) -> (Place, Vec<u8>) {
        let (packet, _) = self.receive();
        let mut scratch = [0; NAME];
        let (place, n) = decode(&packet, &mut scratch).expect("a header");
        (place.to_place(), packet[n..].to_vec())
    }

    /// Nothing is there for it.
    fn silent(&self) -> bool {
        self.0.set_nonblocking(true).expect("nonblocking");
        let result = self.0.recv_from(&mut [0; 16]);
        self.0.set_nonblocking(false).expect("blocking");
        matches!(result, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

fn direct() -> FarHandle {
    Far::direct(DialOptions::default())
}

fn patient() -> PacketOptions {
    PacketOptions::default()
}

fn hasty() -> PacketOptions {
    PacketOptions {
        idle: Duration::from_millis(64),
        ..PacketOptions::default()
    }
}

#[test]
fn there_and_back_by_v4_and_v6() {
    for (near, target) in [(V4, V4), (V4, V6), (V6, V4), (V6, V6)] {
        let mut rig = Rig::new(near, Codec::Socks5, &patient());
        let (source, target, far) = (Host::new(near), Host::new(target), direct());
        source.send_for(&rig, &target.place(), b"hello");
        let ask = rig.ask();
        assert_eq!(
            (ask.source, &ask.target),
            (source.address(), &target.place())
        );
        let flow = Flow::begin(ask, &far, target.place());
        let (packet, mapped) = target.receive();
        assert_eq!(packet, b"hello");
        target.0.send_to(b"and good day", mapped).expect("send");
        assert_eq!(
            source.receive_from(),
            (target.place(), b"and good day".to_vec())
        );
        source.send_for(&rig, &target.place(), b"");
        assert_eq!(target.receive(), (Vec::new(), mapped));
        target.0.send_to(b"", mapped).expect("send");
        assert_eq!(source.receive_from(), (target.place(), Vec::new()));
        flow.counts(5, 12);
        let stats = rig.eventually("counters", |stats| stats.packets_down == 2);
        assert_eq!((stats.sessions, stats.flows, stats.packets_up), (1, 1, 2));
        drop(rig.listener);
        assert_eq!(flow.end(), End::Closed);
    }
}

#[test]
fn all_targets_see_one_mapping_and_anyone_may_answer() {
    let mut rig = Rig::socks(&patient());
    let (source, far) = (Host::new(V4), direct());
    let targets = [Host::new(V4), Host::new(V4), Host::new(V4)];
    let mut seen = Vec::new();
    let mut flows = Vec::new();
    for target in &targets[..2] {
        source.send_for(&rig, &target.place(), b"?");
        flows.push(rig.allow(&far));
        seen.push(target.receive().1);
    }
    assert_eq!(seen[0], seen[1]);
    targets[1].0.send_to(b"second", seen[0]).expect("send");
    assert_eq!(
        source.receive_from(),
        (targets[1].place(), b"second".to_vec())
    );
    targets[2].0.send_to(b"unasked", seen[0]).expect("send");
    assert_eq!(
        source.receive_from(),
        (targets[2].place(), b"unasked".to_vec())
    );
    flows[0].counts(1, 7);
    flows[1].counts(1, 6);
}

#[test]
fn names_are_located_by_the_owner() {
    let mut rig = Rig::socks(&patient());
    let (source, target, far) = (Host::new(V4), Host::new(V4), direct());
    let name = |text: &str| Place::Name(text.into(), target.address().port());
    source.send_for(&rig, &name("Example.ORG."), b"one");
    source.send_for(&rig, &name("example.org"), b"two");
    let ask = rig.ask();
    assert_eq!(ask.target, name("example.org"));
    let flow = Flow::begin(ask, &far, target.place());
    assert_eq!(target.receive().0, b"one");
    let (packet, mapped) = target.receive();
    assert_eq!(packet, b"two");
    target.0.send_to(b"three", mapped).expect("send");
    assert_eq!(source.receive_from(), (target.place(), b"three".to_vec()));
    flow.counts(6, 5);
    // A direct way carries no names.
    source.send_for(&rig, &name("other.example"), b"");
    let flow = rig.allow(&far);
    assert_eq!(flow.end(), End::Far(std::io::ErrorKind::InvalidInput));
}

#[test]
fn a_fixed_target_and_only_its_answers() {
    let target = Host::new(V4);
    let mut rig = Rig::new(V4, Codec::Fixed(target.place()), &patient());
    let (one, two, stranger) = (Host::new(V4), Host::new(V4), Host::new(V4));
    let mut mapped = Vec::new();
    let mut flows = Vec::new();
    for source in [&one, &two] {
        source.send(&rig, b"ask");
        let ask = rig.ask();
        assert_eq!(
            (ask.source, &ask.target),
            (source.address(), &target.place())
        );
        flows.push(Flow::begin(ask, &direct(), target.place()));
        mapped.push(target.receive().1);
    }
    assert_ne!(mapped[0], mapped[1]);
    stranger.0.send_to(b"psst", mapped[1]).expect("send");
    rig.eventually("the stranger is dropped", |stats| stats.stranger == 1);
    target.0.send_to(b"for two", mapped[1]).expect("send");
    target.0.send_to(b"for one", mapped[0]).expect("send");
    assert_eq!(two.receive().0, b"for two");
    assert_eq!(one.receive().0, b"for one");
    assert!(two.silent());
}

#[test]
fn a_refusal_is_remembered() {
    let mut rig = Rig::socks(&patient());
    let (source, target) = (Host::new(V4), Host::new(V4));
    source.send_for(&rig, &target.place(), b"1");
    rig.ask().refuse();
    // How soon the answer is known is not ours to say, so ask until it is.
    let begun = Instant::now();
    while rig.listener.stats().refused < 3 {
        assert!(begun.elapsed() < LIMIT);
        source.send_for(&rig, &target.place(), b"2");
        std::thread::yield_now();
    }
    assert!(rig.asks.take().is_empty());
    assert!(target.silent());
}

#[test]
fn packets_wait_for_the_verdict_in_order_and_not_without_bound() {
    let mut rig = Rig::socks(&PacketOptions {
        waiting: 3,
        ..patient()
    });
    let (source, target, far) = (Host::new(V4), Host::new(V4), direct());
    for payload in [b"1", b"2", b"3", b"4", b"5"] {
        source.send_for(&rig, &target.place(), payload);
    }
    rig.eventually("two are dropped", |stats| stats.full == 2);
    let flow = rig.allow(&far);
    for payload in [b"1", b"2", b"3"] {
        assert_eq!(target.receive().0, payload);
    }
    flow.counts(3, 0);
}

#[test]
fn sessions_are_bounded() {
    let mut rig = Rig::socks(&PacketOptions {
        sessions: 2,
        ..patient()
    });
    let target = Host::new(V4);
    let sources = [Host::new(V4), Host::new(V4), Host::new(V4)];
    let mut flows = Vec::new();
    for source in &sources {
        source.send_for(&rig, &target.place(), b"x");
        flows.push(rig.allow(&direct()));
        target.receive();
    }
    assert_eq!(flows[0].end(), End::Cut);
    assert!(
        flows[0]
            .gauge
            .reason()
            .is_some_and(|reason| reason.contains("sessions"))
    );
    let stats = rig.listener.stats();
    assert_eq!((stats.sessions, stats.flows), (2, 2));
}

#[test]
fn the_target_silent_longest_makes_room() {
    let mut rig = Rig::socks(&PacketOptions {
        targets: 2,
        ..patient()
    });
    let (source, far) = (Host::new(V4), direct());
    let targets = [Host::new(V4), Host::new(V4), Host::new(V4)];
    let mut flows = Vec::new();
    for target in &targets {
        source.send_for(&rig, &target.place(), b"x");
        flows.push(rig.allow(&far));
        target.receive();
    }
    assert_eq!(flows[0].end(), End::Cut);
    assert!(
        flows[0]
            .gauge
            .reason()
            .is_some_and(|reason| reason.contains("displaced"))
    );
    assert_eq!(rig.listener.stats().flows, 2);
    source.send_for(&rig, &targets[0].place(), b"again");
    rig.allow(&far);
    assert_eq!(targets[0].receive().0, b"again");
    assert_eq!(flows[1].end(), End::Cut);
}

#[test]
fn silence_ends_flows_then_the_session() {
    let mut rig = Rig::socks(&hasty());
    let (source, target, far) = (Host::new(V4), Host::new(V4), direct());
    source.send_for(&rig, &target.place(), b"x");
    let flow = rig.allow(&far);
    target.receive();
    assert_eq!(flow.end(), End::Idle);
    flow.counts(1, 0);
    rig.eventually("empty", |stats| stats.sessions == 0 && stats.flows == 0);
    // The far went with its session.
    source.send_for(&rig, &target.place(), b"y");
    assert_eq!(rig.allow(&far).end(), End::Closed);
    // An ask that was not answered in time finds its flow gone.
    let other = Host::new(V4);
    source.send_for(&rig, &other.place(), b"z");
    let late = rig.ask();
    rig.eventually("empty again", |stats| stats.flows == 0);
    assert_eq!(Flow::begin(late, &direct(), other.place()).end(), End::Idle);
}

#[test]
fn a_cut_ends_one_flow() {
    let mut rig = Rig::socks(&patient());
    let (source, one, two, far) = (Host::new(V4), Host::new(V4), Host::new(V4), direct());
    let flows = [&one, &two].map(|target| {
        source.send_for(&rig, &target.place(), b"x");
        let flow = rig.allow(&far);
        target.receive();
        flow
    });
    flows[0].gauge.cut("because");
    assert_eq!(flows[0].end(), End::Cut);
    assert_eq!(flows[0].gauge.reason().as_deref(), Some("because"));
    source.send_for(&rig, &two.place(), b"still");
    assert_eq!(two.receive().0, b"still");
    // Cut before it begins.
    source.send_for(&rig, &one.place(), b"again");
    let gauge = Arc::new(Gauge::default());
    gauge.cut("early");
    let (sender, over) = channel();
    let ask = rig.ask();
    ask.relay(
        &far,
        one.place(),
        gauge,
        Box::new(move |end| _ = sender.send(end)),
    );
    assert_eq!(over.recv_timeout(LIMIT), Ok(End::Cut));
}

#[test]
fn garbage_is_counted_and_nothing_else() {
    let mut rig = Rig::socks(&patient());
    let (source, target, far) = (Host::new(V4), Host::new(V4), direct());
    let mut fragment = vec![0, 0, 1];
    let mut whole = Vec::new();
    encode(target.place().spot(), &mut whole);
    fragment.extend_from_slice(&whole[3..]);
    let mut portless = whole.clone();
    portless[8..].fill(0);
    let packets = [
        &b""[..],
        b"\0",
        &[0xff; 1000],
        &fragment,
        &portless,
        b"\0\0\0\x03\xffabc",
        &whole[..9],
    ];
    for packet in packets {
        source.send(&rig, packet);
    }
    let stats = rig.eventually("all are seen", |stats| {
        stats.malformed == packets.len() as u64
    });
    assert_eq!((stats.sessions, stats.flows), (0, 0));
    source.send_for(&rig, &target.place(), b"good");
    rig.allow(&far);
    assert_eq!(target.receive().0, b"good");
}

#[test]
fn an_association_is_for_its_client_alone() {
    let mut rig = Rig::socks(&PacketOptions {
        only: Some(V4),
        ..patient()
    });
    let (source, other, target, far) = (Host::new(V4), Host::new(V4), Host::new(V4), direct());
    source.send(&rig, b"garbage locks nothing");
    rig.eventually("garbage", |stats| stats.malformed == 1);
    other.send_for(&rig, &target.place(), b"first");
    rig.allow(&far);
    target.receive();
    source.send_for(&rig, &target.place(), b"too late");
    rig.eventually("the second port", |stats| stats.stranger == 1);
    let foreign = Host(UdpSocket::bind("127.0.0.2:0").expect("bind"));
    foreign.send_for(&rig, &target.place(), b"from elsewhere");
    rig.eventually("the other address", |stats| stats.stranger == 2);
    assert!(target.silent());
}

#[test]
fn the_largest_packets_pass_and_larger_ones_are_counted() {
    let mut rig = Rig::socks(&patient());
    let (source, target, far) = (Host::new(V4), Host::new(V4), direct());
    let largest = vec![7; 65_507 - 10];
    source.send_for(&rig, &target.place(), &largest);
    rig.allow(&far);
    let (packet, mapped) = target.receive();
    assert_eq!(packet, largest);
    target.0.send_to(&largest, mapped).expect("send");
    assert_eq!(source.receive_from().1, largest);
    target.0.send_to(&vec![7; 65_507], mapped).expect("send");
    rig.eventually("no room for the header", |stats| stats.unsendable == 1);
}

#[test]
fn bursts_of_many_sizes_keep_their_order_per_flow() {
    let mut rig = Rig::socks(&patient());
    let (source, far) = (Host::new(V4), direct());
    let targets = [Host::new(V4), Host::new(V4)];
    for target in &targets {
        source.send_for(&rig, &target.place(), b"");
        rig.allow(&far);
        target.receive();
    }
    let size = |at: usize| [100, 100, 100, 40, 100, 3000, 3000, 0, 1200][at % 9];
    for round in 0..8 {
        for at in 0..40 {
            let payload = vec![(round * 40 + at) as u8; size(at)];
            source.send_for(&rig, &targets[at % 2].place(), &payload);
        }
        for (which, target) in targets.iter().enumerate() {
            for at in (0..40).filter(|at| at % 2 == which) {
                let (packet, mapped) = target.receive();
                assert_eq!(packet, vec![(round * 40 + at) as u8; size(at)]);
                target.0.send_to(&packet, mapped).expect("send");
            }
        }
        for target in &targets {
            for _ in 0..20 {
                let (place, _) = source.receive_from();
                assert!(
                    targets.iter().any(|target| target.place() == place),
                    "{:?}",
                    target.place()
                );
            }
        }
    }
    let stats = rig.listener.stats();
    assert_eq!((stats.congested, stats.unsendable), (0, 0));
}

#[test]
fn answers_leave_from_the_address_that_was_asked() {
    let mut rig = Rig::new(Ipv4Addr::UNSPECIFIED.into(), Codec::Socks5, &patient());
    let (source, target, far) = (Host::new(V4), Host::new(V4), direct());
    let asked = SocketAddr::new(
        Ipv4Addr::new(127, 0, 0, 7).into(),
        rig.listener.address.port(),
    );
    rig.listener.address = asked;
    source.send_for(&rig, &target.place(), b"x");
    rig.allow(&far);
    target.0.send_to(b"y", target.receive().1).expect("send");
    assert_eq!(source.receive().1, asked);
}

#[test]
fn a_far_serves_one_session() {
    let mut rig = Rig::socks(&patient());
    let (one, two, target, far) = (Host::new(V4), Host::new(V4), Host::new(V4), direct());
    one.send_for(&rig, &target.place(), b"1");
    let flow = rig.allow(&far);
    target.receive();
    two.send_for(&rig, &target.place(), b"2");
    assert_eq!(
        rig.allow(&far).end(),
        End::Far(std::io::ErrorKind::InvalidInput)
    );
    far.close();
    assert_eq!(flow.end(), End::Closed);
    // A new way for the same session.
    one.send_for(&rig, &target.place(), b"3");
    rig.allow(&direct());
    assert_eq!(target.receive().0, b"3");
}

/// A control connection: the end for the far, and the end that the test holds.
fn control(rig: &Rig) -> (Stream, std::os::unix::net::UnixStream) {
    let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("pair");
    ours.set_nonblocking(true).expect("nonblocking");
    let _entered = rig.reactors.home(0).enter();
    let socket = tokio::net::UnixStream::from_std(ours).expect("register");
    (Stream::new(Io::Unix(socket), 0, None), theirs)
}

#[test]
fn through_socks_relays_to_any_depth() {
    for depth in 1..=3 {
        let mut rig = Rig::socks(&patient());
        let (source, target) = (Host::new(V4), Host::new(V4));
        let name = Place::Name("target.example".into(), target.address().port());
        let mut upstreams: Vec<Rig> = (0..depth).map(|_| Rig::socks(&patient())).collect();
        let mut far = direct();
        let mut controls = Vec::new();
        for upstream in &upstreams {
            let (ours, theirs) = control(&rig);
            far = Far::wrap_socks5(&far, upstream.listener.address.into(), ours, &rig.reactors);
            controls.push(theirs);
        }
        source.send_for(&rig, &name, b"what");
        let flow = rig.allow(&far);
        for at in 0..depth {
            let ask = upstreams[at].ask();
            let next = upstreams
                .get(at + 1)
                .map_or(name.clone(), |next| next.listener.address.into());
            assert_eq!(ask.target, next);
            let located = if next == name { target.place() } else { next };
            Flow::begin(ask, &direct(), located);
        }
        let (packet, mapped) = target.receive();
        assert_eq!(packet, b"what");
        target.0.send_to(b"who", mapped).expect("send");
        assert_eq!(source.receive_from(), (target.place(), b"who".to_vec()));
        flow.counts(4, 3);
        // The answer came from an address that stands for the name: a second flow is not confused by it.
        let other = Host::new(V4);
        other.0.send_to(b"unasked", mapped).expect("send");
        assert_eq!(source.receive_from(), (other.place(), b"unasked".to_vec()));
        // The control connection of any hop ends the flow.
        drop(controls.remove(depth / 2));
        assert_eq!(flow.end(), End::Far(std::io::ErrorKind::UnexpectedEof));
    }
}

#[test]
fn only_the_relay_is_heard_on_a_wrapped_way() {
    let mut rig = Rig::socks(&patient());
    let (source, target, relay, stranger) =
        (Host::new(V4), Host::new(V4), Host::new(V4), Host::new(V4));
    let (ours, _theirs) = control(&rig);
    let far = Far::wrap_socks5(&direct(), relay.place(), ours, &rig.reactors);
    source.send_for(&rig, &target.place(), b"x");
    rig.allow(&far);
    let (packet, mapped) = relay.receive();
    assert_eq!(&packet[packet.len() - 1..], b"x");
    stranger.0.send_to(&packet, mapped).expect("send");
    relay.0.send_to(b"no header", mapped).expect("send");
    rig.eventually("both are dropped", |stats| stats.malformed == 2);
    relay.0.send_to(&packet, mapped).expect("send");
    assert_eq!(source.receive_from(), (target.place(), b"x".to_vec()));
}

#[test]
fn a_dead_port_does_not_end_a_flow() {
    let mut rig = Rig::socks(&patient());
    let (source, far) = (Host::new(V4), direct());
    let (dead, alive) = (Host::new(V4).place(), Host::new(V4));
    for _ in 0..3 {
        source.send_for(&rig, &dead, b"x");
    }
    rig.allow(&far);
    source.send_for(&rig, &alive.place(), b"y");
    rig.allow(&far);
    assert_eq!(alive.receive().0, b"y");
    assert_eq!(rig.listener.stats().flows, 2);
}

#[test]
fn a_stopped_engine_tells_every_owner() {
    let mut rig = Rig::socks(&patient());
    let (source, target, far) = (Host::new(V4), Host::new(V4), direct());
    source.send_for(&rig, &target.place(), b"x");
    let flow = rig.allow(&far);
    target.receive();
    source.send_for(&rig, &Host::new(V4).place(), b"y");
    let late = rig.ask();
    rig.reactors.stop();
    assert_eq!(flow.end(), End::Closed);
    assert_eq!(Flow::begin(late, &far, target.place()).end(), End::Closed);
}

/// Resident memory of this process, in bytes.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("statm");
    let pages: usize = text
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("pages");
    pages * 4096
}

/// To be run alone: other tests take memory too.
#[test]
#[ignore = "measures the memory of the whole process"]
fn an_idle_session_owns_no_buffers() {
    const SESSIONS: usize = 400;
    let target = Host::new(V4);
    let mut rig = Rig::new(V4, Codec::Fixed(target.place()), &patient());
    let mut kept = Vec::new();
    let mut run = |count: usize| {
        for _ in 0..count {
            let source = Host::new(V4);
            source.send(&rig, b"x");
            kept.push((rig.allow(&direct()), source));
            target.receive();
        }
    };
    run(50);
    let before = resident();
    run(SESSIONS);
    let each = (resident() - before) / SESSIONS;
    println!("{each} bytes each");
    assert!(each < 4096, "{each} bytes each");
}

/// A little generator, so that a failure can be had again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

#[test]
fn every_owner_is_told_once_whatever_happens() {
    use std::sync::atomic::AtomicUsize;
    let options = PacketOptions {
        idle: Duration::from_millis(48),
        sessions: 4,
        targets: 3,
        waiting: 2,
        only: None,
    };
    let rig = Rig::socks(&options);
    let mut dice = Dice(7);
    let sources: Vec<Host> = (0..6).map(|_| Host::new(V4)).collect();
    let targets: Vec<Host> = (0..5).map(|_| Host::new(V4)).collect();
    let (mut begun, told) = (0, Arc::new(AtomicUsize::new(0)));
    let mut gauges: Vec<Arc<Gauge>> = Vec::new();
    let mut fars: std::collections::HashMap<u64, FarHandle> = std::collections::HashMap::new();
    for _ in 0..4000 {
        let source = &sources[dice.roll(6) as usize];
        match dice.roll(10) {
            0 => source.send(&rig, &vec![dice.roll(256) as u8; dice.roll(64) as usize]),
            1 if !gauges.is_empty() => gauges[dice.roll(gauges.len() as u64) as usize].cut("dice"),
            2 if dice.roll(8) == 0 => fars.values().for_each(|far| far.close()),
            _ => source.send_for(&rig, &targets[dice.roll(5) as usize].place(), b"payload"),
        }
        for ask in rig.asks.take() {
            if dice.roll(6) == 0 {
                continue;
            }
            let far = fars.entry(ask.session).or_insert_with(direct);
            if far.is_dead() {
                *far = direct();
            }
            let (gauge, told) = (Arc::new(Gauge::default()), Arc::clone(&told));
            gauges.push(Arc::clone(&gauge));
            begun += 1;
            let located = ask.target.clone();
            ask.relay(
                far,
                located,
                gauge,
                Box::new(move |_| _ = told.fetch_add(1, Relaxed)),
            );
        }
        for target in targets.iter().filter(|_| dice.roll(4) == 0) {
            target.0.set_nonblocking(true).expect("nonblocking");
            if let Ok((_, mapped)) = target.0.recv_from(&mut [0; 64]) {
                target.0.send_to(b"answer", mapped).expect("send");
            }
        }
    }
    assert!(begun > 100, "{begun}");
    drop(rig);
    assert_eq!(told.load(Relaxed), begun);
}
