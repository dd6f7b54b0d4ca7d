//! One connection of TCP (RFC 9293), seen from the side that is called: a value without I/O that is
//! handed segments and the time.
//!
//! Between a program and its own host nothing is reordered and little is lost, so there is flow control
//! and no congestion control: what the program's window has room for is sent at once.

use std::io;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::head::{ACK, FIN, Head, PSH, RST, SYN, before};
use super::receive::{Came, Receiver, SCALE, WINDOW};
use super::send::{Again, Fin, Sender};
use crate::buffer::{Buffer, ROOM};
use crate::packets::{Flags, Options};

/// How long the numbers of a connection that this side ended first stay taken: as nothing lingers on
/// a TUN device, only until a lost acknowledgement would have been asked for again.
const LINGER: Duration = Duration::from_secs(1);

/// How long the program's end is waited for when nobody reads any more.
const ORPHANED: Duration = Duration::from_secs(60);

/// When a silent program is asked whether it is still there, how often, and how many times.
const QUIET: Duration = Duration::from_secs(120);
const ASKING: Duration = Duration::from_secs(30);
const ASKED: u32 = 4;

/// What may wait to be read where memory is short.
const NARROW: u32 = 16 * 1024;

/// The longest headers before a payload: of IPv6, and TCP without options.
const HEADERS: usize = 60;

/// The most payload of one packet, super-packets included.
pub const PAYLOAD: usize = ROOM - 1 - HEADERS;

/// Where segments go.
pub trait Say {
    /// Send one; with more payload than fits a segment, as several.
    fn send(&self, head: Head, payload: &[u8]);
}

/// Where a connection is. What FIN adds to it stands in the halves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The program asks for it; nobody has answered.
    Knocking,
    /// It was told yes.
    Answered,
    /// It knows.
    Open,
    /// Both ends are known, and this one came first.
    Lingering,
    /// It is over.
    Closed,
}

/// What is to be done about a segment beside the connection's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// Nothing.
    Nothing,
    /// An acknowledgement is due, once what came was taken or a while has passed.
    Acknowledge,
    /// It is over, and its numbers stay taken for a while.
    Linger,
    /// The numbers are free: it is no segment of this connection.
    Anew,
}

/// One connection.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub struct Tcp {
    /// Where it is.
    pub stage: Stage,
    receiver: Receiver,
    sender: Sender,
    /// Whether windows are shifted.
    scaled: bool,
    /// The most payload that this side takes in one segment.
    mss: u16,
    /// The most that may wait to be read.
    most: u32,
    reader: Option<Waker>,
    writer: Option<Waker>,
    acknowledge: bool,
    orphaned: bool,
    ended_first: bool,
    broken: bool,
    heard: Instant,
    asked: u32,
    until: Option<Instant>,
}

impl Tcp {
    /// The program asks for a connection by `head`. `begin` is this side's first number.
    pub fn new(head: &Head, begin: u32, mss: u16, now: Instant) -> Self {
        let scaled = head.options.shift.is_some();
        Self {
            stage: Stage::Knocking,
            receiver: Receiver::new(head.sequence),
            sender: Sender::new(begin, head.options.mss, head.options.shift),
            scaled,
            mss,
            most: if scaled { WINDOW } else { u16::MAX.into() },
            reader: None,
            writer: None,
            acknowledge: false,
            orphaned: false,
            ended_first: false,
            broken: false,
            heard: now,
            asked: 0,
            until: None,
        }
    }

    /// Bytes that are kept for it, both ways.
    pub fn held(&self) -> usize {
        self.receiver.queued() + self.sender.held()
    }

    /// Take little at once from now on: memory is short.
    pub fn narrow(&mut self) {
        self.most = self.most.min(NARROW);
    }

    /// Give its numbers free.
    pub fn forget(&mut self) {
        if self.stage == Stage::Lingering {
            self.stage = Stage::Closed;
        }
    }

    /// Whether it was reset, or given up.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Tell the program yes, unless that was done.
    pub fn answer(&mut self, now: Instant, wire: &impl Say) {
        if self.stage == Stage::Knocking {
            self.stage = Stage::Answered;
            self.sender.sent_syn(now);
            self.send_syn(wire);
        }
    }

