//! What a listener counts; any thread may read it.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::udp::{Exit, Losses};

/// Why a packet is dropped before anybody is asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// No well-formed header.
    Malformed,
    /// From somebody who has no business here.
    Stranger,
    /// Not sealed with a key of ours.
    Forged,
    /// Seen before, or its time is not now.
    Replayed,
    /// No room for another session.
    Full,
}

/// What a listener did so far. The first two are of now, the others count up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Sessions alive.
    pub sessions: u64,
    /// Flows alive: (session, target) pairs, the asked and refused ones included.
    pub flows: u64,
    /// Packets taken from sources, good or bad.
    pub packets_up: u64,
    /// Packets taken from targets, good or bad.
    pub packets_down: u64,
    /// Dropped: no well-formed header, fragments included.
    pub malformed: u64,
    /// Dropped: from a source, or a sender, that has no business here.
    pub stranger: u64,
    /// Dropped: not sealed with a key of ours.
    pub forged: u64,
    /// Dropped: authentic, but seen before or of another time.
    pub replayed: u64,
    /// Dropped: the verdict was no.
    pub refused: u64,
    /// Dropped: a bound was reached (waiting packets, unanswered asks).
    pub full: u64,
    /// Dropped: the kernel, or the queue of a slow stream, had no room for it.
    pub congested: u64,
    /// Dropped: the kernel would not send it (no route, not permitted), or it is too long.
    pub unsendable: u64,
    /// Dropped: faster than a limit of their flow allows, or past its quota.
    pub limited: u64,
    /// Whether the kernel joins packets on receive (`UDP_GRO`).
    pub gro: bool,
    /// Whether joined packets are sent for the kernel to cut (`UDP_SEGMENT`).
    pub gso: bool,
}

/// The counters of a listener.
#[derive(Default)]
pub struct Tally {
    pub sessions: AtomicU64,
    pub flows: AtomicU64,
    pub packets_up: AtomicU64,
    pub packets_down: AtomicU64,
    pub malformed: AtomicU64,
    pub stranger: AtomicU64,
    pub forged: AtomicU64,
    pub replayed: AtomicU64,
    pub refused: AtomicU64,
    pub full: AtomicU64,
    pub limited: AtomicU64,
    pub losses: Losses,
}

impl Tally {
    /// All of it at once; of the near end what it can do.
    pub fn stats(&self, near: &dyn Exit) -> Stats {
        let (gro, gso) = near.offloads();
        Stats {
            sessions: self.sessions.load(Relaxed),
            flows: self.flows.load(Relaxed),
            packets_up: self.packets_up.load(Relaxed),
            packets_down: self.packets_down.load(Relaxed),
            malformed: self.malformed.load(Relaxed),
            stranger: self.stranger.load(Relaxed),
            forged: self.forged.load(Relaxed),
            replayed: self.replayed.load(Relaxed),
            refused: self.refused.load(Relaxed),
            full: self.full.load(Relaxed),
            congested: self.losses.congested.load(Relaxed),
            unsendable: self.losses.unsendable.load(Relaxed),
            limited: self.limited.load(Relaxed),
            gro,
            gso,
        }
    }

    /// A packet was dropped.
    pub fn dropped(&self, bad: Bad) {
        let counter = match bad {
            Bad::Malformed => &self.malformed,
            Bad::Stranger => &self.stranger,
            Bad::Forged => &self.forged,
            Bad::Replayed => &self.replayed,
            Bad::Full => &self.full,
        };
        counter.fetch_add(1, Relaxed);
    }
}
