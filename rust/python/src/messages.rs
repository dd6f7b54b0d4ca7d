//! The table of answers to DNS clients.

use std::sync::Arc;

use byway_engine::messages::{Found, Kept, Quick, Shared};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// Whole answers, fresh or stale, found by the query as it came.
#[pyclass(frozen, module = "byway._engine")]
pub struct Messages {
    shared: Arc<Shared>,
}

impl Messages {
    /// What a packet listener answers by.
    pub fn quick(&self, scope: u64) -> Quick {
        Quick {
            messages: Arc::clone(&self.shared),
            scope,
        }
    }
}

#[pymethods]
impl Messages {
    #[new]
    fn new(most: usize) -> Self {
        Self {
            shared: Arc::new(Shared::new(most)),
        }
    }

    /// What answers a query, and whether it is stale.
    fn answer<'py>(
        &self,
        py: Python<'py>,
        scope: u64,
        query: &[u8],
        streamed: bool,
    ) -> Option<(Bound<'py, PyBytes>, bool)> {
        let mut out = Vec::new();
        let found = self.shared.answer(scope, query, streamed, &mut out)?;
        Some((PyBytes::new(py, &out), found == Found::Stale))
    }

    /// Keep what answers a query, for so many seconds. Whether it can be found again.
    fn put(
        &self,
        scope: u64,
        query: &[u8],
        message: &[u8],
        fresh: f64,
        stale: f64,
        aging: bool,
    ) -> bool {
        let kept = Kept {
            fresh,
            stale,
            aging,
        };
        self.shared.put(scope, query, message, kept)
    }

    /// Forget everything, and hold at most so many from now on.
    fn clear(&self, most: usize) {
        self.shared.with(|table| table.clear(most));
    }

    /// The number of answers, and the bytes that they take.
    fn sizes(&self) -> (usize, usize) {
        self.shared.with(|table| table.sizes())
    }

    /// Queries that were answered, and those that were not.
    fn counts(&self) -> (u64, u64) {
        self.shared.with(|table| table.counts())
    }
}
