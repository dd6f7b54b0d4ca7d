//! Packets on their way: there and back, in order, from the right address.

use super::ground::*;

#[test]
fn there_and_back_by_v4_and_v6() {
    for (near, target) in [(V4, V4), (V4, V6), (V6, V4), (V6, V6)] {
        let mut rig = Rig::new(near, Box::new(Socks5), &patient());
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
    source.send_for(&rig, &name("Example.ORG"), b"one");
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
    // An absolute name is another one.
    source.send_for(&rig, &name("Example.ORG."), b"four");
    assert_eq!(rig.ask().target, name("example.org."));
    // A direct way carries no names.
    source.send_for(&rig, &name("other.example"), b"");
    let flow = rig.allow(&far);
    assert_eq!(flow.end(), End::Far(std::io::ErrorKind::InvalidInput));
}

#[test]
fn a_fixed_target_and_only_its_answers() {
    let target = Host::new(V4);
    let mut rig = Rig::new(V4, Box::new(Fixed(target.place())), &patient());
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
    let mut rig = Rig::new(Ipv4Addr::UNSPECIFIED.into(), Box::new(Socks5), &patient());
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
