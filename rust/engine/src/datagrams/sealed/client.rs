//! The client's end of SIP022: one session of ours, and the last two of the server's.

use std::ops::Range;

use super::entropy;
use super::keys::BadKeys;
use super::window::{NEVER, Window};
use super::wire::{self, IDS, Ids, KEPT, Psk};
use crate::datagrams::tally::Bad;
use crate::layers::cipher::{Key, Suite};

pub struct Client {
    /// Ours, which opens answers and seals bodies.
    psk: Psk,
    /// Those of the servers before, nearest first, and the identity that each is told.
    before: Vec<(Psk, [u8; IDS])>,
    ids: Ids,
    key: Option<Key>,
    /// The server's session, and the one before it: a server that starts anew has another one while
    /// packets of the old may still be on their way.
    theirs: Option<Theirs>,
    earlier: Option<Theirs>,
}

/// A session of the server's.
struct Theirs {
    id: u64,
    key: Option<Key>,
    window: Window,
    last: u64,
}

impl Client {
    pub fn new(suite: Suite, keys: &[Vec<u8>]) -> Result<Self, BadKeys> {
        Self::with(suite, keys, entropy::number())
    }

    /// With this session id.
    pub fn with(suite: Suite, keys: &[Vec<u8>], session: u64) -> Result<Self, BadKeys> {
        let keys: Option<Vec<Psk>> = keys.iter().map(|key| Psk::new(suite, key)).collect();
        let mut keys = keys.ok_or(BadKeys)?;
        let psk = keys.pop().ok_or(BadKeys)?;
        if suite == Suite::Chacha && !keys.is_empty() {
            return Err(BadKeys);
        }
        let told: Vec<_> = keys
            .iter()
            .skip(1)
            .chain([&psk])
            .map(Psk::identity)
            .collect();
        Ok(Self {
            key: psk.session_key(session),
            before: keys.into_iter().zip(told).collect(),
            psk,
            ids: Ids { session, packet: 0 },
            theirs: None,
            earlier: None,
        })
    }

    /// What goes before padding and address.
    pub fn prefix(&self) -> usize {
        self.at() + wire::body_len(false)
    }

    /// Where the body begins.
    fn at(&self) -> usize {
        self.psk.head() + self.before.len() * IDS
    }

    pub fn seal(&mut self, packet: &mut [u8], padding: usize, now: u64) -> Option<()> {
        let id = self.ids.packet;
        self.ids.packet = id.checked_add(1)?;
        self.seal_as(id, packet, padding, now)
    }

    /// The same with this packet id, which is nobody else's.
    pub fn seal_as(&self, id: u64, packet: &mut [u8], padding: usize, now: u64) -> Option<()> {
        let session = self.ids.session;
        let (at, ids) = (
            self.at(),
            Ids {
                session,
                packet: id,
            },
        );
        wire::write_body(packet.get_mut(at..)?, now, None, padding)?;
        self.psk.seal(self.key.as_ref(), ids, packet, at)?;
        let Some(own) = &self.psk.block else {
            return Some(());
        };
        let mut head = ids.bytes();
        let blocks = packet.as_chunks_mut::<IDS>().0;
        for ((psk, told), identity) in self.before.iter().zip(blocks.get_mut(1..)?) {
            *identity = std::array::from_fn(|at| told[at] ^ head[at]);
            psk.block.as_ref()?.encrypt(identity);
        }
        let first = self.before.first().and_then(|(psk, _)| psk.block.as_ref());
        first.unwrap_or(own).encrypt(&mut head);
        *blocks.first_mut()? = head;
        Some(())
    }

    pub fn open(&mut self, packet: &mut [u8], now: u64) -> Result<Range<usize>, Bad> {
        if packet.len() < wire::shortest(&self.psk, true) {
            return Err(Bad::Forged);
        }
        let at = self.psk.head();
        let Some(block) = &self.psk.block else {
            let ids = self.psk.open_long(packet).ok_or(Bad::Forged)?;
            self.admits(ids)?;
            let body = wire::read_body(packet, at, &wire::times(now), Some(self.ids.session))?;
            return self.note(ids, None, now).map(|()| body);
        };
        let (head, sealed) = packet.split_first_chunk_mut::<IDS>().ok_or(Bad::Forged)?;
        block.decrypt(head);
        let ids = Ids::of(head);
        self.admits(ids)?;
        let made = match self.known(ids.session) {
            Some(_) => None,
            None => Some(self.psk.session_key(ids.session).ok_or(Bad::Forged)?),
        };
        let known = || self.known(ids.session)?.key.as_ref();
        let key = made.as_ref().or_else(known).ok_or(Bad::Forged)?;
        wire::open_body(key, head, sealed)?;
        let body = wire::read_body(packet, at, &wire::times(now), Some(self.ids.session))?;
        self.note(ids, made, now).map(|()| body)
    }

    fn known(&self, session: u64) -> Option<&Theirs> {
        let mut both = self.theirs.iter().chain(&self.earlier);
        both.find(|known| known.id == session)
    }

    fn admits(&self, ids: Ids) -> Result<(), Bad> {
        let new = match self.known(ids.session) {
            Some(known) => known.window.admits(ids.packet),
            None => ids.packet != NEVER,
        };
        if new { Ok(()) } else { Err(Bad::Replayed) }
    }

    /// An authentic packet. A third session within a minute is refused (section 3.2.4).
    fn note(&mut self, ids: Ids, key: Option<Key>, now: u64) -> Result<(), Bad> {
        let both = self.theirs.iter_mut().chain(&mut self.earlier);
        for known in both {
            if known.id == ids.session {
                known.window.note(ids.packet);
                known.last = now;
                return Ok(());
            }
        }
        if self
            .earlier
            .as_ref()
            .is_some_and(|earlier| now < earlier.last + KEPT)
        {
            return Err(Bad::Full);
        }
        self.earlier = self.theirs.take();
        let mut window = Window::new();
        window.note(ids.packet);
        self.theirs = Some(Theirs {
            id: ids.session,
            key,
            window,
            last: now,
        });
        Ok(())
    }
}
