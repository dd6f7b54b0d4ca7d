//! Shadowsocks packets by every method: what was sealed is opened, whatever else comes is dropped, and
//! the bodies that only who has the key could send are read within their bounds.
#![no_main]

use byway_engine::datagrams::Bad;
use byway_engine::datagrams::sealed::{
    Client, Door, DoorKeys, DoorUser, Method, TAIL, read_body, times,
};
use libfuzzer_sys::fuzz_target;

const METHODS: [&str; 6] = [
    "aes-128-gcm",
    "aes-256-gcm",
    "chacha20-ietf-poly1305",
    "2022-blake3-aes-128-gcm",
    "2022-blake3-aes-256-gcm",
    "2022-blake3-chacha20-poly1305",
];
const NOW: u64 = 1_700_000_000;

fuzz_target!(
    |input: (u8, bool, u16, Vec<u8>, Vec<u8>, Option<(u16, u8)>)| {
        let (method, users, padding, payload, alien, flip) = input;
        let name = METHODS[usize::from(method) % METHODS.len()];
        let method = Method::named(name).expect("known");
        let users = users && name.starts_with("2022-blake3-aes");
        let key = |seed: u8| vec![seed; method.key_len()];
        let user = DoorUser {
            key: key(2),
            relay: None,
        };
        let keys = DoorKeys {
            method,
            key: key(1),
            users: users.then_some(user).into_iter().collect(),
        };
        let mut door = Door::new(&keys, 10).expect("keys");
        let secrets = if users {
            vec![key(1), key(2)]
        } else {
            vec![key(1)]
        };
        let mut client = Client::new(method, &secrets).expect("keys");
        let source = ([192, 0, 2, 1], 1000).into();

        // The shortest address, and what follows it.
        let plain = [&[1, 192, 0, 2, 2, 0, 53][..], &payload].concat();
        let padding = if name.starts_with("2022") {
            usize::from(padding % 2000)
        } else {
            0
        };
        let mut packet = vec![0; client.prefix(padding)];
        packet.extend_from_slice(&plain);
        packet.resize(packet.len() + TAIL, 0);
        assert!(client.seal(&mut packet, padding));
        let mut changed = false;
        if let Some((at, by)) = flip {
            let at = usize::from(at) % packet.len();
            packet[at] ^= by;
            changed = by != 0;
        }
        match door.open(source, &mut packet) {
            Ok(opened) => {
                assert!(!changed);
                assert_eq!(packet[opened.body], plain);
                let mut answer = vec![0; door.prefix(padding)];
                answer.extend_from_slice(&plain);
                answer.resize(answer.len() + TAIL, 0);
                assert!(door.seal(opened.origin, &mut answer, padding));
                let body = client.open(&mut answer).expect("an answer");
                assert_eq!(answer[body], plain);
            }
            Err(bad) => assert!(changed && bad == Bad::Forged),
        }

        assert_eq!(door.open(source, &mut alien.clone()), Err(Bad::Forged));
        assert_eq!(client.open(&mut alien.clone()), Err(Bad::Forged));
        for (at, echo) in [(16, None), (16, Some(7)), (40, None), (0, Some(7))] {
            if let Ok(body) = read_body(&alien, at, &times(NOW), echo) {
                assert!(at <= body.start && body.end + TAIL == alien.len());
            }
        }
    }
);
