//! A stack and a client of it, over a link that loses, doubles and turns round.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use proptest::prelude::*;

use super::{Answer, Door, Outgoing, Stack, Wire};
use crate::io::Refusal;
use crate::limits::Turnstile;
use crate::listen::Arrivals;
use crate::lock::lock;
use crate::packets::{Flags, Options, Packet, Pair, Segment, put_ip, put_tcp};
use crate::stream::Stream;

/// Where packets of the stack gather, cut as a device would.
#[derive(Default)]
struct Link(Mutex<VecDeque<Vec<u8>>>);

impl Wire for Link {
    fn send(&self, packet: &Outgoing<'_>) -> io::Result<()> {
        let bytes = [packet.head, &packet.parts.concat()].concat();
        lock(&self.0).push_back(bytes);
        Ok(())
    }

    fn send_whole(&self, packet: &[u8]) -> io::Result<()> {
        lock(&self.0).push_back(packet.to_vec());
        Ok(())
    }
}

struct Bench {
    link: Arc<Link>,
    stack: Stack,
    arrivals: Arc<Arrivals>,
    turnstile: Turnstile,
    now: Instant,
}

impl Bench {
    fn new(answer: Answer) -> Self {
        let link = Arc::<Link>::default();
        let arrivals = Arrivals::new(|| ());
        let turnstile = Turnstile::new(100, 100);
        let door = Door {
            arrivals: Arc::clone(&arrivals),
            turnstile: turnstile.clone(),
            answer,
            home: 0,
            mtu: 1500,
        };
        let stack = Stack::new(Arc::clone(&link) as _, door);
        Self {
            link,
            stack,
            arrivals,
            turnstile,
            now: Instant::now(),
        }
    }

    /// Give the stack a packet.
    fn hear(&self, bytes: &[u8]) {
        let packet = Packet::parse(bytes).expect("a packet");
        let segment = Segment::parse(&packet, bytes, true).expect("a segment");
        let mut take = |range: std::ops::Range<usize>| Bytes::copy_from_slice(&bytes[range]);
        self.stack
            .hear((&packet, bytes), &segment, &mut take, self.now);
        self.stack.finish();
    }

    fn sent(&self) -> Vec<Vec<u8>> {
        lock(&self.link.0).drain(..).collect()
    }

    fn arrived(&self) -> Stream {
        let mut streams = self.arrivals.take();
        assert_eq!(streams.len(), 1);
        streams.remove(0)
    }
}

fn pair() -> Pair {
    Pair {
        local: "10.0.0.1:5000".parse().expect("an address"),
        remote: "192.0.2.7:80".parse().expect("an address"),
    }
}

fn segment(numbers: (u32, u32), flags: Flags, options: Options, payload: &[u8]) -> Vec<u8> {
    let (mut header, mut bytes) = (Vec::new(), Vec::new());
    let pair = pair();
    put_tcp(
        &pair,
        numbers,
        flags,
        0xFFFF,
        options,
        payload.len(),
        &mut header,
    );
    let length = header.len() + payload.len();
    put_ip(pair.local.ip(), pair.remote.ip(), 6, length, &mut bytes);
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(payload);
    bytes
}

const SYN: Options = Options {
    mss: Some(1460),
    shift: Some(0),
};
const FIRST: u32 = 0xFFFF_F000; // numbers turn over soon

/// A program's kernel, as simple as can be: it sends what is not acknowledged again and again.
struct Client {
    said: Vec<u8>,
    acknowledged: usize,
    heard: Vec<u8>,
    /// Theirs, once their SYN has come.
    next: Option<u32>,
    ended: bool,
    reset: bool,
}

impl Client {
    fn new(said: Vec<u8>) -> Self {
        Self {
            said,
            acknowledged: 0,
            heard: Vec::new(),
            next: None,
            ended: false,
            reset: false,
        }
    }

    fn through(&self) -> bool {
        self.acknowledged == self.said.len() + 1 && self.ended
    }

    fn hear(&mut self, bytes: &[u8]) {
        let packet = Packet::parse(bytes).expect("a packet");
        let found = Segment::parse(&packet, bytes, true).expect("a segment");
        self.reset |= found.flags.has(Flags::RST);
        if found.flags.has(Flags::SYN) {
            self.next.get_or_insert(found.seq.wrapping_add(1));
            return;
        }
        let acknowledged = found.ack.wrapping_sub(FIRST.wrapping_add(1)) as usize;
        if acknowledged <= self.said.len() + 1 {
            self.acknowledged = self.acknowledged.max(acknowledged);
        }
        let Some(next) = self.next else { return };
        let payload = &bytes[found.payload];
        let known = next.wrapping_sub(found.seq) as usize;
        if self.ended || known > payload.len() {
            return;
        }
        self.heard.extend_from_slice(&payload[known..]);
        let fin = found.flags.has(Flags::FIN);
        self.ended |= fin;
        let more = (payload.len() - known) as u32 + u32::from(fin);
        self.next = Some(next.wrapping_add(more));
    }

