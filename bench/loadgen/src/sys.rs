//! The system calls; `unsafe` is here and in `packets` only.
#![expect(unsafe_code, reason = "the system calls are wrapped here, once")]

use std::io;
use std::mem::{self, MaybeUninit};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

pub use libc::{EPOLLERR, EPOLLET, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP};

/// A negative result as the error it stands for.
pub fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn moved(result: isize) -> io::Result<usize> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as usize)
    }
}

fn owned(result: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: the kernel just gave us this descriptor, nobody else has it.
    check(result).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// True for the errors after which one waits for the next event.
pub fn later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Nanoseconds of `CLOCK_MONOTONIC`, which all processes of this machine share.
pub fn now() -> u64 {
    clock(libc::CLOCK_MONOTONIC)
}

/// Processor nanoseconds that this thread has used.
pub fn thread_time() -> u64 {
    clock(libc::CLOCK_THREAD_CPUTIME_ID)
}

fn clock(which: libc::clockid_t) -> u64 {
    let mut time = MaybeUninit::<libc::timespec>::zeroed();
    // SAFETY: the kernel fills the struct; zeroes are a valid one too.
    let time = unsafe {
        libc::clock_gettime(which, time.as_mut_ptr());
        time.assume_init()
    };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// User and system seconds this process has used.
pub fn cpu_used() -> (f64, f64) {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: as in `clock`.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |t: libc::timeval| t.tv_sec as f64 + t.tv_usec as f64 / 1e6;
    (seconds(usage.ru_utime), seconds(usage.ru_stime))
}

/// Allows as many open files as the hard limit does.
pub fn raise_file_limit() {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: plain structs of our own.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
}

fn raw_address(at: SocketAddrV4) -> libc::sockaddr_in {
    // SAFETY: an all-zero sockaddr_in is valid.
    let mut raw: libc::sockaddr_in = unsafe { mem::zeroed() };
    raw.sin_family = libc::AF_INET as libc::sa_family_t;
    raw.sin_port = at.port().to_be();
    raw.sin_addr.s_addr = u32::from_ne_bytes(at.ip().octets());
    raw
}

/// The size of an IPv4 socket address.
pub const ADDRESS_SIZE: libc::socklen_t = size_of::<libc::sockaddr_in>() as libc::socklen_t;

fn set_option(
    fd: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the pointer is to a live c_int of the size given.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, (&raw const value).cast(), size) })
        .map(drop)
}

fn socket(kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe {
        libc::socket(
            libc::AF_INET,
            kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            0,
        )
    })
}

fn bind(fd: &OwnedFd, at: SocketAddrV4) -> io::Result<()> {
    let raw = raw_address(at);
    // SAFETY: the pointer is to a live address of the size given.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const raw).cast(), ADDRESS_SIZE) }).map(drop)
}

fn connect(fd: &OwnedFd, to: SocketAddrV4) -> io::Result<()> {
    let raw = raw_address(to);
    // SAFETY: as in `bind`.
    match check(unsafe { libc::connect(fd.as_raw_fd(), (&raw const raw).cast(), ADDRESS_SIZE) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(()),
    }
}

/// A listening TCP socket, not blocking.
pub fn listen(at: SocketAddrV4) -> io::Result<OwnedFd> {
    let fd = socket(libc::SOCK_STREAM)?;
    set_option(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    bind(&fd, at)?;
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), 4096) })?;
    Ok(fd)
}

/// The next connection that waits, not blocking, without Nagle's delay.
pub fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: null means that the peer's address is not wanted.
    let fd = owned(unsafe {
        libc::accept4(
            listener.as_raw_fd(),
            ptr::null_mut(),
            ptr::null_mut(),
            flags,
        )
    })?;
    set_option(&fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    Ok(fd)
}

/// Starts a TCP connection; it is there when the socket becomes writable without an error.
pub fn dial(to: SocketAddrV4) -> io::Result<OwnedFd> {
    let fd = socket(libc::SOCK_STREAM)?;
    set_option(&fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    connect(&fd, to)?;
    Ok(fd)
}

/// The error a connection attempt ended with, if it did.
pub fn dial_result(fd: &OwnedFd) -> io::Result<()> {
    let mut error: libc::c_int = 0;
    let mut size = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, the size is theirs.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut size,
        )
    })?;
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}

/// Makes the close a reset, so that what is still buffered does not disturb the next run.
pub fn reset_on_close(fd: &OwnedFd) {
    let linger = libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let size = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: the pointer is to a live struct of the size given. A failure only costs the reset.
    unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size,
        );
    }
}

/// Sends the end of the stream.
pub fn end(fd: &OwnedFd) {
    // SAFETY: no pointers. An error means that the other side is gone, which is read elsewhere.
    unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) };
}

/// Gives a socket buffers as large as the system allows.
pub fn widen_buffers(fd: &impl AsRawFd) -> io::Result<()> {
    for name in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
        set_option(fd, libc::SOL_SOCKET, name, 4 << 20)?;
    }
    Ok(())
}

