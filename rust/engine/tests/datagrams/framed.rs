//! Packets inside streams: near, far, both, and what goes wrong there.

use std::io::{Read, Write};

use super::ground::*;

const QUIET: Duration = LIMIT;

/// A packet as trojan frames it.
fn trojan(place: &Place, payload: &[u8]) -> Vec<u8> {
    framed(&Framing::Trojan, place, payload)
}

fn framed(framing: &Framing, place: &Place, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    framing.put_address(place.spot(), &mut frame);
    framing.put_length(payload.len(), &mut frame);
    frame.extend_from_slice(payload);
    frame
}

/// The next packet in a stream.
fn next(framing: &Framing, stream: &mut UnixStream) -> (Place, Vec<u8>) {
    let mut data = Vec::new();
    loop {
        if let Ok(frame) = framing.frame(&data) {
            assert_eq!(frame.end, data.len());
            let mut scratch = [0; NAME];
            let place = framing.place(&data[..frame.address], &mut scratch);
            return (
                place.expect("a place").to_place(),
                data[frame.head..].to_vec(),
            );
        }
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a byte");
        data.push(byte[0]);
    }
}

/// The request that goes before the first packet: an address and a port as SOCKS5 writes them.
fn requested(stream: &mut UnixStream, before: &[u8], first: &Place, behind: &[u8]) {
    let Place::Address(SocketAddr::V4(first)) = first else {
        panic!("an IPv4 address");
    };
    let port = first.port().to_be_bytes();
    let expected = [before, &[1], &first.ip().octets(), &port, behind].concat();
    let mut request = vec![0; expected.len()];
    stream.read_exact(&mut request).expect("the request");
    assert_eq!(request, expected);
}

fn is_over(stream: &mut UnixStream) -> bool {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).is_ok_and(|n| n == 0)
}

#[test]
fn a_stream_is_one_session_of_many_targets() {
    for framing in [Framing::Trojan, Framing::Uot] {
        let (mut rig, mut client, _) = Rig::over(framing.clone(), &patient(), QUIET);
        let (v4, v6, far) = (Host::new(V4), Host::new(V6), direct());
        let name = Place::Name("target.example".into(), v4.address().port());
        let payloads = [&b""[..], b"x", &[7; 1200], &[8; 8192]];
        for (at, payload) in payloads.iter().enumerate() {
            let packets =
                [v4.place(), v6.place(), name.clone()].map(|to| framed(&framing, &to, payload));
            client.write_all(&packets.concat()).expect("write");
            for expected in [v4.place(), v6.place(), name.clone()] {
                if at > 0 {
                    continue;
                }
                let ask = rig.ask();
                assert_eq!(ask.target, expected);
                let located = if expected == name {
                    v4.place()
                } else {
                    expected
                };
                Flow::begin(ask, &far, located);
            }
            for (host, times) in [(&v4, 2), (&v6, 1)] {
                for _ in 0..times {
                    let (got, mapped) = host.receive();
                    assert_eq!(got, *payload);
                    host.0.send_to(payload, mapped).expect("send");
                    assert_eq!(
                        next(&framing, &mut client),
                        (host.place(), payload.to_vec())
                    );
                }
            }
        }
        let stats = rig.listener.stats();
        assert_eq!((stats.sessions, stats.flows, stats.packets_up), (1, 3, 12));
    }
}

#[test]
fn a_connected_stream_has_one_target() {
    let (target, stranger) = (Host::new(V4), Host::new(V4));
    let framing = Framing::Connected(target.place());
    let (mut rig, mut client, _) = Rig::over(framing.clone(), &patient(), QUIET);
    client.write_all(b"\x00\x02hi\x00\x00").expect("write");
    assert_eq!(rig.ask_target(), target.place());
    let (packet, mapped) = target.receive();
    assert_eq!((packet, target.receive().0), (b"hi".to_vec(), Vec::new()));
    stranger.0.send_to(b"unasked", mapped).expect("send");
    rig.eventually("a stranger is not shown", |stats| stats.stranger == 1);
    target.0.send_to(b"ho", mapped).expect("send");
    assert_eq!(
        next(&framing, &mut client),
        (target.place(), b"ho".to_vec())
    );
}

#[test]
fn frames_come_in_pieces() {
    let (mut rig, mut client, _) = Rig::over(Framing::Trojan, &patient(), QUIET);
    let target = Host::new(V4);
    let large = vec![5; 60_000];
    let packets = [
        trojan(&target.place(), b"one"),
        trojan(&target.place(), &large),
    ]
    .concat();
    for piece in [
        &packets[..1],
        &packets[1..9],
        &packets[9..16],
        &packets[16..40_000],
    ] {
        client.write_all(piece).expect("write");
        client.flush().expect("flush");
        std::thread::yield_now();
    }
    rig.allow(&direct());
    assert_eq!(target.receive().0, b"one");
    client.write_all(&packets[40_000..]).expect("write");
    assert_eq!(target.receive().0, large);
}

