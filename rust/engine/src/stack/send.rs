//! What goes to the program: what was sent waits here until it is acknowledged, and is sent again where
//! the device has lost it. There is no congestion to control between a program and its own host.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::head::{ahead, before};
use crate::buffer::Buffer;

/// The most that is on its way at once.
const MOST: u32 = 1 << 20;

/// When what was not acknowledged is sent again; twice as long each time.
const FIRST: Duration = Duration::from_millis(200);
const LAST: Duration = Duration::from_secs(15);

/// Tries before a silent program is given up.
const TRIES: u32 = 8;

/// Acknowledgements that say nothing new before what they ask for is sent again (RFC 5681).
const REPEATS: u32 = 3;

/// The payload of segments where the program has not said (RFC 9293, section 3.7.1).
const LEAST_MSS: u16 = 536;

/// Bytes that were sent.
struct Sent {
    at: u32,
    bytes: Buffer,
}

/// Where this side's end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fin {
    /// Not yet.
    None,
    /// As soon as there is room for it.
    Wanted,
    /// It has this number.
    Sent(u32),
    /// The program knows.
    Known,
}

/// What is to be sent again.
pub enum Again<'a> {
    /// These bytes, from this number on.
    Bytes(u32, &'a [u8]),
    /// The end.
    Fin(u32),
    /// The answer to the first segment.
    Syn,
    /// Nothing but a question whether there is room now.
    Question,
}

/// The sending half of a connection.
pub struct Sender {
    /// The first byte that is not acknowledged.
    pub first: u32,
    /// The next byte.
    pub next: u32,
    window: u32,
    widest: u32,
    scale: u8,
    told_at: (u32, u32),
    /// The most payload of a segment.
    pub mss: u16,
    sent: VecDeque<Sent>,
    held: usize,
    pub fin: Fin,
    repeats: u32,
    /// Losses before this number are being mended.
    mending: Option<u32>,
    tries: u32,
    /// When something is to be done if nothing comes.
    pub due: Option<Instant>,
}

/// What an acknowledgement did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heard {
    /// Something is to be sent again at once.
    pub again: bool,
}

impl Sender {
    /// A side that begins with this number, for a program that said this.
    pub fn new(begin: u32, mss: Option<u16>, scale: Option<u8>) -> Self {
        Self {
            first: begin,
            next: begin,
            window: 0,
            widest: 0,
            scale: scale.unwrap_or(0).min(14),
            told_at: (0, 0),
            mss: mss.unwrap_or(LEAST_MSS).max(64),
            sent: VecDeque::new(),
            held: 0,
            fin: Fin::None,
            repeats: 0,
            mending: None,
            tries: 0,
            due: None,
        }
    }

    /// Bytes that are kept until they are acknowledged.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether all that was sent is acknowledged.
    pub fn is_quiet(&self) -> bool {
        self.first == self.next
    }

    /// How much may be sent now.
    pub fn room(&self) -> usize {
        let window = self.window.min(MOST);
        window.saturating_sub(ahead(self.first, self.next)) as usize
    }

    /// Whether the room is worth a segment: a full one, or half of all that the program ever had (RFC
    /// 9293, section 3.8.6.2.1).
    pub fn has_room(&self) -> bool {
        let least = u32::from(self.mss).min(self.widest / 2).max(1);
        self.room() >= least as usize
    }

    /// Count the answer to the first segment as sent.
    pub fn sent_syn(&mut self, now: Instant) {
        self.next = self.first.wrapping_add(1);
        self.arm(now);
    }

    /// Keep what is sent now; its number.
    pub fn keep(&mut self, bytes: Buffer, now: Instant) -> u32 {
        let at = self.next;
        self.next = at.wrapping_add(bytes.len() as u32);
        self.held += bytes.len();
        self.sent.push_back(Sent { at, bytes });
        if self.due.is_none() {
            self.arm(now);
        }
        at
    }

    /// The number of the end, if it is to be sent now.
    pub fn send_fin(&mut self, now: Instant) -> Option<u32> {
        if self.fin != Fin::Wanted || (self.room() == 0 && !self.is_quiet()) {
            return None;
        }
        let at = self.next;
        self.next = at.wrapping_add(1);
        self.fin = Fin::Sent(at);
        if self.due.is_none() {
            self.arm(now);
        }
        Some(at)
    }

    /// Hear an acknowledgement. `plain` segments say nothing else. False: of what was never sent.
    pub fn hear(
        &mut self,
        (sequence, acknowledged, window): (u32, u32, u16),
        scaled: bool,
        plain: bool,
        now: Instant,
    ) -> Option<Heard> {
        if before(self.next, acknowledged) {
            return None;
        }
        let window = u32::from(window) << if scaled { self.scale } else { 0 };
        let mut heard = Heard::default();
        self.tries = 0;
        if before(self.first, acknowledged) {
            self.release(acknowledged);
            self.repeats = 0;
            self.due = None;
            match self.mending {
                Some(end) if before(acknowledged, end) => heard.again = true,
                _ => self.mending = None,
            }
            if !self.is_quiet() {
                self.arm(now);
            }
        } else if acknowledged == self.first && plain && window == self.window && !self.is_quiet() {
            self.repeats += 1;
            if self.repeats == REPEATS && self.mending.is_none() {
                self.mending = Some(self.next);
                heard.again = true;
            }
        }
        let (told, at) = self.told_at;
        let newer = before(told, sequence) || (told == sequence && !before(acknowledged, at));
        if (newer || self.widest == 0) && !before(acknowledged, self.first) {
            self.window = window;
            self.widest = self.widest.max(window);
            self.told_at = (sequence, acknowledged);
        }
        Some(heard)
    }

    fn release(&mut self, acknowledged: u32) {
        self.first = acknowledged;
        while let Some(sent) = self.sent.front_mut() {
            let known = ahead(sent.at, acknowledged) as usize;
            if known < sent.bytes.len() {
                sent.bytes.advance(known);
                sent.at = sent.at.wrapping_add(known as u32);
                self.held -= known;
                break;
            }
            self.held -= sent.bytes.len();
            self.sent.pop_front();
        }
        if let Fin::Sent(at) = self.fin
            && before(at, acknowledged)
        {
            self.fin = Fin::Known;
        }
    }

    /// What the program lacks first.
    pub fn again(&self) -> Again<'_> {
        match (self.sent.front(), self.fin) {
            (Some(sent), _) => Again::Bytes(sent.at, &sent.bytes),
            (None, Fin::Sent(at)) => Again::Fin(at),
            (None, _) if !self.is_quiet() => Again::Syn,
            _ => Again::Question,
        }
    }

    /// It is time: whether to go on, and not to give up. What is to be sent again is `again`.
    pub fn overdue(&mut self, now: Instant) -> bool {
        self.tries += 1;
        self.repeats = 0;
        if !self.is_quiet() {
            self.mending = Some(self.next);
        }
        self.arm(now);
        self.tries <= TRIES
    }

    /// Ask for room after a while, as nothing is on its way that would bring word of it.
    pub fn wait_for_room(&mut self, now: Instant) {
        if self.is_quiet() && self.due.is_none() {
            self.arm(now);
        }
    }

    /// Nothing is left to be done.
    pub fn clear(&mut self) {
        self.sent.clear();
        self.held = 0;
        self.due = None;
    }

    fn arm(&mut self, now: Instant) {
        self.due = Some(now + (FIRST * 2u32.saturating_pow(self.tries)).min(LAST));
    }
}
