//! IP packets as bytes: what is in one, and how one is written. Pure: no device, no clock.
//!
//! Nothing read here is trusted: whatever is too short, too long or points outside is `Malformed`.
//! Fragments are told as such, and are not put together here.

mod checksum;
mod icmp;
mod ip;
mod tcp;
mod udp;

use std::net::{IpAddr, SocketAddr};

pub use checksum::{Sum, pseudo};
pub use icmp::{Unreachable, unreachable};
pub use ip::{IP_MOST, Packet, put_ip};
pub use tcp::{Flags, Options, Segment, put_tcp};
pub use udp::{Datagram, UDP_HEAD, put_udp};

/// Bytes that are no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The protocols behind an IP header that are looked into.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP of IPv6.
    pub const ICMP6: u8 = 58;
}

/// The two ends of what a packet belongs to, as its receiver sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pair {
    /// Whom it was sent by.
    pub remote: SocketAddr,
    /// Whom it was sent to.
    pub local: SocketAddr,
}

impl Pair {
    /// Of addresses and ports.
    pub fn new(source: IpAddr, from: u16, destination: IpAddr, to: u16) -> Self {
        Self {
            remote: SocketAddr::new(source, from),
            local: SocketAddr::new(destination, to),
        }
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    let found = bytes.get(at..at + 2)?;
    Some(u16::from_be_bytes([found[0], found[1]]))
}

fn long(bytes: &[u8], at: usize) -> Option<u32> {
    let found = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes([found[0], found[1], found[2], found[3]]))
}
