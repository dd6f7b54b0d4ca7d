//! Both ends, of either edition.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::SystemTime;

use super::aead::Aead;
use super::client::Client as Session;
use super::keys::{BadKeys, DoorKeys, Method};
use super::server::Server;
use super::wire;
use crate::datagrams::codec::Opened;
use crate::datagrams::ids::Origin;
use crate::datagrams::tally::Bad;
use crate::layers::cipher::TAG;
use crate::layers::replay::SaltFilter;

/// The client's end: one session toward one server.
pub enum Client {
    /// SIP004.
    Aead(Aead),
    /// SIP022.
    Blake(Box<Session>),
}

impl Client {
    /// With the server's key; SIP022 with AES may have those of servers before it first (SIP023).
    pub fn new(method: Method, keys: &[Vec<u8>]) -> Result<Self, BadKeys> {
        match (method, keys) {
            (Method::Aead(suite), [key]) => Aead::new(suite, key).map(Self::Aead),
            (Method::Blake(suite), keys) => {
                Session::new(suite, keys).map(|client| Self::Blake(Box::new(client)))
            }
            _ => Err(BadKeys),
        }
    }

    /// How much padding a packet to this port gets, of so many bytes.
    pub fn padding(&self, port: u16, payload: usize) -> usize {
        match self {
            Self::Aead(_) => 0,
            Self::Blake(_) => wire::padding(port, payload),
        }
    }

    /// What goes before the address.
    pub fn prefix(&self, padding: usize) -> usize {
        match self {
            Self::Aead(aead) => aead.prefix(),
            Self::Blake(client) => client.prefix() + padding,
        }
    }

    /// Seal `packet`: a prefix of zeros, address and payload, room for a tag. False when it cannot be.
    pub fn seal(&mut self, packet: &mut [u8], padding: usize) -> bool {
        match self {
            Self::Aead(aead) => aead.seal(packet),
            Self::Blake(client) => client.seal(packet, padding, unix()),
        }
        .is_some()
    }

    /// Open an answer in place: where its address and payload are.
    pub fn open(&mut self, packet: &mut [u8]) -> Result<Range<usize>, Bad> {
        match self {
            Self::Aead(aead) => aead.open(packet),
            Self::Blake(client) => client.open(packet, unix()),
        }
    }
}

/// The server's end: all clients of a packet port.
pub enum Door {
    /// SIP004, and the salts that were seen: the edition has no other mark of a replay.
    Aead(Aead, SaltFilter),
    /// SIP022.
    Blake(Box<Server>),
}

/// Packets of SIP004 whose salts are known at the least: under 10 MB, taken as they come.
const SALTS: usize = 1 << 17;

impl Door {
    /// With these keys, for at most so many sessions that were heard of within a minute.
    pub fn new(keys: &DoorKeys, sessions: usize) -> Result<Self, BadKeys> {
        match keys.method {
            Method::Aead(suite) if keys.users.is_empty() => {
                let salts = SaltFilter::new(SALTS, None);
                Aead::new(suite, &keys.key).map(|aead| Self::Aead(aead, salts))
            }
            Method::Aead(_) => Err(BadKeys),
            Method::Blake(suite) => Server::new(suite, keys, sessions, unix())
                .map(|server| Self::Blake(Box::new(server))),
        }
    }

    /// Open a packet in place.
    pub fn open(&mut self, from: SocketAddr, packet: &mut [u8]) -> Result<Opened, Bad> {
        match self {
            Self::Aead(aead, salts) => {
                let body = aead.open(packet)?;
                if !salts.fresh(&packet[..aead.prefix()], 0.0) {
                    return Err(Bad::Replayed);
                }
                Ok(Opened {
                    origin: Origin::Source(from),
                    body,
                    newest: false,
                })
            }
            Self::Blake(server) => server.open(packet, unix()),
        }
    }

    /// How much padding an answer from this port gets, of so many bytes.
    pub fn padding(&self, port: u16, payload: usize) -> usize {
        match self {
            Self::Aead(..) => 0,
            Self::Blake(_) => wire::padding(port, payload),
        }
    }

    /// What goes before the address.
    pub fn prefix(&self, padding: usize) -> usize {
        match self {
            Self::Aead(aead, _) => aead.prefix(),
            Self::Blake(server) => server.prefix() + padding,
        }
    }

    /// Seal an answer: a prefix of zeros, address and payload, room for a tag. False when it cannot be.
    pub fn seal(&mut self, origin: Origin, packet: &mut [u8], padding: usize) -> bool {
        match self {
            Self::Aead(aead, _) => aead.seal(packet),
            Self::Blake(server) => server.seal(origin, packet, padding, unix()),
        }
        .is_some()
    }
}

/// The room for a tag behind what is sealed.
pub const TAIL: usize = TAG;

fn unix() -> u64 {
    let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    unix.map_or(0, |unix| unix.as_secs())
}
