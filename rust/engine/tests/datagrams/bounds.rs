//! What is refused, bounded, timed out, cut or thrown away, and that every owner is told.

use byway_engine::datagrams::OVERHEAD;

use super::ground::*;

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
        waiting: 3 * (1 + OVERHEAD),
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
        only: Some((V4, 0).into()),
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
fn an_association_is_for_the_port_that_was_told() {
    let (source, other, target, far) = (Host::new(V4), Host::new(V4), Host::new(V4), direct());
    let mut rig = Rig::socks(&PacketOptions {
        only: Some(source.0.local_addr().expect("address")),
        ..patient()
    });
    other.send_for(&rig, &target.place(), b"first");
    rig.eventually("the other port", |stats| stats.stranger == 1);
    source.send_for(&rig, &target.place(), b"mine");
    rig.allow(&far);
    assert_eq!(target.receive().0, b"mine");
}

#[test]
fn a_burst_waits_and_what_waits_is_bounded_for_all_targets_of_a_session() {
    const SIZE: usize = 1000;
    let mut rig = Rig::socks(&PacketOptions {
        waiting: 100 * (SIZE + OVERHEAD),
        ..patient()
    });
    let (source, far) = (Host::new(V4), direct());
    let targets = [Host::new(V4), Host::new(V4)];
    for number in 0..60 {
        for target in &targets {
            source.send_for(&rig, &target.place(), &[number; SIZE]);
        }
    }
    rig.eventually("what does not fit", |stats| stats.full == 20);
    for target in &targets {
        let flow = rig.allow(&far);
        for number in 0..50 {
            assert_eq!(target.receive().0, [number; SIZE]);
        }
        flow.counts(50 * SIZE as u64, 0);
    }
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
    let mut rig = Rig::new(V4, Box::new(Fixed(target.place())), &patient());
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
        waiting: 2 * (7 + OVERHEAD),
        only: None,
        mark: None,
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
