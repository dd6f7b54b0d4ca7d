//! How a packet looks in a stream: an address, a length, the payload. Pure.
//!
//! - trojan (the protocol document of trojan-gfw): `ATYP ADDR PORT | LENGTH | CRLF | payload`, with the
//!   types of SOCKS5 (1 IPv4, 3 name, 4 IPv6);
//! - UDP over TCP (sing's, both versions): `ATYP ADDR PORT | LENGTH | payload`, with types of its own
//!   (0 IPv4, 1 IPv6, 2 name);
//! - the streams of a mux (sing-mux): `ATYP ADDR PORT | LENGTH | payload`, with the types of SOCKS5;
//! - the same connected (version 2): `LENGTH | payload`, all for one target;
//! - XUDP (a mux of Xray with one session): `LENGTH | ID STATUS OPTION [NETWORK PORT ATYP ADDR] ...`, and
//!   where the option says so `LENGTH | payload`, with types of its own (1 IPv4, 2 name, 3 IPv6).
//!
//! A frame that breaks these rules leaves nothing to go on with. One that keeps them and names no
//! possible host is a packet that is dropped.

use std::net::{Ipv6Addr, SocketAddr};

use crate::datagrams::address::{NAME, Place, Scratch, Spot, encode_place, host};
use crate::datagrams::codec::{Codec, Form};
use crate::datagrams::ids::Origin;

/// The longest payload: what the two bytes of its length can say.
pub const LONGEST: usize = 0xFFFF;

/// The longest address form: that of XUDP, which may have more behind it.
const ADDRESS: usize = 2 + META;

/// The longest head of XUDP that is read (Xray's own bound).
const META: usize = 512;

/// Of XUDP: an id and a status, an option, and behind them the network, where there is an address.
const STATUS: usize = 2 + 2;
const OPTION: usize = 2 + 3;
const NETWORK: usize = 2 + 4;
const NEW: u8 = 1;
const KEEP: u8 = 2;
const HAS_DATA: u8 = 1;
const UDP: u8 = 2;

/// The longest frame.
pub const FRAME: usize = ADDRESS + 2 + 2 + LONGEST;

const CRLF: [u8; 2] = *b"\r\n";

/// How packets are framed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Framing {
    /// Trojan's.
    Trojan,
    /// UDP over TCP: each packet with its address.
    Uot,
    /// A mux's: each packet with its address in SOCKS5's form.
    Socks,
    /// UDP over TCP: bare packets, all for this target.
    Connected(Place),
    /// XUDP: each packet with its address.
    Xudp,
}

/// A whole frame: where its parts end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// The address, the first part of the head.
    pub address: usize,
    /// The head, behind which the payload begins.
    pub head: usize,
    /// The payload, and with it the frame.
    pub end: usize,
}

/// Why there is no frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unframed {
    /// It is cut short: nothing can be said before there are so many bytes.
    Short(usize),
    /// It is none, and nothing behind it can be found.
    Broken,
}

/// The three kinds of an address.
enum Kind {
    V4,
    V6,
    Name,
}

impl Framing {
    /// The frame that `data` begins with.
    pub fn frame(&self, data: &[u8]) -> Result<Frame, Unframed> {
        let address = self.address(data)?;
        if *self == Self::Xudp && data[OPTION] & HAS_DATA == 0 {
            return Ok(Frame {
                address,
                head: address,
                end: address,
            });
        }
        let head = address + self.length_len();
        let tail = data.get(address..).unwrap_or_default();
        let marked = *self != Self::Trojan || tail.iter().skip(2).zip(&CRLF).all(|(a, b)| a == b);
        if !marked {
            return Err(Unframed::Broken);
        }
        let length = tail
            .first_chunk::<2>()
            .filter(|_| data.len() >= head)
            .ok_or(Unframed::Short(head))?;
        let end = head + usize::from(u16::from_be_bytes(*length));
        if data.len() < end {
            return Err(Unframed::Short(end));
        }
        Ok(Frame { address, head, end })
    }

    /// How long the address is that `data` begins with.
    fn address(&self, data: &[u8]) -> Result<usize, Unframed> {
        match self {
            Self::Connected(_) => return Ok(0),
            Self::Xudp => return xudp_head(data),
            _ => {}
        }
        let kind = *data.first().ok_or(Unframed::Short(1))?;
        match self.kind(kind).ok_or(Unframed::Broken)? {
            Kind::V4 => Ok(1 + 4 + 2),
            Kind::V6 => Ok(1 + 16 + 2),
            Kind::Name => match data.get(1) {
                Some(length) => Ok(1 + 1 + usize::from(*length) + 2),
                None => Err(Unframed::Short(2)),
            },
        }
    }

