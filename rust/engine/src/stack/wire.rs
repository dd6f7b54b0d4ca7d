//! Where packets leave by.

use std::io;

/// A packet on its way out. Its checksum is the pseudo header's sum, to be finished.
pub struct Outgoing<'a> {
    /// The headers.
    pub head: &'a [u8],
    /// Where the transport's header begins.
    pub transport: usize,
    /// Where, from there, its checksum is.
    pub checksum: usize,
    /// The payload, in pieces.
    pub parts: &'a [&'a [u8]],
    /// The payload of each packet that it is to be cut to; 0: it is one.
    pub segment: usize,
}

/// A device, or its double in tests.
pub trait Wire: Send + Sync {
    /// Send a packet, without waiting. One that does not go is as good as lost.
    fn send(&self, packet: &Outgoing<'_>) -> io::Result<()>;

    /// Send a packet that needs no finishing.
    fn send_whole(&self, packet: &[u8]) -> io::Result<()>;
}
