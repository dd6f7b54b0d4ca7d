//! Published and checked vectors; both ends against each other; every flipped bit and cut length.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::aead::Aead;
use super::server::Server;
use super::wire::{IDS, Ids, Psk, write_body};
use super::*;
use crate::datagrams::address::{NAME, Place, decode_place, encode_place};
use crate::datagrams::ids::Origin;
use crate::datagrams::tally::Bad;
use crate::layers::cipher::Suite;

const NOW: u64 = 1_700_000_000;
const ALL: [&str; 6] = [
    "aes-128-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
    "2022-blake3-chacha20-poly1305",
];

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |byte: u8| char::from(byte).to_digit(16).expect("a digit") as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

fn counted(from: u8, size: usize) -> Vec<u8> {
    (from..).take(size).collect()
}

fn source() -> SocketAddr {
    ([192, 0, 2, 1], 1000).into()
}

fn target() -> Place {
    Place::Address(([8, 8, 8, 8], 53).into())
}

fn plain() -> Vec<u8> {
    let mut plain = Vec::new();
    encode_place(target().spot(), &mut plain);
    plain.extend_from_slice(b"hello");
    plain
}

/// A packet of a client, or of a server, without padding.
fn laid(prefix: usize, plain: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; prefix];
    packet.extend_from_slice(plain);
    packet.resize(packet.len() + TAIL, 0);
    packet
}

fn sent(client: &mut Client, plain: &[u8]) -> Vec<u8> {
    let mut packet = laid(client.prefix(0), plain);
    assert!(client.seal(&mut packet, 0));
    packet
}

fn answered(door: &mut Door, origin: Origin, plain: &[u8]) -> Vec<u8> {
    let mut packet = laid(door.prefix(0), plain);
    assert!(door.seal(origin, &mut packet, 0));
    packet
}

fn keys(method: &str, users: usize) -> (Vec<DoorKeys>, Vec<Vec<Vec<u8>>>) {
    let method = Method::named(method).expect("known");
    let key = |seed: u8| counted(seed * 16, method.key_len());
    let listed: Vec<DoorUser> = (0..users)
        .map(|at| DoorUser {
            key: key(at as u8 + 1),
            relay: None,
        })
        .collect();
    let each = match users {
        0 => vec![vec![key(0)]],
        _ => listed
            .iter()
            .map(|user| vec![key(0), user.key.clone()])
            .collect(),
    };
    let door = DoorKeys {
        method,
        key: key(0),
        users: listed,
    };
    (vec![door], each)
}

fn pair(method: &str) -> (Client, Door) {
    let (door, clients) = keys(method, 0);
    let client = Client::new(door[0].method, &clients[0]).expect("a key");
    (client, Door::new(&door[0], 100).expect("a key"))
}

/// As OpenSSL's `EVP_BytesToKey` makes it of "password".
const KEY: &str = "5f4dcc3b5aa765d61d8327deb882cf992b95990a9151374abd8ff8c5a7a0fe08";

#[test]
fn sip004_vectors() {
    let aes =
        "000102030405060708090a0b0c0d0e0f 5d26e37c08796b2edf50b884a42e1e3b19e7323170ddfde6015a862d";
    let chacha = "ac4086f9f6ba4730f38a0f6c0ee62760a4701c07b15ea34f234784eb";
    for (suite, expected) in [
        (Suite::Aes128, hex(aes)),
        (Suite::Chacha, [counted(0, 32), hex(chacha)].concat()),
    ] {
        let aead = Aead::new(suite, &hex(KEY)[..suite.key_len()]).expect("a key");
        let mut packet = laid(aead.prefix(), &plain());
        packet[..suite.key_len()].copy_from_slice(&counted(0, suite.key_len()));
        aead.seal_salted(&mut packet).expect("sealed");
        assert_eq!(packet, expected);
        let body = aead.open(&mut packet).expect("opened");
        assert_eq!(packet[body], plain());
    }
}

