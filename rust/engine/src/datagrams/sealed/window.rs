//! Which packet ids of a session were seen: a bitmap behind the highest (RFC 6479).

/// A batch can be 2048 packets, sent in the order of their flows and not of their ids.
const WORDS: usize = 64;
const SPAN: u64 = WORDS as u64 * 64;

/// Ids behind the highest that can still come. The word that is being filled counts for nothing.
pub const REACH: u64 = SPAN - 64;

/// The id that never comes: one above it cannot be said.
pub const NEVER: u64 = u64::MAX;

/// The ids seen; one before `REACH` behind the highest counts as seen.
pub struct Window {
    /// One above the highest.
    top: u64,
    seen: [u64; WORDS],
}

impl Window {
    pub fn new() -> Self {
        Self {
            top: 0,
            seen: [0; WORDS],
        }
    }

    /// Whether it may come.
    pub fn admits(&self, id: u64) -> bool {
        if id >= self.top {
            return id != NEVER;
        }
        self.top - id <= REACH && self.seen[word(id)] & bit(id) == 0
    }

    /// It has come, authentic; whether it is the highest so far.
    pub fn note(&mut self, id: u64) -> bool {
        let newest = id >= self.top;
        if newest {
            let last = self.top.saturating_sub(1) / 64;
            for at in (last + 1..=id / 64).take(WORDS) {
                self.seen[(at % WORDS as u64) as usize] = 0;
            }
            if id / 64 - last > WORDS as u64 {
                self.seen = [0; WORDS];
            }
            self.top = id + 1;
        }
        self.seen[word(id)] |= bit(id);
        newest
    }
}

fn word(id: u64) -> usize {
    (id / 64 % WORDS as u64) as usize
}

fn bit(id: u64) -> u64 {
    1 << (id % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_id_passes_once_and_old_ones_never() {
        let mut window = Window::new();
        for id in [0, 1, 3, 2, 70, 9000, 9000 - REACH + 1] {
            assert!(window.admits(id), "{id}");
            window.note(id);
            assert!(!window.admits(id), "{id} again");
        }
        assert!(!window.admits(9000 - REACH));
        assert!(window.admits(u64::MAX - 1));
        assert!(!window.admits(u64::MAX));
    }

    proptest! {
        #[test]
        fn it_is_a_set_of_the_last_ids(steps in proptest::collection::vec((0..6000_u64, any::<bool>()), 1..400)) {
            let (mut window, mut seen, mut base, mut top) = (Window::new(), HashSet::new(), 0_u64, 0_u64);
            for (step, far) in steps {
                base += if far { step } else { step % 3 };
                let id = base.saturating_sub(step % 5000);
                let expected = id >= top || (top - id <= REACH && !seen.contains(&id));
                prop_assert_eq!(window.admits(id), expected);
                if expected {
                    prop_assert_eq!(window.note(id), id >= top);
                    seen.insert(id);
                    top = top.max(id + 1);
                }
            }
        }
    }
}