#[test]
fn bad_framing_ends_the_stream_alone() {
    let (mut rig, mut client, ended) = Rig::over(Framing::Trojan, &patient(), QUIET);
    let target = Host::new(V4);
    let mut nobody = b"\x03\x00\x00\x35\x00\x01\r\nx".to_vec();
    nobody.extend(trojan(&target.place(), b"good"));
    client.write_all(&nobody).expect("write");
    let flow = rig.allow(&direct());
    assert_eq!(target.receive().0, b"good");
    rig.eventually("a host that nobody has is dropped", |stats| {
        stats.malformed == 1
    });
    client
        .write_all(b"\x01\x7f\x00\x00\x01\x00\x35\x00\x01\n\n")
        .expect("write");
    let end = End::Near(std::io::ErrorKind::InvalidData);
    assert_eq!(flow.end(), end);
    assert_eq!(ended.recv_timeout(LIMIT), Ok(end));
    assert!(is_over(&mut client));
    assert_eq!(rig.listener.stats().malformed, 2);
}

#[test]
fn the_end_of_the_near_stream_ends_its_flows() {
    let (mut rig, mut client, ended) = Rig::over(Framing::Uot, &patient(), QUIET);
    let target = Host::new(V4);
    client
        .write_all(&framed(&Framing::Uot, &target.place(), b"x"))
        .expect("write");
    let flow = rig.allow(&direct());
    target.receive();
    drop(client);
    let end = End::Near(std::io::ErrorKind::UnexpectedEof);
    assert_eq!(flow.end(), end);
    assert_eq!(ended.recv_timeout(LIMIT), Ok(end));
}

#[test]
fn a_stream_without_flows_ends_after_a_while() {
    let (mut rig, mut client, ended) = Rig::over(Framing::Uot, &hasty(), Duration::from_millis(50));
    let target = Host::new(V4);
    client
        .write_all(&framed(&Framing::Uot, &target.place(), b"x"))
        .expect("write");
    assert_eq!(rig.allow(&direct()).end(), End::Idle);
    assert_eq!(ended.recv_timeout(LIMIT), Ok(End::Idle));
    assert!(is_over(&mut client));
}

#[test]
fn dropping_the_listener_closes_the_stream() {
    let (rig, mut client, ended) = Rig::over(Framing::Uot, &patient(), QUIET);
    drop(rig.listener);
    assert_eq!(ended.recv_timeout(LIMIT), Ok(End::Closed));
    assert!(is_over(&mut client));
}

#[test]
fn a_stopped_engine_tells_the_owner_of_a_stream() {
    let (rig, _client, ended) = Rig::over(Framing::Uot, &patient(), QUIET);
    rig.reactors.stop();
    assert_eq!(ended.recv_timeout(LIMIT), Ok(End::Closed));
}

#[test]
fn a_way_inside_a_stream() {
    for framing in [Framing::Trojan, Framing::Uot] {
        let mut rig = Rig::socks(&patient());
        let (source, v4) = (Host::new(V4), Host::new(V4).place());
        let name = Place::Name("target.example".into(), 53);
        let (mut ours, mut server) = pair(&rig.reactors);
        ours.held.extend_from_slice(b"request");
        let far = Far::framed(ours, framing.clone(), b"\r\n".to_vec());
        source.send_for(&rig, &v4, b"one");
        let flow = rig.allow(&far);
        requested(&mut server, b"request", &v4, b"\r\n");
        assert_eq!(next(&framing, &mut server), (v4.clone(), b"one".to_vec()));
        source.send_for(&rig, &name, b"two");
        let named = rig.allow(&far);
        assert_eq!(next(&framing, &mut server), (name.clone(), b"two".to_vec()));
        // One answer names its host, the other comes from an address that stands for it.
        server
            .write_all(&framed(&framing, &name, b"2"))
            .expect("write");
        assert_eq!(source.receive_from(), (name, b"2".to_vec()));
        named.counts(3, 1);
        let answer = [framed(&framing, &v4, b"1"), framed(&framing, &v4, b"")].concat();
        server.write_all(&answer).expect("write");
        assert_eq!(source.receive_from(), (v4.clone(), b"1".to_vec()));
        assert_eq!(source.receive_from(), (v4, Vec::new()));
        flow.counts(3, 1);
        drop(server);
        assert_eq!(flow.end(), End::Far(std::io::ErrorKind::UnexpectedEof));
        assert_eq!(named.end(), End::Far(std::io::ErrorKind::UnexpectedEof));
    }
}