#[test]
fn sip022_vectors() {
    let one = "18ba69bb4661fee5a7cc9ec1a731e278 0f887748f59fbaddc74035aaf8f098481910937ae67325a1e9fa830835febf4b858e07cc4388a2";
    let two = "18ba69bb4661fee5a7cc9ec1a731e278 89db2229a6d3aa7d918420182215bbcc 496a3e1086ca72f8fd6262a269b27b15bff5d74d8397cc1be033461615a6954dafe9871c699074";
    let long = "65627bd127f455618ff9d0f081df2db4 7e41c363d48a26c057fcafd6e859fdb90a8a7bcb77cfe43e526322ba6753b62adc6a8b81e9a791";
    for (suite, keys, expected) in [
        (Suite::Aes128, vec![counted(0, 16)], one),
        (Suite::Aes128, vec![counted(0, 16), counted(16, 16)], two),
        (Suite::Aes256, vec![counted(0, 32)], long),
    ] {
        let session = 0x0102_0304_0506_0708;
        let mut client = client::Client::with(suite, &keys, session).expect("keys");
        let mut packet = laid(client.prefix(), &plain());
        client.seal(&mut packet, 0, NOW).expect("sealed");
        assert_eq!(packet, hex(expected));
        let users = keys[1..].iter().map(|key| DoorUser {
            key: key.clone(),
            relay: None,
        });
        let door = DoorKeys {
            method: Method::Blake(suite),
            key: keys[0].clone(),
            users: users.collect(),
        };
        let mut server = Server::new(suite, &door, 10, 0).expect("keys");
        let opened = server.open(&mut packet, NOW).expect("opened");
        assert_eq!(packet[opened.body], plain());
        let user = (keys.len() > 1).then_some(0);
        assert_eq!(opened.origin, Origin::guest(user, session));
    }
}

#[test]
fn sip022_chacha_vector() {
    let expected = "9fc00c7b95d48aa6334426cecb52a8e84b4728a5fdb34e1a7f1a3fb735a5fd515e33de812d0b66176aa3c53cd6f03b8194097d387ee43e";
    let psk = Psk::new(Suite::Chacha, &counted(0, 32)).expect("a key");
    let ids = Ids {
        session: 0x0102_0304_0506_0708,
        packet: 0,
    };
    let mut room = laid(IDS + wire::body_len(false), &plain());
    write_body(&mut room[IDS..], NOW, None, 0).expect("room");
    let nonce: [u8; 24] = std::array::from_fn(|at| at as u8);
    psk.seal_long(&nonce, ids, &mut room).expect("sealed");
    assert_eq!(room, hex(expected));
}

#[test]
fn both_ways_by_every_method() {
    for method in ALL {
        let (mut client, mut door) = pair(method);
        for round in 0..3 {
            let mut packet = sent(&mut client, &plain());
            let opened = door.open(source(), &mut packet).expect(method);
            assert_eq!(packet[opened.body], plain());
            assert_eq!(opened.origin.user(), None);
            let mut answer = answered(&mut door, opened.origin, &plain());
            let body = client.open(&mut answer).expect(method);
            assert_eq!(answer[body], plain(), "{method} {round}");
        }
    }
}

#[test]
fn padding_is_read_over() {
    for method in &ALL[3..] {
        let (mut client, mut door) = pair(method);
        for padding in [1, 900, 3000] {
            let mut packet = laid(client.prefix(padding), &plain());
            assert!(client.seal(&mut packet, padding));
            let opened = door.open(source(), &mut packet).expect("opened");
            assert_eq!(packet[opened.body], plain());
            let mut answer = laid(door.prefix(padding), &plain());
            assert!(door.seal(opened.origin, &mut answer, padding));
            let body = client.open(&mut answer).expect("opened");
            assert_eq!(answer[body], plain());
        }
    }
    assert!((0..100).all(|_| (1..=800).contains(&wire::padding(53, 100))));
    assert_eq!((wire::padding(53, 900), wire::padding(443, 10)), (0, 0));
}

#[test]
fn users_are_told_apart() {
    for method in &ALL[3..5] {
        let (doors, clients) = keys(method, 3);
        let mut door = Door::new(&doors[0], 100).expect("keys");
        for (at, keys) in clients.iter().enumerate() {
            let mut client = Client::new(doors[0].method, keys).expect("keys");
            let mut packet = sent(&mut client, &plain());
            let opened = door.open(source(), &mut packet).expect("opened");
            assert_eq!(opened.origin.user(), Some(at as u32));
            let mut answer = answered(&mut door, opened.origin, &plain());
            assert!(client.open(&mut answer).is_ok());
            // One with the server's key alone is nobody here.
            let mut nobody = Client::new(doors[0].method, &keys[..1]).expect("keys");
            let mut packet = sent(&mut nobody, &plain());
            assert_eq!(door.open(source(), &mut packet), Err(Bad::Forged));
        }
    }
}

