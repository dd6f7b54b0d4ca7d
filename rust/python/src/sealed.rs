//! Shadowsocks packets in Python's hands: the keys of both ends.

use std::sync::Arc;

use byway_engine::datagrams::Codec;
use byway_engine::datagrams::sealed::{BadKeys, Client, DoorKeys, DoorUser, Method};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::datagrams::place;

/// A key, and the server that its user is relayed to.
type UserArgs = (Vec<u8>, Option<(String, u16)>);

/// How packets of a listener are told apart: (host, port) of the target of all, or (method, key, users).
#[derive(FromPyObject)]
pub enum CodecArgs {
    Fixed(String, u16),
    Sealed(String, Vec<u8>, Vec<UserArgs>),
}

/// The engine's form; none is SOCKS5.
pub fn codec(args: Option<CodecArgs>) -> PyResult<Codec> {
    let (method, key, users) = match args {
        None => return Ok(Codec::Socks5),
        Some(CodecArgs::Fixed(host, port)) => return Ok(Codec::Fixed(place(&host, port))),
        Some(CodecArgs::Sealed(method, key, users)) => (method_of(&method)?, key, users),
    };
    let users = users.into_iter().map(|(key, relay)| DoorUser {
        key,
        relay: relay.map(|(host, port)| place(&host, port)),
    });
    let users = users.collect();
    let keys = DoorKeys { method, key, users };
    keys.check().map_err(bad)?;
    Ok(Codec::Sealed(Arc::new(keys)))
}

/// A session toward a server.
pub fn client(method: &str, keys: &[Vec<u8>]) -> PyResult<Client> {
    Client::new(method_of(method)?, keys).map_err(bad)
}

fn method_of(name: &str) -> PyResult<Method> {
    Method::named(name).ok_or_else(|| PyValueError::new_err(format!("no method {name:?}")))
}

fn bad(error: BadKeys) -> PyErr {
    PyValueError::new_err(error.to_string())
}
