//! Sealed chunks: how shadowsocks goes over a stream, SIP004 (AEAD) and SIP022 (the 2022 edition).
//!
//! ```text
//! first    prefix | seal(lead | length u16) | seal(payload)     SIP004: the prefix is the salt, no lead
//! then     seal(length u16) | seal(payload)                     SIP022: salt and identities; type, time, ...
//! ```
//!
//! Each direction counts its seals, and the count is the nonce. Prefix, lead and keys are the maker's
//! affair; what is here is what happens at byte time: the first length, which waits for the first
//! payload, and the answer's salt, which may come at any time. A chunk may be empty: some clients send
//! one when they have nothing to say for a while.

use std::io;
use std::time::{Instant, SystemTime};

use aws_lc_rs::hkdf;

use super::Broken;
use super::cipher::{Counting, Key, Suite, TAG};
use super::framed::{Framing, Opened};

/// The longest payload of a chunk that is sent, whatever longer ones may be received: the other side
/// opens the first piece of a long write while the rest is on its way.
const SENT: usize = 0x4000;

/// A sealed length.
const LENGTH: usize = 2 + TAG;

/// How far the clocks of two ends may be apart (SIP022, section 3.1.3).
const SKEW: u64 = 30;

/// The longest prefix and lead: a salt and 14 identities; type, time, and a salt.
const PREFIX: usize = 256;
const LEAD: usize = 9 + 32;

/// Unix time, told once and counted on.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    told: u64,
    at: Instant,
}

impl Clock {
    /// What this machine's clock says.
    pub fn system() -> Self {
        let unix = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Self::told(unix.map_or(0, |unix| unix.as_secs()))
    }

    /// It is `unix` seconds now.
    pub fn told(unix: u64) -> Self {
        Self {
            told: unix,
            at: Instant::now(),
        }
    }

    fn now(&self) -> u64 {
        self.told + self.at.elapsed().as_secs()
    }

    /// Whether a peer's time is near enough.
    fn accepts(&self, time: u64) -> bool {
        self.now().abs_diff(time) <= SKEW
    }
}

/// How what we write is sealed.
pub struct Sealing {
    /// The key of this direction.
    pub key: Vec<u8>,
    /// Goes before the first chunk.
    pub prefix: Vec<u8>,
    /// Goes before the first length, sealed with it. It holds the time behind its first byte, put in
    /// when it is sealed.
    pub lead: Vec<u8>,
}

/// How what we read is opened.
pub enum Opening {
    /// With this key, under which so many pieces were opened already.
    Known(Vec<u8>, u64),
    /// With a key made of this one and a salt that is still to come. With a request's salt this is
    /// SIP022, and the answer must name it.
    Awaited(Vec<u8>, Option<Vec<u8>>),
}

/// SIP004's key of one direction of one session: HKDF-SHA1 (RFC 5869).
pub fn hkdf_key(suite: Suite, master: &[u8], salt: &[u8]) -> Option<Key> {
    let mut key = [0; 32];
    let key = key.get_mut(..suite.key_len())?;
    hkdf_sha1(master, salt, b"ss-subkey", key)?;
    Key::new(suite, key)
}

/// HKDF-SHA1 (RFC 5869) into `key`; None when that is longer than it can be.
pub fn hkdf_sha1(master: &[u8], salt: &[u8], info: &[u8], key: &mut [u8]) -> Option<()> {
    let salt = hkdf::Salt::new(hkdf::HKDF_SHA1_FOR_LEGACY_USE_ONLY, salt);
    salt.extract(master)
        .expand(&[info], Length(key.len()))
        .ok()?
        .fill(key)
        .ok()
}

/// SIP022's.
pub fn blake3_key(suite: Suite, master: &[u8], salt: &[u8]) -> Option<Key> {
    let mut key = [0; 32];
    let key = key.get_mut(..suite.key_len())?;
    let mut hasher = blake3::Hasher::new_derive_key("shadowsocks 2022 session subkey");
    hasher.update(master).update(salt).finalize_xof().fill(key);
    Key::new(suite, key)
}

struct Length(usize);

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

/// What an answer is opened with (its salt aside), and the request that it must name.
type Answer = (Vec<u8>, Option<Vec<u8>>);

/// The framing of one stream.
pub struct Chunks {
    suite: Suite,
    /// The longest payload of a chunk that is received.
    limit: usize,
    clock: Clock,
    sealer: Counting,
    /// Prefix and lead, until they are sent.
    first: Option<(Vec<u8>, Vec<u8>)>,
    opener: Option<Counting>,
    awaited: Option<Box<Answer>>,
    step: Step,
    /// Payload of a chunk that did not fit its reader, and how much of it is given out.
    spare: Vec<u8>,
    given: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Salt,
    /// The first length of a SIP022 answer.
    Header,
    Length,
    Payload(usize),
}

