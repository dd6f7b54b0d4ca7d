//! The device: one packet a system call, each with a virtio-net header.

use std::io::{self, IoSlice};
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;

use crate::packets::{Sum, protocol};
use crate::stack::{Outgoing, Wire};
use crate::watched::watched;

/// The bytes of the header before each packet (`struct virtio_net_hdr`).
pub const HEADER: usize = 10;

/// The longest packet, with its header.
#[cfg(test)]
pub const LONGEST: usize = HEADER + 0xFFFF;

const NEEDS_CHECKSUM: u8 = 1;
const CHECKED: u8 = 2;
const TCP4: u8 = 1;
const TCP6: u8 = 4;
const UDP: u8 = 5;

/// The most pieces of one packet.
const PIECES: usize = 256;

/// What the kernel does in place of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offloads {
    /// Checksums are finished by whoever has to.
    pub checksums: bool,
    /// Segments of TCP are joined and cut.
    pub tcp: bool,
    /// Datagrams of UDP are joined and cut.
    pub udp: bool,
}

/// What the header before a packet says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Came {
    /// Whether its checksum needs no look.
    pub trusted: bool,
    /// The payload of each datagram that was joined; 0: it is one.
    pub datagram: usize,
}

/// An open TUN.
pub struct Device {
    fd: AsyncFd<OwnedFd>,
    offloads: Offloads,
}

impl Device {
    /// Take over a descriptor, on the loop of the calling thread. It must not block.
    pub fn new(fd: OwnedFd, offloads: Offloads) -> io::Result<Self> {
        Ok(Self {
            fd: watched(fd)?,
            offloads,
        })
    }

    /// What the kernel does.
    pub fn offloads(&self) -> Offloads {
        self.offloads
    }

    /// Wait until there is something to be read.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.fd.poll_read_ready(cx))?.retain_ready();
        Poll::Ready(Ok(()))
    }

    /// Nothing is there, as a read has found.
    pub fn is_empty(&self, cx: &mut Context<'_>) {
        if let Poll::Ready(Ok(mut guard)) = self.fd.poll_read_ready(cx) {
            guard.clear_ready();
        }
    }

    /// Read one packet into what has room for the longest one: how many came with its header, which the
    /// caller cuts off, and what that says. Fails with `WouldBlock` where there is none.
    pub fn read(&self, into: &mut [u8]) -> io::Result<(usize, Came)> {
        let count = rustix::io::read(self.fd.get_ref(), &mut *into)?;
        let header = into.get(..HEADER.min(count)).unwrap_or_default();
        let header = header
            .first_chunk::<HEADER>()
            .ok_or(io::ErrorKind::InvalidData)?;
        let size = usize::from(u16::from_ne_bytes([header[4], header[5]]));
        let came = Came {
            trusted: header[0] & (NEEDS_CHECKSUM | CHECKED) != 0,
            datagram: if header[1] & 0x7F == UDP { size } else { 0 },
        };
        Ok((count, came))
    }

    fn write(&self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        rustix::io::writev(self.fd.get_ref(), pieces)?;
        Ok(())
    }

    /// Send a packet as one, its checksum undone or done.
    fn send_one(&self, packet: &Outgoing<'_>, head: &[u8], parts: &[&[u8]]) -> io::Result<()> {
        let mut header = [0; HEADER];
        if !self.offloads.checksums {
            let mut head = head.to_vec();
            finish(&mut head, packet, parts);
            return self.write_parts(&header, &head, parts);
        }
        header[0] = NEEDS_CHECKSUM;
        header[6..8].copy_from_slice(&(packet.transport as u16).to_ne_bytes());
        header[8..10].copy_from_slice(&(packet.checksum as u16).to_ne_bytes());
        if packet.segment > 0 && self.cuts(head) {
            header[1] = match (head[0] >> 4, protocol_of(head)) {
                (_, protocol::UDP) => UDP,
                (4, _) => TCP4,
                _ => TCP6,
            };
            header[2..4].copy_from_slice(&(head.len() as u16).to_ne_bytes());
            header[4..6].copy_from_slice(&(packet.segment as u16).to_ne_bytes());
        }
        self.write_parts(&header, head, parts)
    }

    fn cuts(&self, head: &[u8]) -> bool {
        match protocol_of(head) {
            protocol::UDP => self.offloads.udp,
            _ => self.offloads.tcp,
        }
    }

    fn write_parts(&self, header: &[u8], head: &[u8], parts: &[&[u8]]) -> io::Result<()> {
        let mut pieces = [IoSlice::new(&[]); PIECES];
        pieces[0] = IoSlice::new(header);
        pieces[1] = IoSlice::new(head);
        let mut count = 2;
        for part in parts.iter().filter(|part| !part.is_empty()) {
            *pieces.get_mut(count).ok_or(io::ErrorKind::InvalidInput)? = IoSlice::new(part);
            count += 1;
        }
        self.write(&pieces[..count])
    }
}

