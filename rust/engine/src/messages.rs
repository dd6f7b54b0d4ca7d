//! Answers to DNS clients, whole: a table of bounded size, searched by the query as it came.
//!
//! An answer is kept as its server gave it, without EDNS. What comes of it for one query has that
//! query's number, its spelling of the name, its own age, and fits where it goes (RFC 1035, RFC 6891).
//! What is odd about a query is not found: whoever knows more of DNS answers it.
//!
//! The clock is the owner's: `now` is passed in, in seconds, and never runs backwards. When the table
//! is full a hand goes round (the CLOCK algorithm), as in `answers`.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;
use std::time::Instant;

use hashbrown::HashTable;

use crate::lock::lock;

/// Bytes of a message before its question.
const HEAD: usize = 12;
/// Bytes of a UDP answer to a query without EDNS (RFC 1035, section 2.3.4).
const SMALL: usize = 512;
/// Bytes of a UDP answer, whatever a client offers (RFC 6891, section 6.2.5).
const LARGEST: usize = 4096;
/// Bytes of a UDP answer that every link passes whole, as it is offered to clients.
const PAYLOAD: u16 = 1232;
/// Bytes of an answer over a stream, and of what is kept.
const WHOLE: usize = 65535;
/// Seconds that an answer is said to be good which is stale (RFC 8767, section 4).
const STALE: u32 = 30;
/// The longest name, in bytes.
const LONGEST: usize = 255;
const OPT: u16 = 41;

/// A query that can be found.
struct Query<'a> {
    /// The name with its lengths, spelled as it came, and the type and class behind it.
    question: &'a [u8],
    name: usize,
    /// The room that its sender has.
    room: usize,
    edns: bool,
    /// DO: with signatures.
    secure: bool,
    /// The two bytes of flags, as they came: RD in the first, AD and CD in the second.
    flags: [u8; 2],
}

/// How an answer is kept.
#[derive(Debug, Clone, Copy)]
pub struct Kept {
    /// Fresh until then.
    pub fresh: f64,
    /// Stale until then.
    pub stale: f64,
    /// Whether its times to live run down.
    pub aging: bool,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// An answer.
    Fresh,
    /// An answer that should be fetched again.
    Stale,
}

struct Entry {
    hash: u64,
    scope: u64,
    flags: u8,
    /// In lower case, with type and class.
    question: Box<[u8]>,
    message: Box<[u8]>,
    /// Where its times to live are.
    times: Box<[u16]>,
    since: f64,
    kept: Kept,
    read: bool,
}

/// The table.
pub struct Messages {
    hasher: RandomState,
    places: HashTable<usize>,
    entries: Vec<Entry>,
    most: usize,
    hand: usize,
    hits: u64,
    misses: u64,
}

/// The table as several threads use it, with a clock of its own.
pub struct Shared {
    table: Mutex<Messages>,
    begun: Instant,
}

impl Shared {
    /// A table of at most so many answers.
    pub fn new(most: usize) -> Self {
        Self {
            table: Mutex::new(Messages::new(most)),
            begun: Instant::now(),
        }
    }

    /// As `Messages::answer`, now.
    pub fn answer(
        &self,
        scope: u64,
        query: &[u8],
        streamed: bool,
        out: &mut Vec<u8>,
    ) -> Option<Found> {
        lock(&self.table).answer(scope, query, streamed, self.now(), out)
    }

    /// As `Messages::put`, for so many seconds.
    pub fn put(&self, scope: u64, query: &[u8], message: &[u8], kept: Kept) -> bool {
        let now = self.now();
        let kept = Kept {
            fresh: now + kept.fresh,
            stale: now + kept.stale,
            ..kept
        };
        lock(&self.table).put(scope, query, message, kept, now)
    }

    /// Work on the table.
    pub fn with<R>(&self, work: impl FnOnce(&mut Messages) -> R) -> R {
        work(&mut lock(&self.table))
    }

    fn now(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }
}

/// Answers the queries that a packet listener hears, before anybody is asked.
#[derive(Clone)]
pub struct Quick {
    /// The answers.
    pub messages: std::sync::Arc<Shared>,
    /// Whose they are.
    pub scope: u64,
}

