//! Listening: accepted connections wait here until they have said something, and are handed over in
//! batches. A silent one never costs more than a socket and a timer.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use crate::io::{Io, keep_alive};
use crate::limits::{Permit, Turnstile};
use crate::reactor::Reactors;
use crate::stream::Stream;
use crate::udp::set_transparent;
use crate::watched::watched;

/// How long accepting pauses when descriptors or memory have run out.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that may wait for their owner to take them; past that the kernel's backlog holds them.
const WAITING: usize = 4096;

/// How a listener treats what it accepts.
#[derive(Clone)]
pub struct ListenOptions {
    /// The kernel's queue.
    pub backlog: i32,
    /// How long a connection may stay silent before it is dropped; zero hands it over at once.
    pub first: Duration,
    /// Who is let in; several listeners may share one.
    pub turnstile: Turnstile,
    /// Whether it takes connections to addresses that are not this host's (`IP_TRANSPARENT`).
    pub transparent: bool,
    /// The firewall mark of what leaves by its connections (`SO_MARK`).
    pub mark: Option<u32>,
}

/// Arrivals that wait for their owner.
pub struct Arrivals {
    /// None once nobody will take any more.
    waiting: Mutex<Option<Vec<Stream>>>,
    taken: Notify,
    signal: Box<dyn Fn() + Send + Sync>,
}

impl Arrivals {
    /// `signal` is called when the first of a batch has come.
    pub fn new(signal: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::new(Some(Vec::new())),
            taken: Notify::new(),
            signal: Box::new(signal),
        })
    }

    /// Take all that have come.
    pub fn take(&self) -> Vec<Stream> {
        let taken = self.waiting().as_mut().map(std::mem::take);
        self.taken.notify_waiters();
        taken.unwrap_or_default()
    }

    /// Close what has come, and whatever still comes.
    pub fn close(&self) {
        drop(self.waiting().take());
    }

    fn waiting(&self) -> MutexGuard<'_, Option<Vec<Stream>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether those that wait are as many as may.
    pub fn is_full(&self) -> bool {
        self.waiting()
            .as_ref()
            .is_none_or(|waiting| waiting.len() >= WAITING)
    }

    /// One more has come.
    pub fn add(&self, stream: Stream) {
        let mut guard = self.waiting();
        let Some(waiting) = guard.as_mut() else {
            return;
        };
        waiting.push(stream);
        let first = waiting.len() == 1;
        drop(guard);
        if first {
            (self.signal)();
        }
    }

    async fn room(&self) {
        loop {
            let taken = self.taken.notified();
            if self.waiting().as_ref().map_or(0, Vec::len) < WAITING {
                return;
            }
            taken.await;
        }
    }
}

/// A bound listener. Dropping it stops accepting; connections already handed over live on.
pub struct Listener {
    /// Where it listens (TCP).
    pub address: Option<SocketAddr>,
    /// Who is in.
    pub turnstile: Turnstile,
    task: tokio::task::AbortHandle,
    path: Option<PathBuf>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(path) = &self.path {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listen on a TCP address.
pub fn listen_tcp(
    address: SocketAddr,
    options: &ListenOptions,
    reactors: &Arc<Reactors>,
    arrivals: Arc<Arrivals>,
) -> io::Result<Listener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `::` means IPv6 alone, so that a config says what it opens.
        socket.set_only_v6(true)?;
    }
    // Accepted sockets inherit both: no delay for small answers, and a look after the silent.
    socket.set_tcp_nodelay(true)?;
    keep_alive(&socket)?;
    if options.transparent {
        set_transparent(&socket, address)?;
    }
    if let Some(mark) = options.mark {
        socket.set_mark(mark)?; // inherited, too
    }
    socket.bind(&address.into())?;
    socket.listen(options.backlog)?;
    let bound = socket.local_addr()?.as_socket();
    let home = reactors.home(0)?;
    let _entered = home.enter();
    let door = Door::Tcp(watched(socket.into())?);
    Ok(open(door, bound, None, options, reactors, arrivals))
}

/// Listen on a unix socket. A socket file that nobody listens on any more is replaced; a live one is
/// an error (`AddrInUse`), and so is a file of another kind.
pub fn listen_unix(
    path: &Path,
    mode: u32,
    options: &ListenOptions,
    reactors: &Arc<Reactors>,
    arrivals: Arc<Arrivals>,
) -> io::Result<Listener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() || !deserted(path)? {
            return Err(io::Error::from_raw_os_error(libc::EADDRINUSE));
        }
        std::fs::remove_file(path)?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    socket.bind(&socket2::SockAddr::unix(path)?)?;
    // Nobody can connect before `listen`, so the file never stands open to all.
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    socket.listen(options.backlog)?;
    let home = reactors.home(0)?;
    let _entered = home.enter();
    let door = Door::Unix(watched(socket.into())?);
    Ok(open(
        door,
        None,
        Some(path.to_owned()),
        options,
        reactors,
        arrivals,
    ))
}

