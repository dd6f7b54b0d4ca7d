//! UDP sessions over real sockets on loopback.

mod bounds;
mod ground;
mod roads;
mod sealed;
mod ways;
