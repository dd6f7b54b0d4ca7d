//! The system calls: many packets in, many out, one call each. The only unsafe code of `udp`.
//!
//! `Inbox` owns what `recvmmsg` writes to; `Sender` points at borrowed bytes only for the length of
//! one `sendmmsg` call. Both are one per thread, so that no session owns a buffer.
#![expect(
    unsafe_code,
    reason = "recvmmsg, sendmmsg and their control messages have no safe form"
)]

use std::io;
use std::mem::{size_of, zeroed};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::ptr::null_mut;

use libc::{c_int, c_void, cmsghdr, iovec, mmsghdr, socklen_t};
use socket2::Socket;

/// Messages taken by one call. With `UDP_GRO` each may be many packets.
pub const BATCH: usize = 32;

/// Room for one message: what the kernel may join, and the largest packet.
const ROOM: usize = 65_535;

/// Rooms do not begin at equal places of a page, or their first lines would share cache sets.
const STRIDE: usize = ROOM + 1 + 192;

/// Packets the kernel cuts from one message at most (`UDP_MAX_SEGMENTS` of older kernels).
pub const SEGMENTS: usize = 64;

/// The most bytes in one message to be cut.
pub const JOINED: usize = 65_000;

/// Room for the control messages of one packet: `UDP_GRO` or `UDP_SEGMENT`, and `IPV6_PKTINFO` or
/// `IPV6_ORIGDSTADDR`.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; 96]);

/// An address as the kernel writes it.
#[repr(C)]
#[derive(Clone, Copy)]
union Name {
    family: libc::sa_family_t,
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

impl Name {
    fn empty() -> Self {
        // SAFETY: all-zero bytes are a valid value of every field.
        unsafe { zeroed() }
    }

    fn of(address: SocketAddr) -> (Self, socklen_t) {
        let mut name = Self::empty();
        match address {
            SocketAddr::V4(v4) => {
                name.v4 = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(v4.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                (name, size_of::<libc::sockaddr_in>() as socklen_t)
            }
            SocketAddr::V6(v6) => {
                name.v6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: 0,
                    sin6_addr: libc::in6_addr {
                        s6_addr: v6.ip().octets(),
                    },
                    sin6_scope_id: v6.scope_id(),
                };
                (name, size_of::<libc::sockaddr_in6>() as socklen_t)
            }
        }
    }

    fn address(&self) -> Option<SocketAddr> {
        // SAFETY: the union was zeroed and then written by the kernel, so every byte is initialised;
        // `family` tells which field it wrote.
        unsafe {
            match c_int::from(self.family) {
                libc::AF_INET => {
                    let ip = Ipv4Addr::from(self.v4.sin_addr.s_addr.to_ne_bytes());
                    Some(SocketAddrV4::new(ip, u16::from_be(self.v4.sin_port)).into())
                }
                libc::AF_INET6 => {
                    let ip = Ipv6Addr::from(self.v6.sin6_addr.s6_addr);
                    let port = u16::from_be(self.v6.sin6_port);
                    Some(SocketAddrV6::new(ip, port, 0, self.v6.sin6_scope_id).into())
                }
                _ => None,
            }
        }
    }
}

/// One received message: `segment` bytes each packet, the last one perhaps shorter.
#[derive(Debug, Clone, Copy)]
pub struct Message {
    /// Who sent it.
    pub from: SocketAddr,
    /// Which local address it was sent to, where the socket was told to say so.
    pub to: Option<IpAddr>,
    /// Where it was sent to before it was diverted here, where the socket was told to say so.
    pub asked: Option<SocketAddr>,
    /// Where it lies in `Inbox::data`.
    pub at: usize,
    /// How long it is.
    pub len: usize,
    /// How long each packet in it is; at least 1.
    pub segment: usize,
}

impl Message {
    /// Bytes behind its room in `Inbox::data` that are free for whoever reads it.
    pub fn spare(&self) -> Range<usize> {
        self.at + ROOM..self.at + STRIDE
    }

    /// Where each packet lies in `Inbox::data`. A message without bytes is one empty packet.
    pub fn packets(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let Self {
            at, len, segment, ..
        } = *self;
        (0..len.max(1))
            .step_by(segment)
            .map(move |from| (at + from, segment.min(len - from)))
    }
}

/// What one `recvmmsg` filled.
pub struct Inbox {
    data: Box<[u8]>,
    names: Box<[Name; BATCH]>,
    controls: Box<[Control; BATCH]>,
    heads: Box<[mmsghdr; BATCH]>,
    parts: Box<[iovec; BATCH]>,
}

impl Inbox {
    /// An empty one. Its pages are taken from the system when packets come.
    pub fn new() -> Self {
        Self {
            data: vec![0; STRIDE * BATCH].into_boxed_slice(),
            names: Box::new([Name::empty(); BATCH]),
            controls: Box::new([Control([0; 96]); BATCH]),
            // SAFETY: all-zero bytes are a valid mmsghdr and a valid iovec.
            heads: Box::new(unsafe { zeroed() }),
            // SAFETY: as above.
            parts: Box::new(unsafe { zeroed() }),
        }
    }

