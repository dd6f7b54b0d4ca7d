//! The server's end of SIP022: sessions of clients by their own ids, users by identity (SIP023), and
//! those whom another server is to serve.
//!
//! A session is remembered for as long as one of its packets could come again and pass for new, which
//! is longer than its flows may live. Its memory is two keys and a window, under 2 KB; when the bound
//! is reached and all were heard of within a minute, new ones are dropped rather than old ones forgotten.

use std::hash::BuildHasher;
use std::ops::RangeInclusive;

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use slab::Slab;

use super::entropy;
use super::keys::{BadKeys, DoorKeys};
use super::window::{NEVER, Window};
use super::wire::{self, IDS, Ids, KEPT, Psk};
use crate::datagrams::codec::Opened;
use crate::datagrams::ids::Origin;
use crate::datagrams::order::{Linked, Links, Order};
use crate::datagrams::tally::Bad;
use crate::layers::cipher::{Key, Suite};

/// Sessions forgotten for each new one, when they are old: more than one, so that a crowd that left
/// does not stay in memory.
const FORGOTTEN: usize = 2;

/// Of the sessions that may be remembered, the part that one of several users may take up, so that
/// nobody can keep the others out.
const SHARE: usize = 2;

pub struct Server {
    psk: Psk,
    users: Vec<(Psk, Serves)>,
    /// How many sessions each user has.
    taken: Vec<usize>,
    by_identity: HashMap<[u8; IDS], u32>,
    guests: Slab<Guest>,
    by_origin: HashTable<u32>,
    /// The one that was silent longest is the first to be forgotten.
    order: Order,
    hasher: DefaultHashBuilder,
    most: usize,
    since: u64,
}

/// Who serves a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    We,
    Next,
}

/// A client's session, and ours with it.
struct Guest {
    origin: Origin,
    /// Opens its packets. `ChaCha` and relayed users have none.
    key: Option<Key>,
    window: Window,
    last: u64,
    reply: Option<Reply>,
    links: Links,
}

struct Reply {
    ids: Ids,
    key: Option<Key>,
}

const _: () = assert!(size_of::<Guest>() < 2048, "what the docs say");

impl Linked for Guest {
    fn links(&self) -> &Links {
        &self.links
    }

    fn links_mut(&mut self) -> &mut Links {
        &mut self.links
    }
}

impl Server {
    /// `since` is the time from which all sessions are remembered: a packet from before it could be a
    /// replay of one that nobody remembers.
    pub fn new(
        suite: Suite,
        keys: &DoorKeys,
        sessions: usize,
        since: u64,
    ) -> Result<Self, BadKeys> {
        if suite == Suite::Chacha && !keys.users.is_empty() {
            return Err(BadKeys);
        }
        let users: Option<Vec<_>> = keys
            .users
            .iter()
            .map(|user| {
                let serves = user.relay.as_ref().map_or(Serves::We, |_| Serves::Next);
                Some((Psk::new(suite, &user.key)?, serves))
            })
            .collect();
        let users = users.ok_or(BadKeys)?;
        let by_identity = users
            .iter()
            .zip(0..)
            .map(|((psk, _), at)| (psk.identity(), at))
            .collect();
        Ok(Self {
            psk: Psk::new(suite, &keys.key).ok_or(BadKeys)?,
            taken: vec![0; users.len()],
            users,
            by_identity,
            guests: Slab::new(),
            by_origin: HashTable::new(),
            order: Order::default(),
            hasher: DefaultHashBuilder::default(),
            most: sessions.max(1),
            since,
        })
    }

    /// What goes before padding and address of an answer.
    pub fn prefix(&self) -> usize {
        self.psk.head() + wire::body_len(true)
    }

    /// Open a client's packet. Its source and session are its own once a tag has shown it: the body's,
    /// or for a relayed user the identity, which only who has our key can make for these ids.
    pub fn open(&mut self, packet: &mut [u8], now: u64) -> Result<Opened, Bad> {
        let identity = if self.users.is_empty() { 0 } else { IDS };
        if packet.len() < wire::shortest(&self.psk, false) + identity {
            return Err(Bad::Forged);
        }
        let Some(block) = &self.psk.block else {
            return self.open_long(packet, now);
        };
        let (head, rest) = packet.split_first_chunk_mut::<IDS>().ok_or(Bad::Forged)?;
        block.decrypt(head);
        let (head, ids) = (*head, Ids::of(head));
        let mut user = None;
        if identity > 0 {
            let told = rest.first_chunk_mut::<IDS>().ok_or(Bad::Forged)?;
            block.decrypt(told);
            let plain: [u8; IDS] = std::array::from_fn(|at| told[at] ^ head[at]);
            user = Some(*self.by_identity.get(&plain).ok_or(Bad::Forged)?);
        }
        let origin = Origin::guest(user, ids.session);
        let found = self.find(origin);
        self.admits(found, ids)?;
        let (psk, serves) = self.serving(user).ok_or(Bad::Forged)?;
        if serves == Serves::Next {
            let onward = rest.first_chunk_mut::<IDS>().ok_or(Bad::Forged)?;
            *onward = head;
            psk.block.as_ref().ok_or(Bad::Forged)?.encrypt(onward);
            return Ok(Opened {
                origin,
                body: IDS..packet.len(),
                newest: self.note(found, origin, None, ids, now)?,
            });
        }
        let made = match found {
            Some(_) => None,
            None => Some(psk.session_key(ids.session).ok_or(Bad::Forged)?),
        };
        let known = || self.guests.get(found? as usize)?.key.as_ref();
        let key = made.as_ref().or_else(known).ok_or(Bad::Forged)?;
        let at = IDS + identity;
        wire::open_body(key, &head, packet.get_mut(at..).ok_or(Bad::Forged)?)?;
        let body = wire::read_body(packet, at, &self.times(now), None)?;
        Ok(Opened {
            origin,
            body,
            newest: self.note(found, origin, made, ids, now)?,
        })
    }