    /// The place that the address of a whole frame shows. None when it names no possible host.
    pub fn place<'a>(&'a self, address: &[u8], scratch: &'a mut Scratch) -> Option<Spot<'a>> {
        if let Self::Connected(target) = self {
            return Some(target.spot());
        }
        if *self == Self::Xudp {
            return xudp_place(address, scratch);
        }
        let (form, port) = address.split_last_chunk::<2>()?;
        let port = u16::from_be_bytes(*port);
        let (kind, form) = form.split_first()?;
        match self.kind(*kind)? {
            Kind::V4 => {
                let octets = *form.first_chunk::<4>()?;
                Some(Spot::Address((octets, port).into()))
            }
            Kind::V6 => {
                let octets = *form.first_chunk::<16>()?;
                let address = Ipv6Addr::from(octets).to_canonical();
                Some(Spot::Address((address, port).into()))
            }
            Kind::Name => host(form.get(1..)?, port, scratch),
        }
    }

    /// Append the address of `spot`. Nothing when this framing has none.
    pub fn put_address(&self, spot: Spot<'_>, into: &mut Vec<u8>) {
        let [v4, v6, name] = match self {
            Self::Trojan | Self::Socks => [1, 4, 3],
            Self::Uot => [0, 1, 2],
            Self::Connected(_) => return,
            Self::Xudp => return put_xudp(spot, into),
        };
        match spot {
            Spot::Address(SocketAddr::V4(address)) => {
                into.push(v4);
                into.extend_from_slice(&address.ip().octets());
            }
            Spot::Address(SocketAddr::V6(address)) => {
                into.push(v6);
                into.extend_from_slice(&address.ip().octets());
            }
            Spot::Name(host, _) => {
                // No longer name was let in; a cut one would only not be found.
                let host = &host.as_bytes()[..host.len().min(NAME)];
                into.push(name);
                into.push(host.len() as u8);
                into.extend_from_slice(host);
            }
        }
        into.extend_from_slice(&spot.port().to_be_bytes());
    }

    /// Append what opens a stream of such packets, the first of which is for `spot`.
    pub(super) fn put_first(&self, spot: Spot<'_>, into: &mut Vec<u8>) {
        if *self != Self::Xudp {
            encode_place(spot, into);
        }
    }

    /// Make a frame the first of its stream: of XUDP it opens the session.
    pub(super) fn make_first(&self, frame: &mut [u8]) {
        if let (Self::Xudp, Some(status)) = (self, frame.get_mut(STATUS)) {
            *status = NEW;
        }
    }

    /// Append what stands between the address and a payload of `length` bytes, at most `LONGEST`.
    pub fn put_length(&self, length: usize, into: &mut Vec<u8>) {
        into.extend_from_slice(&(length as u16).to_be_bytes());
        if *self == Self::Trojan {
            into.extend_from_slice(&CRLF);
        }
    }

    /// How much `put_length` appends.
    pub(super) fn length_len(&self) -> usize {
        if *self == Self::Trojan {
            2 + CRLF.len()
        } else {
            2
        }
    }

    fn kind(&self, kind: u8) -> Option<Kind> {
        match (self, kind) {
            (Self::Trojan | Self::Socks, 1) | (Self::Uot, 0) => Some(Kind::V4),
            (Self::Trojan | Self::Socks, 4) | (Self::Uot, 1) => Some(Kind::V6),
            (Self::Trojan | Self::Socks, 3) | (Self::Uot, 2) => Some(Kind::Name),
            _ => None,
        }
    }
}

/// How long the head of an XUDP frame is that `data` begins with.
fn xudp_head(data: &[u8]) -> Result<usize, Unframed> {
    let length = data.first_chunk::<2>().ok_or(Unframed::Short(2))?;
    let end = 2 + usize::from(u16::from_be_bytes(*length));
    if !(OPTION + 1..=2 + META).contains(&end) {
        return Err(Unframed::Broken);
    }
    let Some(head) = data.get(..end) else {
        return Err(Unframed::Short(end));
    };
    // Whoever opens another session, or one for a connection, means a mux.
    let opens = head[STATUS] == NEW;
    if opens && (head[2..STATUS] != [0, 0] || head.get(NETWORK) != Some(&UDP)) {
        return Err(Unframed::Broken);
    }
    Ok(end)
}