impl Wire for Device {
    fn send(&self, packet: &Outgoing<'_>) -> io::Result<()> {
        if packet.segment == 0 || self.cuts(packet.head) && self.offloads.checksums {
            return self.send_one(packet, packet.head, packet.parts);
        }
        // The kernel does not cut, so it is done here.
        let payload = packet.parts.concat();
        let count = payload.len().div_ceil(packet.segment);
        for (at, piece) in payload.chunks(packet.segment).enumerate() {
            let head = cut(
                packet,
                piece.len(),
                (at * packet.segment) as u32,
                at + 1 == count,
            );
            self.send_one(packet, &head, &[piece])?;
        }
        Ok(())
    }

    fn send_whole(&self, packet: &[u8]) -> io::Result<()> {
        self.write(&[IoSlice::new(&[0; HEADER]), IoSlice::new(packet)])
    }
}

fn protocol_of(head: &[u8]) -> u8 {
    let at = if head.first().is_some_and(|first| first >> 4 == 4) {
        9
    } else {
        6
    };
    head.get(at).copied().unwrap_or_default()
}

/// The headers of one of the packets that a long one is cut to.
fn cut(packet: &Outgoing<'_>, length: usize, offset: u32, last: bool) -> Vec<u8> {
    let mut head = packet.head.to_vec();
    let whole: usize = packet.parts.iter().map(|part| part.len()).sum();
    let less = (whole - length) as u16;
    let put = |head: &mut [u8], at: usize, value: u16| {
        head[at..at + 2].copy_from_slice(&value.to_be_bytes());
    };
    let get = |head: &[u8], at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
    if head[0] >> 4 == 4 {
        let total = get(&head, 2) - less;
        put(&mut head, 2, total);
        put(&mut head, 10, 0);
        let sum = Sum::default().with(&head[..packet.transport]).done();
        put(&mut head, 10, sum);
    } else {
        let total = get(&head, 4) - less;
        put(&mut head, 4, total);
    }
    let (at, is_tcp) = (packet.transport, protocol_of(&head) == protocol::TCP);
    if is_tcp {
        let seq = u32::from_be_bytes([head[at + 4], head[at + 5], head[at + 6], head[at + 7]]);
        head[at + 4..at + 8].copy_from_slice(&seq.wrapping_add(offset).to_be_bytes());
        if !last {
            head[at + 13] &= !0b1001; // neither FIN nor PSH before the end
        }
    } else {
        let total = get(&head, at + 4) - less;
        put(&mut head, at + 4, total);
    }
    // The pseudo header has the length in it: a sum without what is missing.
    let sum = get(&head, at + packet.checksum);
    let shorter = Sum::default()
        .with(&sum.to_be_bytes())
        .with(&(!less).to_be_bytes())
        .partial();
    put(&mut head, at + packet.checksum, shorter);
    head
}

