//! `WebSocket` data as a byte stream (RFC 6455, section 5). The boundaries of messages mean nothing.
//!
//! ```text
//! FIN, opcode | MASK, length 7 bits | 2 or 8 bytes of a longer length | mask 4 | payload
//! ```
//!
//! A client masks all it sends, a server nothing; the other way round breaks the protocol. A ping is
//! answered, and a close frame is the end of what the other side sends. There is no half-close in
//! `WebSocket`: most peers end both ways when one of them does.

use std::io;

use aws_lc_rs::rand;

use super::Broken;
use super::framed::{Framing, Opened};

/// The longest head of a frame.
const HEAD: usize = 2 + 8 + 4;

/// The longest payload of a control frame (section 5.5).
const CONTROL: usize = 125;

/// Answers to pings that wait to be sent; pings past it get none, which section 5.5.3 allows.
const WAITING: usize = 8 * (HEAD + CONTROL);

/// Masks that are drawn at once.
const DRAWN: usize = 256;

const FIN: u8 = 0x80;
const MASKED: u8 = 0x80;
/// Lengths that say that two bytes, or eight, follow with the real one.
const MEDIUM: u8 = 0x7E;
const LONG: u8 = 0x7F;
const CONTINUED: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A close with the code 1000: all is done.
const NORMAL: [u8; 2] = 1000u16.to_be_bytes();

/// The framing of one stream, on which the handshake is done.
pub struct WebSocket {
    client: bool,
    /// What is left to come of a data frame, and with which mask from which byte of it on.
    left: u64,
    mask: [u8; 4],
    turn: usize,
    ended: bool,
    /// Masks not used yet.
    masks: Vec<u8>,
    /// Pongs to be sent.
    answers: Vec<u8>,
}

/// The head of a frame.
struct Head {
    opcode: u8,
    length: u64,
    mask: [u8; 4],
    size: usize,
}

impl WebSocket {
    /// The client's end, or the server's.
    pub fn new(client: bool) -> Self {
        Self {
            client,
            left: 0,
            mask: [0; 4],
            turn: 0,
            ended: false,
            masks: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// A mask that nobody can foresee (section 5.3).
    fn draw(&mut self) -> io::Result<[u8; 4]> {
        if self.masks.len() < 4 {
            self.masks = vec![0; DRAWN];
            rand::fill(&mut self.masks).map_err(|_| io::Error::other("no random bytes"))?;
        }
        let mut mask = [0; 4];
        let at = self.masks.len() - 4;
        mask.copy_from_slice(&self.masks[at..]);
        self.masks.truncate(at);
        Ok(mask)
    }

    /// Write a frame into `out`, which has room for it: its size.
    fn put(&mut self, opcode: u8, payload: &[u8], out: &mut [u8]) -> io::Result<usize> {
        let flag = if self.client { MASKED } else { 0 };
        out[0] = FIN | opcode;
        let mut at = match payload.len() {
            length @ 0..=125 => {
                out[1] = flag | length as u8;
                2
            }
            length @ 126..=0xFFFF => {
                out[1] = flag | MEDIUM;
                out[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                4
            }
            length => {
                out[1] = flag | LONG;
                out[2..10].copy_from_slice(&(length as u64).to_be_bytes());
                10
            }
        };
        let mut mask = [0; 4];
        if self.client {
            mask = self.draw()?;
            out[at..at + 4].copy_from_slice(&mask);
            at += 4;
        }
        let end = at + payload.len();
        put_masked(payload, &mut out[at..end], mask, 0);
        Ok(end)
    }

    fn head(&self, sealed: &[u8]) -> Result<Option<Head>, Broken> {
        let Some(&[first, second]) = sealed.first_chunk::<2>() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(Broken("a WebSocket frame with bits that nobody agreed on"));
        }
        if (second & MASKED != 0) == self.client {
            return Err(Broken(
                "a WebSocket frame whose mask is missing, or too much",
            ));
        }
        let size = head_size(second);
        if sealed.len() < size {
            return Ok(None);
        }
        let length = match second & 0x7F {
            MEDIUM => u64::from(u16::from_be_bytes([sealed[2], sealed[3]])),
            LONG => {
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&sealed[2..10]);
                u64::from_be_bytes(bytes)
            }
            short => u64::from(short),
        };
        if length >> 63 != 0 {
            return Err(Broken("a WebSocket frame of a length that cannot be"));
        }
        let mut mask = [0; 4];
        if second & MASKED != 0 {
            mask.copy_from_slice(&sealed[size - 4..size]);
        }
        let opcode = first & 0x0F;
        let control = opcode & 8 != 0;
        if control && (first & FIN == 0 || length > CONTROL as u64) {
            return Err(Broken(
                "a WebSocket control frame that is too long, or in parts",
            ));
        }
        Ok(Some(Head {
            opcode,
            length,
            mask,
            size,
        }))
    }

    /// What a whole control frame asks for.
    fn control(&mut self, opcode: u8, mask: [u8; 4], payload: &[u8]) -> io::Result<()> {
        match opcode {
            CLOSE => self.ended = true,
            PING if self.answers.len() < WAITING => {
                let mut plain = [0; CONTROL];
                let plain = &mut plain[..payload.len()];
                put_masked(payload, plain, mask, 0);
                let mut frame = [0; HEAD + CONTROL];
                let size = self.put(PONG, plain, &mut frame)?;
                self.answers.extend_from_slice(&frame[..size]);
            }
            PING | PONG => {}
            _ => return Err(Broken("a WebSocket frame of an unknown kind").into()),
        }
        Ok(())
    }
}

impl Framing for WebSocket {
    fn seal(&mut self, data: &[u8], out: &mut [u8]) -> io::Result<(usize, usize)> {
        if data.is_empty() {
            return Ok((0, 0));
        }
        let data = &data[..data.len().min(out.len().saturating_sub(HEAD))];
        let made = self.put(BINARY, data, out)?;
        Ok((data.len(), made))
    }