impl Messages {
    /// A table of at most so many answers.
    pub fn new(most: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            places: HashTable::new(),
            entries: Vec::new(),
            most,
            hand: 0,
            hits: 0,
            misses: 0,
        }
    }

    /// Append what answers a query to `out`. `scope` keeps the answers apart that not everybody gets,
    /// `streamed` is whether the client has room for everything.
    pub fn answer(
        &mut self,
        scope: u64,
        query: &[u8],
        streamed: bool,
        now: f64,
        out: &mut Vec<u8>,
    ) -> Option<Found> {
        let found = self.found(scope, query, streamed, now, out);
        match found {
            Some(_) => self.hits += 1,
            None => self.misses += 1,
        }
        found
    }

    fn found(
        &mut self,
        scope: u64,
        wire: &[u8],
        streamed: bool,
        now: f64,
        out: &mut Vec<u8>,
    ) -> Option<Found> {
        let query = Query::read(wire)?;
        let at = self.place(scope, &query)?;
        let entry = self.entries.get_mut(at)?;
        if entry.kept.stale <= now {
            return None;
        }
        entry.read = true;
        let room = if streamed { WHOLE } else { query.room };
        entry.write(wire, &query, room, now, out)?;
        if entry.kept.fresh > now {
            Some(Found::Fresh)
        } else {
            Some(Found::Stale)
        }
    }

    /// Keep what answers a query, a message without EDNS. False for what cannot be found again.
    pub fn put(&mut self, scope: u64, query: &[u8], message: &[u8], kept: Kept, now: f64) -> bool {
        let Some(query) = Query::read(query) else {
            return false;
        };
        let good = kept.stale.partial_cmp(&now) == Some(std::cmp::Ordering::Greater);
        if self.most == 0 || !good || message.len() > WHOLE {
            return false;
        }
        let Some(times) = times(message, query.question.len()) else {
            return false;
        };
        let lower = lower(query.question, query.name);
        let entry = Entry {
            hash: self.hash(scope, query.sort(), &lower),
            scope,
            flags: query.sort(),
            question: lower,
            message: message.into(),
            times: times.into(),
            since: now,
            kept,
            read: false,
        };
        if let Some(at) = self.place(scope, &query) {
            if let Some(old) = self.entries.get_mut(at) {
                *old = entry;
            }
            return true;
        }
        if self.entries.len() >= self.most {
            self.make_room(now);
        }
        let hash = entry.hash;
        self.entries.push(entry);
        let entries = &self.entries;
        self.places
            .insert_unique(hash, entries.len() - 1, |&at| hash_at(entries, at));
        true
    }

    /// Forget everything, and hold at most so many from now on.
    pub fn clear(&mut self, most: usize) {
        self.most = most;
        self.places.clear();
        self.entries.clear();
        self.hand = 0;
    }

    /// How many answers there are, and the bytes that they take.
    pub fn sizes(&self) -> (usize, usize) {
        let own = |entry: &Entry| {
            size_of::<Entry>() + entry.question.len() + entry.message.len() + 2 * entry.times.len()
        };
        let bytes: usize = self.entries.iter().map(own).sum();
        (self.entries.len(), bytes + self.places.allocation_size())
    }

    /// Queries that were answered, and those that were not.
    pub fn counts(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }

    fn hash(&self, scope: u64, flags: u8, lower: &[u8]) -> u64 {
        self.hasher.hash_one((scope, flags, lower))
    }

    fn place(&self, scope: u64, query: &Query<'_>) -> Option<usize> {
        let mut room = [0; LONGEST + 4];
        let lower = room.get_mut(..query.question.len())?;
        lower.copy_from_slice(query.question);
        lower.get_mut(..query.name)?.make_ascii_lowercase();
        let lower = &*lower;
        let flags = query.sort();
        let hash = self.hash(scope, flags, lower);
        let same = |&at: &usize| {
            self.entries.get(at).is_some_and(|entry| {
                entry.scope == scope && entry.flags == flags && *entry.question == *lower
            })
        };
        self.places.find(hash, same).copied()
    }

    fn make_room(&mut self, now: f64) {
        for _ in 0..=2 * self.entries.len() {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let Some(entry) = self.entries.get_mut(self.hand) else {
                return;
            };
            if entry.kept.stale <= now || !entry.read {
                self.remove(self.hand);
                return;
            }
            entry.read = false;
            self.hand += 1;
        }
    }

    fn remove(&mut self, at: usize) {
        let Some(last) = self.entries.len().checked_sub(1) else {
            return;
        };
        let hash = hash_at(&self.entries, at);
        if let Ok(place) = self.places.find_entry(hash, |&found| found == at) {
            place.remove();
        }
        if at != last {
            let hash = hash_at(&self.entries, last);
            if let Some(place) = self.places.find_mut(hash, |&found| found == last) {
                *place = at;
            }
        }
        self.entries.swap_remove(at);
    }
}

impl Entry {
    /// Append the answer to a query. None when there is no room for its question even.
    fn write(
        &self,
        wire: &[u8],
        query: &Query<'_>,
        room: usize,
        now: f64,
        out: &mut Vec<u8>,
    ) -> Option<()> {
        let begin = out.len();
        let extra = if query.edns { 11 } else { 0 };
        let cut = self.message.len() + extra > room;
        let asked = HEAD + query.question.len();
        let kept = if cut { asked } else { self.message.len() };
        out.extend_from_slice(self.message.get(..kept)?);
        let made = out.get_mut(begin..)?;
        made.get_mut(..2)?.copy_from_slice(wire.get(..2)?);
        made.get_mut(HEAD..asked)?.copy_from_slice(query.question);
        let [flags, more] = made.get_mut(2..4)? else {
            return None;
        };
        *flags = *flags & !0x03 | query.flags[0] & 0x01 | if cut { 0x02 } else { 0 };
        *more = *more & !0x10 | query.flags[1] & 0x10;
        if query.flags[1] & 0x20 == 0 && !query.secure {
            *more &= !0x20;
        }
        if cut {
            made.get_mut(6..HEAD)?.fill(0);
        } else if self.kept.aging {
            self.age(made, now);
        }
        if query.edns {
            let count = made.get_mut(10..HEAD)?;
            let records = u16::from_be_bytes([*count.first()?, *count.get(1)?]);
            count.copy_from_slice(&records.wrapping_add(1).to_be_bytes());
            out.extend_from_slice(&[0, 0, 41]);
            out.extend_from_slice(&PAYLOAD.to_be_bytes());
            out.extend_from_slice(&[0, 0, if query.secure { 0x80 } else { 0 }, 0, 0, 0]);
        }
        Some(())
    }

