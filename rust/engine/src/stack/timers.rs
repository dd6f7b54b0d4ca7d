//! What is to be looked at when: a heap under a lock, and the waker of whoever looks.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::sync::Mutex;
use std::time::Instant;

use futures_util::task::AtomicWaker;

use crate::lock::lock;

/// Things by their time.
pub struct Timers<T> {
    /// None once nobody looks any more.
    heap: Mutex<Option<BinaryHeap<Timed<T>>>>,
    /// Of whoever looks; woken when something is to be looked at sooner than all else.
    pub looker: AtomicWaker,
}

struct Timed<T> {
    at: Instant,
    what: T,
}

impl<T> PartialEq for Timed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl<T> Eq for Timed<T> {}

impl<T> PartialOrd for Timed<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Timed<T> {
    /// The earliest is the greatest, as a heap gives the greatest first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl<T> Timers<T> {
    pub fn new() -> Self {
        Self {
            heap: Mutex::new(Some(BinaryHeap::new())),
            looker: AtomicWaker::new(),
        }
    }

    /// Have something looked at.
    pub fn add(&self, at: Instant, what: T) {
        let mut kept = lock(&self.heap);
        let Some(heap) = kept.as_mut() else { return };
        let first = heap.peek().is_none_or(|timed| at < timed.at);
        heap.push(Timed { at, what });
        drop(kept);
        if first {
            self.looker.wake();
        }
    }

    /// The next thing whose time has come, and that time.
    pub fn next(&self, now: Instant) -> Option<(Instant, T)> {
        let mut kept = lock(&self.heap);
        let heap = kept.as_mut()?;
        if heap.peek()?.at > now {
            return None;
        }
        heap.pop().map(|timed| (timed.at, timed.what))
    }

    /// When there is something to look at.
    pub fn due(&self) -> Option<Instant> {
        lock(&self.heap).as_ref()?.peek().map(|timed| timed.at)
    }

    /// Forget all, and what is still to come.
    pub fn close(&self) {
        let heap = lock(&self.heap).take();
        drop(heap);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_earliest_comes_first_and_none_too_early() {
        let (timers, now) = (Timers::new(), Instant::now());
        let later = |seconds| now + Duration::from_secs(seconds);
        timers.add(later(3), 'c');
        timers.add(later(1), 'a');
        timers.add(later(2), 'b');
        assert_eq!(timers.due(), Some(later(1)));
        assert_eq!(timers.next(now), None);
        assert_eq!(timers.next(later(2)), Some((later(1), 'a')));
        assert_eq!(timers.next(later(2)), Some((later(2), 'b')));
        assert_eq!(timers.next(later(2)), None);
        timers.close();
        assert_eq!(timers.due(), None);
    }
}