    /// Hear a segment, whose payload is all of `buffer`; that may be taken with it.
    pub fn hear(
        &mut self,
        head: &Head,
        buffer: &mut Buffer,
        now: Instant,
        wire: &impl Say,
    ) -> Then {
        self.heard = now;
        self.asked = 0;
        match self.stage {
            Stage::Closed => return Then::Anew,
            Stage::Knocking => {
                if head.has(RST) && !head.has(SYN) {
                    self.fail();
                }
                return Then::Nothing;
            }
            Stage::Answered if head.has(SYN) && !head.has(ACK) => {
                if head.sequence.wrapping_add(1) == self.receiver.next {
                    self.send_syn(wire);
                }
                return Then::Nothing;
            }
            Stage::Lingering if head.has(SYN) && before(self.receiver.next, head.sequence) => {
                self.stage = Stage::Closed;
                return Then::Anew;
            }
            _ => {}
        }
        let length = buffer.len() as u32 + u32::from(head.has(FIN)) + u32::from(head.has(SYN));
        let accepted = self.receiver.accepts(head.sequence, length);
        if head.has(RST) {
            if head.sequence == self.receiver.next {
                self.fail();
            } else if accepted {
                self.send_ack(wire);
            }
            return Then::Nothing;
        }
        if head.has(SYN) {
            self.send_ack(wire);
            return Then::Nothing;
        }
        if !head.has(ACK) || !self.acknowledged(head, length == 0, now, wire) {
            return Then::Nothing;
        }
        if accepted {
            self.take(head, buffer, wire);
        } else {
            self.send_ack(wire);
        }
        let lingered = self.stage == Stage::Lingering;
        self.go_on(now, wire);
        if self.stage == Stage::Lingering && !lingered {
            Then::Linger
        } else if self.acknowledge {
            Then::Acknowledge
        } else {
            Then::Nothing
        }
    }

    /// Hear what a segment acknowledges. Whether the rest of it counts.
    fn acknowledged(&mut self, head: &Head, plain: bool, now: Instant, wire: &impl Say) -> bool {
        if self.stage == Stage::Answered {
            if head.acknowledged != self.sender.next {
                let sequence = head.acknowledged;
                let reset = Head {
                    sequence,
                    flags: RST,
                    ..Head::default()
                };
                wire.send(reset, &[]);
                return false;
            }
            self.stage = Stage::Open;
        }
        let said = (head.sequence, head.acknowledged, head.window);
        match self.sender.hear(said, self.scaled, plain, now) {
            None => {
                self.send_ack(wire);
                false
            }
            Some(heard) => {
                if heard.again {
                    self.send_again(wire);
                }
                if self.sender.has_room() {
                    wake(&mut self.writer);
                }
                true
            }
        }
    }

    fn take(&mut self, head: &Head, buffer: &mut Buffer, wire: &impl Say) {
        let end = head.sequence.wrapping_add(buffer.len() as u32);
        if !buffer.is_empty() {
            if self.orphaned {
                // Nobody will read it, and nobody must think that somebody did.
                self.abort(wire);
                return;
            }
            match self.receiver.take(head.sequence, buffer) {
                Came::Next => {
                    self.acknowledge = true;
                    wake(&mut self.reader);
                }
                Came::Early | Came::Nothing => self.send_ack(wire),
            }
        }
        if head.has(FIN) {
            self.receiver.take_end(end);
            self.send_ack(wire);
        }
        if self.receiver.ended {
            wake(&mut self.reader);
        }
    }

    /// Send what has become possible, and see whether it is over.
    fn go_on(&mut self, now: Instant, wire: &impl Say) {
        if self.stage == Stage::Open
            && let Some(at) = self.sender.send_fin(now)
        {
            self.ended_first = !self.receiver.ended;
            self.send_fin(at, wire);
        }
        if self.stage == Stage::Open && self.sender.fin == Fin::Known && self.receiver.ended {
            if self.ended_first {
                self.stage = Stage::Lingering;
                self.until = Some(now + LINGER);
            } else {
                self.stage = Stage::Closed;
            }
            self.sender.clear();
        }
    }

