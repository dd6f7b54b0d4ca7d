//! What runs once per byte or per packet. The engine is handed sockets, tables and limits; it knows
//! no configuration and no names, and nothing of Python.
//!
//! Read in this order: `reactor` (the threads), `completion` (how results leave), `stream`, `listen`
//! and `dial` (how streams come to be), `relay` (where they spend their lives), `body`, `datagrams`.

pub mod body;
pub mod completion;
pub mod dial;
pub mod failure;
pub mod io;
pub mod limits;
pub mod listen;
pub mod pipe;
pub mod reactor;
pub mod relay;
pub mod stream;