    /// What it sends now.
    fn say(&self) -> Vec<Vec<u8>> {
        let Some(next) = self.next else {
            return vec![segment((FIRST, 0), Flags::SYN, SYN, b"")];
        };
        let mut found = Vec::new();
        let mut at = self.acknowledged;
        let seq = |at: usize| FIRST.wrapping_add(1 + at as u32);
        for _ in 0..4 {
            let n = self.said.len().saturating_sub(at).min(1460);
            let fin = at + n == self.said.len();
            let flags = if fin {
                Flags::ACK.and(Flags::FIN)
            } else {
                Flags::ACK
            };
            if at > self.said.len() {
                found.push(segment(
                    (seq(at), next),
                    Flags::ACK,
                    Options::default(),
                    b"",
                ));
                break;
            }
            let payload = &self.said[at..at + n];
            found.push(segment((seq(at), next), flags, Options::default(), payload));
            at += n + usize::from(fin);
        }
        found
    }
}

/// Chance, from what proptest gives.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// What of these arrives, in what order.
fn through(packets: Vec<Vec<u8>>, chance: &mut Chance, losses: u64) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for packet in packets {
        let roll = chance.next() % 100;
        if roll < losses {
            continue;
        }
        if roll < losses + 5 {
            found.push(packet.clone());
        }
        found.push(packet);
        if roll.is_multiple_of(7) && found.len() > 1 {
            let last = found.len() - 1;
            found.swap(last, last - 1);
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn all_bytes_arrive_whatever_is_lost(
        seed in 1..u64::MAX,
        losses in prop_oneof![Just(0_u64), 1..40_u64],
        up in 0..60_000_usize,
        down in 0..200_000_usize,
        after_dial: bool,
    ) {
        let answer = if after_dial { Answer::AfterDial } else { Answer::AtOnce };
        let mut bench = Bench::new(answer);
        let mut chance = Chance(seed);
        let said: Vec<u8> = (0..up).map(|at| (at / 3) as u8).collect();
        let answer: Vec<u8> = (0..down).map(|at| (at / 5) as u8).collect();
        let mut client = Client::new(said.clone());
        let mut stream: Option<Stream> = None;
        let (mut heard, mut written, mut ended) = (Vec::new(), 0, (false, false));
        let mut cx = Context::from_waker(Waker::noop());
        let mut room = vec![0; 16_384];
        for _ in 0..3000 {
            for packet in through(client.say(), &mut chance, losses) {
                bench.hear(&packet);
            }
            for new in bench.arrivals.take() {
                prop_assert!(stream.is_none());
                stream = Some(new);
            }
            if let Some(stream) = &mut stream {
                while !ended.0 {
                    match stream.io.poll_read(&mut cx, &mut room) {
                        Poll::Ready(Ok(0)) => ended.0 = true,
                        Poll::Ready(Ok(n)) => heard.extend_from_slice(&room[..n]),
                        Poll::Ready(Err(error)) => return Err(TestCaseError::fail(error.to_string())),
                        Poll::Pending => break,
                    }
                }
                while written < down {
                    match stream.io.poll_write(&mut cx, &answer[written..]) {
                        Poll::Ready(Ok(n)) => written += n,
                        Poll::Ready(Err(error)) => return Err(TestCaseError::fail(error.to_string())),
                        Poll::Pending => break,
                    }
                }
                if written == down && !ended.1 {
                    prop_assert!(stream.io.poll_shutdown(&mut cx).is_ready());
                    ended.1 = true;
                }
            }
            for packet in through(bench.sent(), &mut chance, losses) {
                client.hear(&packet);
            }
            if client.through() && ended == (true, true) {
                break;
            }
            bench.now += Duration::from_millis(700);
            bench.stack.on_time(bench.now);
        }
        prop_assert!(!client.reset);
        prop_assert!(client.through(), "the client is not through");
        prop_assert_eq!(heard, said);
        prop_assert_eq!(client.heard, answer);
        drop(stream);
        for packet in client_ack(&bench) {
            bench.hear(&packet);
        }
        for _ in 0..20 {
            bench.now += Duration::from_secs(70);
            bench.stack.on_time(bench.now);
        }
        prop_assert_eq!(bench.stack.count(), 0);
        prop_assert_eq!(bench.turnstile.counts().0, 0);
    }
}

/// The last acknowledgement of a client that is through.
fn client_ack(bench: &Bench) -> Vec<Vec<u8>> {
    bench
        .sent()
        .iter()
        .filter_map(|bytes| {
            let packet = Packet::parse(bytes).ok()?;
            let found = Segment::parse(&packet, bytes, true).ok()?;
            let more = found.payload.len() as u32 + u32::from(found.flags.has(Flags::FIN));
            let numbers = (found.ack, found.seq.wrapping_add(more));
            Some(segment(numbers, Flags::ACK, Options::default(), b""))
        })
        .collect()
}

fn flags_of(bytes: &[u8]) -> Flags {
    let packet = Packet::parse(bytes).expect("a packet");
    Segment::parse(&packet, bytes, true)
        .expect("a segment")
        .flags
}

#[test]
fn a_dead_host_looks_dead() {
    let bench = Bench::new(Answer::AfterDial);
    let syn = segment((FIRST, 0), Flags::SYN, SYN, b"");
    for (why, kind) in [
        (Refusal::Reset, None),
        (Refusal::Host, Some(1)),
        (Refusal::Prohibited, Some(13)),
    ] {
        bench.hear(&syn);
        assert!(bench.sent().is_empty(), "it is not answered before");
        let mut stream = bench.arrived();
        assert_eq!(stream.local(), Some(pair().remote));
        assert_eq!(stream.remote, Some(pair().local));
        stream.io.refuse(why);
        drop(stream);
        let sent = bench.sent();
        assert_eq!(sent.len(), 1);
        match kind {
            None => assert!(flags_of(&sent[0]).has(Flags::RST)),
            Some(code) => assert_eq!(sent[0][20..22], [3, code]),
        }
        assert_eq!(bench.stack.count(), 0);
    }
    bench.hear(&syn);
    let mut stream = bench.arrived();
    stream.io.refuse(Refusal::Silent);
    drop(stream);
    assert!(bench.sent().is_empty());
}

#[test]
fn who_does_not_read_is_not_buffered_without_bound() {
    let bench = Bench::new(Answer::AtOnce);
    bench.hear(&segment((FIRST, 0), Flags::SYN, SYN, b""));
    let ack = {
        let sent = bench.sent();
        let packet = Packet::parse(&sent[0]).expect("a packet");
        let found = Segment::parse(&packet, &sent[0], true).expect("a segment");
        found.seq.wrapping_add(1)
    };
    let mut stream = bench.arrived();
    let mut seq = FIRST.wrapping_add(1);
    let mut window = u32::from(u16::MAX);
    let mut sent_in_all = 0;
    for _ in 0..5000 {
        let n = window.min(1460);
        let payload = vec![7; n.max(1) as usize];
        bench.hear(&segment(
            (seq, ack),
            Flags::ACK,
            Options::default(),
            &payload,
        ));
        for bytes in bench.sent() {
            let packet = Packet::parse(&bytes).expect("a packet");
            let found = Segment::parse(&packet, &bytes, true).expect("a segment");
            sent_in_all += found.ack.wrapping_sub(seq);
            seq = found.ack;
            window = u32::from(found.window) << 8;
        }
    }
    assert_eq!((sent_in_all, window), (1 << 20, 0));
    // One who reads opens it again.
    let mut room = vec![0; 1 << 20];
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(stream.io.poll_read(&mut cx, &mut room), Poll::Ready(Ok(n)) if n == 1 << 20));
    assert_eq!(bench.sent().len(), 1);
}

