//! A near end for packets to others, which the firewall diverts here (tproxy): each is for the address
//! that it was sent to, and answers leave with that address.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};

use super::address::{Scratch, Spot, decode_place, encode_place};
use super::asks::Asks;
use super::codec::{Codec, Form};
use super::hub::Hub;
use super::ids::Origin;
use super::near::{Near, PacketListener};
use super::options::PacketOptions;
use super::tally::Bad;
use crate::reactor::Reactors;
use crate::relay::End;
use crate::udp::{Boxes, Exit, Line, Masks, Span, set_option, set_transparent};

impl PacketListener {
    /// Take the packets that are diverted to `address`; new pairs go to `asks`. Needs `CAP_NET_ADMIN`.
    pub fn diverted(
        address: SocketAddr,
        options: &PacketOptions,
        reactors: &Reactors,
        asks: Arc<Asks>,
    ) -> io::Result<Self> {
        let socket = bound(address, options.mark)?;
        let address = socket
            .local_addr()?
            .as_socket()
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let home = reactors.next_home();
        let _entered = reactors.home(home)?.enter();
        let line = Arc::new(Line::new(socket)?);
        let masks = Arc::new(Masks::new(&line, options.mark));
        let near = Diverted { line, masks };
        let codec = Box::new(Asked);
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

fn bound(address: SocketAddr, mark: Option<u32>) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    set_transparent(&socket, address)?;
    let (level, option) = if address.is_ipv4() {
        (libc::IPPROTO_IP, libc::IP_RECVORIGDSTADDR)
    } else {
        socket.set_only_v6(true)?;
        (libc::IPPROTO_IPV6, libc::IPV6_RECVORIGDSTADDR)
    };
    set_option(socket.as_fd(), level, option, 1)?;
    if let Some(mark) = mark {
        socket.set_mark(mark)?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The head of a packet, laid beside it, is the address form of where it was sent to.
pub struct Asked;

impl Codec for Asked {
    fn target<'a>(
        &'a self,
        _origin: Origin,
        body: &[u8],
        scratch: &'a mut Scratch,
    ) -> Option<(Spot<'a>, usize)> {
        decode_place(body, scratch)
    }

    fn form(&self, _origin: Origin, _expected: bool) -> Option<Form> {
        Some(Form::Prefix)
    }

    fn masks(&self) -> bool {
        true
    }

    fn put_head(&self, _origin: Origin, _sender: Spot<'_>, _payload: usize, _into: &mut Vec<u8>) {}
}

struct Diverted {
    line: Arc<Line>,
    masks: Arc<Masks>,
}

impl Near for Diverted {
    fn exit(&self) -> Arc<dyn Exit> {
        Arc::clone(&self.masks) as _
    }

    fn poll(&mut self, hub: &Arc<Hub>, cx: &mut Context<'_>) -> Poll<End> {
        self.masks.opened.get_or_init(|| {
            let hub = Arc::downgrade(hub);
            Box::new(move |line, address| {
                let hub = Weak::clone(&hub);
                tokio::spawn(Reader { line, address, hub }).abort_handle()
            })
        });
        let line = Arc::clone(&self.line);
        line.poll_rounds(cx, |boxes| take(hub, &line, boxes, None))
            .map(|()| End::Closed)
    }

    fn poll_quiet(&mut self, busy: bool, _cx: &mut Context<'_>) -> Poll<End> {
        if !busy {
            self.masks.clear();
        }
        Poll::Pending
    }
}

impl Drop for Diverted {
    fn drop(&mut self) {
        self.masks.clear();
    }
}

/// One batch, to `asked` or where each packet says.
fn take(
    hub: &Arc<Hub>,
    line: &Line,
    boxes: &mut Boxes,
    asked: Option<SocketAddr>,
) -> io::Result<()> {
    let count = line.receive(&mut boxes.inbox)?;
    hub.with_up(boxes, |up, inbox| {
        let (mut packets, mut head) = (0, Vec::new());
        for message in (0..count).filter_map(|at| inbox.message(at)) {
            packets += message.len.div_ceil(message.segment).max(1) as u64;
            let Some(asked) = asked.or(message.asked) else {
                hub.tally.dropped(Bad::Malformed);
                continue;
            };
            head.clear();
            encode_place(Spot::Address(asked), &mut head);
            let spare = message.spare();
            up.data[spare.start..spare.start + head.len()].copy_from_slice(&head);
            let head = Span::new(spare.start, head.len());
            for (at, len) in message.packets() {
                up.parts(message.from, head, at..at + len);
            }
        }
        hub.tally.packets_up.fetch_add(packets, Relaxed);
    });
    Ok(())
}

/// The task of one socket that answers for an address.
struct Reader {
    line: Arc<Line>,
    address: SocketAddr,
    hub: Weak<Hub>,
}

impl Future for Reader {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { line, address, hub } = &*self;
        line.poll_rounds(cx, |boxes| match hub.upgrade() {
            Some(hub) => take(&hub, line, boxes, Some(*address)),
            None => Err(io::ErrorKind::NotFound.into()),
        })
    }
}
