//! Shadowsocks packets, each sealed by itself: both editions, both ends, pure.
//!
//! ```text
//! SIP004          salt | seal(address | payload)                                   key: of the salt
//! SIP022, AES     AES(session id | packet id) | identities | seal(body)            key: of the session id
//! SIP022, ChaCha  nonce | seal(session id | packet id | body)                      key: the PSK
//! body            type | time | (client's session id) | padding | address | payload
//! ```
//!
//! `Client` is one session toward a server, `Door` a server's packet port. Both work in place, on whole
//! packets: `open` tells where address and payload lie in what came; for `seal` the caller lays `prefix`
//! bytes, address, payload and room for a tag. Who may talk to whom is the table's business.
//!
//! Read in this order: `aead`, `wire` (what both ends of SIP022 share), `client`, `server`, `window`.

mod aead;
mod block;
mod client;
mod entropy;
mod server;
mod window;
mod wire;
mod xchacha;

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::SystemTime;

use self::aead::Aead;
pub use self::server::{DoorKeys, DoorUser};
pub use self::wire::{read_body, times};
use super::session::Origin;
use crate::layers::cipher::{Suite, TAG};
use crate::layers::replay::SaltFilter;

/// Which way packets are sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// SIP004: a key of each packet's salt.
    Aead(Suite),
    /// SIP022: sessions, times and packet ids.
    Blake(Suite),
}

impl Method {
    /// The method of this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "aes-128-gcm" => Some(Self::Aead(Suite::Aes128)),
            "aes-256-gcm" => Some(Self::Aead(Suite::Aes256)),
            "chacha20-ietf-poly1305" => Some(Self::Aead(Suite::Chacha)),
            "2022-blake3-aes-128-gcm" => Some(Self::Blake(Suite::Aes128)),
            "2022-blake3-aes-256-gcm" => Some(Self::Blake(Suite::Aes256)),
            "2022-blake3-chacha20-poly1305" => Some(Self::Blake(Suite::Chacha)),
            _ => None,
        }
    }

    /// The length of a key.
    pub fn key_len(self) -> usize {
        match self {
            Self::Aead(suite) | Self::Blake(suite) => suite.key_len(),
        }
    }
}

/// Why a packet is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bad {
    /// No well-formed header.
    Malformed,
    /// From somebody who has no business here.
    Stranger,
    /// Not sealed with a key of ours.
    Forged,
    /// Seen before, or its time is not now.
    Replayed,
    /// No room for another session.
    Full,
}

/// A key has the wrong length, there is none, or there are several where one is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKeys;

impl fmt::Display for BadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys of the wrong length or number")
    }
}

impl std::error::Error for BadKeys {}

/// The client's end: one session toward one server.
pub enum Client {
    /// SIP004.
    Aead(Aead),
    /// SIP022.
    Blake(Box<client::Client>),
}

impl Client {
    /// With the server's key; SIP022 with AES may have those of servers before it first (SIP023).
    pub fn new(method: Method, keys: &[Vec<u8>]) -> Result<Self, BadKeys> {
        match (method, keys) {
            (Method::Aead(suite), [key]) => Aead::new(suite, key).map(Self::Aead),
            (Method::Blake(suite), keys) => {
                client::Client::new(suite, keys).map(|client| Self::Blake(Box::new(client)))
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

/// What a client's packet is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Whose session it belongs to.
    pub origin: Origin,
    /// Where address and payload are; of a relayed user, the packet for the next server.
    pub body: Range<usize>,
    /// Whether it is the newest of its session, so that answers may go where it came from.
    pub newest: bool,
    /// Whether it is for the server that its user is relayed to.
    pub relayed: bool,
}

/// The server's end: all clients of a packet port.
pub enum Door {
    /// SIP004, and the salts that were seen: the edition has no other mark of a replay.
    Aead(Aead, SaltFilter),
    /// SIP022.
    Blake(Box<server::Server>),
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
            Method::Blake(suite) => server::Server::new(suite, keys, sessions, unix())
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
                    relayed: false,
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

#[cfg(test)]
mod tests;
