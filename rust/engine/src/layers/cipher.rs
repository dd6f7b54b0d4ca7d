//! The AEAD ciphers, keyed for one direction, with the counters that shadowsocks and TLS want.

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};

/// Bytes that authenticate each sealed piece, for all three ciphers.
pub const TAG: usize = 16;

/// The bytes of a nonce, for all three ciphers.
pub const NONCE: usize = 12;

/// Which AEAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// AES-128-GCM (NIST SP 800-38D).
    Aes128,
    /// AES-256-GCM.
    Aes256,
    /// ChaCha20-Poly1305 (RFC 8439).
    Chacha,
}

impl Suite {
    /// The suite of this name in the RFCs.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "aes-128-gcm" => Some(Self::Aes128),
            "aes-256-gcm" => Some(Self::Aes256),
            "chacha20-poly1305" => Some(Self::Chacha),
            _ => None,
        }
    }

    fn algorithm(self) -> &'static Algorithm {
        match self {
            Self::Aes128 => &AES_128_GCM,
            Self::Aes256 => &AES_256_GCM,
            Self::Chacha => &CHACHA20_POLY1305,
        }
    }

    /// The length of a key.
    pub fn key_len(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes256 | Self::Chacha => 32,
        }
    }
}

/// A key, ready for use. The caller sees to it that no nonce seals twice.
pub struct Key(LessSafeKey);

/// What was to be opened is not what was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forged;

impl Key {
    /// None when `key` has the wrong length.
    pub fn new(suite: Suite, key: &[u8]) -> Option<Self> {
        UnboundKey::new(suite.algorithm(), key)
            .ok()
            .map(|key| Self(LessSafeKey::new(key)))
    }

    /// Seal `plain`, then `last`, into `out`, which is longer by `TAG` than both.
    pub fn seal(
        &self,
        nonce: [u8; NONCE],
        aad: &[u8],
        plain: &[u8],
        last: &[u8],
        out: &mut [u8],
    ) -> Result<(), Forged> {
        let (body, tail) = out.split_at_mut_checked(plain.len()).ok_or(Forged)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_out_of_place_scatter(nonce, Aad::from(aad), plain, body, last, tail)
            .map_err(|_| Forged)
    }

    /// Seal in place: what is before the last `TAG` bytes, which become the tag.
    pub fn seal_in_place(
        &self,
        nonce: [u8; NONCE],
        aad: &[u8],
        room: &mut [u8],
    ) -> Result<(), Forged> {
        let (plain, tag) = room.split_last_chunk_mut::<TAG>().ok_or(Forged)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let made = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), plain)
            .map_err(|_| Forged)?;
        tag.copy_from_slice(made.as_ref());
        Ok(())
    }

    /// Open `sealed` into `out`, which is shorter by `TAG`. Nothing is to be read from `out` on failure.
    pub fn open(
        &self,
        nonce: [u8; NONCE],
        aad: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<(), Forged> {
        let (body, tag) = sealed
            .len()
            .checked_sub(TAG)
            .and_then(|n| sealed.split_at_checked(n))
            .ok_or(Forged)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.0
            .open_separate_gather(nonce, Aad::from(aad), body, tag, out)
            .map_err(|_| Forged)
    }

    /// Open in place; the plaintext is what is before the tag.
    pub fn open_in_place<'a>(
        &self,
        nonce: [u8; NONCE],
        aad: &[u8],
        sealed: &'a mut [u8],
    ) -> Result<&'a mut [u8], Forged> {
        self.0
            .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(aad), sealed)
            .map_err(|_| Forged)
    }
}

/// A key whose nonce is a little-endian counter from 0 (SIP004, SIP022).
pub struct Counting {
    key: Key,
    count: u64,
}

impl Counting {
    /// Go on after so many pieces.
    pub fn new(key: Key, count: u64) -> Self {
        Self { key, count }
    }

    fn nonce(&self) -> [u8; NONCE] {
        let mut nonce = [0; NONCE];
        nonce[..8].copy_from_slice(&self.count.to_le_bytes());
        nonce
    }

    /// Seal `plain` into `out`, which is longer by `TAG`.
    pub fn seal(&mut self, plain: &[u8], out: &mut [u8]) -> Result<(), Forged> {
        self.key.seal(self.nonce(), &[], plain, &[], out)?;
        self.count += 1;
        Ok(())
    }

    /// Open `sealed` into `out`, which is shorter by `TAG`. The counter moves only on success.
    pub fn open(&mut self, sealed: &[u8], out: &mut [u8]) -> Result<(), Forged> {
        self.key.open(self.nonce(), &[], sealed, out)?;
        self.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_moves_only_when_it_was_right() {
        for suite in [Suite::Aes128, Suite::Aes256, Suite::Chacha] {
            let key = vec![7; suite.key_len()];
            let make = || Counting::new(Key::new(suite, &key).expect("right length"), 0);
            let (mut seals, mut opens) = (make(), make());
            let mut sealed = [0; 5 + TAG];
            let mut plain = [0; 5];
            for text in [b"first", b"again"] {
                seals.seal(text, &mut sealed).expect("sealed");
                let mut bad = sealed;
                bad[3] ^= 1;
                assert_eq!(opens.open(&bad, &mut plain), Err(Forged));
                opens.open(&sealed, &mut plain).expect("opened");
                assert_eq!(&plain, text);
            }
            assert_eq!(
                opens.open(&sealed, &mut plain),
                Err(Forged),
                "the same piece twice"
            );
            assert_eq!(
                opens.open(&sealed[..TAG - 1], &mut []),
                Err(Forged),
                "no room for a tag"
            );
            assert!(Key::new(suite, &key[1..]).is_none());
        }
    }
}