impl Chunks {
    /// None when a key, prefix or lead has a length that cannot be.
    pub fn new(
        suite: Suite,
        sealing: Sealing,
        opening: Opening,
        limit: usize,
        clock: Clock,
    ) -> Option<Self> {
        let Sealing { key, prefix, lead } = sealing;
        let sealer = Counting::new(Key::new(suite, &key)?, 0);
        if prefix.len() > PREFIX || lead.len() > LEAD || (1..9).contains(&lead.len()) {
            return None;
        }
        let (opener, awaited, step) = match opening {
            Opening::Known(key, count) => (
                Some(Counting::new(Key::new(suite, &key)?, count)),
                None,
                Step::Length,
            ),
            Opening::Awaited(master, request) => {
                let fits = |salt: &Vec<u8>| salt.len() == suite.key_len();
                if !fits(&master) || !request.as_ref().is_none_or(fits) {
                    return None;
                }
                (None, Some(Box::new((master, request))), Step::Salt)
            }
        };
        let first = Some((prefix, lead));
        let limit = limit.clamp(1, 0xFFFF);
        Some(Self {
            suite,
            limit,
            clock,
            sealer,
            first,
            opener,
            awaited,
            step,
            spare: Vec::new(),
            given: 0,
        })
    }

    /// Prefix and first chunk: how much was made.
    fn begin(
        &mut self,
        prefix: &[u8],
        lead: &[u8],
        payload: &[u8],
        out: &mut [u8],
    ) -> io::Result<usize> {
        let mut header = [0; LEAD + 2];
        let header = &mut header[..lead.len() + 2];
        header[..lead.len()].copy_from_slice(lead);
        if !lead.is_empty() {
            header[1..9].copy_from_slice(&self.clock.now().to_be_bytes());
        }
        header[lead.len()..].copy_from_slice(&(payload.len() as u16).to_be_bytes());
        out[..prefix.len()].copy_from_slice(prefix);
        let at = prefix.len() + put(&mut self.sealer, header, &mut out[prefix.len()..])?;
        Ok(at + put(&mut self.sealer, payload, &mut out[at..])?)
    }

    /// The sealed bytes that the next step takes.
    fn wants(&self) -> usize {
        match self.step {
            Step::Salt => self.suite.key_len(),
            Step::Header => 9 + self.suite.key_len() + LENGTH,
            Step::Length => LENGTH,
            Step::Payload(n) => n + TAG,
        }
    }

    /// A step that yields no payload.
    fn advance(&mut self, sealed: &[u8]) -> io::Result<()> {
        let mut plain = [0; LEAD + 2];
        let plain = &mut plain[..sealed.len().saturating_sub(TAG).min(LEAD + 2)];
        self.step = match self.step {
            Step::Salt => self.answered(sealed)?,
            Step::Header => {
                self.take(sealed, plain)?;
                Step::Payload(self.named(plain)?)
            }
            Step::Length => {
                self.take(sealed, plain)?;
                let length = usize::from(u16::from_be_bytes([plain[0], plain[1]]));
                if length > self.limit {
                    return Err(
                        Broken("the other side sent a chunk of a length that cannot be").into(),
                    );
                }
                Step::Payload(length)
            }
            Step::Payload(_) => self.step,
        };
        Ok(())
    }

    fn answered(&mut self, salt: &[u8]) -> io::Result<Step> {
        let Some((master, request)) = self.awaited.as_deref() else {
            return Err(Broken("a salt that nobody awaits").into());
        };
        let (key, next) = match request {
            None => (hkdf_key(self.suite, master, salt), Step::Length),
            Some(_) => (blake3_key(self.suite, master, salt), Step::Header),
        };
        self.opener = Some(Counting::new(
            key.ok_or(Broken("no key can be made of this salt"))?,
            0,
        ));
        if next == Step::Length {
            self.awaited = None;
        }
        Ok(next)
    }

    /// Check the header of an answer; the length of the payload behind it.
    fn named(&mut self, header: &[u8]) -> io::Result<usize> {
        let wrong = |why| Err(io::Error::from(Broken(why)));
        let asked = self.awaited.take().and_then(|awaited| awaited.1);
        let [1, time @ ..] = header else {
            return wrong("the server's answer is no answer");
        };
        let short = "the server's answer is cut short";
        let Some((time, rest)) = time.split_first_chunk::<8>() else {
            return wrong(short);
        };
        let Some((request, length)) = rest.split_last_chunk::<2>() else {
            return wrong(short);
        };
        if !self.clock.accepts(u64::from_be_bytes(*time)) {
            return wrong("the server's clock and ours are more than 30 s apart");
        }
        if asked.as_deref() != Some(request) {
            return wrong("the server answers another request");
        }
        Ok(usize::from(u16::from_be_bytes(*length)))
    }

