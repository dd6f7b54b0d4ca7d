//! UDP sessions over real sockets on loopback.

mod bounds;
mod framed;
mod ground;
mod inside;
mod roads;
mod sealed;
mod ways;
