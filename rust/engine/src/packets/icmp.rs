//! What a host is told of a packet that goes no further (RFC 792, RFC 4443).

use std::net::IpAddr;

use super::checksum::{Sum, pseudo};
use super::{Packet, protocol, put_ip};

/// Bytes of the packet that are quoted: all of its headers, and within the least MTU of IPv6.
const QUOTED: usize = 512;

/// Why a packet goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreachable {
    /// There is no way to the network.
    Network,
    /// The host does not answer.
    Host,
    /// Nobody has the port.
    Port,
    /// A rule forbids it.
    Prohibited,
}

impl Unreachable {
    fn code(self, four: bool) -> u8 {
        match (self, four) {
            (Self::Network, _) => 0,
            (Self::Host, true) | (Self::Prohibited, false) => 1,
            (Self::Host, false) | (Self::Port, true) => 3,
            (Self::Port, false) => 4,
            (Self::Prohibited, true) => 13,
        }
    }
}

/// The answer to a packet that goes no further. None where there must be none: to a piece that is not
/// the first, to errors, to and from many (RFC 1122, section 3.2.2).
pub fn unreachable(why: Unreachable, packet: &Packet, bytes: &[u8]) -> Option<Vec<u8>> {
    let many = |address: IpAddr| match address {
        IpAddr::V4(address) => {
            address.is_multicast() || address.is_broadcast() || address.is_unspecified()
        }
        IpAddr::V6(address) => address.is_multicast() || address.is_unspecified(),
    };
    if many(packet.source) || many(packet.destination) || packet.fragment {
        return None;
    }
    let kind = bytes.get(packet.payload.start).copied();
    let error = match packet.protocol {
        protocol::ICMP => !matches!(kind, Some(8 | 13 | 17)),
        protocol::ICMP6 => !matches!(kind, Some(128)),
        _ => false,
    };
    if error {
        return None;
    }
    let four = packet.source.is_ipv4();
    let quoted = &bytes[..packet.payload.end.min(QUOTED)];
    let (kind, number) = if four {
        (3, protocol::ICMP)
    } else {
        (1, protocol::ICMP6)
    };
    let length = 8 + quoted.len();
    let mut answer = Vec::with_capacity(super::IP_MOST + length);
    put_ip(
        packet.destination,
        packet.source,
        number,
        length,
        &mut answer,
    );
    let at = answer.len();
    answer.extend_from_slice(&[kind, why.code(four), 0, 0, 0, 0, 0, 0]);
    answer.extend_from_slice(quoted);
    let head = if four {
        Sum::default()
    } else {
        pseudo(packet.destination, packet.source, number, length)
    };
    let sum = head.with(&answer[at..]).done();
    answer[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(source: &str, destination: &str, number: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let source = source.parse().expect("an address");
        let destination = destination.parse().expect("an address");
        put_ip(source, destination, number, payload.len(), &mut bytes);
        bytes.extend_from_slice(payload);
        bytes
    }

    fn answer(bytes: &[u8]) -> Option<Vec<u8>> {
        let packet = Packet::parse(bytes).expect("a packet");
        unreachable(Unreachable::Port, &packet, bytes)
    }

    #[test]
    fn the_packet_is_quoted() {
        let four = packet("10.0.0.1", "192.0.2.7", protocol::UDP, b"to a port");
        let found = answer(&four).expect("an answer");
        assert_eq!(found[20..22], [3, 3]);
        assert_eq!(Sum::default().with(&found[20..]).partial(), 0xFFFF);
        assert_eq!(found[28..], four);

        let six = packet("fd00::1", "2001:db8::7", protocol::ICMP6, &[128, 0, 0, 0]);
        let found = answer(&six).expect("an answer");
        assert_eq!(found[40..42], [1, 4]);
        assert_eq!(found[48..], six);
    }

    #[test]
    fn errors_and_many_are_not_answered() {
        assert_eq!(
            answer(&packet("10.0.0.1", "192.0.2.7", protocol::ICMP, &[3, 1])),
            None
        );
        assert_eq!(
            answer(&packet("10.0.0.1", "224.0.0.1", protocol::UDP, b"")),
            None
        );
        assert_eq!(
            answer(&packet("fd00::1", "ff02::1", protocol::UDP, b"")),
            None
        );
        assert_eq!(
            answer(&packet("fd00::1", "fd00::2", protocol::ICMP6, &[1, 0])),
            None
        );
    }
}
