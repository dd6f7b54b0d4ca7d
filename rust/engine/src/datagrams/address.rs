//! The SOCKS5 UDP header (RFC 1928, section 7): RSV RSV FRAG ATYP ADDR PORT, then the payload. What
//! begins at ATYP is the address form (section 5), which other protocols share.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// The longest name taken (RFC 1035, section 2.3.4, as text), with the final dot of an absolute one.
pub const NAME: usize = 254;

/// Where a packet goes to or comes from. Addresses are canonical (a v4-mapped one is IPv4), names are
/// in lower case as far as they are ASCII (of others the owner of the flow makes the ASCII form), with a
/// final dot where the client wrote one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// An address and a port.
    Address(SocketAddr),
    /// A name that somebody else resolves, and a port.
    Name(String, u16),
}

impl Place {
    /// The same, borrowed.
    pub fn spot(&self) -> Spot<'_> {
        match self {
            Self::Address(address) => Spot::Address(*address),
            Self::Name(name, port) => Spot::Name(name, *port),
        }
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.spot().port()
    }

    /// The same, an address in its one form.
    #[must_use]
    pub fn canonical(self) -> Self {
        match self {
            Self::Address(address) => address.into(),
            name @ Self::Name(..) => name,
        }
    }
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        Self::Address(canonical(address))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// A place as a packet's header shows it, without memory of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Spot<'a> {
    /// An address and a port.
    Address(SocketAddr),
    /// A name in lower case, and a port.
    Name(&'a str, u16),
}

impl Spot<'_> {
    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Address(address) => address.port(),
            Self::Name(_, port) => *port,
        }
    }

    /// With memory of its own.
    pub fn to_place(self) -> Place {
        match self {
            Self::Address(address) => Place::Address(address),
            Self::Name(name, port) => Place::Name(name.to_owned(), port),
        }
    }
}

/// Where `decode` lays a name in lower case.
pub type Scratch = [u8; NAME];

/// Read the header of `packet`: the place in it and the header's length. None when it is malformed,
/// is a fragment, or names no possible host. Port 0 passes: some relays fill senders with zeros.
pub fn decode<'a>(packet: &[u8], scratch: &'a mut Scratch) -> Option<(Spot<'a>, usize)> {
    // RSV is sent as zero; what a receiver makes of other values is not said, so they are malformed.
    let (spot, n) = decode_place(packet.strip_prefix(&[0, 0, 0])?, scratch)?;
    Some((spot, n + 3))
}

/// Read the address form that `bytes` begin with: the place in it and its length. None as `decode`.
pub fn decode_place<'a>(bytes: &[u8], scratch: &'a mut Scratch) -> Option<(Spot<'a>, usize)> {
    let (kind, rest) = bytes.split_first()?;
    match kind {
        1 => {
            let (address, rest) = rest.split_first_chunk::<4>()?;
            let port = rest.first_chunk::<2>()?;
            Some((
                Spot::Address((*address, u16::from_be_bytes(*port)).into()),
                7,
            ))
        }
        4 => {
            let (address, rest) = rest.split_first_chunk::<16>()?;
            let port = rest.first_chunk::<2>()?;
            let address = Ipv6Addr::from(*address).to_canonical();
            Some((
                Spot::Address((address, u16::from_be_bytes(*port)).into()),
                19,
            ))
        }
        3 => {
            let (length, rest) = rest.split_first()?;
            let length = usize::from(*length);
            let (name, rest) = rest.split_at_checked(length)?;
            let port = u16::from_be_bytes(*rest.first_chunk::<2>()?);
            Some((host(name, port, scratch)?, 4 + length))
        }
        _ => None,
    }
}

/// A name as RFC 1928 carries it: clients put address literals there too.
pub(super) fn host<'a>(name: &[u8], port: u16, scratch: &'a mut Scratch) -> Option<Spot<'a>> {
    let (name, absolute) = match name.strip_suffix(b".") {
        Some(name) => (name, true),
        None => (name, false),
    };
    if name.is_empty() || name.len() >= NAME {
        return None;
    }
    // No name ends in a digit or has a colon in it, so only those can be literals.
    if name.contains(&b':') || name.last().is_some_and(u8::is_ascii_digit) {
        let literal = std::str::from_utf8(name).ok()?.parse::<IpAddr>();
        match literal {
            Ok(address) => return Some(Spot::Address((address.to_canonical(), port).into())),
            Err(_) if name.contains(&b':') => return None,
            Err(_) => {}
        }
    }
    let mut before = b'.';
    for (to, from) in scratch.iter_mut().zip(name) {
        let label_is_empty = *from == b'.' && before == b'.';
        let graphic = from.is_ascii_graphic() || !from.is_ascii();
        if label_is_empty || !graphic || b"/\\[]@:#?%\"<>^`{|}".contains(from) {
            return None;
        }
        before = *from;
        *to = from.to_ascii_lowercase();
    }
    (before != b'.').then_some(())?;
    scratch[name.len()] = b'.';
    let lower = &scratch[..name.len() + usize::from(absolute)];
    Some(Spot::Name(std::str::from_utf8(lower).ok()?, port))
}

/// Append the header for `spot`. A name longer than one length byte tells is cut short of meaning
/// anything; `decode` and the binding let none pass.
pub fn encode(spot: Spot<'_>, into: &mut Vec<u8>) {
    into.extend_from_slice(&[0, 0, 0]);
    encode_place(spot, into);
}

