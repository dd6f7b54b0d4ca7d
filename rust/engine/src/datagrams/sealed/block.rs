//! One block of AES, without a mode: separate headers and identities.

use aes::cipher::{BlockDecrypt, BlockEncrypt, KeyInit, generic_array::GenericArray};

/// A key, ready for use both ways.
pub enum Block {
    Aes128(Box<aes::Aes128>),
    Aes256(Box<aes::Aes256>),
}

impl Block {
    pub fn new(key: &[u8]) -> Option<Self> {
        match key.len() {
            16 => aes::Aes128::new_from_slice(key)
                .ok()
                .map(|key| Self::Aes128(Box::new(key))),
            32 => aes::Aes256::new_from_slice(key)
                .ok()
                .map(|key| Self::Aes256(Box::new(key))),
            _ => None,
        }
    }

    pub fn encrypt(&self, block: &mut [u8; 16]) {
        let block = GenericArray::from_mut_slice(block);
        match self {
            Self::Aes128(key) => key.encrypt_block(block),
            Self::Aes256(key) => key.encrypt_block(block),
        }
    }

    pub fn decrypt(&self, block: &mut [u8; 16]) {
        let block = GenericArray::from_mut_slice(block);
        match self {
            Self::Aes128(key) => key.decrypt_block(block),
            Self::Aes256(key) => key.decrypt_block(block),
        }
    }
}