#[test]
fn a_relay_passes_on_what_the_next_server_reads() {
    for method in &ALL[3..5] {
        let method = Method::named(method).expect("known");
        let key = |seed: u8| counted(seed, method.key_len());
        let next = Place::Name("next.example".into(), 8388);
        let user = |key: Vec<u8>, relay: Option<&Place>| DoorUser {
            key,
            relay: relay.cloned(),
        };
        let first = DoorKeys {
            method,
            key: key(1),
            users: vec![user(key(9), None), user(key(2), Some(&next))],
        };
        let second = DoorKeys {
            method,
            key: key(2),
            users: vec![user(key(3), None)],
        };
        let mut relay = Door::new(&first, 10).expect("keys");
        let mut server = Door::new(&second, 10).expect("keys");
        let mut client = Client::new(method, &[key(1), key(2), key(3)]).expect("keys");
        let recorded = sent(&mut client, &plain());
        let mut packet = recorded.clone();
        let opened = relay.open(source(), &mut packet).expect("ours");
        assert_eq!(first.relay(opened.origin), Some(&next));
        let mut onward = packet[opened.body].to_vec();
        let there = server.open(source(), &mut onward).expect("theirs");
        assert_eq!(onward[there.body], plain());
        let mut answer = answered(&mut server, there.origin, &plain());
        assert!(client.open(&mut answer).is_ok());
        assert_eq!(
            relay.open(source(), &mut recorded.clone()),
            Err(Bad::Replayed)
        );
    }
}

#[test]
fn whatever_is_changed_or_cut_is_dropped() {
    for method in ALL {
        let (mut client, mut door) = pair(method);
        let good = sent(&mut client, &plain());
        for at in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert_eq!(
                door.open(source(), &mut bad),
                Err(Bad::Forged),
                "{method} {at}"
            );
        }
        for len in 0..good.len() {
            let mut bad = good[..len].to_vec();
            assert_eq!(
                door.open(source(), &mut bad),
                Err(Bad::Forged),
                "{method} {len}"
            );
        }
        let opened = door.open(source(), &mut good.clone()).expect("still good");
        let answer = answered(&mut door, opened.origin, &plain());
        for at in 0..answer.len() * 8 {
            let mut bad = answer.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert_eq!(client.open(&mut bad), Err(Bad::Forged), "{method} {at}");
        }
        assert!(client.open(&mut answer.clone()).is_ok());
    }
}

#[test]
fn a_replay_and_another_time_are_dropped() {
    for method in &ALL[3..] {
        let Some(Method::Blake(suite)) = Method::named(method) else {
            unreachable!();
        };
        let (doors, clients) = keys(method, 0);
        let mut server = Server::new(suite, &doors[0], 10, 0).expect("keys");
        let mut client = client::Client::new(suite, &clients[0]).expect("keys");
        let mut sealed = |time| {
            let mut packet = laid(client.prefix(), &plain());
            client.seal(&mut packet, 0, time).expect("sealed");
            packet
        };
        let (first, second, early, late) =
            (sealed(NOW), sealed(NOW), sealed(NOW - 31), sealed(NOW + 31));
        let mut open = |packet: &[u8]| server.open(&mut packet.to_vec(), NOW).map(|o| o.newest);
        assert_eq!(open(&early), Err(Bad::Replayed));
        assert_eq!(open(&late), Err(Bad::Replayed));
        assert_eq!(open(&second), Ok(true));
        assert_eq!(open(&first), Ok(false), "late, and the first time");
        assert_eq!(open(&first), Err(Bad::Replayed));
        assert_eq!(open(&second), Err(Bad::Replayed));
    }
}

#[test]
fn a_salt_passes_once() {
    for method in &ALL[..3] {
        let (mut client, mut door) = pair(method);
        let packet = sent(&mut client, &plain());
        let mut open = |packet: &[u8]| door.open(source(), &mut packet.to_vec()).map(|_| ());
        assert_eq!(open(&packet), Ok(()));
        assert_eq!(open(&packet), Err(Bad::Replayed));
        assert_eq!(open(&sent(&mut client, &plain())), Ok(()));
    }
}

