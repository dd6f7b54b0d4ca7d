//! The table of answers, as the resolver asks it: one call a flow.

use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use byway_engine::answers::{Answer, Answers as Core, Family, Outcome};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};

use crate::sets::address;

/// (outcome, seconds until it is stale, seconds until it is gone, addresses)
type Found<'py> = (u8, f64, f64, Bound<'py, PyTuple>);

/// Addresses of names, fresh or stale, by realm and family.
#[pyclass(frozen, module = "byway._engine")]
pub struct Answers {
    table: Mutex<Core>,
}

impl Answers {
    fn table(&self) -> MutexGuard<'_, Core> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Answers {
    #[new]
    fn new(most: usize) -> Self {
        Self {
            table: Mutex::new(Core::new(most)),
        }
    }

    /// `families` are the digits 4 and 6 in the order wanted.
    fn find<'py>(
        &self,
        py: Python<'py>,
        realm: u32,
        families: u8,
        name: &str,
        now: f64,
    ) -> PyResult<Option<Found<'py>>> {
        let families: &[Family] = match families {
            4 => &[Family::V4],
            6 => &[Family::V6],
            46 => &[Family::V4, Family::V6],
            64 => &[Family::V6, Family::V4],
            _ => return Err(PyValueError::new_err("families are 4, 6, 46 or 64")),
        };
        let Some(found) = self.table().find(realm, families, name, now) else {
            return Ok(None);
        };
        let addresses = found.addresses.iter().map(|address| match address {
            IpAddr::V4(v4) => PyBytes::new(py, &v4.octets()),
            IpAddr::V6(v6) => PyBytes::new(py, &v6.octets()),
        });
        let addresses = PyTuple::new(py, addresses.collect::<Vec<_>>())?;
        Ok(Some((
            found.outcome as u8,
            found.left,
            found.stays,
            addresses,
        )))
    }

    #[expect(clippy::too_many_arguments, reason = "one call, no object of its own")]
    fn put(
        &self,
        realm: u32,
        family: u8,
        name: &str,
        outcome: u8,
        addresses: Vec<Vec<u8>>,
        now: f64,
        fresh: f64,
        stale: f64,
    ) -> PyResult<()> {
        let family = match family {
            4 => Family::V4,
            6 => Family::V6,
            _ => return Err(PyValueError::new_err("a family is 4 or 6")),
        };
        let outcome = match outcome {
            0 => Outcome::Found,
            1 => Outcome::Empty,
            2 => Outcome::Unknown,
            3 => Outcome::Failed,
            _ => return Err(PyValueError::new_err("an outcome is 0 to 3")),
        };
        let addresses: Option<Vec<IpAddr>> =
            addresses.iter().map(|packed| address(packed)).collect();
        let Some(addresses) = addresses else {
            return Err(PyValueError::new_err("an address has 4 or 16 bytes"));
        };
        let answer = Answer {
            outcome,
            addresses: &addresses,
            fresh: now + fresh,
            stale: now + stale,
        };
        self.table().put(realm, family, name, answer, now);
        Ok(())
    }

    fn forget(&self, realm: u32) {
        self.table().forget(realm);
    }

    fn resize(&self, most: usize, now: f64) {
        self.table().resize(most, now);
    }

    /// The number of answers, and the bytes that they take.
    fn sizes(&self) -> (usize, usize) {
        self.table().sizes()
    }

    /// Look-ups that found all they asked for, and those that did not.
    fn counts(&self) -> (u64, u64) {
        self.table().counts()
    }
}
