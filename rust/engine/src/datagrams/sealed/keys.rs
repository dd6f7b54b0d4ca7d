//! Methods by name, and the keys of a packet port.

use std::fmt;

use crate::datagrams::address::Place;
use crate::datagrams::ids::Origin;
use crate::layers::cipher::Suite;

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

/// A key has the wrong length, there is none, or there are several where one is possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadKeys;

impl fmt::Display for BadKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("keys of the wrong length or number")
    }
}

impl std::error::Error for BadKeys {}

/// The keys of a packet port.
#[derive(Clone, PartialEq, Eq)]
pub struct DoorKeys {
    /// How it is sealed.
    pub method: Method,
    /// The server's own.
    pub key: Vec<u8>,
    /// Its users, if it tells them apart; then everyone must be one.
    pub users: Vec<DoorUser>,
}

/// One of several users of a port.
#[derive(Clone, PartialEq, Eq)]
pub struct DoorUser {
    /// Theirs; of a relayed one the next server's.
    pub key: Vec<u8>,
    /// The server that their packets are for.
    pub relay: Option<Place>,
}

impl fmt::Debug for DoorKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} for {} users", self.method, self.users.len())
    }
}

impl DoorKeys {
    /// Where the packets of a relayed user go.
    pub fn relay(&self, origin: Origin) -> Option<&Place> {
        self.users.get(origin.user()? as usize)?.relay.as_ref()
    }
}