    fn take(&mut self, sealed: &[u8], plain: &mut [u8]) -> io::Result<()> {
        let opener = self
            .opener
            .as_mut()
            .ok_or(Broken("sealed bytes before a salt"))?;
        let forged = || Broken("the other side sent a chunk that is not authentic");
        opener.open(sealed, plain).map_err(|_| forged().into())
    }

    fn give_spare(&mut self, into: &mut [u8]) -> usize {
        let rest = &self.spare[self.given..];
        let n = rest.len().min(into.len());
        into[..n].copy_from_slice(&rest[..n]);
        self.given += n;
        if self.given == self.spare.len() {
            self.spare = Vec::new();
            self.given = 0;
        }
        n
    }
}

impl Framing for Chunks {
    fn seal(&mut self, data: &[u8], out: &mut [u8]) -> io::Result<(usize, usize)> {
        if data.is_empty() {
            return Ok((0, 0));
        }
        // Even pieces: 64 KiB of payload would else end in a chunk of four bytes.
        let size = piece(data.len(), self.limit.min(SENT));
        let (mut taken, mut at) = (0, 0);
        for payload in data.chunks(size) {
            if out.len() - at < PREFIX + LEAD + LENGTH + payload.len() + TAG {
                break;
            }
            if let Some((prefix, lead)) = self.first.take() {
                at = self.begin(&prefix, &lead, payload, out)?;
            } else {
                at += put(
                    &mut self.sealer,
                    &(payload.len() as u16).to_be_bytes(),
                    &mut out[at..],
                )?;
                at += put(&mut self.sealer, payload, &mut out[at..])?;
            }
            taken += payload.len();
        }
        Ok((taken, at))
    }

    fn open(&mut self, sealed: &mut [u8], into: &mut [u8]) -> io::Result<Opened> {
        let mut done = Opened {
            used: 0,
            made: self.give_spare(into),
        };
        while self.spare.is_empty() {
            let Some(piece) = sealed.get(done.used..done.used + self.wants()) else {
                break;
            };
            let Step::Payload(length) = self.step else {
                self.advance(piece)?;
                done.used += piece.len();
                continue;
            };
            let room = &mut into[done.made..];
            if length <= room.len() {
                self.take(piece, &mut room[..length])?;
                done.made += length;
            } else if done.made == 0 {
                let mut spare = vec![0; length];
                self.take(piece, &mut spare)?;
                self.spare = spare;
                done.made = self.give_spare(into);
            } else {
                break;
            }
            done.used += length + TAG;
            self.step = Step::Length;
        }
        Ok(done)
    }

    fn needed(&self, _: &[u8]) -> usize {
        if self.spare.is_empty() {
            self.wants()
        } else {
            0
        }
    }

    fn may_end(&self) -> bool {
        // Between chunks, or before there was an answer at all.
        matches!(self.step, Step::Salt | Step::Length)
    }
}

/// Payload per chunk, so that all of `length` goes in the fewest chunks of about one size.
fn piece(length: usize, longest: usize) -> usize {
    let chunks = length.div_ceil(longest).max(1);
    length.div_ceil(chunks).max(1)
}

