//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): ChaCha20-Poly1305 under a key made of the key and
//! the first 16 bytes of a nonce of 24.

use crate::layers::cipher::{Key, NONCE, Suite};

/// The bytes of a nonce.
pub const LONG_NONCE: usize = 24;

/// The key and the nonce for what is sealed under this long nonce.
pub fn inner(key: &[u8], nonce: &[u8; LONG_NONCE]) -> Option<(Key, [u8; NONCE])> {
    let key = key.first_chunk::<32>()?;
    let (first, last) = nonce.split_first_chunk::<16>()?;
    let mut short = [0; NONCE];
    short[4..].copy_from_slice(last);
    Key::new(Suite::Chacha, &hchacha20(key, first)).map(|key| (key, short))
}

/// `HChaCha20` (section 2.2): the `ChaCha20` rounds without the final addition, of which the first and
/// the last row are given out.
fn hchacha20(key: &[u8; 32], nonce: &[u8; 16]) -> [u8; 32] {
    let mut state = [0_u32; 16];
    state[..4].copy_from_slice(&[0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574]);
    let words = key.chunks_exact(4).chain(nonce.chunks_exact(4));
    for (to, from) in state[4..].iter_mut().zip(words) {
        *to = u32::from_le_bytes([from[0], from[1], from[2], from[3]]);
    }
    for _ in 0..10 {
        for column in 0..4 {
            quarter(&mut state, [column, column + 4, column + 8, column + 12]);
        }
        for column in 0..4 {
            let diagonal = |row: usize| row * 4 + (column + row) % 4;
            quarter(&mut state, [0, 1, 2, 3].map(diagonal));
        }
    }
    let mut out = [0; 32];
    let given = state[..4].iter().chain(&state[12..]);
    for (to, from) in out.chunks_exact_mut(4).zip(given) {
        to.copy_from_slice(&from.to_le_bytes());
    }
    out
}

/// The quarter round (RFC 8439, section 2.1).
fn quarter(state: &mut [u32; 16], [a, b, c, d]: [usize; 4]) {
    let mut turn = |to: usize, add: usize, into: usize, by: u32| {
        state[to] = state[to].wrapping_add(state[add]);
        state[into] = (state[into] ^ state[to]).rotate_left(by);
    };
    turn(a, b, d, 16);
    turn(c, d, b, 12);
    turn(a, b, d, 8);
    turn(c, d, b, 7);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// draft-irtf-cfrg-xchacha-03, section 2.2.1.
    #[test]
    fn the_published_vector() {
        let key: [u8; 32] = std::array::from_fn(|at| at as u8);
        let nonce = [
            0, 0, 0, 9, 0, 0, 0, 0x4a, 0, 0, 0, 0, 0x31, 0x41, 0x59, 0x27,
        ];
        let made = hchacha20(&key, &nonce);
        assert_eq!(made[..8], [0x82, 0x41, 0x3b, 0x42, 0x27, 0xb2, 0x7b, 0xfe]);
        assert_eq!(made[28..], [0x26, 0xd3, 0xec, 0xdc]);
    }
}
