//! Opening connections: happy eyeballs (RFC 8305) over addresses that somebody else resolved.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd};
use std::path::Path;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

use crate::failure::{Failure, Outcome};
use crate::io::{Io, keep_alive};
use crate::stream::Stream;

/// Attempts of one dial at once. Each holds a descriptor, and a name may have many silent addresses.
const MOST_ATTEMPTS: usize = 3;

/// How a connection is to be opened.
#[derive(Debug, Clone)]
pub struct DialOptions {
    /// The limit of the whole dial.
    pub timeout: Duration,
    /// How long one attempt runs alone before the next begins.
    pub stagger: Duration,
    /// The local address to leave from.
    pub bind: Option<IpAddr>,
    /// The device to leave by (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
    /// The firewall mark (`SO_MARK`).
    pub mark: Option<u32>,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(10),
            stagger: Duration::from_millis(250),
            bind: None,
            interface: None,
            mark: None,
        }
    }
}

impl DialOptions {
    /// Put the options that hold for TCP and UDP alike on a fresh socket.
    pub fn mark_socket(&self, socket: &Socket) -> io::Result<()> {
        if let Some(interface) = &self.interface {
            socket.bind_device(Some(interface.as_bytes()))?;
        }
        if let Some(mark) = self.mark {
            socket.set_mark(mark)?;
        }
        Ok(())
    }
}

/// Connect to the first of `addresses` that answers. They are tried in the order given, the next one
/// as soon as an attempt fails or has run for `stagger`. Of more than `MOST_ATTEMPTS` the oldest is
/// given up for the next address. Fails with the first attempt's error.
pub async fn connect(
    addresses: &[SocketAddr],
    options: &DialOptions,
    home: usize,
) -> Outcome<Stream> {
    let dialled = match addresses {
        [] => return Err(Failure::Misuse("no address to connect to")),
        [only] => timeout(options.timeout, attempt(*only, options)).await,
        several => timeout(options.timeout, race(several, options)).await,
    };
    let (socket, remote) = dialled.map_err(|_| Failure::TimedOut)??;
    Ok(Stream::new(Io::Tcp(socket), home, Some(remote)))
}

async fn race(
    addresses: &[SocketAddr],
    options: &DialOptions,
) -> io::Result<(TcpStream, SocketAddr)> {
    let mut running = VecDeque::with_capacity(MOST_ATTEMPTS);
    let mut first_error = None;
    for next in addresses.iter().copied() {
        if running.len() == MOST_ATTEMPTS {
            running.pop_front();
        }
        running.push_back(Box::pin(attempt(next, options)));
        tokio::select! {
            biased;
            Some(result) = first_ended(&mut running) => match result {
                Ok(won) => return Ok(won),
                Err(error) => first_error = first_error.or(Some(error)),
            },
            () = sleep(options.stagger) => {}
        }
    }
    while let Some(result) = first_ended(&mut running).await {
        match result {
            Ok(won) => return Ok(won),
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    Err(first_error.unwrap_or_else(|| io::ErrorKind::AddrNotAvailable.into()))
}

/// Wait for one of them to end, and take it out; `None` when there is none. Cancelling loses none.
async fn first_ended<F: Future>(running: &mut VecDeque<Pin<Box<F>>>) -> Option<F::Output> {
    poll_fn(|task| {
        for at in 0..running.len() {
            if let Poll::Ready(output) = running[at].as_mut().poll(task) {
                running.remove(at);
                return Poll::Ready(Some(output));
            }
        }
        if running.is_empty() {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    })
    .await
}

async fn attempt(
    address: SocketAddr,
    options: &DialOptions,
) -> io::Result<(TcpStream, SocketAddr)> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    options.mark_socket(&socket)?;
    if let Some(bind) = options.bind {
        if bind.is_ipv4() != address.is_ipv4() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        // The port is chosen at connect, so that many flows can share one local port.
        bind_without_port(&socket);
        socket.bind(&SocketAddr::new(bind, 0).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    keep_alive(&socket)?;
    let stream = tokio_socket(socket).connect(address).await?;
    Ok((stream, address))
}

#[expect(unsafe_code, reason = "IP_BIND_ADDRESS_NO_PORT has no safe form")]
fn bind_without_port(socket: &Socket) {
    let on: libc::c_int = 1;
    // SAFETY: the descriptor is open, and the kernel reads just the four bytes of `on`.
    unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        );
    }
}

#[expect(
    unsafe_code,
    reason = "TcpSocket takes a socket2 socket only by its descriptor"
)]
fn tokio_socket(socket: Socket) -> TcpSocket {
    // SAFETY: the descriptor is owned, open and passed on exactly once.
    unsafe { TcpSocket::from_raw_fd(socket.into_raw_fd()) }
}

/// Connect to a unix socket.
pub async fn connect_unix(path: &Path, home: usize) -> Outcome<Stream> {
    let socket = UnixStream::connect(path).await?;
    Ok(Stream::new(Io::Unix(socket), home, None))
}
