//! Shadowsocks where packets are: the codec of a near end, and a hop of a way out.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::ends::{Client, Door, TAIL};
use super::keys::{BadKeys, DoorKeys};
use crate::datagrams::address::{Place, Scratch, Spot, decode_place, encode_place};
use crate::datagrams::codec::{Codec, Form, Opened};
use crate::datagrams::far::{Far, FarHandle};
use crate::datagrams::hop::Hop;
use crate::datagrams::ids::Origin;
use crate::datagrams::options::PacketOptions;
use crate::datagrams::tally::Bad;
use crate::lock::lock;

/// Clients' own sessions that a sealed port remembers, for each that it may have: a client's next one
/// begins before the last is forgotten.
const REMEMBERED: usize = 4;

/// Packets of clients that have one of these keys.
pub struct Sealed {
    keys: DoorKeys,
    door: Door,
}

impl Sealed {
    /// For a listener with these bounds. Fails when keys cannot be.
    pub fn new(keys: DoorKeys, options: &PacketOptions) -> Result<Self, BadKeys> {
        let sessions = options.most_sessions().saturating_mul(REMEMBERED);
        let door = Door::new(&keys, sessions)?;
        Ok(Self { keys, door })
    }
}

impl Codec for Sealed {
    fn opens(&self) -> bool {
        true
    }

    fn open(&mut self, from: SocketAddr, packet: &mut [u8]) -> Result<Opened, Bad> {
        self.door.open(from, packet)
    }

    fn target<'a>(
        &'a self,
        origin: Origin,
        body: &[u8],
        scratch: &'a mut Scratch,
    ) -> Option<(Spot<'a>, usize)> {
        match self.keys.relay(origin) {
            Some(next) => Some((next.spot(), 0)),
            None => decode_place(body, scratch),
        }
    }

    fn form(&self, origin: Origin, expected: bool) -> Option<Form> {
        match self.keys.relay(origin) {
            None => Some(Form::Sealed),
            // What a relayed user's server has sealed is for them alone.
            Some(_) => expected.then_some(Form::Prefix),
        }
    }

    fn put_head(&self, origin: Origin, sender: Spot<'_>, _payload: usize, into: &mut Vec<u8>) {
        if self.keys.relay(origin).is_none() {
            encode_place(sender, into);
        }
    }

    fn seal(
        &mut self,
        origin: Origin,
        port: u16,
        head: Range<usize>,
        payload: &[u8],
        arena: &mut Vec<u8>,
    ) -> bool {
        let (begin, padding) = (arena.len(), self.door.padding(port, payload.len()));
        arena.resize(begin + self.door.prefix(padding), 0);
        arena.extend_from_within(head);
        arena.extend_from_slice(payload);
        arena.resize(arena.len() + TAIL, 0);
        self.door.seal(origin, &mut arena[begin..], padding)
    }
}

impl Far {
    /// A way through `inner` to a shadowsocks server, one session of its own there. It carries names.
    /// `inner` must not be given to a session itself.
    pub fn wrap_sealed(inner: &FarHandle, server: Place, client: Client) -> FarHandle {
        Self::over(inner, server, Arc::new(Mutex::new(client)))
    }
}

impl Hop for Mutex<Client> {
    fn put_head(&self, next: Spot<'_>, into: &mut Vec<u8>) {
        encode_place(next, into);
    }

    fn seals(&self) -> bool {
        true
    }

    fn wrap(
        &self,
        head: &[u8],
        (port, payload): (u16, usize),
        arena: &mut Vec<u8>,
        rest: &mut dyn FnMut(&mut Vec<u8>) -> bool,
    ) -> bool {
        let mut client = lock(self);
        let padding = client.padding(port, payload);
        let begin = arena.len();
        arena.resize(begin + client.prefix(padding), 0);
        arena.extend_from_slice(head);
        if !rest(arena) {
            return false;
        }
        arena.resize(arena.len() + TAIL, 0);
        client.seal(&mut arena[begin..], padding)
    }

    fn open<'a>(
        &self,
        left: &mut [u8],
        scratch: &'a mut Scratch,
    ) -> Result<(Spot<'a>, Range<usize>), Bad> {
        let body = lock(self).open(left)?;
        let plain = left.get(body.clone()).ok_or(Bad::Malformed)?;
        let (sender, head) = decode_place(plain, scratch).ok_or(Bad::Malformed)?;
        Ok((sender, body.start + head..body.end))
    }
}
