//! A connection beside a program, over a link that loses, repeats and reorders: with a clock of its own.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::head::{ACK, FIN, Head, RST, SYN, before};
use super::tcp::{Say, Stage, Tcp, Then};
use crate::buffer::Buffer;
use crate::packets::{Flags, Options};

const BEGIN: u32 = u32::MAX - 5000; // its numbers turn around soon
const MINE: u32 = u32::MAX - 70_000;

/// Segments on their way to the program.
#[derive(Default)]
struct Sent(RefCell<VecDeque<(Head, Vec<u8>)>>);

impl Say for Sent {
    fn send(&self, head: Head, payload: &[u8]) {
        self.0.borrow_mut().push_back((head, payload.to_vec()));
    }
}

impl Sent {
    fn take(&self) -> Vec<(Head, Vec<u8>)> {
        self.0.borrow_mut().drain(..).collect()
    }

    fn one(&self) -> (Head, Vec<u8>) {
        let mut all = self.take();
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

fn syn() -> Head {
    Head {
        sequence: BEGIN,
        flags: SYN,
        window: 60_000,
        options: Options {
            mss: Some(1460),
            shift: Some(7),
        },
        ..Head::default()
    }
}

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// A connection that stands.
fn open(wire: &Sent, now: Instant) -> Tcp {
    let mut tcp = Tcp::new(&syn(), MINE, 1460, now);
    tcp.answer(now, wire);
    let (answer, _) = wire.one();
    assert_eq!(answer.flags, SYN.and(ACK));
    assert_eq!(answer.acknowledged, BEGIN.wrapping_add(1));
    tell(&mut tcp, wire, now, 1, 1, ACK, b"");
    assert_eq!(tcp.stage, Stage::Open);
    tcp
}

/// The program sends a segment, its numbers counted from the beginnings.
fn tell(
    tcp: &mut Tcp,
    wire: &Sent,
    now: Instant,
    sequence: u32,
    acknowledged: u32,
    flags: Flags,
    data: &[u8],
) -> Then {
    let head = Head {
        sequence: BEGIN.wrapping_add(sequence),
        acknowledged: MINE.wrapping_add(acknowledged),
        flags,
        window: 1000,
        ..Head::default()
    };
    tcp.hear(&head, &mut Buffer::of(data), now, wire)
}

fn read(tcp: &mut Tcp, wire: &Sent, now: Instant) -> Option<Vec<u8>> {
    let mut into = [0; 4096];
    match tcp.poll_read(&cx(), &mut into, now, wire) {
        Poll::Ready(Ok(n)) => Some(into[..n].to_vec()),
        Poll::Ready(Err(error)) => panic!("{error}"),
        Poll::Pending => None,
    }
}

#[test]
fn nothing_is_said_before_somebody_answers() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = Tcp::new(&syn(), MINE, 1460, now);
    assert_eq!(
        tcp.hear(&syn(), &mut Buffer::default(), now, &wire),
        Then::Nothing
    );
    assert!(wire.take().is_empty());
    assert!(read(&mut tcp, &wire, now).is_none());
    let (answer, _) = wire.one();
    assert_eq!(
        (answer.flags, answer.options.mss, answer.options.shift),
        (SYN.and(ACK), Some(1460), Some(7))
    );
    tcp.hear(&syn(), &mut Buffer::default(), now, &wire);
    assert_eq!(wire.one().0, answer, "asked again, it is answered again");
}

#[test]
fn what_came_is_read_and_acknowledged_once() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    assert_eq!(
        tell(&mut tcp, &wire, now, 1, 1, ACK, b"abc"),
        Then::Acknowledge
    );
    assert_eq!(
        tell(&mut tcp, &wire, now, 4, 1, ACK, b"def"),
        Then::Acknowledge
    );
    assert!(wire.take().is_empty());
    assert_eq!(read(&mut tcp, &wire, now).as_deref(), Some(&b"abcdef"[..]));
    assert_eq!(wire.one().0.acknowledged, BEGIN.wrapping_add(7));
    tcp.flush(&wire);
    assert!(wire.take().is_empty());
    tell(&mut tcp, &wire, now, 1, 1, ACK, b"abc");
    assert_eq!(
        wire.one().0.acknowledged,
        BEGIN.wrapping_add(7),
        "it came twice"
    );
    assert!(read(&mut tcp, &wire, now).is_none());
}

