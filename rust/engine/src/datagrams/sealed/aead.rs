//! SIP004: `salt | seal(address | payload)`, under a key made of the salt, with a nonce of zeros.

use std::ops::Range;

use super::entropy;
use super::keys::BadKeys;
use crate::datagrams::tally::Bad;
use crate::layers::chunks::hkdf_key;
use crate::layers::cipher::{NONCE, Suite, TAG};

/// The shortest address and port.
const ADDRESS: usize = 7;

/// One password's key, for both directions.
pub struct Aead {
    suite: Suite,
    master: Box<[u8]>,
}

impl Aead {
    pub fn new(suite: Suite, key: &[u8]) -> Result<Self, BadKeys> {
        if key.len() != suite.key_len() {
            return Err(BadKeys);
        }
        let master = key.into();
        Ok(Self { suite, master })
    }

    /// The length of a salt.
    pub fn prefix(&self) -> usize {
        self.suite.key_len()
    }

    pub fn seal(&self, packet: &mut [u8]) -> Option<()> {
        entropy::fill(packet.get_mut(..self.prefix())?);
        self.seal_salted(packet)
    }

    /// The same with the salt in its place.
    pub fn seal_salted(&self, packet: &mut [u8]) -> Option<()> {
        let (salt, room) = packet.split_at_mut_checked(self.prefix())?;
        let key = hkdf_key(self.suite, &self.master, salt)?;
        key.seal_in_place([0; NONCE], &[], room).ok()
    }

    pub fn open(&self, packet: &mut [u8]) -> Result<Range<usize>, Bad> {
        let start = self.prefix();
        let end = packet.len().saturating_sub(TAG);
        if end < start + ADDRESS {
            return Err(Bad::Forged);
        }
        let (salt, sealed) = packet.split_at_mut(start);
        hkdf_key(self.suite, &self.master, salt)
            .and_then(|key| key.open_in_place([0; NONCE], &[], sealed).ok().map(drop))
            .ok_or(Bad::Forged)?;
        Ok(start..end)
    }
}
