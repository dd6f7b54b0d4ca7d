//! Sealed packets over real sockets: who may speak, where answers go, what is remembered.

use byway_engine::datagrams::address::{decode_place, encode_place};
use byway_engine::datagrams::sealed::{Client, DoorKeys, DoorUser, Method, Sealed, TAIL};

use super::ground::*;

const METHODS: [&str; 6] = [
    "aes-128-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
    "2022-blake3-chacha20-poly1305",
];

fn key(method: Method, seed: u8) -> Vec<u8> {
    vec![seed; method.key_len()]
}

fn client(method: &str, seeds: &[u8]) -> Client {
    let method = Method::named(method).expect("known");
    let keys: Vec<Vec<u8>> = seeds.iter().map(|seed| key(method, *seed)).collect();
    Client::new(method, &keys).expect("keys")
}

fn door(method: &str, users: &[(u8, Option<Place>)]) -> Box<dyn Codec> {
    let method = Method::named(method).expect("known");
    let users = users.iter().map(|(seed, relay)| DoorUser {
        key: key(method, *seed),
        relay: relay.clone(),
    });
    let keys = DoorKeys {
        method,
        key: key(method, 1),
        users: users.collect(),
    };
    Box::new(Sealed::new(keys, &patient()).expect("keys"))
}

fn sealed(client: &mut Client, target: &Place, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; client.prefix(0)];
    encode_place(target.spot(), &mut packet);
    packet.extend_from_slice(payload);
    packet.resize(packet.len() + TAIL, 0);
    assert!(client.seal(&mut packet, 0));
    packet
}

fn opened(client: &mut Client, host: &Host) -> (Place, Vec<u8>) {
    let (mut packet, _) = host.receive();
    let body = client.open(&mut packet).expect("an answer");
    let mut scratch = [0; NAME];
    let (place, n) = decode_place(&packet[body.clone()], &mut scratch).expect("an address");
    (place.to_place(), packet[body][n..].to_vec())
}

#[test]
fn every_method_both_ways() {
    for method in METHODS {
        let mut rig = Rig::new(V4, door(method, &[]), &patient());
        let (source, target) = (Host::new(V4), Host::new(V4));
        let mut client = client(method, &[1]);
        source.send(&rig, &sealed(&mut client, &target.place(), b"what"));
        let flow = rig.allow(&direct());
        let (packet, mapped) = target.receive();
        assert_eq!(packet, b"what");
        for round in 0..40_u8 {
            target.0.send_to(&[round; 100], mapped).expect("send");
        }
        for round in 0..40 {
            let answer = opened(&mut client, &source);
            assert_eq!(answer, (target.place(), vec![round; 100]), "{method}");
        }
        flow.counts(4, 4000);
    }
}

#[test]
fn a_session_follows_its_client_to_another_address() {
    for method in &METHODS[3..] {
        let mut rig = Rig::new(V4, door(method, &[]), &patient());
        let (here, there, target) = (Host::new(V4), Host::new(V4), Host::new(V4));
        let mut client = client(method, &[1]);
        let late = sealed(&mut client, &target.place(), b"late");
        here.send(&rig, &sealed(&mut client, &target.place(), b"one"));
        let flow = rig.allow(&direct());
        let (_, mapped) = target.receive();
        there.send(&rig, &sealed(&mut client, &target.place(), b"two"));
        assert_eq!(target.receive(), (b"two".to_vec(), mapped), "the same flow");
        target.0.send_to(b"answer", mapped).expect("send");
        assert_eq!(opened(&mut client, &there).1, b"answer");
        // An earlier packet that comes late is carried, and turns nothing back.
        here.send(&rig, &late);
        assert_eq!(target.receive().0, b"late");
        target.0.send_to(b"again", mapped).expect("send");
        assert_eq!(opened(&mut client, &there).1, b"again");
        // Nor does one that was seen, or that nobody sealed.
        here.send(&rig, &late);
        here.send(&rig, &[0; 100]);
        let stats = rig.eventually("dropped", |stats| stats.replayed + stats.forged == 2);
        assert_eq!((stats.replayed, stats.sessions, stats.flows), (1, 1, 1));
        target.0.send_to(b"still", mapped).expect("send");
        assert_eq!(opened(&mut client, &there).1, b"still");
        assert!(here.silent());
        flow.counts(10, 16);
    }
}

#[test]
fn two_sessions_of_one_address_are_two() {
    let mut rig = Rig::new(V4, door(METHODS[3], &[]), &patient());
    let (source, target) = (Host::new(V4), Host::new(V4));
    let (mut one, mut two) = (client(METHODS[3], &[1]), client(METHODS[3], &[1]));
    source.send(&rig, &sealed(&mut one, &target.place(), b"one"));
    rig.allow(&direct());
    let (_, first) = target.receive();
    source.send(&rig, &sealed(&mut two, &target.place(), b"two"));
    rig.allow(&direct());
    let (_, second) = target.receive();
    assert_ne!(first, second, "a mapping of its own");
    target.0.send_to(b"for two", second).expect("send");
    assert_eq!(opened(&mut two, &source).1, b"for two");
}

