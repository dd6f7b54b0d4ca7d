//! Segments of a program that is no TCP, into the stack behind a TUN: nothing panics, and streams end.
#![no_main]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Instant;

use byway_engine::buffer::Buffer;
use byway_engine::limits::Turnstile;
use byway_engine::listen::Arrivals;
use byway_engine::packets::{Flags, Options, Pair, Segment};
use byway_engine::stack::{Answer, Door, Outgoing, Stack, Wire};
use byway_engine::stream::Stream;
use libfuzzer_sys::fuzz_target;

struct Nowhere;

impl Wire for Nowhere {
    fn send(&self, packet: &Outgoing<'_>) -> io::Result<()> {
        let whole: usize = packet.parts.iter().map(|part| part.len()).sum();
        assert!(packet.head.len() + whole <= 0xFFFF + 40);
        Ok(())
    }

    fn send_whole(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// One step: what to do, a port, flags, numbers near each other or far off, a window, a length.
fn step(stack: &mut Stack, streams: &mut Vec<Stream>, arrivals: &Arrivals, bytes: &[u8; 10]) {
    let [what, port, flags, s0, s1, a0, a1, w0, length, many] = *bytes;
    let far = if what & 0x40 == 0 { 0 } else { 0x7FFF_0000 };
    let address = |port: u16| SocketAddr::from(([10, 0, 0, 1], port));
    match what & 0x0F {
        0..=7 => {
            let length = usize::from(length) << (many % 8);
            let segment = Segment {
                pair: Pair {
                    local: address(80),
                    remote: address(1000 + u16::from(port % 4)),
                },
                seq: u32::from(u16::from_be_bytes([s0, s1])).wrapping_sub(0x8000) ^ far,
                ack: u32::from(u16::from_be_bytes([a0, a1])),
                flags: Flags(flags & 0x1F),
                window: u16::from(w0) << 4,
                options: Options {
                    mss: (many & 1 == 1).then_some(u16::from(w0)),
                    shift: (many & 2 == 2).then_some(many % 15),
                },
                payload: 0..length,
            };
            stack.hear(&segment, &mut Buffer::of(&vec![7; length]));
            streams.append(&mut arrivals.take());
        }
        8 => stack.acknowledge(),
        9 => drop(stack.look(Instant::now())),
        _ if streams.is_empty() => {}
        kind => {
            let at = usize::from(port) % streams.len();
            let cx = &mut Context::from_waker(Waker::noop());
            let io = &mut streams[at].io;
            match kind {
                10 | 11 => drop(io.poll_read(cx, &mut vec![0; usize::from(length) + 1])),
                12 => drop(io.poll_write(cx, &vec![9; usize::from(length) + 1])),
                13 => drop(io.poll_shutdown(cx)),
                14 => io.abort(),
                _ => drop(streams.swap_remove(at)),
            }
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let arrivals = Arrivals::new(|| {});
    let Some((first, data)) = data.split_first() else {
        return;
    };
    let answer = if first & 1 == 0 {
        Answer::AtOnce
    } else {
        Answer::AfterDial
    };
    let door = Door {
        arrivals: Arc::clone(&arrivals),
        turnstile: Turnstile::new(3, 3),
        answer,
        home: 0,
        mtu: 1500,
    };
    let mut stack = Stack::new(Arc::new(Nowhere), door);
    let mut streams = Vec::new();
    let mut left = data;
    while let Some((bytes, rest)) = left.split_first_chunk::<10>() {
        step(&mut stack, &mut streams, &arrivals, bytes);
        left = rest;
    }
    drop(streams);
    assert!(stack.count() <= 4);
});