/// Append the address form of `spot`.
pub fn encode_place(spot: Spot<'_>, into: &mut Vec<u8>) {
    match spot {
        Spot::Address(SocketAddr::V4(address)) => {
            into.push(1);
            into.extend_from_slice(&address.ip().octets());
        }
        Spot::Address(SocketAddr::V6(address)) => {
            into.push(4);
            into.extend_from_slice(&address.ip().octets());
        }
        Spot::Name(name, _) => {
            let name = &name.as_bytes()[..name.len().min(255)];
            into.push(3);
            into.push(name.len() as u8);
            into.extend_from_slice(name);
        }
    }
    into.extend_from_slice(&spot.port().to_be_bytes());
}

/// The address without the v4-mapped form, and without a scope or flow label that means nothing.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => {
            (v6.ip().to_canonical(), v6.port()).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(packet: &[u8]) -> Option<(Place, usize)> {
        let mut scratch = [0; NAME];
        decode(packet, &mut scratch).map(|(spot, n)| (spot.to_place(), n))
    }

    fn named(name: &[u8]) -> Option<Place> {
        let mut packet = vec![0, 0, 0, 3, name.len() as u8];
        packet.extend_from_slice(name);
        packet.extend_from_slice(&[0, 53]);
        decoded(&packet).map(|(place, _)| place)
    }

    #[test]
    fn the_three_kinds() {
        let v4 = b"\0\0\0\x01\x7f\0\0\x01\x00\x35payload";
        assert_eq!(
            decoded(v4),
            Some((Place::Address(([127, 0, 0, 1], 53).into()), 10))
        );
        let mut v6 = vec![0, 0, 0, 4];
        v6.extend_from_slice(&Ipv6Addr::LOCALHOST.octets());
        v6.extend_from_slice(&[1, 0]);
        assert_eq!(
            decoded(&v6),
            Some((Place::Address((Ipv6Addr::LOCALHOST, 256).into()), 22))
        );
        assert_eq!(
            named(b"Example.COM"),
            Some(Place::Name("example.com".into(), 53))
        );
        assert_eq!(
            named("Bücher.EXAMPLE".as_bytes()),
            Some(Place::Name("bücher.example".into(), 53))
        );
    }

    #[test]
    fn an_absolute_name_keeps_its_dot() {
        assert_eq!(
            named(b"Example.COM."),
            Some(Place::Name("example.com.".into(), 53))
        );
        assert_eq!(
            named(b"192.0.2.1."),
            Some(Place::Address(([192, 0, 2, 1], 53).into()))
        );
        let longest = [[b'a'; 63].as_slice(); 4].join(&b'.')[2..].to_vec();
        let absolute = [longest.as_slice(), b"."].concat();
        assert_eq!((longest.len(), absolute.len()), (253, NAME));
        for name in [&longest, &absolute] {
            let text = String::from_utf8(name.clone()).expect("ASCII");
            assert_eq!(named(name), Some(Place::Name(text, 53)));
        }
        assert_eq!(named(&[longest.as_slice(), b"b"].concat()), None);
        assert_eq!(named(&[absolute.as_slice(), b"."].concat()), None);
    }

    #[test]
    fn addresses_in_other_clothes() {
        let mut mapped = vec![
            0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1, 0, 53,
        ];
        assert_eq!(
            decoded(&mapped).map(|d| d.0),
            Some(Place::Address(([192, 0, 2, 1], 53).into()))
        );
        mapped.truncate(21);
        assert_eq!(decoded(&mapped), None);
        assert_eq!(
            named(b"192.0.2.1"),
            Some(Place::Address(([192, 0, 2, 1], 53).into()))
        );
        assert_eq!(
            named(b"::1"),
            Some(Place::Address((Ipv6Addr::LOCALHOST, 53).into()))
        );
        assert_eq!(named(b"host1"), Some(Place::Name("host1".into(), 53)));
    }

    #[test]
    fn refused_shapes() {
        for bad in [
            &b""[..],
            b"\0\0\0",
            b"\0\0\0\x01\x7f\0\0\x01\0",
            b"\0\0\x01\x01\x7f\0\0\x01\0\x35",
            b"\0\x01\0\x01\x7f\0\0\x01\0\x35",
            b"\0\0\0\x02\x7f\0\0\x01\0\x35",
            b"\0\0\0\x03\0\0\x35",
            b"\0\0\0\x03\x05ab\0\x35",
        ] {
            assert_eq!(decoded(bad), None, "{bad:?}");
        }
        for name in [
            &b"."[..],
            b"a..",
            b"a..b",
            b".a",
            b"a b",
            b"a\0b",
            b"a/b",
            b"[::1]",
            b"a:b",
            b"\xc3",
            b"\xff\xfe.example",
            &[b'a'; 254],
        ] {
            assert_eq!(named(name), None, "{name:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(packet in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some((place, n)) = decoded(&packet) {
                prop_assert!(n <= packet.len());
                let mut again = Vec::new();
                encode(place.spot(), &mut again);
                prop_assert_eq!(decoded(&again), Some((place, again.len())));
            }
        }

        #[test]
        fn what_is_written_is_read(address in any::<(IpAddr, u16)>(), payload in any::<Vec<u8>>()) {
            let place = Place::from(SocketAddr::from(address));
            let mut packet = Vec::new();
            encode(place.spot(), &mut packet);
            let head = packet.len();
            packet.extend_from_slice(&payload);
            prop_assert_eq!(decoded(&packet), Some((place, head)));
        }
    }
}
