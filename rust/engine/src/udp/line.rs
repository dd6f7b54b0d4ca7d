//! A UDP socket.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};

use socket2::Socket;
use tokio::io::Interest;
use tokio::net::UdpSocket;

use super::boxes::{Boxes, with_boxes};
use super::losses::Losses;
use super::mmsg::{self, BATCH, Inbox, Parcel, Sender};
use super::outbox::{Exit, Group, Memory, Run};

/// Batches taken from one source before others of the thread have their turn.
pub const ROUNDS: usize = 4;

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

    /// Take a batch if there is one. A batch that is not full has emptied the socket, so the readiness
    /// is taken back without asking again: with edge-triggered polling what comes later is told anew.
    pub fn receive(&self, inbox: &mut Inbox) -> io::Result<usize> {
        let mut taken = 0;
        let result = self.socket.try_io(Interest::READABLE, || {
            taken = inbox.receive(self.socket.as_fd())?;
            if taken < BATCH {
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

    /// Have some batches taken while the socket has any. Ready when it is of no use any more, or `take`
    /// fails with `NotFound`.
    pub fn poll_rounds(
        &self,
        cx: &mut Context<'_>,
        mut take: impl FnMut(&mut Boxes) -> io::Result<()>,
    ) -> Poll<()> {
        for _ in 0..ROUNDS {
            match self.socket.poll_recv_ready(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Ready(Ok(())) => {}
            }
            match with_boxes(&mut take) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Poll::Ready(()),
                // An error that a packet of ours caused (ICMP) says nothing of the socket.
                _ => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

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

    /// Send the packets of a group one by one.
    fn send_apart(
        &self,
        sender: &mut Sender,
        run: &Run<'_>,
        group: &Group,
        losses: &Losses,
        sent: &mut dyn FnMut(u32, u64),
    ) {
        for packet in run.packets(group) {
            let parcel = Parcel {
                to: group.to,
                from: group.local(),
                segment: 0,
                parts: packet.parts.into_iter(),
            };
            match sender.send(self.socket.as_fd(), std::iter::once(parcel)) {
                Ok(_) => sent(group.flow, packet.payload as u64),
                Err(error) => losses.lost(&error, 1),
            }
        }
    }
}

impl Exit for Line {
    fn joinable(&self) -> Option<usize> {
        Some(self.joinable.load(Relaxed))
    }

    fn offloads(&self) -> (bool, bool) {
        (self.gro, self.joinable.load(Relaxed) > 0)
    }

    fn send(
        &self,
        run: &Run<'_>,
        memory: &mut Memory,
        losses: &Losses,
        sent: &mut dyn FnMut(u32, u64),
    ) {
        let sender = &mut memory.sender;
        let mut left = run.groups;
        while let Some(group) = left.first() {
            match sender.send(
                self.socket.as_fd(),
                left.iter().map(|group| run.parcel(group)),
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
                    losses.congested.fetch_add(lost as u64, Relaxed);
                    break;
                }
                Err(error) if group.packets > 1 && self.unjoin(&error, group.size) => {
                    self.send_apart(sender, run, group, losses, sent);
                }
                Err(error) => losses.lost(&error, group.packets),
            }
            left = &left[1..];
        }
    }
}
