//! Sockets with the addresses of others: what answers as somebody else leaves by them.
//!
//! Each is bound to its address with `IP_TRANSPARENT`, and so packets to that address may come in by
//! it, too, where the firewall gives them to whoever has the address: it is read like the listener
//! that it answers for.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::AbortHandle;

use super::line::Line;
use super::losses::Losses;
use super::mmsg::set_transparent;
use super::outbox::{Exit, Memory, Run};
use crate::lock::lock;

/// How many there are at most; a further one displaces the one that was silent longest.
const MOST: usize = 512;

/// One that was silent for so long is closed when a further one is opened.
const SILENT: Duration = Duration::from_secs(30);

/// Starts what reads a socket with that address.
pub type Opened = Box<dyn Fn(Arc<Line>, SocketAddr) -> AbortHandle + Send + Sync>;

/// The sockets of one listener, by their addresses.
pub struct Masks {
    lines: Mutex<HashMap<SocketAddr, Mask>>,
    /// What becomes of packets that come in by them.
    pub opened: OnceLock<Opened>,
    mark: Option<u32>,
    offloads: (bool, bool),
}

struct Mask {
    line: Arc<Line>,
    reader: Option<AbortHandle>,
    used: Instant,
}

impl Drop for Mask {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

impl Masks {
    /// None yet. `like` is the socket of the listener, on the same kernel.
    pub fn new(like: &Line, mark: Option<u32>) -> Self {
        Self {
            lines: Mutex::default(),
            opened: OnceLock::new(),
            mark,
            offloads: like.offloads(),
        }
    }

    /// Close all of them.
    pub fn clear(&self) {
        lock(&self.lines).clear();
    }

    /// The socket of an address, to be used on the thread of the listener.
    fn line(&self, from: SocketAddr) -> io::Result<Arc<Line>> {
        let mut lines = lock(&self.lines);
        let now = Instant::now();
        if let Some(mask) = lines.get_mut(&from) {
            mask.used = now;
            return Ok(Arc::clone(&mask.line));
        }
        lines.retain(|_, mask| now.duration_since(mask.used) < SILENT);
        if lines.len() >= MOST {
            let oldest = lines.iter().min_by_key(|(_, mask)| mask.used);
            if let Some(oldest) = oldest.map(|(from, _)| *from) {
                lines.remove(&oldest);
            }
        }
        let line = Arc::new(Line::new(self.socket(from)?)?);
        let reader = self.opened.get();
        let mask = Mask {
            line: Arc::clone(&line),
            reader: reader.map(|opened| opened(Arc::clone(&line), from)),
            used: now,
        };
        lines.insert(from, mask);
        Ok(line)
    }

    fn socket(&self, from: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(from), Type::DGRAM, Some(Protocol::UDP))?;
        // Another listener may answer as the same one.
        socket.set_reuse_address(true)?;
        set_transparent(&socket, from)?;
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        if from.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&from.into())?;
        Ok(socket)
    }
}

impl Exit for Masks {
    fn joinable(&self) -> Option<usize> {
        Some(usize::MAX)
    }

    fn offloads(&self) -> (bool, bool) {
        self.offloads
    }

    fn send(
        &self,
        run: &Run<'_>,
        memory: &mut Memory,
        losses: &Losses,
        sent: &mut dyn FnMut(u32, u64),
    ) {
        for groups in run.groups.chunk_by(|a, b| a.from == b.from) {
            let from = groups.first().and_then(|group| group.from);
            let line = from.map(|from| self.line(from));
            match line.unwrap_or_else(|| Err(io::ErrorKind::AddrNotAvailable.into())) {
                Ok(line) => line.send(&run.only(groups), memory, losses, sent),
                Err(error) => {
                    let packets = groups.iter().map(|group| group.packets).sum();
                    losses.lost(&error, packets);
                }
            }
        }
    }
}