/// A UDP socket bound to an address; it tells which address a packet was sent to.
pub fn udp_bound(at: SocketAddrV4) -> io::Result<OwnedFd> {
    let fd = socket(libc::SOCK_DGRAM)?;
    widen_buffers(&fd)?;
    set_option(&fd, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
    bind(&fd, at)?;
    Ok(fd)
}

/// A UDP socket connected to an address.
pub fn udp_connected(to: SocketAddrV4) -> io::Result<OwnedFd> {
    let fd = socket(libc::SOCK_DGRAM)?;
    widen_buffers(&fd)?;
    connect(&fd, to)?;
    Ok(fd)
}

/// Receives into `buffer`; 0 is the end of the stream.
pub fn receive(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    // SAFETY: pointer and length are the slice's.
    moved(unsafe {
        libc::recv(
            fd.as_raw_fd(),
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            libc::MSG_DONTWAIT,
        )
    })
}

/// Takes up to `limit` bytes off a TCP socket without copying them anywhere; 0 is the end.
pub fn discard(fd: &OwnedFd, limit: usize) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
    // SAFETY: with MSG_TRUNC a TCP socket writes nothing (tcp(7)), so null is never followed.
    moved(unsafe { libc::recv(fd.as_raw_fd(), ptr::null_mut(), limit, flags) })
}

/// Sends what the socket takes now.
pub fn send(fd: &OwnedFd, data: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
    // SAFETY: pointer and length are the slice's.
    moved(unsafe { libc::send(fd.as_raw_fd(), data.as_ptr().cast(), data.len(), flags) })
}

/// Sends from a file without a copy, and moves `offset` on.
pub fn send_file(
    fd: &OwnedFd,
    file: &OwnedFd,
    offset: &mut i64,
    count: usize,
) -> io::Result<usize> {
    // SAFETY: the offset is a live i64, which is off_t here.
    moved(unsafe { libc::sendfile(fd.as_raw_fd(), file.as_raw_fd(), offset, count) })
}

/// A file in memory with this content.
pub fn memory_file(content: &[u8]) -> io::Result<OwnedFd> {
    use std::io::Write;
    // SAFETY: the name is a C string literal.
    let fd = owned(unsafe { libc::memfd_create(c"payload".as_ptr(), libc::MFD_CLOEXEC) })?;
    let mut file = std::fs::File::from(fd);
    file.write_all(content)?;
    Ok(file.into())
}

/// A pipe that holds `size` bytes if the system allows it: its reading and its writing end.
pub fn pipe(size: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [0; 2];
    // SAFETY: room for two descriptors; they are ours alone afterwards. A refused size is no harm.
    unsafe {
        check(libc::pipe2(
            ends.as_mut_ptr(),
            libc::O_NONBLOCK | libc::O_CLOEXEC,
        ))?;
        libc::fcntl(ends[1], libc::F_SETPIPE_SZ, size as libc::c_int);
        Ok((OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])))
    }
}

/// Moves pages between a pipe and a socket; 0 is the end of the stream.
pub fn splice(from: &OwnedFd, to: &OwnedFd, count: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: null offsets: both ends are streams.
    moved(unsafe {
        libc::splice(
            from.as_raw_fd(),
            ptr::null_mut(),
            to.as_raw_fd(),
            ptr::null_mut(),
            count,
            flags,
        )
    })
}

/// An epoll instance; `token` is what an event brings back.
pub struct Epoll {
    fd: OwnedFd,
    events: Vec<libc::epoll_event>,
}

impl Epoll {
    /// A new one, 256 events at a time.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointers.
        let fd = owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Self {
            fd,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; 256],
        })
    }

    /// Watches a descriptor.
    pub fn add(&self, fd: &impl AsRawFd, events: libc::c_int, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_ADD, fd.as_raw_fd(), events, token)
    }

    /// Changes what it is watched for.
    pub fn change(&self, fd: &impl AsRawFd, events: libc::c_int, token: u64) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_MOD, fd.as_raw_fd(), events, token)
    }

    fn control(
        &self,
        what: libc::c_int,
        fd: RawFd,
        events: libc::c_int,
        token: u64,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: events as u32,
            u64: token,
        };
        // SAFETY: the event lives through the call.
        check(unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), what, fd, &raw mut event) }).map(drop)
    }

    /// Waits, and writes what happened into `ready` as (token, events).
    pub fn wait(&mut self, milliseconds: i32, ready: &mut Vec<(u64, libc::c_int)>) {
        let room = self.events.len() as libc::c_int;
        // SAFETY: pointer and length are the vector's.
        let count = unsafe {
            libc::epoll_wait(
                self.fd.as_raw_fd(),
                self.events.as_mut_ptr(),
                room,
                milliseconds,
            )
        };
        ready.clear();
        ready.extend(
            self.events
                .iter()
                .take(count.max(0) as usize)
                .map(|event| (event.u64, event.events as libc::c_int)),
        );
    }
}

/// The unspecified address, for questions without one.
pub const ANYWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
