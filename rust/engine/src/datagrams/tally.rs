//! What a listener counts; any thread may read it.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Stats;
use super::batch::Exit;
use super::sealed::Bad;

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
    pub congested: AtomicU64,
    pub unsendable: AtomicU64,
    pub limited: AtomicU64,
}

impl Tally {
    /// All of it at once; of the near socket what it can do.
    pub fn stats(&self, near: &Exit) -> Stats {
        let (gro, gso) = match near {
            Exit::Line(line) => (line.gro(), line.gso()),
            Exit::Tube(_) => (false, false),
        };
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
            congested: self.congested.load(Relaxed),
            unsendable: self.unsendable.load(Relaxed),
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

    /// The kernel did not send so many packets.
    pub fn lost(&self, error: &io::Error, packets: usize) {
        let counter = match error.raw_os_error() {
            Some(libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN) => &self.congested,
            _ => &self.unsendable,
        };
        counter.fetch_add(packets as u64, Relaxed);
    }
}
