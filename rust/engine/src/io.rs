//! The bottom of every stream: a socket, or a layer over another stream.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{SockRef, Socket, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

use crate::buffer::Buffer;
use crate::layers::tls::Facts;

/// A framing or cipher over a stream (TLS, AEAD, WebSocket, ...), polled like a socket.
pub trait Layer: Send {
    /// Read some bytes; 0 at the end.
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>>;
    /// Write some bytes.
    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>>;
    /// Pass on what is buffered.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Half-close.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
    /// Close so that the other side sees a reset where that can be told.
    fn abort(&mut self);
    /// Say no, where the other side's wish for a stream was not answered yet; else as `abort`.
    fn refuse(&mut self, _why: Refusal) {
        self.abort();
    }
    /// This side's address, where no socket has it.
    fn local(&self) -> Option<SocketAddr> {
        self.below().and_then(Io::local)
    }
    /// What it stands on.
    fn below(&self) -> Option<&Io> {
        None
    }
    /// Register the socket below with the event loop of the calling thread.
    fn rehome(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Whether it lives on one loop for good, as the streams of a session do.
    fn is_pinned(&self) -> bool {
        self.below().is_some_and(Io::is_pinned)
    }
    /// Whether it is of no use any more: reset, or closed on both sides.
    fn is_broken(&self) -> bool {
        self.below().is_some_and(Io::is_broken)
    }
    /// Itself, where bytes come and go in memory that is handed on.
    fn buffered(&mut self) -> Option<&mut dyn Buffered> {
        None
    }
    /// What a TLS handshake has settled.
    fn facts(&self) -> Option<&Facts> {
        None
    }
}

/// How somebody is told that there will be no stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Nobody listens.
    Reset,
    /// Not at all.
    Silent,
    /// There is no way to the network.
    Network,
    /// The host does not answer.
    Host,
    /// A rule forbids it.
    Prohibited,
}

/// What comes and goes without being copied.
pub trait Buffered {
    /// The next bytes; none at the end.
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Buffer>>>;
    /// How many bytes there is room for: at least one, and at most `buffer::ROOM`.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>>;
    /// Send bytes, as many as there was room for.
    fn put(&mut self, bytes: Buffer);
}

/// What a stream stands on.
pub enum Io {
    /// A TCP socket.
    Tcp(TcpStream),
    /// A unix socket.
    Unix(UnixStream),
    /// A layer over another stream.
    Layer(Box<dyn Layer>),
    /// Nothing any more: every call fails.
    Gone,
}

