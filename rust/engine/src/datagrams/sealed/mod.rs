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
//! Read in this order: `keys`, `aead`, `wire` (what both ends of SIP022 share), `client`, `server`,
//! `window`, `ends` (of either edition), `packets` (the codec of a near end, and the hop of a way out).

mod aead;
mod block;
mod client;
mod ends;
mod entropy;
mod keys;
mod packets;
mod server;
mod window;
mod wire;
mod xchacha;

pub use ends::{Client, Door, TAIL};
pub use keys::{BadKeys, DoorKeys, DoorUser, Method};
pub use packets::Sealed;
pub use wire::{read_body, times};

#[cfg(test)]
mod tests;
