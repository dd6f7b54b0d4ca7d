//! Sealed chunks, changed and cut on their way: what is opened is a prefix of what was sealed, and
//! a changed byte ends it.
#![no_main]

use byway_engine::layers::chunks::{Chunks, Clock, Opening, Sealing};
use byway_engine::layers::cipher::Suite;
use byway_engine::layers::framed::{Framing, ROOM};
use libfuzzer_sys::fuzz_target;

fn chunks(suite: Suite, opening: Opening) -> Chunks {
    let sealing = Sealing {
        key: vec![1; suite.key_len()],
        prefix: Vec::new(),
        lead: Vec::new(),
    };
    Chunks::new(suite, sealing, opening, 0x3FFF, Clock::told(0)).expect("right lengths")
}

fuzz_target!(|input: (u8, Vec<u8>, Vec<u8>, Option<(u16, u8)>, u8)| {
    let (suite, payload, alien, flip, step) = input;
    let suite = [Suite::Aes128, Suite::Aes256, Suite::Chacha][usize::from(suite) % 3];
    let known = || Opening::Known(vec![1; suite.key_len()], 0);
    let mut sealed = vec![0; ROOM];
    let payload = &payload[..payload.len().min(0x8000)];
    let (taken, made) = chunks(suite, known())
        .seal(payload, &mut sealed)
        .expect("sealed");
    assert_eq!(taken, payload.len());
    sealed.truncate(made);
    let mut changed = None;
    if let Some((at, by)) = flip
        && by != 0
        && made > 0
    {
        let at = usize::from(at) % made;
        sealed[at] ^= by;
        changed = Some(at);
    }
    let mut opener = chunks(suite, known());
    let (mut waiting, mut opened, mut into) =
        (Vec::new(), Vec::new(), vec![0; 1 + usize::from(step) * 7]);
    let mut failed = false;
    'all: for piece in sealed.chunks(1 + usize::from(step) * 13) {
        waiting.extend_from_slice(piece);
        loop {
            let Ok(done) = opener.open(&mut waiting, &mut into) else {
                failed = true;
                break 'all;
            };
            opened.extend_from_slice(&into[..done.made]);
            waiting.drain(..done.used);
            if done.made == 0 && done.used == 0 {
                break;
            }
        }
    }
    assert!(payload.starts_with(&opened));
    assert_eq!(failed, changed.is_some());
    assert!(failed || opened.len() == payload.len());
    // Bytes that nobody sealed: an answer that no key fits.
    let mut stranger = chunks(suite, Opening::Awaited(vec![2; suite.key_len()], None));
    let mut alien = alien;
    if let Ok(done) = stranger.open(&mut alien, &mut into) {
        assert_eq!(done.made, 0);
    }
});