#[test]
fn what_nobody_has_is_reset_and_who_is_gone_is_forgotten() {
    let mut bench = Bench::new(Answer::AtOnce);
    bench.hear(&segment((FIRST, 7), Flags::ACK, Options::default(), b"x"));
    assert!(flags_of(&bench.sent()[0]).has(Flags::RST));
    bench.hear(&segment((FIRST, 7), Flags::RST, Options::default(), b""));
    assert!(bench.sent().is_empty());

    bench.hear(&segment((FIRST, 0), Flags::SYN, SYN, b""));
    let stream = bench.arrived();
    for _ in 0..40 {
        bench.now += Duration::from_secs(70);
        bench.stack.on_time(bench.now);
    }
    let sent = bench.sent();
    assert!(flags_of(sent.last().expect("packets")).has(Flags::RST));
    assert!(sent.len() < 10);
    drop(stream);
    assert_eq!(bench.stack.count(), 0);
}

proptest! {
    #[test]
    fn any_segments_do_no_harm(
        steps in proptest::collection::vec(
            (any::<u32>(), any::<u32>(), any::<u8>(), 0..2000_usize, any::<bool>()), 1..60,
        ),
    ) {
        let mut bench = Bench::new(Answer::AtOnce);
        bench.hear(&segment((FIRST, 0), Flags::SYN, SYN, b""));
        let mut streams = bench.arrivals.take();
        let mut cx = Context::from_waker(Waker::noop());
        let mut room = [0; 4096];
        for (seq, ack, flags, length, near) in steps {
            let seq = if near { FIRST.wrapping_add(seq % 4096) } else { seq };
            let packet = segment((seq, ack), Flags(flags), SYN, &vec![1; length]);
            if let Ok(parsed) = Packet::parse(&packet)
                && Segment::parse(&parsed, &packet, true).is_ok()
            {
                bench.hear(&packet);
            }
            streams.extend(bench.arrivals.take());
            for stream in &mut streams {
                let _ = stream.io.poll_read(&mut cx, &mut room);
                let _ = stream.io.poll_write(&mut cx, &room[..ack as usize % 4096]);
            }
            bench.now += Duration::from_millis(u64::from(ack % 5000));
            bench.stack.on_time(bench.now);
            lock(&bench.link.0).clear();
        }
        drop(streams);
        bench.stack.close();
        prop_assert_eq!(bench.stack.count(), 0);
    }
}
