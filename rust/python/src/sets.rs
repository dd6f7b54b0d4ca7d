//! Large sets, as Python asks them: one call a question, no Python object for an entry.

use std::net::IpAddr;
use std::path::PathBuf;

use byway_engine::held;
use byway_engine::sets::trie::{self, Malformed, Marks};
use byway_engine::sets::{Form, Lists, Stamp, dat};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// One list of names and prefixes.
#[pyclass(frozen, module = "byway._engine")]
pub struct SetLists {
    lists: Lists,
}

#[pymethods]
impl SetLists {
    #[staticmethod]
    fn read(py: Python<'_>, data: &[u8], form: &str) -> PyResult<Self> {
        let form = Form::named(form).ok_or_else(|| PyValueError::new_err("unknown form"))?;
        // The caller's reference keeps the bytes, and nothing can change them.
        let lists = py.detach(|| Lists::read(data, form));
        Ok(Self::new(lists))
    }

    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf, stamp: [u8; 32]) -> Option<Self> {
        let lists = py.detach(|| Lists::load(&path, &stamp))?;
        Some(Self::new(lists))
    }

    fn save(&self, py: Python<'_>, path: PathBuf, stamp: Stamp) -> PyResult<()> {
        Ok(py.detach(|| self.lists.save(&path, &stamp))?)
    }

    fn has_name(&self, name: &str) -> bool {
        self.lists.names.holds(name.as_bytes())
    }

    fn name_place<'a>(&self, name: &'a str) -> Option<(u32, &'a str)> {
        let found = self.lists.names.find(name.as_bytes())?;
        Some((found.line, name.get(found.start..)?))
    }

    fn has_address(&self, packed: &[u8]) -> bool {
        address(packed).is_some_and(|found| self.lists.addresses.find(found).is_some())
    }

    fn has_literal(&self, packed: &[u8]) -> bool {
        address(packed).is_some_and(|found| self.lists.literal.find(found).is_some())
    }

    fn address_place(&self, packed: &[u8], literal: bool) -> Option<(u32, String)> {
        let set = if literal {
            &self.lists.literal
        } else {
            &self.lists.addresses
        };
        let (prefix, line) = set.find(address(packed)?)?;
        Some((line, format!("{}/{}", prefix.address, prefix.bits)))
    }

    fn rest(&self) -> Vec<(u32, &str)> {
        self.lists
            .rest
            .iter()
            .map(|(line, text)| (*line, text.as_str()))
            .collect()
    }

    /// The numbers of names, prefixes and literal prefixes, and the bytes that all take.
    fn sizes(&self) -> (usize, usize, usize, usize) {
        let Lists {
            names,
            addresses,
            literal,
            ..
        } = &self.lists;
        (names.len(), addresses.len(), literal.len(), self.size())
    }
}

impl SetLists {
    fn new(lists: Lists) -> Self {
        let made = Self { lists };
        held::SETS.add(made.size());
        made
    }

    fn size(&self) -> usize {
        let lists = &self.lists;
        lists.names.size() + lists.addresses.size() + lists.literal.size()
    }
}

impl Drop for SetLists {
    fn drop(&mut self) {
        held::SETS.sub(self.size());
    }
}

/// The names of a succinct trie, a line each.
#[pyfunction]
pub fn trie_lines<'py>(
    py: Python<'py>,
    leaves: &[u8],
    bitmap: &[u8],
    labels: &[u8],
    marks: &str,
    most: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let marks = Marks::named(marks).ok_or_else(|| PyValueError::new_err("unknown marks"))?;
    let found = py.detach(|| trie::lines(leaves, bitmap, labels, marks, most));
    Ok(PyBytes::new(py, &found.map_err(malformed)?))
}

/// One list of names of a `geosite.dat`, a line each; None where it has no such list.
#[pyfunction]
pub fn dat_names<'py>(
    py: Python<'py>,
    data: &[u8],
    code: &str,
    attributes: Vec<String>,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let wanted: Vec<&str> = attributes.iter().map(String::as_str).collect();
    let found = py.detach(|| dat::names(data, code, &wanted));
    Ok(found
        .map_err(malformed)?
        .map(|lines| PyBytes::new(py, &lines)))
}

/// One list of prefixes of a `geoip.dat`, a line each; None where it has no such list.
#[pyfunction]
pub fn dat_prefixes<'py>(
    py: Python<'py>,
    data: &[u8],
    code: &str,
) -> PyResult<Option<Bound<'py, PyBytes>>> {
    let found = py.detach(|| dat::prefixes(data, code));
    Ok(found
        .map_err(malformed)?
        .map(|lines| PyBytes::new(py, &lines)))
}

/// The codes of all lists of such a file.
#[pyfunction]
pub fn dat_codes(data: &[u8]) -> PyResult<Vec<String>> {
    dat::codes(data).map_err(malformed)
}

fn malformed(_: Malformed) -> PyErr {
    PyValueError::new_err("malformed")
}

pub fn address(packed: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(packed) {
        return Some(v4.into());
    }
    Some(<[u8; 16]>::try_from(packed).ok()?.into())
}
