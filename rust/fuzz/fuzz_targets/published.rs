//! Lists as other programs publish them: whatever bytes come, lines or a refusal, and no panic.
#![no_main]

use byway_engine::sets::trie::{self, Marks};
use byway_engine::sets::{Form, Lists, dat};
use libfuzzer_sys::fuzz_target;

const MOST: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    let Some((kind, data)) = data.split_first() else {
        return;
    };
    let found = match kind % 5 {
        0 => dat::names(data, "cn", &["ads"]).ok().flatten(),
        1 => dat::prefixes(data, "cn").ok().flatten(),
        kind => {
            let third = data.len() / 24 * 8;
            let (leaves, rest) = data.split_at(third);
            let (bitmap, labels) = rest.split_at(third);
            let marks = [Marks::SingBox, Marks::AdGuard, Marks::Mihomo][usize::from(kind) - 2];
            trie::lines(leaves, bitmap, labels, marks, MOST).ok()
        }
    };
    if let Some(lines) = found {
        let _ = Lists::read(&lines, Form::Unpacked);
    }
});