    /// The bytes that messages point into.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Take what is there, without waiting; how many messages.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        let rooms = self.data.chunks_exact_mut(STRIDE);
        let names = self.names.iter_mut().zip(self.controls.iter_mut());
        let heads = self.heads.iter_mut().zip(self.parts.iter_mut());
        for ((room, (name, control)), (head, part)) in rooms.zip(names).zip(heads) {
            *part = iovec {
                iov_base: room.as_mut_ptr().cast(),
                iov_len: ROOM,
            };
            let head = &mut head.msg_hdr;
            head.msg_name = (&raw mut *name).cast();
            head.msg_namelen = size_of::<Name>() as socklen_t;
            head.msg_iov = part;
            head.msg_iovlen = 1;
            head.msg_control = (&raw mut *control).cast();
            head.msg_controllen = size_of::<Control>() as _;
            head.msg_flags = 0;
        }
        // SAFETY: each header points at a name, a part, a room and a control block of `self`, with
        // their true sizes, and nothing else uses them before the call returns.
        let taken = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.heads.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT as _,
                null_mut(),
            )
        };
        usize::try_from(taken).map_err(|_| io::Error::last_os_error())
    }

    /// The last batch: its messages, and the bytes that they point into.
    pub fn split(&mut self) -> (Messages<'_>, &mut [u8]) {
        let (names, heads) = (&*self.names, &*self.heads);
        (Messages { names, heads }, &mut self.data)
    }
}

/// The messages of a batch.
pub struct Messages<'a> {
    names: &'a [Name; BATCH],
    heads: &'a [mmsghdr; BATCH],
}

impl Messages<'_> {
    /// The message at `index` of the last batch; None when it cannot be used.
    pub fn message(&self, index: usize) -> Option<Message> {
        let head = &self.heads[index];
        let from = self.names[index].address()?;
        let len = (head.msg_len as usize).min(ROOM);
        let mut message = Message {
            from,
            to: None,
            asked: None,
            at: index * STRIDE,
            len,
            segment: len.max(1),
        };
        if head.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        // SAFETY: the kernel wrote well-formed control messages within `msg_controllen` bytes of the
        // control block, and only data of the type that the level and kind tell is read.
        unsafe {
            let mut each = libc::CMSG_FIRSTHDR(&raw const head.msg_hdr);
            while let Some(control) = each.as_ref() {
                let data = libc::CMSG_DATA(each);
                match (control.cmsg_level, control.cmsg_type) {
                    (libc::SOL_UDP, libc::UDP_GRO) => {
                        let size = data.cast::<c_int>().read_unaligned();
                        message.segment = usize::try_from(size).unwrap_or(0).clamp(1, len.max(1));
                    }
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                        let info = data.cast::<libc::in_pktinfo>().read_unaligned();
                        message.to =
                            Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into());
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                        let info = data.cast::<libc::in6_pktinfo>().read_unaligned();
                        message.to = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into());
                    }
                    (libc::IPPROTO_IP, libc::IP_ORIGDSTADDR) => {
                        let v4 = data.cast::<libc::sockaddr_in>().read_unaligned();
                        message.asked = Name { v4 }.address();
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_ORIGDSTADDR) => {
                        let v6 = data.cast::<libc::sockaddr_in6>().read_unaligned();
                        message.asked = Name { v6 }.address();
                    }
                    _ => {}
                }
                each = libc::CMSG_NXTHDR(&raw const head.msg_hdr, each);
            }
        }
        Some(message)
    }
}

// SAFETY: the raw pointers in `heads` and `parts` are only used inside `receive`, which writes them anew.
unsafe impl Send for Inbox {}

/// One message to be sent: the parts are joined, and cut into packets of `segment` bytes if not zero.
pub struct Parcel<P> {
    /// Whom it is for.
    pub to: SocketAddr,
    /// The local address it leaves from, when the socket has many.
    pub from: Option<IpAddr>,
    /// The size of each packet but the last; zero sends one packet.
    pub segment: usize,
    /// The bytes.
    pub parts: P,
}

/// Memory for the headers of one `sendmmsg`.
#[derive(Default)]
pub struct Sender {
    heads: Vec<mmsghdr>,
    parts: Vec<iovec>,
    names: Vec<(Name, socklen_t)>,
    controls: Vec<(Control, usize)>,
    ends: Vec<usize>,
}

