//! IP packets and what is in them: whatever bytes come, read or refused, and no panic.
#![no_main]

use byway_engine::packets::{Datagram, Packet, Segment, Unreachable, unreachable};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(packet) = Packet::parse(data) else {
        return;
    };
    for trusted in [false, true] {
        if let Ok(segment) = Segment::parse(&packet, data, trusted) {
            let _ = &data[segment.payload];
        }
        if let Ok(datagram) = Datagram::parse(&packet, data, trusted) {
            let _ = &data[datagram.payload];
        }
    }
    if let Some(answer) = unreachable(Unreachable::Host, &packet, data) {
        assert!(Packet::parse(&answer).is_ok());
    }
});
