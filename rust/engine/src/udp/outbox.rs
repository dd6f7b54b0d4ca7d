//! Packets on their way out of one batch: gathered per flow, joined where the kernel can cut them
//! again, sent per exit in few calls. One per thread; nothing is allocated once it has grown.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;

use super::losses::Losses;
use super::mmsg::{JOINED, Parcel, SEGMENTS, Sender};

/// Where packets leave by: a socket, a stream, a queue.
pub trait Exit: Send + Sync {
    /// The size of the largest packet that may be joined with others of its size. None when packets of
    /// every size may gather in one group.
    fn joinable(&self) -> Option<usize>;

    /// Whether it receives joined packets, and sends them.
    fn offloads(&self) -> (bool, bool) {
        (false, false)
    }

    /// Send a run of groups without waiting. What does not go is counted in `losses`; `sent` is told
    /// flows, and the payload bytes of each that went.
    fn send(
        &self,
        run: &Run<'_>,
        memory: &mut Memory,
        losses: &Losses,
        sent: &mut dyn FnMut(u32, u64),
    );
}

/// What exits of one thread share for the length of a call.
#[derive(Default)]
pub struct Memory {
    /// Headers of a `sendmmsg`.
    pub sender: Sender,
    /// Bytes on their way into a stream.
    pub gathered: Vec<u8>,
}

/// Some bytes of a batch: of the inbox, or of the outbox's own arena.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    at: usize,
    len: usize,
}

impl Span {
    /// So many bytes from there.
    #[inline]
    pub fn new(at: usize, len: usize) -> Self {
        Self { at, len }
    }

    /// Where they are.
    #[inline]
    pub fn range(self) -> Range<usize> {
        self.at..self.at + self.len
    }

    /// Those of `bytes`.
    #[inline]
    pub fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.range()).unwrap_or_default()
    }
}

/// Where a flow's packets of this batch gather.
#[derive(Debug, Clone, Copy, Default)]
pub struct Marker {
    epoch: u64,
    group: usize,
}

/// Whom packets are for.
pub struct Address<'a> {
    /// What they leave by.
    pub exit: &'a Arc<dyn Exit>,
    /// Where a socket sends them.
    pub to: SocketAddr,
    /// Where they leave from, when the exit has many such addresses. With port 0 the port is the
    /// socket's own.
    pub from: Option<SocketAddr>,
    /// Whose they are; counted when they are sent.
    pub flow: u32,
}

struct Piece {
    head: Span,
    body: Span,
    payload: usize,
    next: Option<usize>,
}

/// Packets of one flow that may leave as one.
pub struct Group {
    exit: Arc<dyn Exit>,
    /// Where a socket sends them.
    pub to: SocketAddr,
    /// Where they leave from, as in `Address`.
    pub from: Option<SocketAddr>,
    /// Whose they are.
    pub flow: u32,
    /// How many there are.
    pub packets: usize,
    /// The size of each packet but perhaps the last, where they must be alike.
    pub size: usize,
    /// The payload bytes of all.
    pub payload: usize,
    first: usize,
    last: usize,
    bytes: usize,
    alike: bool,
    full: bool,
}

impl Group {
    /// The local address that they leave from by a socket that has many.
    pub fn local(&self) -> Option<IpAddr> {
        let from = self.from.filter(|from| from.port() == 0);
        from.map(|from| from.ip())
    }

    fn takes(&self, size: usize) -> bool {
        !self.alike
            || !self.full
                && size <= self.size
                && size > 0
                && self.packets < SEGMENTS
                && self.bytes + size <= JOINED
    }
}

/// The packets of one batch.
#[derive(Default)]
pub struct Outbox {
    epoch: u64,
    pieces: Vec<Piece>,
    groups: Vec<Group>,
    arena: Vec<u8>,
    memory: Memory,
}

impl Outbox {
    /// Begin a batch.
    pub fn clear(&mut self) {
        self.epoch += 1;
        self.pieces.clear();
        self.groups.clear();
        self.arena.clear();
    }

