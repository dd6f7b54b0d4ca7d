//! A near end inside this process.

use byway_engine::datagrams::OVERHEAD;
use proptest::prelude::*;

use super::ground::*;

/// Wait for the next answers.
fn answers(caller: &Caller, told: &Receiver<()>) -> Vec<Box<[u8]>> {
    loop {
        told.recv_timeout(LIMIT).expect("answers");
        let taken = caller.take().expect("it is not over");
        if !taken.is_empty() {
            return taken;
        }
    }
}

#[test]
fn a_caller_asks_one_target_and_hears_its_answers() {
    let (target, stranger) = (Host::new(V4), Host::new(V4));
    let codec = Box::new(Fixed(target.place()));
    let (mut rig, caller, told) = Rig::inside(codec, &patient());
    assert!(caller.send(b"one"));
    assert!(caller.send(b""));
    let ask = rig.ask();
    assert_eq!((ask.user, &ask.target), (None, &target.place()));
    assert!(ask.source.ip().is_unspecified());
    let flow = Flow::begin(ask, &direct(), target.place());
    let (first, mapped) = target.receive();
    assert_eq!((first, target.receive().0), (b"one".to_vec(), Vec::new()));
    stranger.0.send_to(b"no", mapped).expect("send");
    target.0.send_to(b"answer", mapped).expect("send");
    assert_eq!(answers(&caller, &told), [Box::from(*b"answer")]);
    flow.counts(3, 6);
    let stats = rig.eventually("the stranger is dropped", |stats| stats.stranger == 1);
    assert_eq!((stats.packets_up, stats.packets_down), (2, 2));
    assert_eq!((stats.sessions, stats.flows), (1, 1));
}

#[test]
fn any_codec_of_whole_packets_will_do() {
    let (mut rig, caller, told) = Rig::inside(Box::new(Socks5), &patient());
    let (targets, far) = ([Host::new(V4), Host::new(V4)], direct());
    for target in &targets {
        let mut packet = Vec::new();
        encode(target.place().spot(), &mut packet);
        packet.extend_from_slice(b"hello");
        assert!(caller.send(&packet));
        rig.allow(&far);
        let (payload, mapped) = target.receive();
        assert_eq!(payload, b"hello");
        target.0.send_to(b"you", mapped).expect("send");
        packet.truncate(packet.len() - 5);
        packet.extend_from_slice(b"you");
        assert_eq!(answers(&caller, &told), [packet.into_boxed_slice()]);
    }
    assert!(caller.send(b"no header"));
    rig.eventually("it is dropped", |stats| stats.malformed == 1);
}

#[test]
fn it_ends_with_either_side() {
    let target = Host::new(V4);
    let fixed = || Box::new(Fixed(target.place()));
    let (mut rig, caller, _told) = Rig::inside(fixed(), &patient());
    caller.send(b"x");
    let flow = rig.allow(&direct());
    target.receive();
    drop(caller);
    assert_eq!(flow.end(), End::Near(std::io::ErrorKind::UnexpectedEof));

    let (mut rig, caller, told) = Rig::inside(fixed(), &patient());
    caller.send(b"x");
    let flow = rig.allow(&direct());
    target.receive();
    let Rig {
        listener, reactors, ..
    } = rig;
    drop(listener);
    assert_eq!(flow.end(), End::Closed);
    told.recv_timeout(LIMIT).expect("the end");
    assert_eq!(caller.take(), None);
    assert!(!caller.send(b"y"));
    drop(reactors);
}

#[test]
fn answers_that_nobody_takes_are_bounded() {
    const QUEUE: usize = 512 * 1024;
    let target = Host::new(V4);
    let codec = Box::new(Fixed(target.place()));
    let (mut rig, caller, told) = Rig::inside(codec, &patient());
    assert!(!caller.send(&vec![0; 0x1_0000]));
    caller.send(b"x");
    let flow = rig.allow(&direct());
    let (_, mapped) = target.receive();
    // Nobody takes the answers: what has no room is dropped, and counted.
    let size = 32 * 1024;
    let most = QUEUE / (size + OVERHEAD);
    for sent in 1..=most as u64 + 1 {
        target.0.send_to(&vec![1; size], mapped).expect("send");
        rig.eventually("it comes", |stats| stats.packets_down == sent);
    }
    let stats = rig.eventually("one is dropped", |stats| stats.congested > 0);
    assert_eq!(stats.congested, 1);
    assert_eq!(answers(&caller, &told).len(), most);
    flow.counts(1, (most * size) as u64);
    // There is room again.
    target.0.send_to(b"again", mapped).expect("send");
    assert_eq!(answers(&caller, &told), [Box::from(*b"again")]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn every_packet_arrives_whole_and_in_order(
        payloads in proptest::collection::vec(
            proptest::collection::vec(any::<u8>(), 0..1400), 1..60,
        ),
    ) {
        let target = Host::new(V4);
        let codec = Box::new(Fixed(target.place()));
        let (mut rig, caller, told) = Rig::inside(codec, &patient());
        for payload in &payloads {
            prop_assert!(caller.send(payload));
        }
        rig.allow(&direct());
        for payload in &payloads {
            let (packet, mapped) = target.receive();
            prop_assert_eq!(&packet, payload);
            target.0.send_to(&packet, mapped).expect("send");
        }
        let mut back = Vec::new();
        while back.len() < payloads.len() {
            back.extend(answers(&caller, &told));
        }
        let back: Vec<Vec<u8>> = back.into_iter().map(Vec::from).collect();
        prop_assert_eq!(back, payloads);
    }
}
