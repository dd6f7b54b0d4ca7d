//! One connection (RFC 9293): pure, with `now` passed in.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

use super::wire::Wire;
use crate::packets::{Flags, Pair, Segment};

/// Bytes that may wait to be read.
pub const ROOM: u32 = 1 << 20;

/// The same when all connections together have too many.
pub const NARROW: u32 = 1 << 16;

/// Bytes that may wait to be sent or acknowledged.
const BEHIND: usize = 1 << 20;

/// By how many bits our windows are shifted.
pub(super) const SHIFT: u8 = 8;

/// The most payload of one packet, which a device may cut.
pub(super) const JOINED: usize = 65_000;

/// The payload of a segment where a SYN says nothing (RFC 9293, section 3.7.1).
const LEAST_MSS: u16 = 536;

/// Until something is sent again, for the first time.
const AGAIN: Duration = Duration::from_secs(1);

/// The longest such time.
const LONGEST: Duration = Duration::from_secs(60);

/// How often before it is given up.
const TRIES: u8 = 8;

/// A SYN that is not answered is given up earlier.
const SYN_TRIES: u8 = 5;

/// When a silent side is asked whether it lives, how often, and how many times.
const SILENT: Duration = Duration::from_secs(120);
const ASKED: Duration = Duration::from_secs(30);
const ASKS: u8 = 4;

/// How long the end of a side is waited for that nobody listens to any more.
const LINGER: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Its SYN has not been answered.
    Held,
    /// It has, and that is not acknowledged.
    Answered,
    /// Bytes flow.
    Open,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fin {
    None,
    Queued,
    Sent,
    Acknowledged,
}

/// Whether a connection is of any use yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// It goes on.
    On,
    /// It is over: nothing more may be sent for it.
    Over,
}

/// A connection, from its SYN on.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each of its facts comes and goes by itself"
)]
pub struct Conn {
    /// Its ends: `local` is whom the program calls.
    pub pair: Pair,
    pub(super) stage: Stage,
    /// Ours: the first byte that is not acknowledged, the next, and the one after the last ever sent.
    pub(super) una: u32,
    pub(super) nxt: u32,
    pub(super) max: u32,
    /// What the other side takes beyond `una`.
    pub(super) window: u32,
    pub(super) shift: u8,
    pub(super) mss: usize,
    /// What we say of ourselves.
    pub(super) own_mss: u16,
    pub(super) scaled: bool,
    /// From `una` on.
    pub(super) out: VecDeque<u8>,
    pub(super) fin: Fin,
    pub(super) duplicates: u8,
    /// Until this is acknowledged, what is missing is sent again at once.
    pub(super) recover: Option<u32>,
    /// Theirs: the next byte, and the end of what they may send.
    pub(super) rcv: u32,
    pub(super) edge: u32,
    pub(super) incoming: VecDeque<Bytes>,
    /// Bytes of it.
    pub waiting: u32,
    pub(super) peer_fin: bool,
    pub(super) reset: bool,
    /// Nobody reads or writes it any more.
    pub(super) forgotten: bool,
    /// An acknowledgement is due at the end of the batch.
    pub owes: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
    /// When it is to be looked at.
    pub due: Instant,
    pub(super) heard: Instant,
    pub(super) tries: u8,
}

pub(super) fn after(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) > 0
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn reset() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNRESET)
}

impl Conn {
    /// Of a SYN. `first` is our first number, `own_mss` what a segment to us may have.
    pub fn new(syn: &Segment, first: u32, own_mss: u16, now: Instant) -> Self {
        let mss = syn.options.mss.unwrap_or(LEAST_MSS).max(LEAST_MSS / 8);
        let rcv = syn.seq.wrapping_add(1);
        Self {
            pair: syn.pair,
            stage: Stage::Held,
            una: first,
            nxt: first,
            max: first,
            window: u32::from(syn.window),
            shift: syn.options.shift.unwrap_or(0),
            mss: usize::from(mss),
            own_mss,
            scaled: syn.options.shift.is_some(),
            out: VecDeque::new(),
            fin: Fin::None,
            duplicates: 0,
            recover: None,
            rcv,
            edge: rcv,
            incoming: VecDeque::new(),
            waiting: 0,
            peer_fin: false,
            reset: false,
            forgotten: false,
            owes: false,
            reader: None,
            writer: None,
            due: now + LONGEST,
            heard: now,
            tries: 0,
        }
    }

    /// Whether its SYN waits for an answer.
    pub fn is_held(&self) -> bool {
        self.stage == Stage::Held
    }

    /// Whether nobody has it any more.
    pub fn is_forgotten(&self) -> bool {
        self.forgotten
    }

    /// Whether it is over for its owner.
    pub fn is_reset(&self) -> bool {
        self.reset
    }

    /// Answer the SYN, if that was not done.
    pub fn answer(&mut self, wire: &dyn Wire, now: Instant) {
        if self.stage == Stage::Held {
            self.stage = Stage::Answered;
            self.nxt = self.una.wrapping_add(1);
            self.max = self.nxt;
            self.say_syn(wire);
            self.arm(now);
        }
    }