/// Put the checksum in its place, where the sum of the pseudo header was.
fn finish(head: &mut [u8], packet: &Outgoing<'_>, parts: &[&[u8]]) {
    let sum = Sum::default()
        .with(&head[packet.transport..])
        .with_all(parts)
        .done();
    // To UDP, zero means that there is none.
    let sum = if sum == 0 { 0xFFFF } else { sum };
    let at = packet.transport + packet.checksum;
    head[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use std::os::fd::{AsFd, OwnedFd};

    use proptest::prelude::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    use super::*;
    use crate::packets::{
        Datagram, Flags, Options, Packet, Pair, Segment, put_ip, put_tcp, put_udp,
    };

    fn pair(local: &str, remote: &str) -> Pair {
        Pair {
            local: local.parse().expect("an address"),
            remote: remote.parse().expect("an address"),
        }
    }

    /// A device whose other end is a socket that keeps packets apart.
    fn device(offloads: Offloads) -> (Device, OwnedFd) {
        let flags = SocketFlags::NONBLOCK;
        let (one, other) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a pair");
        (Device::new(one, offloads).expect("a device"), other)
    }

    fn sent(other: &OwnedFd) -> Vec<Vec<u8>> {
        let mut found = Vec::new();
        let mut room = vec![0; LONGEST];
        while let Ok(n) = rustix::io::read(other.as_fd(), &mut room[..]) {
            found.push(room[..n].to_vec());
        }
        found
    }

    fn tcp(pair: &Pair, payload: &[u8], segment: usize, device: &Device) {
        let mut header = Vec::new();
        let flags = Flags::ACK.and(Flags::PSH).and(Flags::FIN);
        put_tcp(
            pair,
            (1000, 7),
            flags,
            50,
            Options::default(),
            payload.len(),
            &mut header,
        );
        send(pair, protocol::TCP, &header, 16, payload, segment, device);
    }

    fn send(
        pair: &Pair,
        number: u8,
        header: &[u8],
        checksum: usize,
        payload: &[u8],
        segment: usize,
        device: &Device,
    ) {
        let mut head = Vec::new();
        let length = header.len() + payload.len();
        put_ip(pair.local.ip(), pair.remote.ip(), number, length, &mut head);
        let transport = head.len();
        head.extend_from_slice(header);
        let middle = payload.len() / 3;
        let parts = [&payload[..middle], &payload[middle..]];
        let packet = Outgoing {
            head: &head,
            transport,
            checksum,
            parts: &parts,
            segment,
        };
        device.send(&packet).expect("room");
    }

    #[tokio::test]
    async fn what_the_kernel_does_not_do_is_done_here() {
        for (local, remote) in [
            ("192.0.2.7:80", "10.0.0.1:5000"),
            ("[2001:db8::7]:80", "[fd00::1]:5000"),
        ] {
            let pair = pair(local, remote);
            let payload: Vec<u8> = (0..2500_u16).map(|at| at as u8).collect();
            let (device, other) = device(Offloads::default());
            tcp(&pair, &payload, 1000, &device);

            let (mut bytes, mut seq) = (Vec::new(), 1000);
            let packets = sent(&other);
            assert_eq!(packets.len(), 3);
            for (at, packet) in packets.iter().enumerate() {
                let packet = &packet[HEADER..];
                let ip = Packet::parse(packet).expect("a packet");
                let found = Segment::parse(&ip, packet, false).expect("a right checksum");
                assert_eq!(found.seq, seq);
                assert_eq!(found.flags.has(Flags::FIN), at == 2);
                seq += found.payload.len() as u32;
                bytes.extend_from_slice(&packet[found.payload]);
            }
            assert_eq!(bytes, payload);
        }
    }

    #[tokio::test]
    async fn what_the_kernel_does_is_left_to_it() {
        let offloads = Offloads {
            checksums: true,
            tcp: true,
            udp: true,
        };
        let (device, other) = device(offloads);
        let pair = pair("192.0.2.7:80", "10.0.0.1:5000");
        tcp(&pair, &[7; 2500], 1000, &device);
        let mut header = Vec::new();
        put_udp(&pair, 2500, &mut header);
        send(&pair, protocol::UDP, &header, 6, &[7; 2500], 1000, &device);

        let packets = sent(&other);
        let said: Vec<_> = packets.iter().map(|packet| &packet[..HEADER]).collect();
        let (tcp, udp) = (said[0], said[1]);
        assert_eq!(tcp, [1, TCP4, 40, 0, 232, 3, 20, 0, 16, 0]);
        assert_eq!(udp, [1, UDP, 28, 0, 232, 3, 20, 0, 6, 0]);
    }

    proptest! {
        #[test]
        fn datagrams_have_right_checksums(payload in proptest::collection::vec(any::<u8>(), 0..90)) {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.expect("a loop");
            let _entered = runtime.enter();
            let (device, other) = device(Offloads::default());
            let pair = pair("[2001:db8::7]:53", "[fd00::1]:5000");
            let mut header = Vec::new();
            put_udp(&pair, payload.len(), &mut header);
            send(&pair, protocol::UDP, &header, 6, &payload, 30, &device);
            let mut whole = Vec::new();
            for packet in sent(&other) {
                let packet = &packet[HEADER..];
                let ip = Packet::parse(packet).expect("a packet");
                let found = Datagram::parse(&ip, packet, false).expect("a right checksum");
                whole.extend_from_slice(&packet[found.payload]);
            }
            prop_assert_eq!(whole, payload);
        }
    }
}
