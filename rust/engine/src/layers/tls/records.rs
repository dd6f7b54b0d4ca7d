//! The record layer once the handshake is over (RFC 8446, section 5; RFC 5246, section 6; RFC 5288;
//! RFC 7905).

use std::io;

use rustls::client::ClientConnectionData;
use rustls::kernel::KernelConnection;
use rustls::server::ServerConnectionData;
use rustls::{ConnectionTrafficSecrets, ExtractedSecrets, ProtocolVersion};

use super::Facts;
use crate::failure::{Failure, Outcome};
use crate::layers::Broken;
use crate::layers::cipher::{Key, NONCE, Suite, TAG};
use crate::layers::framed::{Framing, Opened};

const HEADER: usize = 5;

/// The most payload of a record, and the most that sealing may add to it (RFC 5246, section 6.2.3).
const PAYLOAD: usize = 1 << 14;
const SEALED: usize = PAYLOAD + 2048;

/// The part of a TLS 1.2 nonce that travels with each AES-GCM record.
const EXPLICIT: usize = 8;

/// Records sealed with one AES-GCM key before it is changed: RFC 8446, section 5.5, allows 2^24.5.
const PER_KEY: u64 = 1 << 23;

/// The longest handshake message after the handshake: a ticket.
const MESSAGE: usize = 1 << 17;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

const HELLO_REQUEST: u8 = 0;
const NEW_TICKET: u8 = 4;
const KEY_UPDATE: u8 = 24;

const CLOSE_NOTIFY: u8 = 0;
const BAD_RECORD: u8 = 20;
const USER_CANCELED: u8 = 90;

/// What rustls still does: new keys, and a client's tickets.
pub enum Keeper {
    /// Of a client.
    Client(KernelConnection<ClientConnectionData>),
    /// Of a server.
    Server(KernelConnection<ServerConnectionData>),
}

impl Keeper {
    fn is_modern(&self) -> bool {
        let version = match self {
            Self::Client(kept) => kept.protocol_version(),
            Self::Server(kept) => kept.protocol_version(),
        };
        version == ProtocolVersion::TLSv1_3
    }

    fn next_sending(&mut self) -> Option<Way> {
        let (count, secrets) = match self {
            Self::Client(kept) => kept.update_tx_secret(),
            Self::Server(kept) => kept.update_tx_secret(),
        }
        .ok()?;
        Way::new(count, &secrets)
    }

    fn next_receiving(&mut self) -> Option<Way> {
        let (count, secrets) = match self {
            Self::Client(kept) => kept.update_rx_secret(),
            Self::Server(kept) => kept.update_rx_secret(),
        }
        .ok()?;
        Way::new(count, &secrets)
    }

    fn ticket(&mut self, ticket: &[u8]) -> bool {
        match self {
            Self::Client(kept) => kept.handle_new_session_ticket(ticket).is_ok(),
            Self::Server(_) => false,
        }
    }
}

/// One direction.
struct Way {
    key: Key,
    iv: [u8; NONCE],
    count: u64,
    suite: Suite,
}

