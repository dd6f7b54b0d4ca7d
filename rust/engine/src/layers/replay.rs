//! Salts that were seen, so that a recorded request cannot be played again.
//!
//! Two generations of a set: salts go into the young one; when that has had its time, or is full, it
//! becomes the old one and the old one is forgotten. Memory is at most two full sets: 16 bytes and a
//! control byte per place, at most 16/7 places per salt after growth, so under 80 bytes per salt of
//! `capacity`, taken as the sets fill.

use hashbrown::HashSet;

use crate::held;

/// The filter of one server, or of one key of it.
pub struct SaltFilter {
    young: HashSet<u128>,
    old: HashSet<u128>,
    capacity: usize,
    window: Option<f64>,
    since: f64,
}

impl SaltFilter {
    /// With `window`: a salt is remembered for at least so many seconds, and when more than
    /// `capacity` come within it, further ones count as seen. Without: at least the last `capacity`
    /// salts are remembered.
    pub fn new(capacity: usize, window: Option<f64>) -> Self {
        let capacity = capacity.max(1);
        Self {
            young: HashSet::new(),
            old: HashSet::new(),
            capacity,
            window,
            since: f64::NEG_INFINITY,
        }
    }

    /// Whether this salt is new; it is remembered then. Only its first 16 bytes count: who could make
    /// two that agree in them has the key. Show it only salts that came with a right tag, so that
    /// nobody else can fill it.
    pub fn fresh(&mut self, salt: &[u8], now: f64) -> bool {
        let before = self.size();
        let fresh = self.remember(salt, now);
        held::SALTS.add(self.size());
        held::SALTS.sub(before);
        fresh
    }

    /// The bytes that it takes.
    pub fn size(&self) -> usize {
        self.young.allocation_size() + self.old.allocation_size()
    }

    fn remember(&mut self, salt: &[u8], now: f64) -> bool {
        let mut first = [0; 16];
        let n = salt.len().min(16);
        first[..n].copy_from_slice(&salt[..n]);
        let salt = u128::from_ne_bytes(first);
        let full = self.young.len() >= self.capacity;
        match self.window {
            Some(window) if now - self.since >= window => {
                // Both generations are stale when nothing came for two windows.
                let idle = now - self.since >= 2.0 * window;
                self.turn(now);
                if idle {
                    self.old = HashSet::new();
                }
            }
            Some(_) if full => return false,
            None if full => {
                if self.young.contains(&salt) {
                    return false;
                }
                self.turn(now);
            }
            _ => {}
        }
        !self.old.contains(&salt) && self.young.insert(salt)
    }

    fn turn(&mut self, now: f64) {
        self.old = std::mem::take(&mut self.young);
        self.since = now;
    }

    /// How many salts are remembered.
    pub fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for SaltFilter {
    fn drop(&mut self) {
        held::SALTS.sub(self.size());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn salt(n: u32) -> [u8; 16] {
        u128::from(n).to_ne_bytes()
    }

    #[test]
    fn a_window_remembers_and_forgets() {
        let mut filter = SaltFilter::new(100, Some(60.0));
        assert!(filter.fresh(&salt(1), 0.0));
        assert!(!filter.fresh(&salt(1), 59.0));
        assert!(filter.fresh(&salt(2), 59.0));
        assert!(!filter.fresh(&salt(2), 118.0), "remembered through a turn");
        assert!(
            !filter.fresh(&salt(1), 119.0),
            "for at least its window, here longer"
        );
        assert!(filter.fresh(&salt(1), 1000.0));
    }

    #[test]
    fn a_full_window_lets_nothing_in() {
        let mut filter = SaltFilter::new(10, Some(60.0));
        assert!((0..10).all(|n| filter.fresh(&salt(n), 1.0)));
        assert!(!filter.fresh(&salt(10), 1.0));
        assert!(filter.fresh(&salt(10), 61.0));
        assert!(filter.len() <= 20);
    }

    #[test]
    fn without_a_window_the_last_ones_are_kept() {
        let mut filter = SaltFilter::new(10, None);
        assert!((0..15).all(|n| filter.fresh(&salt(n), 0.0)));
        assert!((0..15).all(|n| !filter.fresh(&salt(n), 0.0)));
        assert!((15..35).all(|n| filter.fresh(&salt(n), 0.0)));
        assert!((25..35).all(|n| !filter.fresh(&salt(n), 0.0)));
        assert!(filter.fresh(&salt(0), 0.0));
        assert!(filter.len() <= 20);
    }
}
