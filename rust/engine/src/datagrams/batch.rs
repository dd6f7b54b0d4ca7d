//! Packets on their way out of one batch: gathered per flow, joined where the kernel can cut them
//! again, sent per socket in few calls. One per thread; nothing is allocated once it has grown.

use std::cell::RefCell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::framed::Tube;
use super::mmsg::{self, Inbox, JOINED, Parcel, SEGMENTS, Sender};
use super::tally::Tally;

/// What the kernel is asked to buffer; it gives what the system's limits allow.
const BUFFER: usize = 4 << 20;

/// A UDP socket, and how large the packets may be that it takes joined.
pub struct Line {
    socket: UdpSocket,
    /// The largest packet that may be joined with others; zero when none may.
    joinable: AtomicUsize,
    gro: bool,
}

impl Line {
    /// Take over a fresh socket, on the reactor thread it will live on.
    pub fn new(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let _ = socket.set_recv_buffer_size(BUFFER);
        let _ = socket.set_send_buffer_size(BUFFER);
        let gro = mmsg::set_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_GRO, 1).is_ok();
        let gso = mmsg::has_option(socket.as_fd(), libc::SOL_UDP, libc::UDP_SEGMENT);
        let joinable = AtomicUsize::new(if gso { usize::MAX } else { 0 });
        Ok(Self {
            socket: UdpSocket::from_std(socket.into())?,
            joinable,
            gro,
        })
    }

    /// The socket.
    pub fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// Whether received packets may come joined.
    pub fn gro(&self) -> bool {
        self.gro
    }

    /// Whether packets are sent joined.
    pub fn gso(&self) -> bool {
        self.joinable.load(Relaxed) > 0
    }

    /// Take a batch if there is one. A batch that is not full has emptied the socket, so the readiness
    /// is taken back without asking again: with edge-triggered polling what comes later is told anew.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<usize> {
        let mut taken = 0;
        let result = self.socket.try_io(Interest::READABLE, || {
            taken = inbox.receive(self.socket.as_fd())?;
            if taken < mmsg::BATCH {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                Ok(())
            }
        });
        match result {
            Err(error) if taken == 0 => Err(error),
            _ => Ok(taken),
        }
    }
}

/// Where packets leave by.
#[derive(Clone)]
pub enum Exit {
    /// A socket.
    Line(Arc<Line>),
    /// A stream; its packets come with their frame's head.
    Tube(Arc<Tube>),
}

impl Exit {
    fn key(&self) -> usize {
        match self {
            Self::Line(line) => Arc::as_ptr(line).addr(),
            Self::Tube(tube) => Arc::as_ptr(tube).addr(),
        }
    }

    /// The size of the largest packet that may be joined with others.
    fn joinable(&self) -> usize {
        match self {
            Self::Line(line) => line.joinable.load(Relaxed),
            Self::Tube(_) => usize::MAX,
        }
    }
}

/// Some bytes of a batch: of the inbox, or of the outbox's own arena.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    at: usize,
    len: usize,
}

impl Span {
    /// So many bytes from there.
    pub fn new(at: usize, len: usize) -> Self {
        Self { at, len }
    }

    /// Where they are.
    pub fn range(self) -> Range<usize> {
        self.at..self.at + self.len
    }

    /// Those of `bytes`.
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
    pub exit: &'a Exit,
    /// Where a socket sends them.
    pub to: SocketAddr,
    /// The local address they leave from, when the socket has many.
    pub from: Option<IpAddr>,
    /// Whose they are; counted when they are sent.
    pub flow: u32,
}

struct Piece {
    head: Span,
    body: Span,
    payload: usize,
    next: Option<usize>,
}

struct Group {
    exit: Exit,
    to: SocketAddr,
    from: Option<IpAddr>,
    flow: u32,
    first: usize,
    last: usize,
    packets: usize,
    /// The size of each packet but perhaps the last.
    size: usize,
    bytes: usize,
    payload: usize,
    full: bool,
}

/// The packets of one batch.
#[derive(Default)]
pub struct Outbox {
    epoch: u64,
    pieces: Vec<Piece>,
    groups: Vec<Group>,
    arena: Vec<u8>,
    /// Where frames gather on their way into a stream.
    gathered: Vec<u8>,
    sender: Sender,
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
    pub fn lay(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        let at = self.arena.len();
        write(&mut self.arena);
        Span::new(at, self.arena.len() - at)
    }

    /// Add a packet: `head` is in the arena and ends in `extra` payload bytes, `body` is in the inbox.
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
        self.groups.push(Group {
            exit: address.exit.clone(),
            to: address.to,
            from: address.from,
            flow: address.flow,
            first: piece,
            last: piece,
            packets: 1,
            size,
            bytes: size,
            payload,
            full: size == 0 || size > address.exit.joinable(),
        });
    }

    /// Send all of it. `data` is the inbox's; `sent` is told each flow and the payload bytes that went.
    pub fn flush(&mut self, data: &[u8], tally: &Tally, mut sent: impl FnMut(u32, u64)) {
        // Order holds within a flow; between sockets it means nothing.
        self.groups
            .sort_unstable_by_key(|group| (group.exit.key(), group.first));
        let Self {
            pieces,
            groups,
            arena,
            gathered,
            sender,
            ..
        } = self;
        let bytes = Bytes {
            pieces,
            data,
            arena,
        };
        for run in groups.chunk_by(|a, b| a.exit.key() == b.exit.key()) {
            match &run[0].exit {
                Exit::Line(line) => bytes.send(sender, line, run, tally, &mut sent),
                Exit::Tube(tube) => bytes.write(gathered, tube, run, tally, &mut sent),
            }
        }
        // They hold their sockets: one that is closed must not stay open until the next batch.
        groups.clear();
    }
}

