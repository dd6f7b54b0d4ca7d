//! Packets inside a stream: whatever bytes come, frames are found in order, or the stream is broken,
//! wherever it was cut on its way; a packet that was read is written and read again alike.
#![no_main]

use byway_engine::datagrams::address::NAME;
use byway_engine::datagrams::framed::{Framing, LONGEST, Unframed};
use libfuzzer_sys::fuzz_target;

/// All frames of `data`, and what stopped the reading.
fn walk(framing: &Framing, data: &[u8]) -> (Vec<(usize, usize)>, Unframed) {
    let (mut frames, mut at) = (Vec::new(), 0);
    loop {
        match framing.frame(&data[at..]) {
            Ok(frame) => {
                assert!(frame.end > 0 && at + frame.end <= data.len());
                assert!(frame.end - frame.head <= LONGEST);
                check(framing, &data[at..at + frame.end]);
                frames.push((at, frame.end));
                at += frame.end;
            }
            Err(why) => return (frames, why),
        }
    }
}

fn check(framing: &Framing, bytes: &[u8]) {
    let Ok(frame) = framing.frame(bytes) else {
        panic!("a whole frame is not one");
    };
    let mut scratch = [0; NAME];
    let Some(place) = framing.place(&bytes[..frame.address], &mut scratch) else {
        return;
    };
    let payload = &bytes[frame.head..frame.end];
    let mut again = Vec::new();
    framing.put_address(place, &mut again);
    framing.put_length(payload.len(), &mut again);
    again.extend_from_slice(payload);
    let second = framing.frame(&again).expect("a frame that was written");
    let mut other = [0; NAME];
    assert_eq!(second.end, again.len());
    assert_eq!(&again[second.head..second.end], payload);
    assert_eq!(
        framing.place(&again[..second.address], &mut other),
        Some(place)
    );
}

fuzz_target!(|data: &[u8]| {
    let Some((&cut, data)) = data.split_first() else {
        return;
    };
    let target = std::net::SocketAddr::from(([192, 0, 2, 1], 53)).into();
    for framing in [
        Framing::Trojan,
        Framing::Uot,
        Framing::Xudp,
        Framing::Connected(target),
    ] {
        let (whole, why) = walk(&framing, data);
        let cut = data.len() * usize::from(cut) / 256;
        let (begun, stopped) = walk(&framing, &data[..cut]);
        assert!(whole.starts_with(&begun));
        let done: usize = begun.last().map_or(0, |(at, size)| at + size);
        match stopped {
            Unframed::Short(needed) => assert!(needed > cut - done),
            // What is broken stays so, whatever comes behind it.
            Unframed::Broken => assert_eq!((begun, why), (whole, Unframed::Broken)),
        }
    }
});