#[test]
fn sessions_are_bounded_and_none_is_forgotten_early() {
    let (doors, clients) = keys(ALL[3], 0);
    let mut server = Server::new(Suite::Aes128, &doors[0], 2, 0).expect("keys");
    let sealed = |time| {
        let mut client = client::Client::new(Suite::Aes128, &clients[0]).expect("keys");
        let mut packet = laid(client.prefix(), &plain());
        client.seal(&mut packet, 0, time).expect("sealed");
        packet
    };
    let first = sealed(NOW + 30);
    assert!(server.open(&mut first.clone(), NOW).is_ok());
    assert!(server.open(&mut sealed(NOW), NOW + 1).is_ok());
    assert_eq!(server.open(&mut sealed(NOW + 1), NOW + 1), Err(Bad::Full));
    assert_eq!(
        server.open(&mut first.clone(), NOW + 60),
        Err(Bad::Replayed)
    );
    assert!(server.open(&mut sealed(NOW + 61), NOW + 61).is_ok());
    // By now its time alone tells.
    assert_eq!(
        server.open(&mut first.clone(), NOW + 61),
        Err(Bad::Replayed)
    );
}

#[test]
fn a_server_may_begin_anew_once_a_minute() {
    for method in &ALL[3..] {
        let Some(Method::Blake(suite)) = Method::named(method) else {
            unreachable!();
        };
        let (doors, clients) = keys(method, 0);
        let mut client = client::Client::new(suite, &clients[0]).expect("keys");
        let mut started = |now: u64| {
            let mut server = Server::new(suite, &doors[0], 10, 0).expect("keys");
            let mut packet = laid(client.prefix(), &plain());
            client.seal(&mut packet, 0, now).expect("sealed");
            let origin = server.open(&mut packet, now).expect("opened").origin;
            (server, origin)
        };
        let mut servers = [started(NOW), started(NOW), started(NOW + 61)];
        let mut answer = |at: usize, now: u64| {
            let (server, origin): &mut (Server, Origin) = &mut servers[at];
            let mut packet = laid(server.prefix(), &plain());
            server.seal(*origin, &mut packet, 0, now).expect("sealed");
            client.open(&mut packet, now).map(|_| ())
        };
        assert_eq!(answer(0, NOW), Ok(()));
        assert_eq!(answer(1, NOW), Ok(()));
        assert_eq!(answer(0, NOW + 1), Ok(()), "still on its way");
        assert_eq!(answer(2, NOW + 60), Err(Bad::Full));
        assert_eq!(answer(2, NOW + 61), Ok(()));
        assert_eq!(answer(1, NOW + 61), Ok(()));
        assert_eq!(answer(0, NOW + 61), Err(Bad::Full));
    }
}

#[test]
fn one_user_cannot_keep_the_others_out() {
    let (doors, clients) = keys(ALL[3], 2);
    let mut server = Server::new(Suite::Aes128, &doors[0], 4, 0).expect("keys");
    let mut begin = |user: usize, now: u64| {
        let mut client = client::Client::new(Suite::Aes128, &clients[user]).expect("keys");
        let mut packet = laid(client.prefix(), &plain());
        client.seal(&mut packet, 0, now).expect("sealed");
        server.open(&mut packet, now).map(|opened| opened.newest)
    };
    let told: Vec<_> = (0..4).map(|_| begin(0, NOW)).collect();
    let full = Err(Bad::Full);
    assert_eq!(told, [Ok(true), Ok(true), full, full]);
    assert_eq!(begin(1, NOW), Ok(true));
    assert_eq!(begin(0, NOW + 61), Ok(true), "the old ones were forgotten");
}

#[test]
fn the_last_packet_id_of_all_is_never_taken() {
    for method in &ALL[3..] {
        let Some(Method::Blake(suite)) = Method::named(method) else {
            unreachable!();
        };
        let (doors, clients) = keys(method, 0);
        let mut server = Server::new(suite, &doors[0], 10, 0).expect("keys");
        let client = client::Client::new(suite, &clients[0]).expect("keys");
        let mut told = |id| {
            let mut packet = laid(client.prefix(), &plain());
            client.seal_as(id, &mut packet, 0, NOW).expect("sealed");
            server.open(&mut packet, NOW).map(|opened| opened.newest)
        };
        assert_eq!(told(u64::MAX), Err(Bad::Replayed));
        assert_eq!(told(u64::MAX - 1), Ok(true));
        assert_eq!(told(u64::MAX), Err(Bad::Replayed));
        assert_eq!(told(u64::MAX - 1), Err(Bad::Replayed));
        assert_eq!(told(u64::MAX - 2), Ok(false));
    }
}