impl Line {
    /// Whether `error` says that packets of this size cannot be joined here; then no more are.
    fn unjoin(&self, error: &io::Error, size: usize) -> bool {
        match error.raw_os_error() {
            // The way out does not compute checksums: nothing can be joined.
            Some(libc::EIO | libc::EOPNOTSUPP | libc::ENOPROTOOPT) => {
                self.joinable.store(0, Relaxed);
            }
            // Larger than the way's MTU: those must be cut by IP, one by one.
            Some(libc::EMSGSIZE | libc::EINVAL) => {
                self.joinable.fetch_min(size.saturating_sub(1), Relaxed);
            }
            _ => return false,
        }
        true
    }
}

impl Group {
    fn takes(&self, size: usize) -> bool {
        if let Exit::Tube(_) = self.exit {
            return true;
        }
        !self.full
            && size <= self.size
            && size > 0
            && self.packets < SEGMENTS
            && self.bytes + size <= JOINED
    }
}

/// Where the bytes of a batch are.
struct Bytes<'a> {
    pieces: &'a [Piece],
    data: &'a [u8],
    arena: &'a [u8],
}

impl<'a> Bytes<'a> {
    /// Send a run of groups by their socket.
    fn send(
        &self,
        sender: &mut Sender,
        line: &Line,
        run: &[Group],
        tally: &Tally,
        sent: &mut impl FnMut(u32, u64),
    ) {
        let mut left = run;
        while let Some(group) = left.first() {
            match sender.send(
                line.socket.as_fd(),
                left.iter().map(|group| self.parcel(group)),
            ) {
                Ok(gone) => {
                    for group in &left[..gone] {
                        sent(group.flow, group.payload as u64);
                    }
                    left = &left[gone..];
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let lost: usize = left.iter().map(|group| group.packets).sum();
                    tally.congested.fetch_add(lost as u64, Relaxed);
                    break;
                }
                Err(error) if group.packets > 1 && line.unjoin(&error, group.size) => {
                    self.send_apart(sender, line, group, tally, sent);
                }
                Err(error) => tally.lost(&error, group.packets),
            }
            left = &left[1..];
        }
    }

    /// Write a run of groups into their stream, as far as it has room.
    fn write(
        &self,
        gathered: &mut Vec<u8>,
        tube: &Tube,
        run: &[Group],
        tally: &Tally,
        sent: &mut impl FnMut(u32, u64),
    ) {
        let mut writer = tube.writer(gathered);
        for group in run {
            for piece in self.pieces(group) {
                if writer.add([piece.head.of(self.arena), piece.body.of(self.data)]) {
                    sent(group.flow, piece.payload as u64);
                } else {
                    tally.congested.fetch_add(1, Relaxed);
                }
            }
        }
    }

    fn pieces(&self, group: &Group) -> impl Iterator<Item = &'a Piece> + use<'a> {
        let pieces = self.pieces;
        let mut next = Some(group.first);
        std::iter::from_fn(move || {
            let piece = pieces.get(next?)?;
            next = piece.next;
            Some(piece)
        })
    }

    fn parcel(&self, group: &Group) -> Parcel<impl Iterator<Item = &'a [u8]> + use<'a>> {
        let Self { data, arena, .. } = *self;
        let walk = self
            .pieces(group)
            .map(move |piece| [piece.head.of(arena), piece.body.of(data)]);
        let segment = if group.packets > 1 { group.size } else { 0 };
        Parcel {
            to: group.to,
            from: group.from,
            segment,
            parts: walk.flatten(),
        }
    }

    /// Send the packets of a group one by one.
    fn send_apart(
        &self,
        sender: &mut Sender,
        line: &Line,
        group: &Group,
        tally: &Tally,
        sent: &mut impl FnMut(u32, u64),
    ) {
        for piece in self.pieces(group) {
            let parts = [piece.head.of(self.arena), piece.body.of(self.data)].into_iter();
            let parcel = Parcel {
                to: group.to,
                from: group.from,
                segment: 0,
                parts,
            };
            match sender.send(line.socket.as_fd(), std::iter::once(parcel)) {
                Ok(_) => sent(group.flow, piece.payload as u64),
                Err(error) => tally.lost(&error, 1),
            }
        }
    }
}

/// What every reactor thread has once.
pub struct Boxes {
    /// Where packets come in.
    pub inbox: Inbox,
    /// Where they leave.
    pub outbox: Outbox,
}

thread_local! {
    static BOXES: RefCell<Option<Box<Boxes>>> = const { RefCell::new(None) };
}

/// Lend the thread's boxes.
pub fn with_boxes<R>(work: impl FnOnce(&mut Boxes) -> R) -> R {
    BOXES.with_borrow_mut(|boxes| {
        let boxes = boxes.get_or_insert_with(|| {
            Box::new(Boxes {
                inbox: Inbox::new(),
                outbox: Outbox::default(),
            })
        });
        work(boxes)
    })
}