    /// Write the times to live that are left.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float is cut to what fits"
    )]
    fn age(&self, made: &mut [u8], now: f64) {
        let passed = (now - self.since) as u32;
        let stale = self.kept.fresh <= now;
        for &at in &self.times {
            let at = usize::from(at);
            let Some(time) = made.get_mut(at..at + 4) else {
                return;
            };
            let told = time.iter().fold(0, |all, &byte| all << 8 | u32::from(byte));
            let left = if stale {
                STALE
            } else {
                told.saturating_sub(passed)
            };
            time.copy_from_slice(&left.to_be_bytes());
        }
    }
}

impl<'a> Query<'a> {
    /// A query with one question of the class IN, and maybe EDNS. None for everything else.
    fn read(wire: &'a [u8]) -> Option<Self> {
        let (&flags, &more) = (wire.get(2)?, wire.get(3)?);
        let count = |at| be16(wire, at);
        // no answer, the opcode QUERY, not cut off; one question, no records but EDNS
        if flags & 0xFA != 0 || count(4)? != 1 || count(6)? != 0 || count(8)? != 0 {
            return None;
        }
        let name = name(wire, HEAD)? - HEAD;
        let end = HEAD + name + 4;
        let question = wire.get(HEAD..end)?;
        if be16(question, name + 2)? != 1 {
            return None;
        }
        let (edns, payload, secure) = match count(10)? {
            0 if wire.len() == end => (false, SMALL, false),
            1 => {
                let opt = wire.get(end..)?;
                let whole = 11 + usize::from(be16(opt, 9)?);
                let (&root, &version) = (opt.first()?, opt.get(6)?);
                if root != 0 || be16(opt, 1)? != OPT || version != 0 || opt.len() != whole {
                    return None;
                }
                let payload = usize::from(be16(opt, 3)?);
                (true, payload.clamp(SMALL, LARGEST), opt.get(7)? & 0x80 != 0)
            }
            _ => return None,
        };
        Some(Self {
            question,
            name,
            room: payload,
            edns,
            secure,
            flags: [flags, more],
        })
    }

    /// What answers differ by, beside the question.
    fn sort(&self) -> u8 {
        u8::from(self.secure) | self.flags[1] & 0x10
    }
}

/// The end of a name without pointers that begins there.
fn name(wire: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin;
    loop {
        let size = usize::from(*wire.get(at)?);
        at += 1 + size;
        if size > 63 || at - begin > LONGEST {
            return None;
        }
        if size == 0 {
            return Some(at);
        }
    }
}

/// The end of a name of a record, which may end in a pointer.
fn owner(wire: &[u8], begin: usize) -> Option<usize> {
    let mut at = begin;
    loop {
        let size = usize::from(*wire.get(at)?);
        match size {
            0 => return Some(at + 1),
            1..=63 => at += 1 + size,
            0xC0..=0xFF => return Some(at + 2),
            _ => return None,
        }
        if at - begin > LONGEST {
            return None;
        }
    }
}

/// Where the times to live of a message are whose question has that many bytes. None when it is none,
/// or has EDNS.
fn times(message: &[u8], question: usize) -> Option<Vec<u16>> {
    if message.get(2)? & 0x80 == 0 || be16(message, 4)? != 1 {
        return None;
    }
    let records: usize = [6, 8, 10]
        .into_iter()
        .map(|at| be16(message, at).map(usize::from))
        .sum::<Option<usize>>()?;
    let mut at = HEAD + question;
    if name(message, HEAD)? + 4 != at {
        return None;
    }
    let mut found = Vec::new();
    for _ in 0..records {
        let fixed = owner(message, at)?;
        if be16(message, fixed)? == OPT {
            return None;
        }
        found.push(u16::try_from(fixed + 4).ok()?);
        at = fixed + 10 + usize::from(be16(message, fixed + 8)?);
    }
    (at == message.len()).then_some(found)
}

fn lower(question: &[u8], name: usize) -> Box<[u8]> {
    let mut lower: Box<[u8]> = question.into();
    if let Some(name) = lower.get_mut(..name) {
        name.make_ascii_lowercase();
    }
    lower
}

fn be16(wire: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*wire.get(at)?, *wire.get(at + 1)?]))
}

fn hash_at(entries: &[Entry], at: usize) -> u64 {
    entries.get(at).map_or(0, |entry| entry.hash)
}

#[cfg(test)]
mod tests;