impl Way {
    fn new(count: u64, secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        let (suite, key, iv) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Suite::Aes128, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Suite::Aes256, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Suite::Chacha, key, iv),
            _ => return None,
        };
        let iv = iv.as_ref().try_into().ok()?;
        Some(Self {
            key: Key::new(suite, key.as_ref())?,
            iv,
            count,
            suite,
        })
    }

    fn nonce(&self) -> [u8; NONCE] {
        let mut nonce = self.iv;
        for (byte, of) in nonce[NONCE - 8..].iter_mut().zip(self.count.to_be_bytes()) {
            *byte ^= of;
        }
        nonce
    }

    /// What TLS 1.2 authenticates beside the payload.
    fn beside(&self, kind: u8, length: usize) -> [u8; 13] {
        let mut beside = [0; 13];
        beside[..8].copy_from_slice(&self.count.to_be_bytes());
        beside[8..11].copy_from_slice(&[kind, 3, 3]);
        beside[11..].copy_from_slice(&(length as u16).to_be_bytes());
        beside
    }

    /// How many bytes of a record are neither payload nor the header.
    fn overhead(&self, modern: bool) -> usize {
        match (modern, self.suite) {
            (true, _) => 1 + TAG,
            (false, Suite::Chacha) => TAG,
            (false, _) => EXPLICIT + TAG,
        }
    }

    fn seal(
        &mut self,
        modern: bool,
        kind: u8,
        payload: &[u8],
        out: &mut [u8],
    ) -> io::Result<usize> {
        let length = payload.len() + self.overhead(modern);
        let Some((header, body)) = out
            .get_mut(..HEADER + length)
            .and_then(|out| out.split_first_chunk_mut())
        else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        *header = [
            if modern { DATA } else { kind },
            3,
            3,
            (length >> 8) as u8,
            length as u8,
        ];
        let nonce = self.nonce();
        let sealed = if modern {
            self.key.seal(nonce, header, payload, &[kind], body)
        } else {
            let beside = self.beside(kind, payload.len());
            let explicit = length - payload.len() - TAG;
            body[..explicit].copy_from_slice(&nonce[NONCE - explicit..]);
            self.key
                .seal(nonce, &beside, payload, &[], &mut body[explicit..])
        };
        sealed.map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        self.count += 1;
        Ok(HEADER + length)
    }

    /// Nonce, what is authenticated beside, and where the sealed part of `body` begins.
    fn prepare(
        &self,
        modern: bool,
        header: [u8; HEADER],
        body: &[u8],
    ) -> Option<([u8; NONCE], Beside, usize)> {
        if modern {
            return Some((self.nonce(), Beside::Header(header), 0));
        }
        let explicit = if self.suite == Suite::Chacha {
            0
        } else {
            EXPLICIT
        };
        let length = body.len().checked_sub(explicit + TAG)?;
        let mut nonce = self.nonce();
        nonce[NONCE - explicit..].copy_from_slice(&body[..explicit]);
        Some((
            nonce,
            Beside::Counted(self.beside(header[0], length)),
            explicit,
        ))
    }
}

enum Beside {
    Header([u8; HEADER]),
    Counted([u8; 13]),
}

impl AsRef<[u8]> for Beside {
    fn as_ref(&self) -> &[u8] {
        match self {
            Self::Header(bytes) => bytes,
            Self::Counted(bytes) => bytes,
        }
    }
}

/// TLS as a framing.
pub struct Records {
    keeper: Keeper,
    modern: bool,
    sending: Way,
    receiving: Way,
    facts: Facts,
    /// Payload that did not fit its reader, and how much of it is given out.
    spare: Vec<u8>,
    given: usize,
    /// A handshake message in part.
    message: Vec<u8>,
    reply: Option<Vec<u8>>,
    closed: bool,
    failed: bool,
}