    /// Send the acknowledgement that is due.
    pub fn flush(&mut self, wire: &impl Say) {
        if self.acknowledge {
            self.send_ack(wire);
        }
    }

    /// Read some bytes; 0 at the end. The first read tells the program yes.
    pub fn poll_read(
        &mut self,
        cx: &Context<'_>,
        into: &mut [u8],
        now: Instant,
        wire: &impl Say,
    ) -> Poll<io::Result<usize>> {
        self.answer(now, wire);
        if self.receiver.is_empty() {
            return self.poll_nothing(cx).map_ok(|()| 0);
        }
        let count = self.receiver.read(into);
        self.taken(wire);
        Poll::Ready(Ok(count))
    }

    /// Read some bytes, in the memory that they came in; none at the end.
    pub fn poll_take(
        &mut self,
        cx: &Context<'_>,
        now: Instant,
        wire: &impl Say,
    ) -> Poll<io::Result<Option<Buffer>>> {
        self.answer(now, wire);
        match self.receiver.pop() {
            None => self.poll_nothing(cx).map_ok(|()| None),
            some => {
                self.taken(wire);
                Poll::Ready(Ok(some))
            }
        }
    }

    fn poll_nothing(&mut self, cx: &Context<'_>) -> Poll<io::Result<()>> {
        if self.receiver.ended {
            return Poll::Ready(Ok(()));
        }
        if self.broken || self.stage == Stage::Closed {
            return Poll::Ready(Err(reset()));
        }
        keep(&mut self.reader, cx);
        Poll::Pending
    }

    fn taken(&mut self, wire: &impl Say) {
        let all = self.acknowledge && self.receiver.is_empty();
        if all || (!self.receiver.ended && self.receiver.is_worth_telling(self.most)) {
            self.send_ack(wire);
        }
    }