#[test]
fn bad_framing_ends_the_way() {
    let mut rig = Rig::socks(&patient());
    let (source, target) = (Host::new(V4), Host::new(V4).place());
    let (ours, mut server) = pair(&rig.reactors);
    source.send_for(&rig, &target, b"x");
    let flow = rig.allow(&Far::framed(ours, Framing::Uot, Vec::new()));
    server.write_all(b"\x09").expect("write");
    assert_eq!(flow.end(), End::Far(std::io::ErrorKind::InvalidData));
    requested(&mut server, b"", &target, b"");
    next(&Framing::Uot, &mut server);
    assert!(is_over(&mut server));
}

#[test]
fn a_closed_way_closes_its_stream() {
    let mut rig = Rig::socks(&patient());
    let (unused, mut other) = pair(&rig.reactors);
    Far::framed(unused, Framing::Uot, Vec::new()).close();
    assert!(is_over(&mut other));
    let (source, target) = (Host::new(V4), Host::new(V4).place());
    let (ours, mut server) = pair(&rig.reactors);
    let far = Far::framed(ours, Framing::Uot, Vec::new());
    source.send_for(&rig, &target, b"x");
    let flow = rig.allow(&far);
    requested(&mut server, b"", &target, b"");
    next(&Framing::Uot, &mut server);
    far.close();
    assert_eq!(flow.end(), End::Closed);
    assert!(is_over(&mut server));
}

#[test]
fn a_slow_stream_drops_packets() {
    let mut rig = Rig::socks(&patient());
    let (source, target) = (Host::new(V4), Host::new(V4).place());
    let (ours, mut server) = pair(&rig.reactors);
    source.send_for(&rig, &target, &[1; 8192]);
    rig.allow(&Far::framed(ours, Framing::Trojan, Vec::new()));
    let begun = Instant::now();
    while rig.listener.stats().congested == 0 {
        assert!(begun.elapsed() < LIMIT);
        source.send_for(&rig, &target, &[1; 8192]);
    }
    // What was taken comes whole, and then there is room again.
    let mut taken = 0;
    server
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("timeout");
    let mut all = Vec::new();
    let _ = server.read_to_end(&mut all);
    let mut rest = &all[7..];
    while let Ok(frame) = Framing::Trojan.frame(rest) {
        assert!(rest[frame.head..frame.end].iter().all(|&byte| byte == 1));
        rest = &rest[frame.end..];
        taken += 1;
    }
    assert!(rest.is_empty() && taken > 32, "{taken}");
    source.send_for(&rig, &target, b"again");
    assert_eq!(
        next(&Framing::Trojan, &mut server),
        (target, b"again".to_vec())
    );
}

#[test]
fn from_one_stream_into_another_and_through_a_relay_behind_it() {
    let (mut near, mut client, _) = Rig::over(Framing::Trojan, &patient(), QUIET);
    let relay: Place = SocketAddr::from(([192, 0, 2, 1], 1080)).into();
    let target = Place::Name("target.example".into(), 53);
    let (ours, mut server) = pair(&near.reactors);
    let (control, _held) = pair(&near.reactors);
    let inner = Far::framed(ours, Framing::Uot, Vec::new());
    let far = Far::wrap_socks5(&inner, relay.clone(), control, &near.reactors);
    client.write_all(&trojan(&target, b"what")).expect("write");
    let flow = near.allow(&far);
    requested(&mut server, b"", &relay, b"");
    let (to, packet) = next(&Framing::Uot, &mut server);
    let mut scratch = [0; NAME];
    let (inside, n) = decode(&packet, &mut scratch).expect("a header");
    assert_eq!((to, inside.to_place()), (relay.clone(), target.clone()));
    assert_eq!(&packet[n..], b"what");
    let stranger = Place::Address(([192, 0, 2, 2], 1080).into());
    server
        .write_all(&framed(&Framing::Uot, &stranger, &packet))
        .expect("write");
    server
        .write_all(&framed(&Framing::Uot, &relay, &packet))
        .expect("write");
    assert_eq!(
        next(&Framing::Trojan, &mut client),
        (target.clone(), b"what".to_vec())
    );
    near.eventually("only the relay is heard", |stats| stats.stranger == 1);
    // With the relay's header it is longer than a frame can say.
    client
        .write_all(&trojan(&target, &vec![0; LONGEST]))
        .expect("write");
    near.eventually("too long", |stats| stats.unsendable == 1);
    inner.close();
    assert!(matches!(flow.end(), End::Far(_) | End::Closed));
    assert!(is_over(&mut server));
}