/// The place of a whole XUDP head; None where there is no packet, or none with an address.
fn xudp_place<'a>(head: &[u8], scratch: &'a mut Scratch) -> Option<Spot<'a>> {
    let carries = matches!(head.get(STATUS)?, &(NEW | KEEP)) && head.get(OPTION)? & HAS_DATA != 0;
    if !carries || *head.get(NETWORK)? != UDP {
        return None;
    }
    let (port, form) = head.get(NETWORK + 1..)?.split_first_chunk::<2>()?;
    let port = u16::from_be_bytes(*port);
    let (kind, form) = form.split_first()?;
    match kind {
        1 => Some(Spot::Address((*form.first_chunk::<4>()?, port).into())),
        2 => {
            let (length, name) = form.split_first()?;
            host(name.get(..usize::from(*length))?, port, scratch)
        }
        3 => {
            let address = Ipv6Addr::from(*form.first_chunk::<16>()?).to_canonical();
            Some(Spot::Address((address, port).into()))
        }
        _ => None,
    }
}

/// Append the head of an XUDP frame of session 0.
fn put_xudp(spot: Spot<'_>, into: &mut Vec<u8>) {
    let at = into.len();
    into.extend_from_slice(&[0, 0, 0, 0, KEEP, HAS_DATA, UDP]);
    into.extend_from_slice(&spot.port().to_be_bytes());
    match spot {
        Spot::Address(SocketAddr::V4(address)) => {
            into.push(1);
            into.extend_from_slice(&address.ip().octets());
        }
        Spot::Address(SocketAddr::V6(address)) => {
            into.push(3);
            into.extend_from_slice(&address.ip().octets());
        }
        Spot::Name(host, _) => {
            let host = &host.as_bytes()[..host.len().min(NAME)];
            into.extend_from_slice(&[2, host.len() as u8]);
            into.extend_from_slice(host);
        }
    }
    let length = (into.len() - at - 2) as u16;
    into[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

/// What a near end takes out of frames: the address is the header.
impl Codec for Framing {
    fn target<'a>(
        &'a self,
        _origin: Origin,
        address: &[u8],
        scratch: &'a mut Scratch,
    ) -> Option<(Spot<'a>, usize)> {
        Some((self.place(address, scratch)?, address.len()))
    }

    fn form(&self, _origin: Origin, expected: bool) -> Option<Form> {
        (expected || !matches!(self, Self::Connected(_))).then_some(Form::Head)
    }

    fn put_head(&self, _origin: Origin, sender: Spot<'_>, payload: usize, into: &mut Vec<u8>) {
        self.put_address(sender, into);
        self.put_length(payload, into);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const FRAMINGS: [Framing; 4] = [Framing::Trojan, Framing::Uot, Framing::Socks, Framing::Xudp];

    fn framed(framing: &Framing, place: &Place, payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        framing.put_address(place.spot(), &mut frame);
        framing.put_length(payload.len(), &mut frame);
        frame.extend_from_slice(payload);
        frame
    }

    fn read(framing: &Framing, data: &[u8]) -> Result<(Option<Place>, Vec<u8>, usize), Unframed> {
        let frame = framing.frame(data)?;
        let mut scratch = [0; NAME];
        let place = framing.place(&data[..frame.address], &mut scratch);
        let place = place.map(Spot::to_place);
        Ok((place, data[frame.head..frame.end].to_vec(), frame.end))
    }

    #[test]
    fn published_packets() {
        let to: Place = SocketAddr::from(([8, 8, 8, 8], 53)).into();
        let trojan = b"\x01\x08\x08\x08\x08\x00\x35\x00\x05\r\nhello";
        assert_eq!(framed(&Framing::Trojan, &to, b"hello"), trojan);
        let uot = b"\x00\x08\x08\x08\x08\x00\x35\x00\x05hello";
        assert_eq!(framed(&Framing::Uot, &to, b"hello"), uot);
        let connected = Framing::Connected(to.clone());
        assert_eq!(framed(&connected, &to, b"U:hi"), b"\x00\x04U:hi");
        assert_eq!(
            read(&connected, b"\x00\x04U:hi"),
            Ok((Some(to.clone()), b"U:hi".to_vec(), 6))
        );
        let keep = b"\x00\x0c\0\0\x02\x01\x02\x00\x35\x01\x08\x08\x08\x08\x00\x05hello";
        assert_eq!(framed(&Framing::Xudp, &to, b"hello"), keep);
        let mut first = keep.to_vec();
        Framing::Xudp.make_first(&mut first);
        assert_eq!(first[STATUS], NEW);
        let bare = b"\x00\x0c\0\0\x01\x00\x02\x00\x35\x01\x08\x08\x08\x08";
        assert_eq!(
            read(&Framing::Xudp, bare),
            Ok((None, Vec::new(), bare.len()))
        );
        // Xray puts a global id behind the address, and keeps a session alive with frames of no use.
        let global = b"\x00\x14\0\0\x01\x01\x02\x00\x35\x01\x08\x08\x08\x0812345678\x00\x02hi";
        assert_eq!(
            read(&Framing::Xudp, global),
            Ok((Some(to), b"hi".to_vec(), global.len()))
        );
        let alive = b"\x00\x04\0\0\x04\x01\x00\x02hi";
        assert_eq!(
            read(&Framing::Xudp, alive),
            Ok((None, b"hi".to_vec(), alive.len()))
        );
    }

    #[test]
    fn every_kind_of_host_and_the_extreme_lengths() {
        for framing in FRAMINGS {
            for place in [
                Place::Name("a.example".into(), 443),
                Place::Address((Ipv6Addr::LOCALHOST, 1).into()),
                Place::Address(([192, 0, 2, 1], 65535).into()),
            ] {
                for payload in [vec![], vec![7], vec![8; LONGEST]] {
                    let frame = framed(&framing, &place, &payload);
                    assert!(frame.len() <= FRAME);
                    let end = frame.len();
                    assert_eq!(
                        read(&framing, &frame),
                        Ok((Some(place.clone()), payload, end))
                    );
                }
            }
        }
    }

    #[test]
    fn broken_and_impossible() {
        for (framing, data) in [
            (Framing::Trojan, &b"\x02"[..]),
            (Framing::Trojan, b"\x01\x7f\0\0\x01\0\x35\0\x01\n\n1"),
            (Framing::Trojan, b"\x01\x7f\0\0\x01\0\x35\0\x01\rx"),
            (Framing::Trojan, b"\x01\x7f\0\0\x01\0\x35\0\x01x"),
            (Framing::Uot, b"\x03"),
            (Framing::Socks, b"\x02"),
            (Framing::Uot, b"\xff\xff"),
            (Framing::Xudp, b"\0\x03\0\0\x02"),
            (Framing::Xudp, b"\x02\x01"),
            (
                Framing::Xudp,
                b"\0\x0c\0\0\x01\x00\x01\0\x35\x01\x08\x08\x08\x08",
            ),
            (
                Framing::Xudp,
                b"\0\x0c\0\x01\x01\x00\x02\0\x35\x01\x08\x08\x08\x08",
            ),
        ] {
            assert_eq!(framing.frame(data), Err(Unframed::Broken), "{data:?}");
        }
        let nobody = b"\x03\x00\x00\x35\x00\x01\r\nx";
        assert_eq!(
            read(&Framing::Trojan, nobody),
            Ok((None, b"x".to_vec(), nobody.len()))
        );
    }

    proptest! {
        #[test]
        fn a_cut_frame_asks_for_more(
            address in any::<(std::net::IpAddr, u16)>(),
            payload in any::<Vec<u8>>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let place = Place::from(SocketAddr::from(address));
            for framing in [Framing::Trojan, Framing::Uot, Framing::Socks, Framing::Xudp, Framing::Connected(place.clone())] {
                let frame = framed(&framing, &place, &payload);
                let cut = cut.index(frame.len());
                let Err(Unframed::Short(needed)) = framing.frame(&frame[..cut]) else {
                    return Err(TestCaseError::fail("a cut frame was taken"));
                };
                prop_assert!(cut < needed && needed <= frame.len());
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            for framing in FRAMINGS {
                match framing.frame(&data) {
                    Ok(frame) => {
                        // A frame of XUDP that keeps its session alive has no payload, nor a length.
                        let empty = framing == Framing::Xudp && frame.address == frame.end;
                        prop_assert!(empty || frame.address < frame.head);
                        prop_assert!(frame.address <= frame.head && frame.head <= frame.end);
                        prop_assert!(frame.end <= data.len());
                        if let Ok((Some(place), payload, _)) = read(&framing, &data) {
                            let again = framed(&framing, &place, &payload);
                            let end = again.len();
                            prop_assert_eq!(read(&framing, &again), Ok((Some(place), payload, end)));
                        }
                    }
                    Err(Unframed::Short(needed)) => prop_assert!(data.len() < needed && needed <= FRAME),
                    Err(Unframed::Broken) => {}
                }
            }
        }
    }
}