#[test]
fn a_replay_is_known_when_its_flow_is_over() {
    for method in &METHODS[3..] {
        let mut rig = Rig::new(V4, door(method, &[]), &hasty());
        let (source, target) = (Host::new(V4), Host::new(V4));
        let mut client = client(method, &[1]);
        let recorded = sealed(&mut client, &target.place(), b"one");
        source.send(&rig, &recorded);
        let flow = rig.allow(&direct());
        assert_eq!(flow.end(), End::Idle);
        rig.eventually("over", |stats| stats.sessions == 0);
        source.send(&rig, &recorded);
        rig.eventually("dropped", |stats| stats.replayed == 1);
        // The client itself goes on where it was.
        source.send(&rig, &sealed(&mut client, &target.place(), b"two"));
        rig.allow(&direct());
        assert_eq!(target.receive().0, b"one");
        assert_eq!(target.receive().0, b"two");
    }
}

#[test]
fn users_are_told_to_the_owner() {
    for method in &METHODS[3..5] {
        let mut rig = Rig::new(V4, door(method, &[(5, None), (6, None)]), &patient());
        let (source, target) = (Host::new(V4), Host::new(V4));
        for (seed, user) in [(5, 0), (6, 1)] {
            let mut client = client(method, &[1, seed]);
            source.send(&rig, &sealed(&mut client, &target.place(), b"hello"));
            let ask = rig.ask();
            assert_eq!(ask.user, Some(user));
            let located = ask.target.clone();
            Flow::begin(ask, &direct(), located);
            let (_, mapped) = target.receive();
            target.0.send_to(b"answer", mapped).expect("send");
            assert_eq!(opened(&mut client, &source).1, b"answer");
        }
        source.send(
            &rig,
            &sealed(&mut client(method, &[1]), &target.place(), b"x"),
        );
        rig.eventually("dropped", |stats| stats.forged == 1);
    }
}

#[test]
fn a_relayed_user_is_served_by_the_next() {
    for method in &METHODS[3..5] {
        let mut last = Rig::new(V4, door(method, &[(7, None)]), &patient());
        let next = Place::from(last.listener.address);
        // The key in the relay's list is the next server's own.
        let mut relay = Rig::new(V4, door(method, &[(1, Some(next.clone()))]), &patient());
        let (source, moved, target) = (Host::new(V4), Host::new(V4), Host::new(V4));
        let mut client = client(method, &[1, 1, 7]);
        source.send(&relay, &sealed(&mut client, &target.place(), b"hello"));
        let ask = relay.ask();
        assert_eq!((&ask.target, ask.user), (&next, Some(0)));
        Flow::begin(ask, &direct(), next);
        let ask = last.ask();
        assert_eq!((&ask.target, ask.user), (&target.place(), Some(0)));
        Flow::begin(ask, &direct(), target.place());
        let (packet, mapped) = target.receive();
        assert_eq!(packet, b"hello");
        target.0.send_to(b"answer", mapped).expect("send");
        assert_eq!(
            opened(&mut client, &source),
            (target.place(), b"answer".to_vec())
        );
        moved.send(&relay, &sealed(&mut client, &target.place(), b"more"));
        assert_eq!(target.receive().0, b"more");
        target.0.send_to(b"there", mapped).expect("send");
        assert_eq!(opened(&mut client, &moved).1, b"there");
    }
}

#[test]
fn through_servers_to_any_depth() {
    for chain in [
        &[METHODS[0]][..],
        &[METHODS[3]],
        &[METHODS[4], METHODS[2]],
        &[METHODS[5], METHODS[3], METHODS[1]],
    ] {
        let mut rig = Rig::socks(&patient());
        let mut servers: Vec<Rig> = chain
            .iter()
            .map(|method| Rig::new(V4, door(method, &[]), &patient()))
            .collect();
        let (source, target) = (Host::new(V4), Host::new(V4));
        let name = Place::Name("target.example".into(), target.address().port());
        let mut far = direct();
        for (method, server) in chain.iter().zip(&servers) {
            let place = server.listener.address.into();
            far = Far::wrap_sealed(&far, place, client(method, &[1]));
        }
        source.send_for(&rig, &name, b"what");
        let flow = rig.allow(&far);
        for at in 0..servers.len() {
            let next = servers
                .get(at + 1)
                .map_or(name.clone(), |next| next.listener.address.into());
            let ask = servers[at].ask();
            assert_eq!(ask.target, next);
            let located = if next == name { target.place() } else { next };
            Flow::begin(ask, &direct(), located);
        }
        let (packet, mapped) = target.receive();
        assert_eq!(packet, b"what");
        target.0.send_to(b"who", mapped).expect("send");
        assert_eq!(source.receive_from(), (target.place(), b"who".to_vec()));
        flow.counts(4, 3);
    }
}

#[test]
fn what_is_no_answer_is_dropped() {
    for method in METHODS {
        let mut rig = Rig::socks(&patient());
        let (source, server, target) = (Host::new(V4), Host::new(V4), Host::new(V4));
        let far = Far::wrap_sealed(&direct(), server.place(), client(method, &[1]));
        source.send_for(&rig, &target.place(), b"what");
        rig.allow(&far);
        let (packet, mapped) = server.receive();
        for len in [0, 10, 40, 100] {
            server.0.send_to(&vec![7; len], mapped).expect("send");
        }
        server.0.send_to(&packet, mapped).expect("send");
        target.0.send_to(&packet, mapped).expect("send");
        rig.eventually("dropped", |stats| {
            stats.packets_down == 6 && stats.stranger == 1
        });
        if method.starts_with("2022") {
            assert!(source.silent());
        }
    }
}
