//! Frames of a `WebSocket`: whatever bytes come, and however they are cut, the same is opened.
#![no_main]

use byway_engine::layers::framed::{Framing, Opened};
use byway_engine::layers::websocket::WebSocket;
use libfuzzer_sys::fuzz_target;

/// The payload, and whether it ended with a broken protocol.
fn opened(client: bool, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut reader = WebSocket::new(client);
    let (mut waiting, mut plain, mut into) = (Vec::new(), Vec::new(), [0; 50]);
    for piece in pieces {
        waiting.extend_from_slice(piece);
        loop {
            match reader.open(&mut waiting, &mut into) {
                Err(_) => return (plain, true),
                Ok(done) => {
                    waiting.drain(..done.used);
                    plain.extend_from_slice(&into[..done.made]);
                    if done == Opened::default() {
                        break;
                    }
                }
            }
        }
    }
    (plain, false)
}

fuzz_target!(|data: &[u8]| {
    let Some((cut, bytes)) = data.split_first() else {
        return;
    };
    let cut = usize::from(*cut).min(bytes.len());
    for client in [false, true] {
        let whole = opened(client, &[bytes]);
        let pieces = opened(client, &[&bytes[..cut], &bytes[cut..]]);
        assert_eq!(whole, pieces);
    }
});
