//! Datagrams of UDP (RFC 768).

use std::ops::Range;

use super::checksum::pseudo;
use super::{Malformed, Packet, Pair, protocol, word};

/// The bytes of a header.
pub const UDP_HEAD: usize = 8;

/// A datagram.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Datagram {
    /// Its ends.
    pub pair: Pair,
    /// Where its bytes are.
    pub payload: Range<usize>,
}

impl Datagram {
    /// Read the datagram in a packet; `trusted` where a device vouches for its checksum. One that a
    /// device has joined of several says the length of the first alone, and is taken whole.
    pub fn parse(packet: &Packet, bytes: &[u8], trusted: bool) -> Result<Self, Malformed> {
        let at = packet.payload.start;
        let body = bytes.get(packet.payload.clone()).ok_or(Malformed)?;
        datagram(packet, body, at, trusted).ok_or(Malformed)
    }
}

fn datagram(packet: &Packet, body: &[u8], at: usize, trusted: bool) -> Option<Datagram> {
    let said = usize::from(word(body, 4)?);
    let end = if trusted { body.len() } else { said };
    if said < UDP_HEAD || end > body.len() || word(body, 6).is_none() {
        return None;
    }
    let (source, destination) = (packet.source, packet.destination);
    // IPv4 has datagrams without a checksum.
    let unsummed = source.is_ipv4() && body[6..8] == [0, 0];
    if !trusted && !unsummed {
        let sum = pseudo(source, destination, protocol::UDP, end).with(&body[..end]);
        if sum.partial() != 0xFFFF {
            return None;
        }
    }
    Some(Datagram {
        pair: Pair::new(source, word(body, 0)?, destination, word(body, 2)?),
        payload: at + UDP_HEAD..at + end,
    })
}

/// Append a header from `pair.local` to `pair.remote`, before so many bytes of payload. Its checksum
/// is the pseudo header's sum, which whoever sends it finishes.
pub fn put_udp(pair: &Pair, payload: usize, to: &mut Vec<u8>) {
    let (local, remote) = (pair.local, pair.remote);
    let length = UDP_HEAD + payload;
    let sum = pseudo(local.ip(), remote.ip(), protocol::UDP, length).partial();
    to.extend_from_slice(&local.port().to_be_bytes());
    to.extend_from_slice(&remote.port().to_be_bytes());
    to.extend_from_slice(&(length as u16).to_be_bytes());
    to.extend_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Sum, put_ip};
    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(payload in proptest::collection::vec(any::<u8>(), 0..80)) {
            let pair = Pair {
                local: "[2001:db8::7]:53".parse().expect("an address"),
                remote: "[fd00::1]:5000".parse().expect("an address"),
            };
            let mut head = Vec::new();
            put_udp(&pair, payload.len(), &mut head);
            let sum = Sum::default().with(&head).with(&payload).done();
            head[6..8].copy_from_slice(&sum.to_be_bytes());
            let mut bytes = Vec::new();
            let length = head.len() + payload.len();
            put_ip(pair.local.ip(), pair.remote.ip(), protocol::UDP, length, &mut bytes);
            bytes.extend_from_slice(&head);
            bytes.extend_from_slice(&payload);
            let packet = Packet::parse(&bytes).expect("a packet");
            let found = Datagram::parse(&packet, &bytes, false).expect("a datagram");
            prop_assert_eq!(&bytes[found.payload], &payload);
            prop_assert_eq!((found.pair.remote, found.pair.local), (pair.local, pair.remote));
        }

        #[test]
        fn any_bytes_are_a_datagram_or_malformed(
            bytes in proptest::collection::vec(any::<u8>(), 0..40),
            trusted: bool,
        ) {
            let packet = Packet {
                source: "10.0.0.1".parse().expect("an address"),
                destination: "10.0.0.2".parse().expect("an address"),
                protocol: protocol::UDP,
                payload: 0..bytes.len(),
                hops: 1,
                fragment: false,
            };
            if let Ok(found) = Datagram::parse(&packet, &bytes, trusted) {
                prop_assert!(bytes.get(found.payload).is_some());
            }
        }
    }
}