#[test]
fn what_came_too_early_waits_for_what_is_before_it() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    tell(&mut tcp, &wire, now, 4, 1, ACK.and(FIN), b"def");
    assert_eq!(wire.take()[0].0.acknowledged, BEGIN.wrapping_add(1));
    tell(&mut tcp, &wire, now, 1, 1, ACK, b"abcd");
    assert_eq!(read(&mut tcp, &wire, now).as_deref(), Some(&b"abcdef"[..]));
    assert_eq!(
        read(&mut tcp, &wire, now).as_deref(),
        Some(&b""[..]),
        "its end was known"
    );
}

#[test]
fn a_window_closes_and_opens_again() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    let (mut at, piece) = (1, vec![7; 1460]);
    loop {
        tell(&mut tcp, &wire, now, at, 1, ACK, &piece);
        at += 1460;
        tcp.flush(&wire);
        let (last, _) = wire.one();
        if usize::from(last.window) << 7 < 1460 {
            break;
        }
    }
    assert!(tcp.held() <= 1 << 20);
    let before = tcp.held();
    tell(&mut tcp, &wire, now, at, 1, ACK, &piece);
    assert!(tcp.held() <= before + 1460);
    wire.take();
    while let Some(bytes) = read(&mut tcp, &wire, now) {
        assert!(!bytes.is_empty());
    }
    let told = wire.take();
    assert!(
        (1..=5).contains(&told.len()),
        "in large steps: {}",
        told.len()
    );
    assert!(usize::from(told[told.len() - 1].0.window) << 7 > 900_000);
}

#[test]
fn a_lost_segment_is_sent_again_by_the_clock_and_by_repeats() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    for piece in [&b"abc"[..], b"def", b"ghi"] {
        tcp.write(Buffer::of(piece), now, &wire);
    }
    wire.take();
    for _ in 0..3 {
        tell(&mut tcp, &wire, now, 1, 1, ACK, b"");
    }
    let (again, bytes) = wire.one();
    assert_eq!(
        (again.sequence, &bytes[..]),
        (MINE.wrapping_add(1), &b"abc"[..])
    );
    tell(&mut tcp, &wire, now, 1, 5, ACK, b"");
    assert_eq!(wire.one().1, b"ef", "what a part of was lost");
    tell(&mut tcp, &wire, now, 1, 10, ACK, b"");
    assert!(wire.take().is_empty());
    assert_eq!((tcp.due(), tcp.held()), (None, 0));
    tcp.write(Buffer::of(b"jkl"), now, &wire);
    let due = tcp.due().expect("it may be lost");
    tcp.look(due, &wire);
    assert_eq!(wire.take()[1].1, b"jkl");
    assert!(tcp.due() > Some(due + Duration::from_millis(300)));
}

#[test]
fn a_silent_program_is_given_up() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    tcp.write(Buffer::of(b"abc"), now, &wire);
    while let Some(due) = tcp.due() {
        assert!(due < now + Duration::from_secs(120));
        tcp.look(due, &wire);
    }
    assert!(tcp.is_broken());
    assert_eq!(
        wire.take().pop().map(|(head, _)| head.flags),
        Some(RST.and(ACK))
    );
}

#[test]
fn a_closed_window_is_asked_for() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    let closed = Head {
        sequence: BEGIN.wrapping_add(1),
        acknowledged: MINE.wrapping_add(1),
        flags: ACK,
        ..Head::default()
    };
    tcp.hear(&closed, &mut Buffer::default(), now, &wire);
    assert!(tcp.poll_room(&cx(), now, &wire).is_pending());
    let mut due = tcp.due().expect("a question");
    for _ in 0..50 {
        tcp.look(due, &wire);
        assert_eq!(
            wire.one().0.sequence,
            MINE,
            "one that was acknowledged long ago"
        );
        tcp.hear(&closed, &mut Buffer::default(), due, &wire);
        due = tcp.due().expect("another question");
    }
    tell(&mut tcp, &wire, due, 1, 1, ACK, b"");
    assert!(matches!(
        tcp.poll_room(&cx(), now, &wire),
        Poll::Ready(Ok(1..))
    ));
}