    /// Take a segment of it. `take` gives the bytes of a range of the packet.
    pub fn hear(
        &mut self,
        segment: &Segment,
        room: u32,
        take: &mut dyn FnMut(Range<usize>) -> Bytes,
        wire: &dyn Wire,
        now: Instant,
    ) -> Life {
        self.heard = now;
        if segment.flags.has(Flags::RST) {
            return self.hear_reset(segment, wire);
        }
        if segment.flags.has(Flags::SYN) {
            if self.stage == Stage::Open {
                self.acknowledge(wire, room); // a challenge (RFC 5961, section 4)
            } else if self.stage == Stage::Answered && segment.seq.wrapping_add(1) == self.rcv {
                self.say_syn(wire);
            }
            return Life::On;
        }
        if !segment.flags.has(Flags::ACK) || self.stage == Stage::Held {
            return Life::On;
        }
        if after(segment.ack, self.max) {
            self.acknowledge(wire, room);
            return Life::On;
        }
        if self.stage == Stage::Answered {
            if segment.ack != self.max {
                return Life::On;
            }
            self.stage = Stage::Open;
            self.una = segment.ack;
            self.tries = 0;
            wake(&mut self.writer);
        }
        self.hear_ack(segment, wire);
        if self.forgotten && !segment.payload.is_empty() {
            self.say_reset(wire);
            return Life::Over;
        }
        self.hear_bytes(segment, room, take, wire);
        self.push(wire, room);
        self.arm(now);
        self.life()
    }

    fn hear_reset(&mut self, segment: &Segment, wire: &dyn Wire) -> Life {
        let inside = segment.seq.wrapping_sub(self.rcv) < self.edge.wrapping_sub(self.rcv).max(1);
        if segment.seq == self.rcv {
            self.fail();
            return Life::Over;
        }
        if inside && self.stage == Stage::Open {
            self.acknowledge(wire, ROOM);
        }
        Life::On
    }

    fn hear_ack(&mut self, segment: &Segment, wire: &dyn Wire) {
        let window = u32::from(segment.window) << if self.scaled { self.shift } else { 0 };
        let flight = self.max != self.una;
        if after(segment.ack, self.una) {
            let count = segment.ack.wrapping_sub(self.una) as usize;
            let bytes = count.min(self.out.len());
            self.out.drain(..bytes);
            if self.out.is_empty() && self.out.capacity() > 4096 {
                self.out = VecDeque::new();
            }
            if count > bytes && self.fin == Fin::Sent {
                self.fin = Fin::Acknowledged;
            }
            self.una = segment.ack;
            if after(self.una, self.nxt) {
                self.nxt = self.una;
            }
            (self.duplicates, self.tries) = (0, 0);
            self.window = window;
            if self.out.len() <= BEHIND / 2 {
                wake(&mut self.writer);
            }
            if let Some(recover) = self.recover {
                if after(recover, self.una) {
                    self.again(wire);
                } else {
                    self.recover = None;
                }
            }
            return;
        }
        let plain = segment.payload.is_empty() && !segment.flags.has(Flags::FIN);
        if segment.ack == self.una && plain && window == self.window && flight {
            self.duplicates = self.duplicates.saturating_add(1);
            if self.duplicates == 3 {
                self.recover = Some(self.max);
                self.again(wire);
            }
        }
        if segment.ack == self.una {
            self.window = window;
        }
    }

    fn hear_bytes(
        &mut self,
        segment: &Segment,
        room: u32,
        take: &mut dyn FnMut(Range<usize>) -> Bytes,
        wire: &dyn Wire,
    ) {
        let length = segment.payload.len() as u32;
        let fin = segment.flags.has(Flags::FIN);
        if length == 0 && !fin {
            // A keep-alive asks with a number that was acknowledged long ago.
            if after(self.rcv, segment.seq) {
                self.owes = true;
            }
            return;
        }
        if after(segment.seq, self.rcv) {
            self.acknowledge(wire, room); // something before it is missing
            return;
        }
        let known = self.rcv.wrapping_sub(segment.seq);
        if self.peer_fin || known > length {
            self.owes = true; // all of it was acknowledged before
            return;
        }
        let open = self.edge.wrapping_sub(self.rcv);
        let count = (length - known).min(open);
        if count > 0 {
            let from = segment.payload.start + known as usize;
            self.incoming.push_back(take(from..from + count as usize));
            self.waiting += count;
            self.rcv = self.rcv.wrapping_add(count);
            wake(&mut self.reader);
        }
        self.owes = true;
        if fin && known + count == length {
            self.rcv = self.rcv.wrapping_add(1);
            self.peer_fin = true;
            wake(&mut self.reader);
        }
    }

