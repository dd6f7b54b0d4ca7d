//! The frames of a mux: whatever bytes come, and however they are cut, the same is heard.
#![no_main]

use byway_engine::session::{Event, Protocol, Yamux};
use bytes::BytesMut;
use libfuzzer_sys::fuzz_target;

/// What is heard, payloads joined, and whether it ended with a broken protocol.
fn heard(pieces: &[&[u8]]) -> (Vec<Event>, bool) {
    let (mut side, mut events) = (Yamux::new(false), Vec::new());
    let (mut input, mut out) = (BytesMut::new(), BytesMut::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match side.hear(&mut input, &mut out) {
                Ok(None) => break,
                Err(_) => return (events, true),
                Ok(Some(event)) => match (events.last_mut(), event) {
                    (Some(Event::Data(one, before)), Event::Data(id, more)) if *one == id => {
                        *before = [&before[..], &more[..]].concat().into();
                    }
                    (_, event) => events.push(event),
                },
            }
        }
    }
    (events, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let cut = usize::from(*cut).min(bytes.len());
    let whole = heard(&[bytes]);
    let pieces = heard(&[&bytes[..cut], &bytes[cut..]]);
    assert_eq!(whole.1, pieces.1);
});