    fn open(&mut self, sealed: &mut [u8], into: &mut [u8]) -> io::Result<Opened> {
        let mut done = Opened::default();
        while !self.ended {
            let rest = &sealed[done.used..];
            if self.left > 0 {
                let left = usize::try_from(self.left).unwrap_or(usize::MAX);
                let n = left.min(rest.len()).min(into.len() - done.made);
                if n == 0 {
                    break;
                }
                put_masked(
                    &rest[..n],
                    &mut into[done.made..][..n],
                    self.mask,
                    self.turn,
                );
                self.turn = (self.turn + n) % 4;
                self.left -= n as u64;
                done.used += n;
                done.made += n;
                continue;
            }
            let Some(head) = self.head(rest)? else { break };
            if matches!(head.opcode, CONTINUED | TEXT | BINARY) {
                (self.left, self.mask, self.turn) = (head.length, head.mask, 0);
                done.used += head.size;
                continue;
            }
            let length = usize::try_from(head.length).unwrap_or(usize::MAX);
            let Some(payload) = rest.get(head.size..head.size.saturating_add(length)) else {
                break;
            };
            self.control(head.opcode, head.mask, payload)?;
            done.used += head.size + length;
        }
        Ok(done)
    }

    fn needed(&self, sealed: &[u8]) -> usize {
        if self.left > 0 {
            return 1;
        }
        let Some(&[first, second]) = sealed.first_chunk::<2>() else {
            return 2;
        };
        let short = usize::from(second & 0x7F);
        let size = head_size(second);
        if first & 8 != 0 && short <= CONTROL {
            size + short
        } else {
            size
        }
    }

    fn ended(&self) -> bool {
        self.ended
    }

    fn may_end(&self) -> bool {
        self.left == 0
    }

    fn reply(&mut self) -> Option<Vec<u8>> {
        (!self.answers.is_empty()).then(|| std::mem::take(&mut self.answers))
    }