    /// Read what waits.
    pub fn read(
        &mut self,
        waker: &Waker,
        into: &mut [u8],
        room: u32,
        wire: &dyn Wire,
        now: Instant,
    ) -> Poll<io::Result<usize>> {
        self.answer(wire, now);
        let mut n = 0;
        while n < into.len()
            && let Some(front) = self.incoming.front_mut()
        {
            let count = front.len().min(into.len() - n);
            front.copy_to_slice(&mut into[n..n + count]);
            n += count;
            if front.is_empty() {
                self.incoming.pop_front();
            }
        }
        if n == 0 {
            if self.reset {
                return Poll::Ready(Err(reset()));
            }
            if self.peer_fin || into.is_empty() {
                return Poll::Ready(Ok(0));
            }
            self.reader = Some(waker.clone());
            return Poll::Pending;
        }
        self.waiting -= n as u32;
        if self.incoming.is_empty() {
            self.incoming = VecDeque::new();
        }
        // A window that had become small is opened again before it is closed.
        let open = self.edge.wrapping_sub(self.rcv);
        if open < room / 2 && self.free(room) >= open + room / 4 && !self.peer_fin && !self.reset {
            self.acknowledge(wire, room);
        }
        Poll::Ready(Ok(n))
    }

    /// Take bytes to be sent.
    pub fn write_bytes(
        &mut self,
        waker: &Waker,
        data: &[u8],
        room: u32,
        wire: &dyn Wire,
        now: Instant,
    ) -> Poll<io::Result<usize>> {
        self.answer(wire, now);
        if self.reset {
            return Poll::Ready(Err(reset()));
        }
        if self.fin != Fin::None {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = data.len().min(BEHIND - self.out.len());
        if n == 0 && !data.is_empty() {
            self.writer = Some(waker.clone());
            return Poll::Pending;
        }
        self.out.extend(&data[..n]);
        self.push(wire, room);
        self.arm(now);
        Poll::Ready(Ok(n))
    }

    /// Nothing more will be sent.
    pub fn end(&mut self, room: u32, wire: &dyn Wire, now: Instant) {
        self.answer(wire, now);
        if self.fin == Fin::None && !self.reset {
            self.fin = Fin::Queued;
            self.push(wire, room);
            self.arm(now);
        }
    }

    /// Nobody reads or writes it any more. What was written still goes out.
    pub fn forget(&mut self, room: u32, wire: &dyn Wire, now: Instant) -> Life {
        self.forgotten = true;
        if self.reset {
            return Life::Over;
        }
        if self.stage != Stage::Open || self.waiting > 0 {
            self.say_reset(wire);
            return Life::Over;
        }
        self.end(room, wire, now);
        if self.owes {
            self.acknowledge(wire, room);
        }
        self.arm(now);
        self.life()
    }

    /// End it at once, so that the other side sees it.
    pub fn abort(&mut self, wire: &dyn Wire) {
        if !self.reset {
            self.say_reset(wire);
            self.fail();
        }
    }

    /// End it for its owner.
    pub fn fail(&mut self) {
        self.reset = true;
        self.owes = false;
        self.out = VecDeque::new();
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    /// Its time has come.
    pub fn on_time(&mut self, room: u32, wire: &dyn Wire, now: Instant) -> Life {
        if now < self.due {
            return Life::On;
        }
        let most = match self.stage {
            Stage::Answered => SYN_TRIES,
            _ if self.in_flight() || self.is_shut_out() => TRIES,
            _ => ASKS,
        };
        if self.forgotten && self.fin == Fin::Acknowledged {
            return Life::Over;
        }
        if self.stage == Stage::Held {
            self.arm(now);
            return Life::On;
        }
        self.tries += 1;
        if self.tries > most {
            self.say_reset(wire);
            self.fail();
            return Life::Over;
        }
        if self.stage == Stage::Answered {
            self.say_syn(wire);
        } else if self.in_flight() {
            self.nxt = self.una;
            if self.fin == Fin::Sent {
                self.fin = Fin::Queued;
            }
            self.recover = None;
            self.push(wire, room);
            if self.nxt == self.una {
                self.again(wire); // into a window that was closed meanwhile
            }
        } else {
            self.ask(wire);
        }
        self.arm(now);
        Life::On
    }

    fn in_flight(&self) -> bool {
        self.max != self.una
    }

    /// Whether there is something to be sent, and no window for it.
    fn is_shut_out(&self) -> bool {
        !self.in_flight() && !self.out.is_empty()
    }

    fn life(&self) -> Life {
        if self.forgotten && self.peer_fin && self.fin == Fin::Acknowledged {
            Life::Over
        } else {
            Life::On
        }
    }

    /// When it is to be looked at next.
    fn arm(&mut self, now: Instant) {
        let busy = self.stage == Stage::Answered || self.in_flight() || self.is_shut_out();
        self.due = if self.stage == Stage::Held {
            now + LONGEST
        } else if busy {
            now + (AGAIN * (1 << self.tries.min(6))).min(LONGEST)
        } else if self.forgotten && self.fin == Fin::Acknowledged {
            now + LINGER
        } else if self.tries > 0 && self.heard + SILENT <= now {
            now + ASKED
        } else {
            self.tries = 0;
            self.heard.max(now) + SILENT
        };
    }
}
