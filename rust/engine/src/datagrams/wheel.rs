//! When flows may have gone idle: a coarse wheel, looked at once per tick. A packet costs it nothing;
//! a flow that turns out to be alive is put back for the time it would be due.

/// Ticks in one idle limit.
pub const TICKS: u64 = 16;

/// Ticks after which a flow has surely been silent for the limit: it may have begun within a tick.
pub const TURN: u64 = TICKS + 1;

const SLOTS: usize = TURN as usize + 1;

/// Entries by the tick at which they are to be looked at.
pub struct Wheel<T> {
    slots: [Vec<T>; SLOTS],
    now: u64,
}

impl<T> Wheel<T> {
    /// An empty wheel.
    pub fn new() -> Self {
        Self {
            slots: std::array::from_fn(|_| Vec::new()),
            now: 0,
        }
    }

    /// Have `entry` looked at in tick `at`, or as near to it as one turn allows.
    pub fn add(&mut self, entry: T, at: u64) {
        let at = at.clamp(self.now + 1, self.now + TURN);
        self.slots[Self::slot(at)].push(entry);
    }

    /// Move on by at most one tick toward `now`; what is to be looked at. None when `now` is reached.
    pub fn advance(&mut self, now: u64) -> Option<Vec<T>> {
        if self.now >= now {
            return None;
        }
        if self.slots.iter().all(Vec::is_empty) {
            self.now = now;
            return None;
        }
        self.now += 1;
        Some(std::mem::take(&mut self.slots[Self::slot(self.now)]))
    }

    fn slot(tick: u64) -> usize {
        (tick % SLOTS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn advance_to(wheel: &mut Wheel<u8>, now: u64) -> Vec<u8> {
        std::iter::from_fn(|| wheel.advance(now))
            .flatten()
            .collect()
    }

    #[test]
    fn each_entry_comes_at_its_tick() {
        let mut wheel = Wheel::new();
        assert_eq!(advance_to(&mut wheel, 5), []);
        wheel.add(1, 7);
        wheel.add(2, 5 + TURN);
        wheel.add(3, 0);
        assert_eq!(advance_to(&mut wheel, 6), [3]);
        assert_eq!(advance_to(&mut wheel, 7), [1]);
        assert_eq!(advance_to(&mut wheel, 4 + TURN), []);
        assert_eq!(advance_to(&mut wheel, 1000), [2]);
        wheel.add(4, 1001);
        assert_eq!(advance_to(&mut wheel, 1000), []);
        assert_eq!(advance_to(&mut wheel, u64::MAX - 40), [4]);
    }
}