#[test]
fn both_ways_end_by_themselves() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    tell(&mut tcp, &wire, now, 1, 1, ACK.and(FIN), b"abc");
    assert_eq!(wire.one().0.acknowledged, BEGIN.wrapping_add(5));
    assert_eq!(read(&mut tcp, &wire, now).as_deref(), Some(&b"abc"[..]));
    assert_eq!(read(&mut tcp, &wire, now).as_deref(), Some(&b""[..]));
    tcp.write(Buffer::of(b"answer"), now, &wire);
    tcp.end(now, &wire);
    let told: Vec<_> = wire
        .take()
        .into_iter()
        .map(|(head, _)| head.has(FIN))
        .collect();
    assert_eq!(told, [false, true]);
    tell(&mut tcp, &wire, now, 5, 8, ACK, b"");
    assert_eq!(tcp.stage, Stage::Closed);
    assert!(!tcp.is_broken());
}

#[test]
fn whoever_ends_first_lingers_and_answers() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    tcp.end(now, &wire);
    tell(&mut tcp, &wire, now, 1, 2, ACK, b"");
    wire.take();
    assert_eq!(
        tell(&mut tcp, &wire, now, 1, 2, ACK.and(FIN), b""),
        Then::Linger
    );
    assert_eq!(wire.one().0.acknowledged, BEGIN.wrapping_add(2));
    tell(&mut tcp, &wire, now, 1, 2, ACK.and(FIN), b"");
    assert_eq!(
        wire.one().0.acknowledged,
        BEGIN.wrapping_add(2),
        "it had not heard"
    );
    let later = Head {
        sequence: BEGIN.wrapping_add(100),
        ..syn()
    };
    assert_eq!(
        tcp.hear(&later, &mut Buffer::default(), now, &wire),
        Then::Anew
    );
}

#[test]
fn ends_may_cross() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    tcp.end(now, &wire);
    wire.take();
    tell(&mut tcp, &wire, now, 1, 1, ACK.and(FIN), b"");
    assert_eq!(tcp.stage, Stage::Open);
    assert_eq!(tell(&mut tcp, &wire, now, 2, 2, ACK, b""), Then::Linger);
}

#[test]
fn a_reset_ends_it_only_at_the_right_number() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    tell(&mut tcp, &wire, now, 500, 1, RST, b"");
    assert_eq!(wire.one().0.flags, ACK, "asked back (RFC 5961)");
    tell(&mut tcp, &wire, now, 2_000_000, 1, RST, b"");
    assert!(wire.take().is_empty());
    assert!(!tcp.is_broken());
    tell(&mut tcp, &wire, now, 1, 1, RST, b"");
    assert!(tcp.is_broken());
    let mut into = [0; 9];
    let read = tcp.poll_read(&cx(), &mut into, now, &wire);
    assert!(matches!(read, Poll::Ready(Err(_))));
}