    /// How much may be sent, as soon as that is something. The first asking tells the program yes.
    pub fn poll_room(
        &mut self,
        cx: &Context<'_>,
        now: Instant,
        wire: &impl Say,
    ) -> Poll<io::Result<usize>> {
        self.answer(now, wire);
        if self.broken || matches!(self.stage, Stage::Closed | Stage::Lingering) {
            return Poll::Ready(Err(reset()));
        }
        if self.sender.fin != Fin::None {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if self.stage == Stage::Open {
            if self.sender.has_room() {
                return Poll::Ready(Ok(self.sender.room().min(PAYLOAD)));
            }
            self.sender.wait_for_room(now);
        }
        keep(&mut self.writer, cx);
        Poll::Pending
    }

    /// Send bytes, as many as there was room for.
    pub fn write(&mut self, bytes: Buffer, now: Instant, wire: &impl Say) {
        let head = self.head(ACK.and(PSH), self.sender.next);
        self.acknowledge = false;
        wire.send(head, &bytes);
        self.sender.keep(bytes.compact(), now);
    }

    /// Nothing more is sent.
    pub fn end(&mut self, now: Instant, wire: &impl Say) {
        if self.sender.fin == Fin::None && !self.broken {
            self.answer(now, wire);
            self.sender.fin = Fin::Wanted;
            self.go_on(now, wire);
        }
    }

    /// Tell the program that it is broken off.
    pub fn abort(&mut self, wire: &impl Say) {
        if !matches!(self.stage, Stage::Closed | Stage::Lingering) {
            let sequence = if self.stage == Stage::Knocking {
                0
            } else {
                self.sender.next
            };
            let head = self.head(RST.and(ACK), sequence);
            wire.send(Head { window: 0, ..head }, &[]);
            self.fail();
        }
    }

    /// Say nothing more, not even no.
    pub fn fail(&mut self) {
        self.stage = Stage::Closed;
        self.broken = true;
        self.sender.clear();
        wake(&mut self.reader);
        wake(&mut self.writer);
    }

    /// Nobody reads or writes any more. What was sent still arrives; what nobody read is not passed over
    /// in silence.
    pub fn let_go(&mut self, now: Instant, wire: &impl Say) {
        self.orphaned = true;
        if self.stage == Stage::Knocking || !self.receiver.is_empty() {
            self.abort(wire);
            self.receiver.clear();
        } else if !matches!(self.stage, Stage::Closed | Stage::Lingering) {
            self.end(now, wire);
            if !matches!(self.stage, Stage::Closed | Stage::Lingering) {
                self.until = Some(now + ORPHANED);
            }
        }
    }

    /// When it wants to be looked at.
    pub fn due(&self) -> Option<Instant> {
        match (self.until, self.sender.due) {
            (Some(until), Some(due)) => Some(until.min(due)),
            (until, due) => until.or(due),
        }
    }

    /// It is time.
    pub fn look(&mut self, now: Instant, wire: &impl Say) {
        if self.until.is_some_and(|until| until <= now) {
            self.until = None;
            if self.stage == Stage::Lingering {
                self.stage = Stage::Closed;
            } else {
                self.abort(wire);
            }
        }
        if self.stage == Stage::Closed || self.sender.due.is_none_or(|due| due > now) {
            return;
        }
        if self.sender.is_quiet() && self.writer.is_none() && self.sender.fin != Fin::Wanted {
            self.sender.due = None;
        } else if self.sender.overdue(now) {
            self.send_again(wire);
        } else {
            self.abort(wire);
        }
    }

    /// Ask a program that has been silent for long whether it is still there.
    pub fn ask(&mut self, now: Instant, wire: &impl Say) {
        let after = QUIET + ASKING * self.asked;
        if self.stage == Stage::Open && now.saturating_duration_since(self.heard) >= after {
            if self.asked == ASKED {
                self.abort(wire);
            } else {
                self.asked += 1;
                let sequence = self.sender.first.wrapping_sub(1);
                wire.send(self.head(ACK, sequence), &[]);
            }
        }
    }

    fn send_again(&mut self, wire: &impl Say) {
        match self.sender.again() {
            Again::Bytes(at, bytes) => {
                let window = window(self.receiver.tell(self.most), self.scaled);
                let head = Head {
                    sequence: at,
                    acknowledged: self.receiver.next,
                    flags: ACK.and(PSH),
                    window,
                    ..Head::default()
                };
                wire.send(head, bytes);
            }
            Again::Fin(at) => self.send_fin(at, wire),
            Again::Syn => self.send_syn(wire),
            Again::Question => {
                let sequence = self.sender.first.wrapping_sub(1);
                let head = self.head(ACK, sequence);
                wire.send(head, &[]);
            }
        }
    }

    fn send_syn(&mut self, wire: &impl Say) {
        let window = self.receiver.tell(self.most.min(u16::MAX.into()));
        let head = Head {
            sequence: self.sender.first,
            acknowledged: self.receiver.next,
            flags: SYN.and(ACK),
            window: window.min(u16::MAX.into()) as u16,
            options: Options {
                mss: Some(self.mss),
                shift: self.scaled.then_some(SCALE),
            },
        };
        wire.send(head, &[]);
    }

    fn send_fin(&mut self, at: u32, wire: &impl Say) {
        let head = self.head(FIN.and(ACK), at);
        self.acknowledge = false;
        wire.send(head, &[]);
    }

    fn send_ack(&mut self, wire: &impl Say) {
        let head = self.head(ACK, self.sender.next);
        self.acknowledge = false;
        wire.send(head, &[]);
    }

    fn head(&mut self, flags: Flags, sequence: u32) -> Head {
        Head {
            sequence,
            acknowledged: self.receiver.next,
            flags,
            window: window(self.receiver.tell(self.most), self.scaled),
            options: Options::default(),
        }
    }
}

fn window(room: u32, scaled: bool) -> u16 {
    let shown = if scaled { room >> SCALE } else { room };
    shown.min(u16::MAX.into()) as u16
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn keep(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(kept) => kept.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}

fn reset() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNRESET)
}
