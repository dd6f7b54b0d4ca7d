//! Shadowsocks packets in Python's hands: the keys of both ends.

use byway_engine::datagrams::sealed::{BadKeys, Client, DoorKeys, DoorUser, Method, Sealed};
use byway_engine::datagrams::{Codec, Fixed, PacketOptions, Socks5};
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

/// The engine's form, for a listener with these bounds; none is SOCKS5.
pub fn codec(args: Option<CodecArgs>, options: &PacketOptions) -> PyResult<Box<dyn Codec>> {
    let (method, key, users) = match args {
        None => return Ok(Box::new(Socks5)),
        Some(CodecArgs::Fixed(host, port)) => return Ok(Box::new(Fixed(place(&host, port)))),
        Some(CodecArgs::Sealed(method, key, users)) => (method_of(&method)?, key, users),
    };
    let users = users.into_iter().map(|(key, relay)| DoorUser {
        key,
        relay: relay.map(|(host, port)| place(&host, port)),
    });
    let users = users.collect();
    let keys = DoorKeys { method, key, users };
    let sealed = Sealed::new(keys, options).map_err(bad)?;
    Ok(Box::new(sealed))
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