    fn open_long(&mut self, packet: &mut [u8], now: u64) -> Result<Opened, Bad> {
        let ids = self.psk.open_long(packet).ok_or(Bad::Forged)?;
        let origin = Origin::guest(None, ids.session);
        let found = self.find(origin);
        self.admits(found, ids)?;
        let body = wire::read_body(packet, self.psk.head(), &self.times(now), None)?;
        Ok(Opened {
            origin,
            body,
            newest: self.note(found, origin, None, ids, now)?,
        })
    }

    /// Seal an answer of a session whose client was heard of.
    pub fn seal(
        &mut self,
        origin: Origin,
        packet: &mut [u8],
        padding: usize,
        now: u64,
    ) -> Option<()> {
        let Origin::Guest { id: theirs, .. } = origin else {
            return None;
        };
        let guest = self.find(origin)?;
        self.touch(guest, now);
        let psk = match origin.user() {
            Some(user) => &self.users.get(user as usize)?.0,
            None => &self.psk,
        };
        let reply = self
            .guests
            .get_mut(guest as usize)?
            .reply
            .get_or_insert_with(|| {
                let session = entropy::number();
                Reply {
                    ids: Ids { session, packet: 0 },
                    key: psk.session_key(session),
                }
            });
        let ids = reply.ids;
        reply.ids.packet = ids.packet.checked_add(1)?;
        let at = psk.head();
        wire::write_body(packet.get_mut(at..)?, now, Some(theirs), padding)?;
        psk.seal(reply.key.as_ref(), ids, packet, at)?;
        if let Some(block) = &psk.block {
            let head = packet.first_chunk_mut::<IDS>()?;
            *head = ids.bytes();
            block.encrypt(head);
        }
        Some(())
    }

    fn times(&self, now: u64) -> RangeInclusive<u64> {
        let times = wire::times(now);
        self.since.max(*times.start())..=*times.end()
    }

    fn serving(&self, user: Option<u32>) -> Option<(&Psk, Serves)> {
        match user {
            Some(user) => self
                .users
                .get(user as usize)
                .map(|(psk, serves)| (psk, *serves)),
            None => Some((&self.psk, Serves::We)),
        }
    }

    fn find(&self, origin: Origin) -> Option<u32> {
        let same = |&at: &u32| self.guests[at as usize].origin == origin;
        let hash = self.hasher.hash_one(origin);
        self.by_origin.find(hash, same).copied()
    }

    fn admits(&self, found: Option<u32>, ids: Ids) -> Result<(), Bad> {
        match found.and_then(|at| self.guests.get(at as usize)) {
            Some(guest) if !guest.window.admits(ids.packet) => Err(Bad::Replayed),
            None if ids.packet == NEVER => Err(Bad::Replayed),
            _ => Ok(()),
        }
    }

    /// An authentic packet; whether it is the newest of its session.
    fn note(
        &mut self,
        found: Option<u32>,
        origin: Origin,
        key: Option<Key>,
        ids: Ids,
        now: u64,
    ) -> Result<bool, Bad> {
        let at = match found {
            Some(at) => at,
            None => self.welcome(origin, key, now)?,
        };
        self.touch(at, now);
        let guest = self.guests.get_mut(at as usize).ok_or(Bad::Full)?;
        Ok(guest.window.note(ids.packet))
    }

    fn touch(&mut self, at: u32, now: u64) {
        if std::mem::replace(&mut self.guests[at as usize].last, now) != now {
            self.order.remove(&mut self.guests, at);
            self.order.add(&mut self.guests, at);
        }
    }

    fn welcome(&mut self, origin: Origin, key: Option<Key>, now: u64) -> Result<u32, Bad> {
        for _ in 0..FORGOTTEN {
            self.forget_oldest(now);
        }
        if self.guests.len() >= self.most {
            return Err(Bad::Full);
        }
        let (share, alone) = (self.most / SHARE, self.users.len() < 2);
        if let Some(taken) = self.taken_by(origin) {
            if *taken >= share.max(1) && !alone {
                return Err(Bad::Full);
            }
            *taken += 1;
        }
        let at = self.guests.insert(Guest {
            origin,
            key,
            window: Window::new(),
            last: now,
            reply: None,
            links: Links::default(),
        }) as u32;
        self.order.add(&mut self.guests, at);
        let (guests, hasher) = (&self.guests, &self.hasher);
        let hash = hasher.hash_one(origin);
        self.by_origin
            .insert_unique(hash, at, |&at| hasher.hash_one(guests[at as usize].origin));
        Ok(at)
    }

    fn taken_by(&mut self, origin: Origin) -> Option<&mut usize> {
        self.taken.get_mut(origin.user()? as usize)
    }

    /// Forget the session that was silent longest, if none of its packets can come again.
    fn forget_oldest(&mut self, now: u64) {
        let Some(at) = self.order.oldest() else {
            return;
        };
        // A clock that was set back makes nothing older.
        if now.saturating_sub(self.guests[at as usize].last) <= KEPT {
            return;
        }
        let hash = self.hasher.hash_one(self.guests[at as usize].origin);
        self.order.remove(&mut self.guests, at);
        if let Ok(entry) = self.by_origin.find_entry(hash, |&other| other == at) {
            entry.remove();
        }
        let gone = self.guests.remove(at as usize);
        if let Some(taken) = self.taken_by(gone.origin) {
            *taken -= 1;
        }
    }
}
