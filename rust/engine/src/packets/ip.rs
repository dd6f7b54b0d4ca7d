//! The headers of IPv4 (RFC 791) and IPv6 (RFC 8200).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::checksum::Sum;
use super::{Malformed, word};

const V4: usize = 20;
const V6: usize = 40;

/// The bytes of the longest header that is written.
pub const IP_MOST: usize = V6;

/// Extension headers that are stepped over: no packet in earnest has more.
const MOST_EXTENSIONS: usize = 8;

const HOPS: u8 = 64;

/// What an IP header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Who sent it.
    pub source: IpAddr,
    /// Whom it is for.
    pub destination: IpAddr,
    /// What is in it, behind the extension headers.
    pub protocol: u8,
    /// Where that is.
    pub payload: Range<usize>,
    /// Routers that may still pass it on.
    pub hops: u8,
    /// Whether it is a piece of a packet.
    pub fragment: bool,
}

impl Packet {
    /// Read the headers. Bytes behind the packet's length are no part of it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes.first().map(|first| first >> 4) {
            Some(4) => four(bytes),
            Some(6) => six(bytes),
            _ => None,
        }
        .ok_or(Malformed)
    }
}

fn four(bytes: &[u8]) -> Option<Packet> {
    let header = usize::from(bytes[0] & 15) * 4;
    let total = usize::from(word(bytes, 2)?);
    if header < V4 || total < header || total > bytes.len() {
        return None;
    }
    let pieces = word(bytes, 6)?;
    let address = |at: usize| {
        let octets: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(Ipv4Addr::from(octets).into())
    };
    Some(Packet {
        source: address(12)?,
        destination: address(16)?,
        protocol: *bytes.get(9)?,
        payload: header..total,
        hops: *bytes.get(8)?,
        fragment: pieces & 0x3FFF != 0, // more fragments, or an offset
    })
}

fn six(bytes: &[u8]) -> Option<Packet> {
    let total = V6 + usize::from(word(bytes, 4)?);
    if total > bytes.len() {
        return None;
    }
    let address = |at: usize| {
        let octets: [u8; 16] = bytes.get(at..at + 16)?.try_into().ok()?;
        Some(Ipv6Addr::from(octets).into())
    };
    let (mut next, mut at, mut fragment) = (*bytes.get(6)?, V6, false);
    for _ in 0..MOST_EXTENSIONS {
        let length = match next {
            0 | 43 | 60 => (usize::from(*bytes.get(at + 1)?) + 1) * 8,
            44 => {
                // An atomic fragment (RFC 6946) is a whole packet.
                fragment |= word(bytes, at + 2)? & 0xFFF9 != 0;
                8
            }
            _ => break,
        };
        next = *bytes.get(at)?;
        at += length;
        if at > total {
            return None;
        }
    }
    Some(Packet {
        source: address(8)?,
        destination: address(24)?,
        protocol: next,
        payload: at..total,
        hops: *bytes.get(7)?,
        fragment,
    })
}

/// Append the header of a packet with so many bytes behind it. Its length must fit 16 bits, and both
/// addresses must be of one family.
pub fn put_ip(source: IpAddr, destination: IpAddr, protocol: u8, length: usize, to: &mut Vec<u8>) {
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let mut head = [0; V4];
            head[0] = 0x45;
            head[2..4].copy_from_slice(&((V4 + length) as u16).to_be_bytes());
            head[6] = 0x40; // not to be cut
            head[8] = HOPS;
            head[9] = protocol;
            head[12..16].copy_from_slice(&source.octets());
            head[16..20].copy_from_slice(&destination.octets());
            let sum = Sum::default().with(&head).done();
            head[10..12].copy_from_slice(&sum.to_be_bytes());
            to.extend_from_slice(&head);
        }
        (source, destination) => {
            let mut head = [0; V6];
            head[0] = 0x60;
            head[4..6].copy_from_slice(&(length as u16).to_be_bytes());
            head[6] = protocol;
            head[7] = HOPS;
            head[8..24].copy_from_slice(&sixteen(source));
            head[24..40].copy_from_slice(&sixteen(destination));
            to.extend_from_slice(&head);
        }
    }
}

fn sixteen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn what_is_written_is_read() {
        for (source, destination) in [("10.0.0.1", "192.0.2.7"), ("fd00::1", "2001:db8::7")] {
            let (source, destination) = (address(source), address(destination));
            let mut bytes = Vec::new();
            put_ip(source, destination, 17, 3, &mut bytes);
            let header = bytes.len();
            bytes.extend_from_slice(b"abc and more");
            let found = Packet::parse(&bytes).expect("a packet");
            assert_eq!((found.source, found.destination), (source, destination));
            assert_eq!((found.protocol, found.fragment), (17, false));
            assert_eq!(found.payload, header..header + 3);
        }
    }

    #[test]
    fn the_header_of_the_textbook() {
        // 40 bytes of UDP from 192.168.0.1 to 192.168.0.199, as it stands in RFC-era textbooks.
        let mut bytes = Vec::new();
        put_ip(
            address("192.168.0.1"),
            address("192.168.0.199"),
            17,
            95,
            &mut bytes,
        );
        assert_eq!(Sum::default().with(&bytes).partial(), 0xFFFF);
    }

    #[test]
    fn extension_headers_are_stepped_over() {
        let mut bytes = Vec::new();
        put_ip(
            address("fd00::1"),
            address("fd00::2"),
            0,
            8 + 8 + 4,
            &mut bytes,
        );
        bytes.extend_from_slice(&[44, 0, 0, 0, 0, 0, 0, 0]); // hop by hop, then a fragment
        bytes.extend_from_slice(&[17, 0, 0, 1, 0, 0, 0, 9]); // the first of several
        bytes.extend_from_slice(b"udp!");
        let found = Packet::parse(&bytes).expect("a packet");
        assert_eq!(
            (found.protocol, found.payload, found.fragment),
            (17, 56..60, true)
        );
        bytes[51] = 0; // an atomic one
        assert!(!Packet::parse(&bytes).expect("a packet").fragment);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_packet_or_malformed(
            first in prop_oneof![Just(0x45_u8), Just(0x60), any::<u8>()],
            rest in proptest::collection::vec(any::<u8>(), 0..120),
        ) {
            let bytes: Vec<u8> = std::iter::once(first).chain(rest).collect();
            if let Ok(found) = Packet::parse(&bytes) {
                prop_assert!(found.payload.start <= found.payload.end);
                prop_assert!(bytes.get(found.payload).is_some());
            }
        }
    }
}
