//! What comes from the program: in order, within a window, until somebody takes it.

use std::collections::VecDeque;

use super::head::{ahead, before};
use crate::buffer::Buffer;

/// What a stream takes in before it is read; also of what comes out of order.
pub const WINDOW: u32 = 1 << 20;

/// By how many bits the windows are shifted that this side tells.
pub const SCALE: u8 = 7;

/// Pieces that may wait for one before them.
const PIECES: usize = 64;

/// Payload that is worth handing on with the memory that it came in.
const WORTH_TAKING: usize = 8 * 1024;

/// The receiving half of a connection.
pub struct Receiver {
    /// The number of the next byte.
    pub next: u32,
    /// The first byte that the other side may not send yet.
    edge: u32,
    /// What came and nobody has taken.
    queue: VecDeque<Buffer>,
    queued: usize,
    /// What came too early, by its number, in order.
    early: VecDeque<(u32, Buffer)>,
    /// The number of the end, once it is known.
    end: Option<u32>,
    /// Everything came.
    pub ended: bool,
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// There is more to read.
    Next,
    /// It was there already, or did not fit.
    Nothing,
    /// One before it is missing.
    Early,
}

impl Receiver {
    /// Of a side whose `SYN` had this number.
    pub fn new(first: u32) -> Self {
        let next = first.wrapping_add(1);
        Self {
            next,
            edge: next,
            queue: VecDeque::new(),
            queued: 0,
            early: VecDeque::new(),
            end: None,
            ended: false,
        }
    }

    /// Bytes that wait to be taken.
    pub fn queued(&self) -> usize {
        self.queued
    }

    /// Whether there is nothing to take.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a segment with these numbers is anything to look at (RFC 9293, section 3.10.7.4).
    pub fn accepts(&self, sequence: u32, length: u32) -> bool {
        let window = ahead(self.next, self.edge);
        let last = sequence.wrapping_add(length.max(1) - 1);
        let within = |number| !before(number, self.next) && ahead(self.next, number) < window;
        match (length, window) {
            (0, 0) => sequence == self.next,
            (0, _) => within(sequence),
            (_, 0) => false,
            _ => within(sequence) || within(last),
        }
    }

    /// Take the payload of a segment, which is all of `buffer`; that may be taken with it.
    pub fn take(&mut self, sequence: u32, buffer: &mut Buffer) -> Came {
        let old = ahead(sequence, self.next) as usize;
        if old >= buffer.len() && !buffer.is_empty() {
            return Came::Nothing;
        }
        let sequence = sequence.wrapping_add(old as u32);
        let room = ahead(sequence, self.edge) as usize;
        buffer.keep(old, buffer.len().min(old + room));
        if self.end.is_some_and(|end| !before(sequence, end)) || buffer.is_empty() {
            return Came::Nothing;
        }
        if sequence != self.next {
            self.keep_early(sequence, buffer);
            return Came::Early;
        }
        self.next = self.next.wrapping_add(buffer.len() as u32);
        self.push(buffer);
        self.take_early();
        self.see_end();
        Came::Next
    }

    /// The other side's end has this number. Whether that is news.
    pub fn take_end(&mut self, at: u32) -> bool {
        if self.end.is_none() && !before(at, self.next) && !before(self.edge, at) {
            self.end = Some(at);
            self.see_end();
            return self.ended;
        }
        false
    }

    fn see_end(&mut self) {
        if self.end == Some(self.next) && !self.ended {
            self.next = self.next.wrapping_add(1);
            self.ended = true;
            self.early.clear();
        }
    }

    fn push(&mut self, buffer: &mut Buffer) {
        self.queued += buffer.len();
        if let Some(last) = self.queue.back_mut()
            && buffer.len() < WORTH_TAKING
            && last.append(buffer)
        {
            return;
        }
        self.queue.push_back(kept(buffer));
    }

    fn keep_early(&mut self, sequence: u32, buffer: &mut Buffer) {
        if self.early.len() >= PIECES {
            return; // it comes again
        }
        let at = self
            .early
            .partition_point(|(other, _)| before(*other, sequence));
        if self
            .early
            .get(at)
            .is_some_and(|(other, piece)| *other == sequence && piece.len() >= buffer.len())
        {
            return;
        }
        self.early.insert(at, (sequence, kept(buffer)));
    }

    fn take_early(&mut self) {
        while let Some((sequence, _)) = self.early.front()
            && !before(self.next, *sequence)
        {
            let Some((sequence, mut piece)) = self.early.pop_front() else {
                return;
            };
            let old = ahead(sequence, self.next) as usize;
            if old < piece.len() {
                piece.advance(old);
                self.next = self.next.wrapping_add(piece.len() as u32);
                self.push(&mut piece);
            }
        }
    }

    /// The next bytes, in the memory that they came in.
    pub fn pop(&mut self) -> Option<Buffer> {
        let buffer = self.queue.pop_front()?;
        self.queued -= buffer.len();
        Some(buffer)
    }

    /// Copy the next bytes; how many.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let mut count = 0;
        while count < into.len()
            && let Some(first) = self.queue.front_mut()
        {
            let n = first.len().min(into.len() - count);
            into[count..count + n].copy_from_slice(&first[..n]);
            first.advance(n);
            count += n;
            if first.is_empty() {
                self.queue.pop_front();
            }
        }
        self.queued -= count;
        count
    }

    /// Throw away what nobody will take.
    pub fn clear(&mut self) {
        self.queue.clear();
        self.early.clear();
        self.queued = 0;
    }

    /// The window that is told, of at most `most` bytes; what was told once stays so.
    pub fn tell(&mut self, most: u32) -> u32 {
        self.edge = self.reach(most);
        ahead(self.next, self.edge)
    }

    /// Whether the other side would learn of so much more room that it is worth a segment.
    pub fn is_worth_telling(&self, most: u32) -> bool {
        ahead(self.edge, self.reach(most)) >= most / 4
    }

    /// Up to where the other side could be allowed to send.
    fn reach(&self, most: u32) -> u32 {
        let free = most.saturating_sub(self.queued as u32) & !((1 << SCALE) - 1);
        let reach = self.next.wrapping_add(free);
        if before(reach, self.edge) {
            self.edge
        } else {
            reach
        }
    }
}

fn kept(buffer: &mut Buffer) -> Buffer {
    if buffer.len() >= WORTH_TAKING {
        std::mem::take(buffer)
    } else {
        Buffer::of(buffer)
    }
}
