//! Whatever is kept and asked, an answer is one to the query: its number, its question, and no longer
//! than there is room.
#![no_main]

use byway_engine::messages::{Kept, Messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|parts: (Vec<u8>, Vec<u8>, Vec<u8>, bool)| {
    let (query, message, other, streamed) = parts;
    let mut table = Messages::new(4);
    let kept = Kept {
        fresh: 9.0,
        stale: 12.0,
        aging: true,
    };
    table.put(0, &query, &message, kept, 0.0);
    for asked in [&query, &other] {
        let mut out = Vec::new();
        if table.answer(0, asked, streamed, 1.0, &mut out).is_some() {
            assert_eq!(out[..2], asked[..2]);
            assert!(out[2] & 0x80 != 0);
            assert!(streamed || out.len() <= 4096);
            let end = asked.len().min(out.len()).min(16);
            assert_eq!(out[12..end], asked[12..end]);
        }
    }
});