impl Io {
    /// Read some bytes into `into`; 0 at the end.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        let polled = match self {
            Self::Tcp(socket) => Pin::new(socket).poll_read(cx, &mut buffer),
            Self::Unix(socket) => Pin::new(socket).poll_read(cx, &mut buffer),
            Self::Layer(layer) => return layer.poll_read(cx, into),
            Self::Gone => return Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        };
        polled.map_ok(|()| buffer.filled().len())
    }

    /// Write some bytes.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Tcp(socket) => Pin::new(socket).poll_write(cx, data),
            Self::Unix(socket) => Pin::new(socket).poll_write(cx, data),
            Self::Layer(layer) => layer.poll_write(cx, data),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::NotConnected.into())),
        }
    }

    /// Pass on what a layer has buffered (sockets buffer nothing).
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Layer(layer) => layer.poll_flush(cx),
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Half-close. A socket that the other side has already left counts as closed.
    pub fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match self {
            Self::Tcp(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Unix(socket) => Pin::new(socket).poll_shutdown(cx),
            Self::Layer(layer) => layer.poll_shutdown(cx),
            Self::Gone => Poll::Ready(Ok(())),
        };
        match polled {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::NotConnected => {
                Poll::Ready(Ok(()))
            }
            other => other,
        }
    }

    /// Make the coming close a reset, so that the other side cannot take a torn stream for a whole one.
    pub fn abort(&mut self) {
        match self {
            Self::Tcp(socket) => {
                let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
            }
            Self::Unix(_) | Self::Gone => {}
            Self::Layer(layer) => layer.abort(),
        }
    }

    /// The bare socket, where there is one: what splice needs.
    pub fn bare(&self) -> Option<Bare<'_>> {
        match self {
            Self::Tcp(socket) => Some(Bare::Tcp(socket)),
            Self::Unix(socket) => Some(Bare::Unix(socket)),
            Self::Layer(_) | Self::Gone => None,
        }
    }

    /// Whether the socket at the bottom is of no use any more: reset, or closed on both sides.
    pub fn is_broken(&self) -> bool {
        match self {
            Self::Tcp(socket) => is_broken(socket.as_fd()),
            Self::Unix(socket) => is_broken(socket.as_fd()),
            Self::Layer(layer) => layer.is_broken(),
            Self::Gone => false,
        }
    }

    /// The TCP socket at the bottom, where there is one.
    pub fn bottom(&self) -> Option<&TcpStream> {
        match self {
            Self::Tcp(socket) => Some(socket),
            Self::Layer(layer) => layer.below()?.bottom(),
            Self::Unix(_) | Self::Gone => None,
        }
    }

    /// This side's address, where there is one.
    pub fn local(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok(),
            Self::Layer(layer) => layer.local(),
            Self::Unix(_) | Self::Gone => None,
        }
    }

    /// Say no to whoever wishes for a stream, as far as that can still be told.
    pub fn refuse(&mut self, why: Refusal) {
        match self {
            Self::Layer(layer) => layer.refuse(why),
            _ => self.abort(),
        }
    }

    /// Itself, where bytes come and go in memory that is handed on.
    pub fn buffered(&mut self) -> Option<&mut dyn Buffered> {
        match self {
            Self::Layer(layer) => layer.buffered(),
            _ => None,
        }
    }

    /// Whether it cannot move to another loop. A bare socket can, and so can what stands on one.
    pub fn is_pinned(&self) -> bool {
        match self {
            Self::Layer(layer) => layer.is_pinned(),
            _ => false,
        }
    }

    /// Register the socket at the bottom with the event loop of the calling thread.
    pub fn rehome(&mut self) -> io::Result<()> {
        *self = match std::mem::replace(self, Self::Gone) {
            Self::Tcp(socket) => Self::Tcp(TcpStream::from_std(socket.into_std()?)?),
            Self::Unix(socket) => Self::Unix(UnixStream::from_std(socket.into_std()?)?),
            Self::Layer(mut layer) => {
                layer.rehome()?;
                Self::Layer(layer)
            }
            Self::Gone => Self::Gone,
        };
        Ok(())
    }
}

/// Have the kernel ask a silent peer whether it still lives: a dead one is found within four minutes.
/// Nothing else ends a connection that is just quiet.
pub fn keep_alive(socket: &Socket) -> io::Result<()> {
    let asking = TcpKeepalive::new()
        .with_time(Duration::from_secs(120))
        .with_interval(Duration::from_secs(30))
        .with_retries(4);
    socket.set_tcp_keepalive(&asking)
}

fn is_broken(socket: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let at_once = Timespec::default();
    let told = PollFlags::ERR | PollFlags::HUP;
    poll(&mut asked, Some(&at_once)).is_ok() && asked[0].revents().intersects(told)
}

/// A borrowed bare socket.
#[derive(Clone, Copy)]
pub enum Bare<'a> {
    /// TCP.
    Tcp(&'a TcpStream),
    /// Unix.
    Unix(&'a UnixStream),
}

impl Bare<'_> {
    /// Run a non-blocking system call on the socket once it is ready to be read.
    pub fn poll_in(
        self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let ready = match self {
                Self::Tcp(socket) => socket.poll_read_ready(cx),
                Self::Unix(socket) => socket.poll_read_ready(cx),
            };
            std::task::ready!(ready)?;
            match self.try_io(Interest::READABLE, &mut call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Run a non-blocking system call on the socket once it is ready to be written.
    pub fn poll_out(
        self,
        cx: &mut Context<'_>,
        mut call: impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            let ready = match self {
                Self::Tcp(socket) => socket.poll_write_ready(cx),
                Self::Unix(socket) => socket.poll_write_ready(cx),
            };
            std::task::ready!(ready)?;
            match self.try_io(Interest::WRITABLE, &mut call) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    fn try_io(
        self,
        interest: Interest,
        call: &mut impl FnMut(BorrowedFd<'_>) -> io::Result<usize>,
    ) -> io::Result<usize> {
        match self {
            Self::Tcp(socket) => socket.try_io(interest, || call(socket.as_fd())),
            Self::Unix(socket) => socket.try_io(interest, || call(socket.as_fd())),
        }
    }
}