#[test]
fn what_nobody_reads_is_reset() {
    let (wire, now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    tell(&mut tcp, &wire, now, 1, 1, ACK, b"abc");
    tcp.let_go(now, &wire);
    assert_eq!(wire.one().0.flags, RST.and(ACK));
    let mut tcp = open(&wire, now);
    tcp.let_go(now, &wire);
    assert_eq!(wire.one().0.flags, FIN.and(ACK));
    tell(&mut tcp, &wire, now, 1, 2, ACK, b"");
    tell(&mut tcp, &wire, now, 1, 2, ACK, b"late");
    assert_eq!(
        wire.take().pop().map(|(head, _)| head.flags),
        Some(RST.and(ACK))
    );
    let mut tcp = open(&wire, now);
    tcp.let_go(now, &wire);
    tell(&mut tcp, &wire, now, 1, 2, ACK, b"");
    tcp.look(tcp.due().expect("a limit"), &wire);
    assert_eq!(tcp.stage, Stage::Closed, "its program never ended");
}

#[test]
fn a_silent_one_is_asked_whether_it_is_there() {
    let (wire, mut now) = (Sent::default(), Instant::now());
    let mut tcp = open(&wire, now);
    tcp.ask(now, &wire);
    assert!(wire.take().is_empty());
    for _ in 0..4 {
        now += Duration::from_secs(300);
        tcp.ask(now, &wire);
        assert_eq!(wire.one().0.sequence, MINE);
    }
    now += Duration::from_secs(300);
    tcp.ask(now, &wire);
    assert!(tcp.is_broken());
}

/// The program's end, as simple as can be: it sends all again that was not acknowledged, and takes
/// what is next.
struct Program {
    data: Vec<u8>,
    /// How much of `data`, and its end, the other side knows; counted from the first byte.
    known: usize,
    /// How far it has sent.
    sent: usize,
    window: usize,
    got: Vec<u8>,
    ended: bool,
    mss: usize,
}

impl Program {
    fn segments(&mut self, out: &mut Vec<(Head, Vec<u8>)>) {
        let most = self.data.len().min(self.known + self.window);
        while self.sent < most {
            let end = most.min(self.sent + self.mss);
            out.push((
                self.head(self.sent, ACK),
                self.data[self.sent..end].to_vec(),
            ));
            self.sent = end;
        }
        if self.sent == self.data.len() {
            out.push((self.head(self.sent, ACK.and(FIN)), Vec::new()));
            self.sent += 1;
        }
    }

    fn head(&self, at: usize, flags: Flags) -> Head {
        let got = 1 + self.got.len() + usize::from(self.ended);
        Head {
            sequence: BEGIN.wrapping_add(1 + at as u32),
            acknowledged: MINE.wrapping_add(got as u32),
            flags,
            window: 80,
            ..Head::default()
        }
    }

    fn hear(&mut self, head: &Head, payload: &[u8], out: &mut Vec<(Head, Vec<u8>)>) {
        assert!(!head.has(RST), "{head:?}");
        if head.has(SYN) {
            out.push((self.head(0, ACK), Vec::new()));
            return;
        }
        let known = head.acknowledged.wrapping_sub(BEGIN.wrapping_add(1));
        if !before(head.acknowledged, BEGIN.wrapping_add(1)) && known as usize > self.known {
            self.known = known as usize;
            self.sent = self.sent.max(self.known);
        }
        self.window = usize::from(head.window) << 7;
        let next = MINE.wrapping_add(1 + self.got.len() as u32);
        let old = next.wrapping_sub(head.sequence) as usize;
        if old <= payload.len() && !self.ended {
            self.got.extend_from_slice(&payload[old..]);
            self.ended = head.has(FIN);
        }
        if !payload.is_empty() || head.has(FIN) {
            out.push((
                self.head(self.sent.min(self.data.len() + 1), ACK),
                Vec::new(),
            ));
        }
    }

    fn is_through(&self) -> bool {
        self.ended && self.known == self.data.len() + 1
    }
}

/// What becomes of a segment on a bad link.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Arrives,
    IsLost,
    ComesTwice,
    ComesLate,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    let fate = prop_oneof![
        6 => Just(Fate::Arrives),
        2 => Just(Fate::IsLost),
        1 => Just(Fate::ComesTwice),
        1 => Just(Fate::ComesLate),
    ];
    proptest::collection::vec(fate, 16..64)
}

