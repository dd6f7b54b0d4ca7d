//! A near end that is a UDP socket.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};

use super::address::canonical;
use super::asks::Asks;
use super::codec::Codec;
use super::hub::Hub;
use super::near::{Near, PacketListener};
use super::options::PacketOptions;
use crate::reactor::Reactors;
use crate::relay::End;
use crate::udp::{Boxes, Exit, Line, set_option};

impl PacketListener {
    /// Listen on an address; new pairs go to `asks`. IPv6 addresses mean IPv6 alone.
    pub fn bind(
        address: SocketAddr,
        codec: Box<dyn Codec>,
        options: &PacketOptions,
        reactors: &Reactors,
        asks: Arc<Asks>,
    ) -> io::Result<Self> {
        let socket = bound(address)?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let home = reactors.next_home();
        let _entered = reactors.home(home)?.enter();
        let only = options.only.map(canonical);
        let port = only.map(|only| only.port());
        let near = Listening {
            line: Arc::new(Line::new(socket)?),
            only,
            port: port.filter(|port| *port != 0),
        };
        Ok(Self::start(
            near,
            (address, home),
            codec,
            options,
            reactors,
            asks,
            drop,
        ))
    }
}

fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    if address.ip().is_unspecified() {
        // Answers must leave from the address that was asked.
        let (level, option) = if address.is_ipv4() {
            (libc::IPPROTO_IP, libc::IP_PKTINFO)
        } else {
            (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
        };
        set_option(socket.as_fd(), level, option, 1)?;
    }
    Ok(socket)
}

struct Listening {
    line: Arc<Line>,
    /// The one source that is heard, and its port once that is known.
    only: Option<SocketAddr>,
    port: Option<u16>,
}

impl Near for Listening {
    fn exit(&self) -> Arc<dyn Exit> {
        Arc::clone(&self.line) as _
    }

    fn poll(&mut self, hub: &Arc<Hub>, cx: &mut Context<'_>) -> Poll<End> {
        let line = Arc::clone(&self.line);
        line.poll_rounds(cx, |boxes| self.take(hub, boxes))
            .map(|()| End::Closed)
    }
}

impl Listening {
    /// One batch.
    fn take(&mut self, hub: &Arc<Hub>, boxes: &mut Boxes) -> io::Result<()> {
        let count = self.line.receive(&mut boxes.inbox)?;
        hub.with_up(boxes, |up, inbox| {
            let mut packets = 0;
            for message in (0..count).filter_map(|at| inbox.message(at)) {
                let count = message.len.div_ceil(message.segment).max(1) as u64;
                packets += count;
                if self.admits(message.from) {
                    if up.message(&message) {
                        self.port = Some(message.from.port());
                    }
                } else {
                    hub.tally.stranger.fetch_add(count, Relaxed);
                }
            }
            hub.tally.packets_up.fetch_add(packets, Relaxed);
        });
        Ok(())
    }

    fn admits(&self, from: SocketAddr) -> bool {
        self.only.is_none_or(|only| {
            from.ip().to_canonical() == only.ip()
                && self.port.is_none_or(|port| port == from.port())
        })
    }
}
