//! What both ends of SIP022 share (section 3.2): ids, bodies, and what seals them.

use std::ops::{Range, RangeInclusive};

use super::block::Block;
use super::entropy;
use super::xchacha::{self, LONG_NONCE};
use crate::datagrams::tally::Bad;
use crate::layers::chunks::blake3_key;
use crate::layers::cipher::{Key, NONCE, Suite, TAG};

/// Session id and packet id; also a block of AES, and an identity.
pub const IDS: usize = 16;

/// Type, time, length of padding.
const BODY: usize = 1 + 8 + 2;

/// The shortest address and port.
const ADDRESS: usize = 7;

/// How far the clocks of two ends may be apart (section 3.2.3).
const SKEW: u64 = 30;

/// The most padding that is sent.
const PADDING: usize = 900;

/// Seconds for which a session is remembered that says nothing: as long as any of its packets could
/// pass for one of now.
pub const KEPT: u64 = 2 * SKEW;

/// Padding hides the size of what is short and alike, which are names asked for and answers.
pub fn padding(port: u16, payload: usize) -> usize {
    match PADDING.checked_sub(payload) {
        Some(room) if port == 53 && room > 0 => 1 + (entropy::number() % room as u64) as usize,
        _ => 0,
    }
}

/// Which session and which packet of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    pub session: u64,
    pub packet: u64,
}

impl Ids {
    pub fn bytes(self) -> [u8; IDS] {
        let both = u128::from(self.session) << 64 | u128::from(self.packet);
        both.to_be_bytes()
    }

    pub fn of(bytes: &[u8; IDS]) -> Self {
        let both = u128::from_be_bytes(*bytes);
        Self {
            session: (both >> 64) as u64,
            packet: both as u64,
        }
    }
}

/// A PSK, and what seals with it.
pub struct Psk {
    pub suite: Suite,
    pub key: Box<[u8]>,
    /// For separate headers; `ChaCha` has none.
    pub block: Option<Block>,
}

impl Psk {
    pub fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        let block = match suite {
            Suite::Chacha => None,
            _ => Some(Block::new(key)?),
        };
        (key.len() == suite.key_len()).then(|| Self {
            suite,
            key: key.into(),
            block,
        })
    }

    /// What other servers know it by (SIP023).
    pub fn identity(&self) -> [u8; IDS] {
        let mut identity = [0; IDS];
        identity.copy_from_slice(&blake3::hash(&self.key).as_bytes()[..IDS]);
        identity
    }

    /// The key of a session. `ChaCha` needs none.
    pub fn session_key(&self, session: u64) -> Option<Key> {
        self.block.as_ref()?;
        blake3_key(self.suite, &self.key, &session.to_be_bytes())
    }

    /// What stands before the body, identities aside.
    pub fn head(&self) -> usize {
        match self.block {
            Some(_) => IDS,
            None => LONG_NONCE + IDS,
        }
    }

    /// Seal the body at `at`, and the ids where `ChaCha` has them, with a random nonce; with AES the ids
    /// are the nonce, and their header is the caller's.
    pub fn seal(&self, key: Option<&Key>, ids: Ids, packet: &mut [u8], at: usize) -> Option<()> {
        let bytes = ids.bytes();
        if let Some(key) = key {
            return key
                .seal_in_place(nonce_of(&bytes), &[], packet.get_mut(at..)?)
                .ok();
        }
        let (nonce, room) = packet.split_first_chunk_mut::<LONG_NONCE>()?;
        entropy::fill(nonce);
        self.seal_long(nonce, ids, room)
    }

    /// `ChaCha`'s sealing under this nonce.
    pub fn seal_long(&self, nonce: &[u8; LONG_NONCE], ids: Ids, room: &mut [u8]) -> Option<()> {
        *room.first_chunk_mut::<IDS>()? = ids.bytes();
        let (key, nonce) = xchacha::inner(&self.key, nonce)?;
        key.seal_in_place(nonce, &[], room).ok()
    }

    /// Open `ChaCha`'s: the ids.
    pub fn open_long(&self, packet: &mut [u8]) -> Option<Ids> {
        let (nonce, room) = packet.split_first_chunk_mut::<LONG_NONCE>()?;
        let (key, nonce) = xchacha::inner(&self.key, nonce)?;
        let plain = key.open_in_place(nonce, &[], room).ok()?;
        plain.first_chunk().map(Ids::of)
    }
}

/// Open AES's body.
pub fn open_body(key: &Key, ids: &[u8; IDS], body: &mut [u8]) -> Result<(), Bad> {
    match key.open_in_place(nonce_of(ids), &[], body) {
        Ok(_) => Ok(()),
        Err(_) => Err(Bad::Forged),
    }
}

fn nonce_of(ids: &[u8; IDS]) -> [u8; NONCE] {
    let mut nonce = [0; NONCE];
    nonce.copy_from_slice(&ids[IDS - NONCE..]);
    nonce
}

/// How long a body is before its padding. With `echo` it is a server's.
pub fn body_len(echo: bool) -> usize {
    BODY + if echo { 8 } else { 0 }
}

/// Write a body's beginning where zeros are. None when there is no room.
pub fn write_body(body: &mut [u8], time: u64, echo: Option<u64>, padding: usize) -> Option<()> {
    body[0] = u8::from(echo.is_some());
    body.get_mut(1..9)?.copy_from_slice(&time.to_be_bytes());
    let mut at = 9;
    if let Some(session) = echo {
        body.get_mut(9..17)?.copy_from_slice(&session.to_be_bytes());
        at = 17;
    }
    body.get_mut(at..at + 2)?
        .copy_from_slice(&(padding as u16).to_be_bytes());
    Some(())
}

/// The times that a peer's clock may show.
pub fn times(now: u64) -> RangeInclusive<u64> {
    now.saturating_sub(SKEW)..=now.saturating_add(SKEW)
}

/// Check a body that lies at `at` in an opened packet, before its tag, and whose time must be one of
/// these: where its address begins and its payload ends.
pub fn read_body(
    packet: &[u8],
    at: usize,
    times: &RangeInclusive<u64>,
    echo: Option<u64>,
) -> Result<Range<usize>, Bad> {
    let end = packet.len().saturating_sub(TAG);
    let body = packet.get(at..end).ok_or(Bad::Malformed)?;
    let (kind, rest) = body.split_first().ok_or(Bad::Malformed)?;
    let (time, rest) = rest.split_first_chunk::<8>().ok_or(Bad::Malformed)?;
    if *kind != u8::from(echo.is_some()) {
        return Err(Bad::Malformed);
    }
    if !times.contains(&u64::from_be_bytes(*time)) {
        return Err(Bad::Replayed);
    }
    let rest = match echo {
        Some(session) => rest
            .strip_prefix(&session.to_be_bytes())
            .ok_or(Bad::Stranger)?,
        None => rest,
    };
    let (padding, rest) = rest.split_first_chunk::<2>().ok_or(Bad::Malformed)?;
    let rest = rest
        .get(usize::from(u16::from_be_bytes(*padding))..)
        .ok_or(Bad::Malformed)?;
    Ok(end - rest.len()..end)
}

/// The shortest packet that can be one, identities aside.
pub fn shortest(psk: &Psk, echo: bool) -> usize {
    psk.head() + body_len(echo) + ADDRESS + TAG
}