fn put(sealer: &mut Counting, plain: &[u8], out: &mut [u8]) -> io::Result<usize> {
    let length = plain.len() + TAG;
    let out = out.get_mut(..length).ok_or(io::ErrorKind::InvalidInput)?;
    sealer
        .seal(plain, out)
        .map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::framed::ROOM;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex
            .bytes()
            .filter_map(|digit| (digit as char).to_digit(16).map(|digit| digit as u8))
            .collect();
        digits
            .chunks(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect()
    }

    fn counted(n: u8) -> Vec<u8> {
        (0..n).collect()
    }

    /// A client's request and a server's answer, by the published words.
    #[test]
    fn the_stream_of_sip004() {
        let master = bytes("5f4dcc3b5aa765d61d8327deb882cf99");
        let salt = counted(16);
        let key = bytes("ed2a618d9490d1701de885d82aa80616");
        let plain = b"\x03\x0bexample.com\x00PGET / HTTP/1.1\r\n\r\n";
        let wanted = bytes(
            "000102030405060708090a0b0c0d0e0f 5c0f946549da828843700377f286798d7a80
             ff1a7ea18456ee41050a92f7f435fa36315b8158837e9ceea5d9c92755d199ad3e5f2ed1e591579c48015cb40ede30d2be",
        );
        let sealing = Sealing {
            key: key.clone(),
            prefix: salt,
            lead: Vec::new(),
        };
        let opening = Opening::Known(key, 0);
        let clock = Clock::told(0);
        let mut sender = Chunks::new(Suite::Aes128, sealing, opening, 0x3FFF, clock).expect("made");
        let mut out = vec![0; ROOM];
        let (taken, made) = sender.seal(plain, &mut out).expect("sealed");
        assert_eq!(taken, plain.len());
        assert_eq!(&out[..made], wanted);

        // Whoever awaits the salt finds the key itself, byte by byte if need be.
        for piece in [1, 7, made] {
            let sealing = Sealing {
                key: counted(16),
                prefix: Vec::new(),
                lead: Vec::new(),
            };
            let opening = Opening::Awaited(master.clone(), None);
            let mut reader =
                Chunks::new(Suite::Aes128, sealing, opening, 0x3FFF, clock).expect("made");
            let (mut waiting, mut plainly, mut into) = (Vec::new(), Vec::new(), [0; 5]);
            for part in wanted.chunks(piece) {
                waiting.extend_from_slice(part);
                loop {
                    let done = reader.open(&mut waiting, &mut into).expect("opened");
                    waiting.drain(..done.used);
                    plainly.extend_from_slice(&into[..done.made]);
                    if done == Opened::default() {
                        break;
                    }
                }
            }
            assert_eq!(plainly, plain);
            assert!(reader.may_end());
        }
    }

    /// Xray sends an empty chunk when its client is silent for a while.
    #[test]
    fn empty_chunks_are_read_past() {
        let key = counted(16);
        let mut sealer = Counting::new(Key::new(Suite::Aes128, &key).expect("key"), 0);
        let mut wire = vec![0; ROOM];
        let mut at = 0;
        for payload in [&b""[..], b"", b"SSH-2.0", b"", b"x", b""] {
            let length = (payload.len() as u16).to_be_bytes();
            at += put(&mut sealer, &length, &mut wire[at..]).expect("sealed");
            at += put(&mut sealer, payload, &mut wire[at..]).expect("sealed");
        }
        for piece in [1, 7, LENGTH, LENGTH + TAG, at] {
            let sealing = Sealing {
                key: key.clone(),
                prefix: Vec::new(),
                lead: Vec::new(),
            };
            let opening = Opening::Known(key.clone(), 0);
            let clock = Clock::told(0);
            let mut reader =
                Chunks::new(Suite::Aes128, sealing, opening, 0x3FFF, clock).expect("made");
            let (mut waiting, mut plainly, mut into) = (Vec::new(), Vec::new(), [0; 3]);
            for part in wire[..at].chunks(piece) {
                waiting.extend_from_slice(part);
                loop {
                    let done = reader.open(&mut waiting, &mut into).expect("opened");
                    waiting.drain(..done.used);
                    plainly.extend_from_slice(&into[..done.made]);
                    if done == Opened::default() {
                        break;
                    }
                }
            }
            assert_eq!(plainly, b"SSH-2.0x");
            assert!(waiting.is_empty() && reader.may_end());
        }
    }

    #[test]
    fn the_answer_of_sip022() {
        let psk = counted(16);
        let request: Vec<u8> = (0xa0..0xb0).collect();
        let answer = bytes(
            "c0c1c2c3c4c5c6c7c8c9cacbcccdcecf
             c1b3ab154843fd6fa2c970e271de3af3d57030f054082fc15a01edaeb9f1dc8a18e5edd8cb151256c6b567
             df02160bdc9a3e7018a6198b7a1c640c0b7c",
        );
        let reader = |request: Vec<u8>, time| {
            let sealing = Sealing {
                key: psk.clone(),
                prefix: Vec::new(),
                lead: Vec::new(),
            };
            let opening = Opening::Awaited(psk.clone(), Some(request));
            Chunks::new(Suite::Aes128, sealing, opening, 0xFFFF, Clock::told(time)).expect("made")
        };
        let mut into = [0; 16];
        for time in [1_699_999_970, 1_700_000_000, 1_700_000_029] {
            let done = reader(request.clone(), time).open(&mut answer.clone(), &mut into);
            let done = done.expect("opened");
            assert_eq!((done.used, &into[..done.made]), (answer.len(), &b"ok"[..]));
        }
        for time in [1_699_999_969, 1_700_000_032] {
            assert!(
                reader(request.clone(), time)
                    .open(&mut answer.clone(), &mut into)
                    .is_err()
            );
        }
        let other = vec![0; 16];
        assert!(
            reader(other, 1_700_000_000)
                .open(&mut answer.clone(), &mut into)
                .is_err()
        );
        for at in 16..answer.len() {
            let mut changed = answer.clone();
            changed[at] ^= 1;
            let opened = reader(request.clone(), 1_700_000_000).open(&mut changed, &mut into);
            assert!(opened.is_err(), "{at}");
        }
        let mut cut = reader(request, 1_700_000_000);
        assert!(cut.open(&mut answer[..60].to_vec(), &mut into).is_ok());
        assert!(!cut.may_end());
    }
}
