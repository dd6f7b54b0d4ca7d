//! Ways out: one session each, through relays, dead ends.

use super::ground::*;

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
            let (ours, theirs) = pair(&rig.reactors);
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
    let (ours, _theirs) = pair(&rig.reactors);
    let far = Far::wrap_socks5(&direct(), relay.place(), ours, &rig.reactors);
    source.send_for(&rig, &target.place(), b"x");
    rig.allow(&far);
    let (packet, mapped) = relay.receive();
    assert_eq!(&packet[packet.len() - 1..], b"x");
    stranger.0.send_to(&packet, mapped).expect("send");
    relay.0.send_to(b"no header", mapped).expect("send");
    rig.eventually("both are dropped", |stats| {
        (stats.malformed, stats.stranger) == (1, 1)
    });
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