fn over_link(
    from: Vec<(Head, Vec<u8>)>,
    late: &mut Vec<(Head, Vec<u8>)>,
    fates: &mut impl Iterator<Item = Fate>,
) -> Vec<(Head, Vec<u8>)> {
    let mut through = Vec::new();
    let delayed = std::mem::take(late);
    for segment in from {
        match fates.next() {
            Some(Fate::IsLost) => {}
            Some(Fate::ComesTwice) => through.extend([segment.clone(), segment]),
            Some(Fate::ComesLate) => late.push(segment),
            _ => through.push(segment),
        }
    }
    through.extend(delayed);
    through
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever the link does for a while, all bytes come, both ways, in order, and both ends.
    #[test]
    fn all_comes_over_a_bad_link(
        rising in 0usize..60_000, falling in 0usize..200_000, mss in 200usize..20_000, bad in fates(),
    ) {
        let data: Vec<u8> = (0..rising).map(|at| (at * 7 / 3) as u8).collect();
        let answer: Vec<u8> = (0..falling).map(|at| (at * 5 / 3) as u8).collect();
        let mut program = Program {
            data: data.clone(), known: 0, sent: 0, window: 60_000, got: Vec::new(), ended: false, mss,
        };
        let (wire, mut now) = (Sent::default(), Instant::now());
        let mut tcp = open(&wire, now);
        let (mut heard, mut said, mut ended) = (Vec::new(), 0, false);
        let mut fates = bad.into_iter();
        let (mut late_up, mut late_down) = (Vec::new(), Vec::new());
        let mut idle = 0;
        while !(program.is_through() && ended && tcp.due().is_none_or(|_| tcp.stage == Stage::Lingering)) {
            let mut out = Vec::new();
            program.segments(&mut out);
            for (head, payload) in over_link(wire.take(), &mut late_down, &mut fates) {
                program.hear(&head, &payload, &mut out);
            }
            let quiet = out.is_empty();
            for (head, payload) in over_link(out, &mut late_up, &mut fates) {
                tcp.hear(&head, &mut Buffer::of(&payload), now, &wire);
            }
            while !ended && let Some(bytes) = read(&mut tcp, &wire, now) {
                ended = bytes.is_empty();
                heard.extend_from_slice(&bytes);
            }
            while said < answer.len() && let Poll::Ready(room) = tcp.poll_room(&cx(), now, &wire) {
                let room = room.expect("room").min(answer.len() - said);
                tcp.write(Buffer::of(&answer[said..said + room]), now, &wire);
                said += room;
            }
            if said == answer.len() {
                tcp.end(now, &wire);
            }
            tcp.flush(&wire);
            if quiet {
                // Both wait for their clocks.
                now += Duration::from_millis(250);
                tcp.look(now, &wire);
                program.sent = program.known;
                idle += 1;
                prop_assert!(idle < 500, "it stands still: {:?}", tcp.stage);
            }
        }
        prop_assert!(heard == data, "{} of {} came", heard.len(), data.len());
        prop_assert!(program.got == answer, "{} of {} came back", program.got.len(), answer.len());
        prop_assert!(!tcp.is_broken());
    }

    /// No segments at all panic, or have it keep more than its windows.
    #[test]
    fn no_segments_break_it(
        segments in proptest::collection::vec(
            (any::<u32>(), any::<u32>(), any::<u8>(), any::<u16>(), 0usize..3000, 0u8..4), 1..200),
    ) {
        let (wire, mut now) = (Sent::default(), Instant::now());
        let mut tcp = open(&wire, now);
        for (sequence, acknowledged, flags, window, length, close) in segments {
            // Near enough to count, most of them.
            let (sequence, acknowledged) = if close == 0 {
                (sequence, acknowledged)
            } else {
                (BEGIN.wrapping_add(sequence % 5000), MINE.wrapping_add(acknowledged % 5000))
            };
            let head = Head { sequence, acknowledged, flags: Flags(flags & 0x1f), window, options: Options::default() };
            tcp.hear(&head, &mut Buffer::of(&vec![1; length]), now, &wire);
            if close == 3 {
                let _ = tcp.poll_room(&cx(), now, &wire).map_ok(|room| {
                    tcp.write(Buffer::of(&vec![2; room.min(700)]), now, &wire);
                });
                now += Duration::from_millis(60);
                tcp.look(now, &wire);
            }
            wire.take();
            prop_assert!(tcp.held() <= (1 << 20) + (4 << 20));
        }
    }
}