    fn end(&mut self) -> Vec<u8> {
        let mut frame = [0; HEAD + NORMAL.len()];
        match self.put(CLOSE, &NORMAL, &mut frame) {
            Ok(size) => frame[..size].to_vec(),
            Err(_) => Vec::new(),
        }
    }
}

fn head_size(second: u8) -> usize {
    let length = match second & 0x7F {
        MEDIUM => 2,
        LONG => 8,
        _ => 0,
    };
    2 + length + if second & MASKED != 0 { 4 } else { 0 }
}

/// Copy `data` with a mask, whose byte `turn` is the first.
fn put_masked(data: &[u8], out: &mut [u8], mask: [u8; 4], turn: usize) {
    if mask == [0; 4] {
        out.copy_from_slice(data);
        return;
    }
    let mut wide = [0; 16];
    for (at, byte) in wide.iter_mut().enumerate() {
        *byte = mask[(at + turn) % 4];
    }
    for (from, to) in data.chunks(16).zip(out.chunks_mut(16)) {
        for ((from, to), mask) in from.iter().zip(to).zip(&wide) {
            *to = from ^ mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::layers::framed::ROOM;

    /// Open everything in pieces of one size, into small room: payload and answers.
    fn opened(reader: &mut WebSocket, wire: &[u8], piece: usize) -> io::Result<Vec<u8>> {
        let (mut waiting, mut plain, mut into) = (Vec::new(), Vec::new(), [0; 7]);
        for part in wire.chunks(piece) {
            waiting.extend_from_slice(part);
            loop {
                let done = reader.open(&mut waiting, &mut into)?;
                waiting.drain(..done.used);
                plain.extend_from_slice(&into[..done.made]);
                if done == Opened::default() {
                    break;
                }
            }
        }
        Ok(plain)
    }

    /// The examples of RFC 6455, section 5.7.
    #[test]
    fn published_frames() {
        let mut client = WebSocket::new(true);
        let unmasked = b"\x81\x05Hello";
        assert_eq!(opened(&mut client, unmasked, 3).expect("opened"), b"Hello");
        let parts = b"\x01\x03Hel\x80\x02lo";
        assert_eq!(opened(&mut client, parts, 1).expect("opened"), b"Hello");
        let mut server = WebSocket::new(false);
        let masked = b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(opened(&mut server, masked, 4).expect("opened"), b"Hello");
        let ping = b"\x89\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58";
        assert_eq!(opened(&mut server, ping, 2).expect("opened"), b"");
        assert_eq!(server.reply().as_deref(), Some(&b"\x8a\x05Hello"[..]));
        let mut long = vec![0x82, 0x7E, 0x01, 0x00];
        long.extend([9; 256]);
        assert_eq!(opened(&mut client, &long, 11).expect("opened"), [9; 256]);
    }

    #[test]
    fn a_close_is_the_end() {
        let mut server = WebSocket::new(false);
        let mut client = WebSocket::new(true);
        let end = client.end();
        assert_eq!(opened(&mut server, &end, 1).expect("opened"), b"");
        assert!(server.ended());
        assert_eq!(server.end(), b"\x88\x02\x03\xe8");
    }

    #[test]
    fn what_breaks_the_protocol() {
        for (client, wire) in [
            (true, &b"\xc2\x01x"[..]),
            (true, b"\x82\x81\0\0\0\0x"),
            (false, b"\x82\x01x"),
            (true, b"\x09\x01x"),
            (true, b"\x8b\x00"),
            (true, b"\x89\x7e\x00\x80"),
            (true, b"\x82\x7f\xff\0\0\0\0\0\0\0"),
        ] {
            assert!(
                opened(&mut WebSocket::new(client), wire, 64).is_err(),
                "{wire:?}"
            );
        }
    }

    #[test]
    fn pings_are_answered_within_a_bound() {
        let mut client = WebSocket::new(true);
        let ping = [&b"\x89\x7d"[..], &[7; CONTROL]].concat();
        for _ in 0..100 {
            opened(&mut client, &ping, 200).expect("opened");
        }
        assert!(client.reply().expect("answers").len() < WAITING + HEAD + CONTROL);
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened(
            writes in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..70_000), 0..4),
            piece in 1..5000usize,
            client: bool,
        ) {
            let (mut sender, mut reader) = (WebSocket::new(client), WebSocket::new(!client));
            let (mut wire, mut out) = (Vec::new(), vec![0; ROOM]);
            for write in &writes {
                let mut rest = &write[..];
                while !rest.is_empty() {
                    let (taken, made) = sender.seal(rest, &mut out).expect("sealed");
                    wire.extend_from_slice(&out[..made]);
                    rest = &rest[taken..];
                }
            }
            let plain = opened(&mut reader, &wire, piece).expect("opened");
            prop_assert_eq!(plain, writes.concat());
            prop_assert!(reader.may_end());
        }

        #[test]
        fn any_bytes_are_read_or_refused(data in proptest::collection::vec(any::<u8>(), 0..300), client: bool, piece in 1..300usize) {
            let mut reader = WebSocket::new(client);
            if let Ok(plain) = opened(&mut reader, &data, piece) {
                prop_assert!(plain.len() <= data.len());
            }
        }
    }
}
