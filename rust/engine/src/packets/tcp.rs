//! Segments of TCP (RFC 9293).

use std::ops::Range;

use super::checksum::pseudo;
use super::{Malformed, Packet, Pair, long, protocol, word};

const HEAD: usize = 20;

/// The control bits that are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u8);

impl Flags {
    /// Nothing more comes.
    pub const FIN: Self = Self(1);
    /// It begins.
    pub const SYN: Self = Self(2);
    /// It is over.
    pub const RST: Self = Self(4);
    /// To be handed over now.
    pub const PSH: Self = Self(8);
    /// The acknowledgement counts.
    pub const ACK: Self = Self(16);

    /// Whether these are among them.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a SYN says besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The largest segment that its sender takes.
    pub mss: Option<u16>,
    /// By how many bits its windows are to be shifted.
    pub shift: Option<u8>,
}

/// A segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Its ends.
    pub pair: Pair,
    /// The number of its first byte.
    pub seq: u32,
    /// The next byte that its sender expects.
    pub ack: u32,
    /// Its control bits.
    pub flags: Flags,
    /// What its sender takes beyond `ack`, not shifted yet.
    pub window: u16,
    /// Of a SYN.
    pub options: Options,
    /// Where its bytes are.
    pub payload: Range<usize>,
}

impl Segment {
    /// Read the segment in a packet; `trusted` where a device vouches for its checksum.
    pub fn parse(packet: &Packet, bytes: &[u8], trusted: bool) -> Result<Self, Malformed> {
        let at = packet.payload.start;
        let body = bytes.get(packet.payload.clone()).ok_or(Malformed)?;
        segment(packet, body, at, trusted).ok_or(Malformed)
    }
}

fn segment(packet: &Packet, body: &[u8], at: usize, trusted: bool) -> Option<Segment> {
    let header = usize::from(*body.get(12)? >> 4) * 4;
    if header < HEAD || header > body.len() {
        return None;
    }
    let (source, destination) = (packet.source, packet.destination);
    if !trusted {
        let sum = pseudo(source, destination, protocol::TCP, body.len()).with(body);
        if sum.partial() != 0xFFFF {
            return None;
        }
    }
    let flags = Flags(body[13]);
    let options = if flags.has(Flags::SYN) {
        options(&body[HEAD..header])
    } else {
        Options::default()
    };
    Some(Segment {
        pair: Pair::new(source, word(body, 0)?, destination, word(body, 2)?),
        seq: long(body, 4)?,
        ack: long(body, 8)?,
        flags,
        window: word(body, 14)?,
        options,
        payload: at + header..at + body.len(),
    })
}

fn options(mut bytes: &[u8]) -> Options {
    let mut found = Options::default();
    while let Some((&kind, rest)) = bytes.split_first() {
        match kind {
            0 => break,
            1 => bytes = rest,
            _ => {
                let length = rest.first().map_or(0, |length| usize::from(*length));
                let Some(body) = bytes.get(2..length.max(2)).filter(|_| length >= 2) else {
                    break;
                };
                match (kind, body.len()) {
                    (2, 2) => found.mss = word(body, 0),
                    (3, 1) => found.shift = Some(body[0].min(14)), // RFC 7323, section 2.3
                    _ => {}
                }
                bytes = &bytes[length..];
            }
        }
    }
    found
}

/// Append a header from `pair.local` to `pair.remote`, before so many bytes of payload. Its checksum
/// is the pseudo header's sum, which whoever sends it finishes.
pub fn put_tcp(
    pair: &Pair,
    (seq, ack): (u32, u32),
    flags: Flags,
    window: u16,
    options: Options,
    payload: usize,
    to: &mut Vec<u8>,
) {
    let mut said = [0; 8];
    let mut length = 0;
    if let Some(mss) = options.mss {
        said[..2].copy_from_slice(&[2, 4]);
        said[2..4].copy_from_slice(&mss.to_be_bytes());
        length = 4;
    }
    if let Some(shift) = options.shift {
        said[length..length + 4].copy_from_slice(&[1, 3, 3, shift]);
        length += 4;
    }
    let whole = HEAD + length;
    let (local, remote) = (pair.local, pair.remote);
    let sum = pseudo(local.ip(), remote.ip(), protocol::TCP, whole + payload).partial();
    to.extend_from_slice(&local.port().to_be_bytes());
    to.extend_from_slice(&remote.port().to_be_bytes());
    to.extend_from_slice(&seq.to_be_bytes());
    to.extend_from_slice(&ack.to_be_bytes());
    to.extend_from_slice(&[(whole as u8) << 2, flags.0]);
    to.extend_from_slice(&window.to_be_bytes());
    to.extend_from_slice(&sum.to_be_bytes());
    to.extend_from_slice(&[0, 0]);
    to.extend_from_slice(&said[..length]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Sum, put_ip};
    use super::*;

    fn written(payload: [&[u8]; 2], options: Options) -> Vec<u8> {
        let pair = Pair {
            local: "192.0.2.7:80".parse().expect("an address"),
            remote: "10.0.0.1:5000".parse().expect("an address"),
        };
        let length = payload[0].len() + payload[1].len();
        let mut head = Vec::new();
        let flags = Flags::SYN.and(Flags::ACK);
        put_tcp(&pair, (7, 9), flags, 500, options, length, &mut head);
        let sum = Sum::default().with(&head).with_all(&payload).done();
        head[16..18].copy_from_slice(&sum.to_be_bytes());
        let mut bytes = Vec::new();
        let (local, remote) = (pair.local.ip(), pair.remote.ip());
        put_ip(
            local,
            remote,
            protocol::TCP,
            head.len() + length,
            &mut bytes,
        );
        bytes.extend_from_slice(&head);
        for part in payload {
            bytes.extend_from_slice(part);
        }
        bytes
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            one in proptest::collection::vec(any::<u8>(), 0..40),
            other in proptest::collection::vec(any::<u8>(), 0..40),
            mss in proptest::option::of(any::<u16>()),
            shift in proptest::option::of(0..15_u8),
        ) {
            let options = Options { mss, shift };
            let bytes = written([&one, &other], options);
            let packet = Packet::parse(&bytes).expect("a packet");
            let found = Segment::parse(&packet, &bytes, false).expect("a segment");
            prop_assert_eq!((found.seq, found.ack, found.window), (7, 9, 500));
            prop_assert_eq!(found.options, options);
            prop_assert_eq!(&bytes[found.payload], [one, other].concat());
        }

        #[test]
        fn any_bytes_are_a_segment_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let packet = Packet {
                source: "10.0.0.1".parse().expect("an address"),
                destination: "10.0.0.2".parse().expect("an address"),
                protocol: protocol::TCP,
                payload: 0..bytes.len(),
                hops: 1,
                fragment: false,
            };
            if let Ok(found) = Segment::parse(&packet, &bytes, true) {
                prop_assert!(bytes.get(found.payload).is_some());
            }
        }
    }

    #[test]
    fn a_wrong_checksum_is_malformed() {
        let mut bytes = written([b"abc", b""], Options::default());
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let packet = Packet::parse(&bytes).expect("a packet");
        assert_eq!(Segment::parse(&packet, &bytes, false), Err(Malformed));
        assert!(Segment::parse(&packet, &bytes, true).is_ok());
    }
}