impl Sender {
    /// Send the parcels in order, without waiting. How many went; fewer than given when the kernel did
    /// not take the next one (send it again to learn why), an error when it did not take the first.
    pub fn send<'a, P: Iterator<Item = &'a [u8]>>(
        &mut self,
        socket: BorrowedFd<'_>,
        parcels: impl Iterator<Item = Parcel<P>>,
    ) -> io::Result<usize> {
        self.lay_out(parcels);
        if self.ends.is_empty() {
            return Ok(0);
        }
        let mut begin = 0;
        self.heads.clear();
        let named = self.names.iter_mut().zip(self.controls.iter_mut());
        for (&end, ((name, namelen), (control, controllen))) in self.ends.iter().zip(named) {
            // SAFETY: all-zero bytes are a valid mmsghdr.
            let mut head: mmsghdr = unsafe { zeroed() };
            head.msg_hdr.msg_name = (&raw mut *name).cast();
            head.msg_hdr.msg_namelen = *namelen;
            head.msg_hdr.msg_iov = self.parts[begin..end].as_mut_ptr();
            head.msg_hdr.msg_iovlen = (end - begin) as _;
            if *controllen > 0 {
                head.msg_hdr.msg_control = (&raw mut *control).cast();
                head.msg_hdr.msg_controllen = *controllen as _;
            }
            self.heads.push(head);
            begin = end;
        }
        // SAFETY: the headers point at names, parts and controls of `self`, which are not touched until
        // the call returns, and the parts at bytes borrowed for 'a, which outlives the call; sendmmsg
        // only reads them.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.heads.as_mut_ptr(),
                self.heads.len() as u32,
                (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    fn lay_out<'a, P: Iterator<Item = &'a [u8]>>(
        &mut self,
        parcels: impl Iterator<Item = Parcel<P>>,
    ) {
        self.parts.clear();
        self.names.clear();
        self.controls.clear();
        self.ends.clear();
        for parcel in parcels {
            let begin = self.parts.len();
            for part in parcel.parts {
                self.add_part(begin, part);
            }
            self.ends.push(self.parts.len());
            self.names.push(Name::of(parcel.to));
            let mut control = (Control([0; 96]), 0);
            if parcel.segment > 0 {
                append(
                    &mut control,
                    libc::SOL_UDP,
                    libc::UDP_SEGMENT,
                    &(parcel.segment as u16).to_ne_bytes(),
                );
            }
            match parcel.from {
                None => {}
                Some(IpAddr::V4(ip)) => {
                    // struct in_pktinfo: interface, the address to leave from, and one that is not read.
                    let mut info = [0; 12];
                    info[4..8].copy_from_slice(&ip.octets());
                    append(&mut control, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
                }
                Some(IpAddr::V6(ip)) => {
                    // struct in6_pktinfo: the address to leave from, interface.
                    let mut info = [0; 20];
                    info[..16].copy_from_slice(&ip.octets());
                    append(&mut control, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
                }
            }
            self.controls.push(control);
        }
    }

    /// Parts that lie side by side in memory become one.
    fn add_part(&mut self, begin: usize, part: &[u8]) {
        if part.is_empty() {
            return;
        }
        let base = part.as_ptr().cast_mut().cast::<c_void>();
        if let Some(last) = self.parts[begin..].last_mut()
            && std::ptr::eq(last.iov_base.wrapping_byte_add(last.iov_len), base)
        {
            last.iov_len += part.len();
            return;
        }
        self.parts.push(iovec {
            iov_base: base,
            iov_len: part.len(),
        });
    }
}

// SAFETY: the raw pointers are only used inside `send`, which writes them anew.
unsafe impl Send for Sender {}

/// Append a control message to a block that has room for it.
fn append((block, used): &mut (Control, usize), level: c_int, kind: c_int, data: &[u8]) {
    // SAFETY: CMSG_LEN and CMSG_SPACE only compute.
    let (len, space) = unsafe {
        (
            libc::CMSG_LEN(data.len() as u32),
            libc::CMSG_SPACE(data.len() as u32),
        )
    };
    let Some(room) = block.0.get_mut(*used..*used + space as usize) else {
        return;
    };
    let head = cmsghdr {
        cmsg_len: len as _,
        cmsg_level: level,
        cmsg_type: kind,
    };
    let header = size_of::<cmsghdr>();
    // SAFETY: `room` is `space` bytes, which is more than the header.
    unsafe { room.as_mut_ptr().cast::<cmsghdr>().write_unaligned(head) };
    // What CMSG_DATA says: the data follow the header, whose size is a multiple of its alignment.
    room[header..header + data.len()].copy_from_slice(data);
    *used += space as usize;
}

/// Set an integer option of a socket.
pub fn set_option(
    socket: BorrowedFd<'_>,
    level: c_int,
    name: c_int,
    value: c_int,
) -> io::Result<()> {
    // SAFETY: the kernel reads just the four bytes of `value`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            size_of::<c_int>() as socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Have a fresh socket take, or use, addresses that are not this host's. Needs `CAP_NET_ADMIN`.
pub fn set_transparent(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    if address.is_ipv4() {
        socket.set_ip_transparent_v4(true)
    } else {
        set_option(
            socket.as_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_TRANSPARENT,
            1,
        )
    }
}

/// Whether the kernel knows an integer option.
pub fn has_option(socket: BorrowedFd<'_>, level: c_int, name: c_int) -> bool {
    let mut value: c_int = 0;
    let mut len = size_of::<c_int>() as socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `value`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &raw mut len,
        )
    };
    result == 0
}