    /// Put bytes into the arena, to be a packet's head.
    #[inline]
    pub fn lay(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let at = self.arena.len();
        write(&mut self.arena);
        Span::new(at, self.arena.len() - at)
    }

    /// Add a packet: `head` is in the arena and ends in `extra` payload bytes, `body` is in the inbox.
    #[inline]
    pub fn add(
        &mut self,
        marker: &mut Marker,
        address: &Address<'_>,
        head: Span,
        extra: usize,
        body: Span,
    ) {
        let size = head.len + body.len;
        let payload = extra + body.len;
        let piece = self.pieces.len();
        self.pieces.push(Piece {
            head,
            body,
            payload,
            next: None,
        });
        if marker.epoch == self.epoch
            && let Some(group) = self.groups.get_mut(marker.group)
            && group.from == address.from
            && group.takes(size)
        {
            if let Some(last) = self.pieces.get_mut(group.last) {
                last.next = Some(piece);
            }
            group.last = piece;
            group.packets += 1;
            group.bytes += size;
            group.payload += payload;
            group.full = size < group.size;
            return;
        }
        *marker = Marker {
            epoch: self.epoch,
            group: self.groups.len(),
        };
        let joinable = address.exit.joinable();
        self.groups.push(Group {
            exit: Arc::clone(address.exit),
            to: address.to,
            from: address.from,
            flow: address.flow,
            first: piece,
            last: piece,
            packets: 1,
            size,
            bytes: size,
            payload,
            alike: joinable.is_some(),
            full: size == 0 || joinable.is_some_and(|most| size > most),
        });
    }

    /// Send all of it. `data` is the inbox's; `sent` is told each flow and the payload bytes that went.
    pub fn flush(&mut self, data: &[u8], losses: &Losses, mut sent: impl FnMut(u32, u64)) {
        // Order holds within a flow; between exits it means nothing.
        self.groups
            .sort_unstable_by_key(|group| (key(&group.exit), group.first));
        let Self {
            pieces,
            groups,
            arena,
            memory,
            ..
        } = self;
        for run in groups.chunk_by(|a, b| key(&a.exit) == key(&b.exit)) {
            let exit = &run[0].exit;
            let run = Run {
                groups: run,
                pieces,
                data,
                arena,
            };
            exit.send(&run, memory, losses, &mut sent);
        }
        // They hold their sockets: one that is closed must not stay open until the next batch.
        groups.clear();
    }
}

fn key(exit: &Arc<dyn Exit>) -> usize {
    Arc::as_ptr(exit).addr()
}

/// Groups that leave by one exit.
pub struct Run<'a> {
    /// In the order in which they began.
    pub groups: &'a [Group],
    pieces: &'a [Piece],
    data: &'a [u8],
    arena: &'a [u8],
}

/// One packet on its way out.
pub struct Packet<'a> {
    /// Its bytes.
    pub parts: [&'a [u8]; 2],
    /// How many of them are payload.
    pub payload: usize,
}

impl<'a> Run<'a> {
    /// Some of the groups.
    #[must_use]
    pub fn only(&self, groups: &'a [Group]) -> Run<'a> {
        Run { groups, ..*self }
    }

    /// The packets of a group, in order.
    pub fn packets(&self, group: &Group) -> impl Iterator<Item = Packet<'a>> + use<'a> {
        let Self {
            pieces,
            data,
            arena,
            ..
        } = *self;
        let mut next = Some(group.first);
        std::iter::from_fn(move || {
            let piece = pieces.get(next?)?;
            next = piece.next;
            Some(Packet {
                parts: [piece.head.of(arena), piece.body.of(data)],
                payload: piece.payload,
            })
        })
    }

    /// A group as one message for a socket.
    pub fn parcel(&self, group: &Group) -> Parcel<impl Iterator<Item = &'a [u8]> + use<'a>> {
        Parcel {
            to: group.to,
            from: group.local(),
            segment: if group.packets > 1 { group.size } else { 0 },
            parts: self.packets(group).flat_map(|packet| packet.parts),
        }
    }
}