impl Records {
    /// Go on from a handshake; `early` is payload that came with its last message.
    pub fn new(
        secrets: &ExtractedSecrets,
        keeper: Keeper,
        facts: Facts,
        early: Vec<u8>,
    ) -> Outcome<Self> {
        let ways = (
            Way::new(secrets.tx.0, &secrets.tx.1),
            Way::new(secrets.rx.0, &secrets.rx.1),
        );
        let (Some(sending), Some(receiving)) = ways else {
            return Err(Failure::Misuse(
                "TLS agreed on a cipher that the engine lacks",
            ));
        };
        Ok(Self {
            modern: keeper.is_modern(),
            keeper,
            sending,
            receiving,
            facts,
            spare: early,
            given: 0,
            message: Vec::new(),
            reply: None,
            closed: false,
            failed: false,
        })
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

    fn small(&mut self, kind: u8, payload: &[u8]) -> Vec<u8> {
        let mut record = vec![0; HEADER + payload.len() + self.sending.overhead(self.modern)];
        match self.sending.seal(self.modern, kind, payload, &mut record) {
            Ok(n) => record.truncate(n),
            Err(_) => record.clear(),
        }
        record
    }

    /// Tell the other side of a new key, and use it.
    fn update_sending(&mut self) -> io::Result<Vec<u8>> {
        let told = self.small(HANDSHAKE, &[KEY_UPDATE, 0, 0, 1, 0]);
        self.sending = self
            .keeper
            .next_sending()
            .ok_or(Broken("no further TLS key can be made"))?;
        Ok(told)
    }

    /// Open one record into `room`, which has space for all of it. Payload stays there; its length
    /// and kind come back.
    fn open_record(
        &mut self,
        header: [u8; HEADER],
        body: &mut [u8],
        room: Room<'_>,
    ) -> io::Result<(u8, usize)> {
        let forged = || io::Error::from(Broken("a TLS record was changed on its way"));
        let (nonce, beside, from) = self
            .receiving
            .prepare(self.modern, header, body)
            .ok_or_else(forged)?;
        let sealed = &mut body[from..];
        let length = sealed.len().checked_sub(TAG).ok_or_else(forged)?;
        let plain = match room {
            Room::Apart(into) => {
                let into = into.get_mut(..length).ok_or_else(forged)?;
                self.receiving
                    .key
                    .open(nonce, beside.as_ref(), sealed, into)
                    .map_err(|_| forged())?;
                into
            }
            Room::InPlace => self
                .receiving
                .key
                .open_in_place(nonce, beside.as_ref(), sealed)
                .map_err(|_| forged())?,
        };
        self.receiving.count += 1;
        let (kind, length) = if self.modern {
            // Zeros may pad a record; the last byte that is none says what it is.
            let last = plain
                .iter()
                .rposition(|byte| *byte != 0)
                .ok_or_else(forged)?;
            (plain[last], last)
        } else {
            (header[0], length)
        };
        if length > PAYLOAD {
            return Err(Broken("a TLS record longer than allowed").into());
        }
        Ok((kind, length))
    }

    /// A record that is no payload.
    fn other(&mut self, kind: u8, plain: &[u8]) -> io::Result<()> {
        match (kind, plain) {
            (ALERT, [_, CLOSE_NOTIFY]) => {
                self.closed = true;
                Ok(())
            }
            (DATA, _) | (ALERT, [_, USER_CANCELED]) => Ok(()),
            (ALERT, [_, _]) => Err(Broken("the other side broke off TLS with an alert").into()),
            (HANDSHAKE, [_, ..]) => {
                if self.message.len() + plain.len() > MESSAGE {
                    return Err(Broken("a TLS message longer than allowed").into());
                }
                self.message.extend_from_slice(plain);
                self.messages()
            }
            _ => Err(Broken("a TLS record of a kind that does not belong here").into()),
        }
    }

    fn messages(&mut self) -> io::Result<()> {
        let all = std::mem::take(&mut self.message);
        let mut left = &all[..];
        while let [kind, a, b, c, rest @ ..] = left {
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            let Some((body, after)) = rest.split_at_checked(length) else {
                break;
            };
            left = after;
            match (self.modern, *kind, body) {
                (true, NEW_TICKET, ticket) if self.keeper.ticket(ticket) => {}
                // A new key must begin with a new record.
                (true, KEY_UPDATE, [wanted @ (0 | 1)]) if left.is_empty() => {
                    let next = self.keeper.next_receiving();
                    self.receiving = next.ok_or(Broken("no further TLS key can be made"))?;
                    // One answer is enough for any number of requests that came before it left.
                    if *wanted == 1 && self.reply.is_none() {
                        self.reply = Some(self.update_sending()?);
                    }
                }
                // The answer to a wish for new negotiations is silence.
                (false, HELLO_REQUEST, []) => {}
                _ => return Err(Broken("a TLS message that does not belong here").into()),
            }
        }
        if !left.is_empty() {
            self.message = left.to_vec();
        }
        Ok(())
    }

    fn open_all(&mut self, sealed: &mut [u8], into: &mut [u8]) -> io::Result<Opened> {
        let mut done = Opened {
            used: 0,
            made: self.give_spare(into),
        };
        while self.spare.is_empty() && !self.closed {
            let rest = &mut sealed[done.used..];
            let Some((header, rest)) = rest.split_first_chunk_mut::<HEADER>() else {
                break;
            };
            let header = *header;
            let length = record_length(header, self.modern)?;
            let Some(body) = rest.get_mut(..length) else {
                break;
            };
            let room = &mut into[done.made..];
            let most = length.saturating_sub(self.receiving.overhead(self.modern));
            if length <= room.len() {
                let (kind, n) = self.open_record(header, body, Room::Apart(room))?;
                if kind == DATA {
                    done.made += n;
                } else {
                    self.other(kind, &room[..n])?;
                }
            } else if most <= room.len() || done.made == 0 {
                // Here the payload may fit, but not the last byte of the record; or the reader wants less.
                let from = if self.modern || self.receiving.suite == Suite::Chacha {
                    0
                } else {
                    EXPLICIT
                };
                let (kind, n) = self.open_record(header, body, Room::InPlace)?;
                let plain = &body[from..from + n];
                if kind == DATA {
                    let fits = n.min(room.len());
                    room[..fits].copy_from_slice(&plain[..fits]);
                    self.spare = plain[fits..].to_vec();
                    done.made += fits;
                } else {
                    self.other(kind, plain)?;
                }
            } else {
                break;
            }
            done.used += HEADER + length;
        }
        Ok(done)
    }
}

enum Room<'a> {
    Apart(&'a mut [u8]),
    InPlace,
}

/// The length of a record's body. Fails on what is no record.
fn record_length(header: [u8; HEADER], modern: bool) -> io::Result<usize> {
    let [kind, major, _, high, low] = header;
    let length = usize::from(u16::from_be_bytes([high, low]));
    let known = if modern {
        kind == DATA
    } else {
        matches!(kind, ALERT | HANDSHAKE | DATA)
    };
    if !known || major != 3 || length > SEALED {
        return Err(Broken("what came is not a TLS record").into());
    }
    Ok(length)
}

impl Framing for Records {
    fn seal(&mut self, data: &[u8], out: &mut [u8]) -> io::Result<(usize, usize)> {
        let (mut taken, mut at) = (0, 0);
        if self.sending.count >= PER_KEY {
            if !self.modern {
                return Err(Broken("too much for one key of TLS 1.2").into());
            }
            let told = self.update_sending()?;
            out[..told.len()].copy_from_slice(&told);
            at = told.len();
        }
        for payload in data.chunks(PAYLOAD) {
            if out.len() - at < HEADER + payload.len() + self.sending.overhead(self.modern) {
                break;
            }
            at += self
                .sending
                .seal(self.modern, DATA, payload, &mut out[at..])?;
            taken += payload.len();
        }
        Ok((taken, at))
    }

    fn open(&mut self, sealed: &mut [u8], into: &mut [u8]) -> io::Result<Opened> {
        let opened = self.open_all(sealed, into);
        self.failed |= opened.is_err();
        opened
    }

    fn needed(&self, sealed: &[u8]) -> usize {
        match sealed.first_chunk::<HEADER>() {
            _ if !self.spare.is_empty() => 0,
            None => HEADER,
            Some([.., high, low]) => HEADER + usize::from(u16::from_be_bytes([*high, *low])),
        }
    }

    fn ended(&self) -> bool {
        self.closed && self.spare.is_empty()
    }

    fn may_end(&self) -> bool {
        // Only the other side's own word is an end; anybody on the way can make a FIN.
        false
    }

    fn reply(&mut self) -> Option<Vec<u8>> {
        self.reply.take()
    }

    fn end(&mut self) -> Vec<u8> {
        let words = if self.failed {
            [2, BAD_RECORD]
        } else {
            [1, CLOSE_NOTIFY]
        };
        self.small(ALERT, &words)
    }

    fn facts(&self) -> Option<&Facts> {
        Some(&self.facts)
    }
}
