//! The header of a SOCKS5 packet: whatever is read is written and read again alike.
#![no_main]

use byway_engine::datagrams::address::{NAME, Place, decode, encode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|packet: &[u8]| {
    let mut scratch = [0; NAME];
    let Some((spot, n)) = decode(packet, &mut scratch) else {
        return;
    };
    assert!(n <= packet.len());
    let place = spot.to_place();
    if let Place::Name(name, _) = &place {
        assert!(!name.is_empty() && name.len() <= NAME && !name.ends_with(".."));
        assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase())
        );
    }
    let mut again = Vec::new();
    encode(place.spot(), &mut again);
    let mut scratch = [0; NAME];
    assert_eq!(
        decode(&again, &mut scratch),
        Some((place.spot(), again.len()))
    );
});
