//! Limits in Python's hands: set there, kept to in the engine.

use std::sync::Arc;

use byway_engine::bucket::{Bucket as Core, Buckets, Direction, clock};
use pyo3::prelude::*;

/// What several flows may use together.
#[pyclass(frozen, module = "byway._engine")]
pub struct Bucket {
    core: Arc<Core>,
}

#[pymethods]
impl Bucket {
    /// Rates in bytes per second (0: none), a quota in bytes, and how much of it is used.
    #[new]
    fn new(up: u64, down: u64, quota: Option<u64>, used: u64) -> Self {
        Self {
            core: Arc::new(Core::new(up, down, quota, used)),
        }
    }

    /// Other limits from now on, also for flows under way. What is used stays used.
    fn set(&self, up: u64, down: u64, quota: Option<u64>) {
        self.core.set(up, down, quota);
    }

    /// The quota is whole again.
    fn renew(&self) {
        self.core.renew();
    }

    /// Count bytes that Python moved; nobody waits for them.
    fn charge(&self, rising: bool, count: u64) {
        self.core.charge(direction(rising), count, clock());
    }

    /// Whether nothing of the quota is left.
    #[getter]
    fn spent(&self) -> bool {
        self.core.is_spent()
    }

    /// Bytes of the quota that are used.
    #[getter]
    fn used(&self) -> u64 {
        self.core.seen().used
    }

    /// Bytes up and down, waits for a turn, packets dropped before theirs.
    fn seen(&self) -> (u64, u64, u64, u64) {
        let seen = self.core.seen();
        (seen.up, seen.down, seen.waits, seen.dropped)
    }
}

/// The engine's form of what a flow draws from.
pub fn drawn(buckets: &[Py<Bucket>]) -> Buckets {
    let shared = buckets.iter().map(|bucket| Arc::clone(&bucket.get().core));
    Buckets::new(shared.collect())
}

/// The direction of bytes that go from the client to the target, or back.
pub fn direction(rising: bool) -> Direction {
    if rising {
        Direction::Up
    } else {
        Direction::Down
    }
}