/// A packet from before the server began could have been opened by the one before it.
#[test]
fn what_was_sent_before_the_server_began_is_a_replay() {
    for method in &ALL[3..] {
        let Some(Method::Blake(suite)) = Method::named(method) else {
            unreachable!();
        };
        let (doors, clients) = keys(method, 0);
        let mut server = Server::new(suite, &doors[0], 10, NOW).expect("keys");
        let mut sent_at = |time| {
            let mut client = client::Client::new(suite, &clients[0]).expect("keys");
            let mut packet = laid(client.prefix(), &plain());
            client.seal(&mut packet, 0, time).expect("sealed");
            server
                .open(&mut packet, NOW + 2)
                .map(|opened| opened.newest)
        };
        assert_eq!(sent_at(NOW - 1), Err(Bad::Replayed));
        assert_eq!(sent_at(NOW), Ok(true));
        assert_eq!(sent_at(NOW + 20), Ok(true));
    }
}

#[test]
fn an_answer_to_somebody_else_is_dropped() {
    for method in &ALL[3..] {
        let (mut client, mut door) = pair(method);
        let (doors, clients) = keys(method, 0);
        let mut other = Client::new(doors[0].method, &clients[0]).expect("keys");
        let opened = door
            .open(source(), &mut sent(&mut client, &plain()))
            .expect("opened");
        let answer = answered(&mut door, opened.origin, &plain());
        assert_eq!(other.open(&mut answer.clone()), Err(Bad::Stranger));
        assert!(client.open(&mut answer.clone()).is_ok());
        assert_eq!(client.open(&mut answer.clone()), Err(Bad::Replayed));
        // A client's own packet that is thrown back at it.
        assert!(client.open(&mut sent(&mut other, &plain())).is_err());
    }
}

#[test]
fn keys_that_cannot_be() {
    for method in ALL {
        let known = Method::named(method).expect("known");
        let key = |size| counted(0, size);
        let size = known.key_len();
        assert!(Client::new(known, &[key(size - 1)]).is_err());
        assert!(Client::new(known, &[]).is_err());
        let several = Client::new(known, &[key(size), key(size)]).is_ok();
        assert_eq!(several, method.starts_with("2022-blake3-aes"));
        let door = |users| DoorKeys {
            method: known,
            key: key(size),
            users,
        };
        let user = |key| DoorUser { key, relay: None };
        let made = |users| Door::new(&door(users), 1).is_ok();
        assert!(made(vec![]));
        assert_eq!(made(vec![user(key(size))]), several);
        assert!(!made(vec![user(key(size + 1))]));
        assert!(!format!("{:?}", door(vec![])).contains('['));
    }
    assert_eq!(Method::named("aes-256-cfb"), None);
}

proptest! {
    #[test]
    fn any_bytes_are_dropped(packet in proptest::collection::vec(any::<u8>(), 0..400), at in 0..6_usize) {
        let (mut client, mut door) = pair(ALL[at]);
        prop_assert!(door.open(source(), &mut packet.clone()).is_err());
        prop_assert!(client.open(&mut packet.clone()).is_err());
    }

    #[test]
    fn what_is_sealed_is_opened(
        payload in proptest::collection::vec(any::<u8>(), 0..1500),
        host in any::<(std::net::IpAddr, u16)>(),
        at in 0..6_usize,
    ) {
        let (mut client, mut door) = pair(ALL[at]);
        let place = Place::from(SocketAddr::from(host));
        let mut plain = Vec::new();
        encode_place(place.spot(), &mut plain);
        plain.extend_from_slice(&payload);
        let padding = client.padding(place.port(), payload.len());
        let mut packet = laid(client.prefix(padding), &plain);
        prop_assert!(client.seal(&mut packet, padding));
        let opened = door.open(source(), &mut packet).expect("opened");
        let mut scratch = [0; NAME];
        let body = &packet[opened.body];
        let (spot, n) = decode_place(body, &mut scratch).expect("an address");
        prop_assert_eq!(spot.to_place(), place);
        prop_assert_eq!(&body[n..], &payload[..]);
    }
}