/// Whether nobody listens on a socket file. Asked without waiting: a full backlog is somebody's.
fn deserted(path: &Path) -> io::Result<bool> {
    let caller = Socket::new(Domain::UNIX, Type::STREAM.nonblocking(), None)?;
    let answer = caller.connect(&socket2::SockAddr::unix(path)?);
    Ok(answer.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused))
}

/// On the loop that the calling thread has entered.
fn open(
    door: Door,
    address: Option<SocketAddr>,
    path: Option<PathBuf>,
    options: &ListenOptions,
    reactors: &Arc<Reactors>,
    arrivals: Arc<Arrivals>,
) -> Listener {
    let turnstile = options.turnstile.clone();
    let porter = Porter {
        turnstile: turnstile.clone(),
        arrivals,
        first: options.first,
    };
    let task = tokio::spawn(serve(door, porter, Arc::downgrade(reactors)));
    Listener {
        address,
        turnstile,
        task: task.abort_handle(),
        path,
    }
}

/// A listening socket. What it accepts is not registered with this loop, but with its own.
enum Door {
    Tcp(AsyncFd<std::net::TcpListener>),
    Unix(AsyncFd<std::os::unix::net::UnixListener>),
}

enum Caller {
    Tcp(std::net::TcpStream, SocketAddr),
    Unix(std::os::unix::net::UnixStream),
}

impl Door {
    async fn next(&self) -> io::Result<Caller> {
        match self {
            Self::Tcp(listener) => {
                let (socket, remote) = listener.async_io(Interest::READABLE, accept).await?;
                let remote = remote.and_then(|remote| SocketAddr::try_from(remote).ok());
                let remote = remote.ok_or(io::ErrorKind::InvalidData)?;
                Ok(Caller::Tcp(socket.into(), remote))
            }
            Self::Unix(listener) => {
                let (socket, _) = listener.async_io(Interest::READABLE, accept).await?;
                Ok(Caller::Unix(socket.into()))
            }
        }
    }
}

fn accept<T: AsFd>(listener: &T) -> io::Result<(OwnedFd, Option<SocketAddrAny>)> {
    Ok(acceptfrom_with(
        listener,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
    )?)
}

#[derive(Clone)]
struct Porter {
    turnstile: Turnstile,
    arrivals: Arc<Arrivals>,
    first: Duration,
}

async fn serve(door: Door, porter: Porter, reactors: std::sync::Weak<Reactors>) {
    loop {
        porter.arrivals.room().await;
        let caller = match door.next().await {
            Ok(caller) => caller,
            Err(error) if exhausted(&error) => {
                sleep(PAUSE).await;
                continue;
            }
            // The caller was gone before we answered; that says nothing of the next one.
            Err(_) => continue,
        };
        let source = match &caller {
            Caller::Tcp(_, remote) => Some(remote.ip()),
            Caller::Unix(_) => None,
        };
        let (Some(permit), Some(reactors)) = (porter.turnstile.enter(source), reactors.upgrade())
        else {
            continue;
        };
        let home = reactors.next_home();
        reactors.spawn(home, welcome(caller, permit, home, porter.clone()));
    }
}

/// Wait, on the reactor where the flow will live, until the caller has said something.
async fn welcome(caller: Caller, permit: Permit, home: usize, porter: Porter) {
    let Ok((io, remote)) = settle(caller, porter.first).await else {
        return;
    };
    let mut stream = Stream::new(io, home, remote);
    stream.permit = Some(permit);
    porter.arrivals.add(stream);
}

async fn settle(caller: Caller, first: Duration) -> io::Result<(Io, Option<SocketAddr>)> {
    Ok(match caller {
        Caller::Tcp(socket, remote) => {
            let socket = TcpStream::from_std(socket)?;
            spoken(first, socket.readable()).await?;
            (Io::Tcp(socket), Some(remote))
        }
        Caller::Unix(socket) => {
            let socket = UnixStream::from_std(socket)?;
            spoken(first, socket.readable()).await?;
            (Io::Unix(socket), None)
        }
    })
}

async fn spoken(first: Duration, readable: impl Future<Output = io::Result<()>>) -> io::Result<()> {
    if first.is_zero() {
        Ok(())
    } else {
        timeout(first, readable).await?
    }
}

fn exhausted(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}
