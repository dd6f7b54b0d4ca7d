//! What reads a device: the near end of its packet sessions, which hands TCP to the stack.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::time::{Instant, Sleep, sleep_until};

use super::device::{Came, Device, HEADER, Offloads};
use crate::buffer::Buffer;
use crate::datagrams::address::{Spot, encode_place};
use crate::datagrams::{Asked, Asks, Bad, Hub, Near, PacketListener, PacketOptions};
use crate::packets::{
    Datagram, Malformed, Packet, Pair, Segment, Unreachable, protocol, put_ip, put_udp, unreachable,
};
use crate::reactor::Reactors;
use crate::relay::End;
use crate::stack::{Door, Outgoing, Stack, Wire};
use crate::udp::{Exit, Losses, Memory, Run, Span, with_boxes};

/// Packets that are read before the streams that they are for have a turn.
const BATCH: usize = 16;

/// Read a device on the loop of `door`. Its connections arrive at the door, new pairs of UDP at `asks`.
pub fn open(
    fd: OwnedFd,
    offloads: Offloads,
    door: Door,
    options: &PacketOptions,
    reactors: &Reactors,
    asks: Arc<Asks>,
) -> io::Result<PacketListener> {
    let (home, mtu) = (door.home, door.mtu);
    let handle = reactors.home(home)?;
    let _entered = handle.enter();
    let device = Arc::new(Device::new(fd, offloads)?);
    let stack = Stack::new(Arc::clone(&device) as _, door);
    let exit = Arc::new(Out {
        device: Arc::clone(&device),
        joinable: if offloads.udp {
            mtu.saturating_sub(48)
        } else {
            0
        },
    });
    let near = Reader {
        device,
        stack,
        exit,
        buffer: Buffer::large(),
        datagrams: Vec::new(),
        timer: Box::pin(sleep_until(Instant::now())),
        due: None,
    };
    let place = (SocketAddr::from(([0, 0, 0, 0], 0)), home);
    Ok(PacketListener::start(
        near,
        place,
        Box::new(Asked),
        options,
        reactors,
        asks,
        drop,
    ))
}

struct Reader {
    device: Arc<Device>,
    stack: Stack,
    exit: Arc<Out>,
    /// Where the next packet is read to.
    buffer: Buffer,
    /// The datagrams of the batch.
    datagrams: Vec<(Pair, Bytes)>,
    timer: Pin<Box<Sleep>>,
    due: Option<std::time::Instant>,
}

impl Near for Reader {
    fn exit(&self) -> Arc<dyn Exit> {
        Arc::clone(&self.exit) as _
    }

    fn poll(&mut self, hub: &Arc<Hub>, cx: &mut Context<'_>) -> Poll<End> {
        self.stack.register(cx.waker());
        // What the streams have not acknowledged in their turn.
        self.stack.acknowledge();
        match self.device.poll_ready(cx) {
            Poll::Pending => {}
            Poll::Ready(Err(error)) => return Poll::Ready(End::Near(error.kind())),
            Poll::Ready(Ok(())) => match self.batch(hub) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.device.is_empty(cx);
                    if self.device.poll_ready(cx).is_ready() || self.stack.owes() {
                        cx.waker().wake_by_ref(); // behind the streams that were just woken
                    }
                }
                Err(error) => return Poll::Ready(End::Near(error.kind())),
                Ok(()) => cx.waker().wake_by_ref(),
            },
        }
        self.poll_clock(cx);
        Poll::Pending
    }
}

impl Reader {
    /// Read some packets and see them through. Fails with `WouldBlock` when there are no more.
    fn batch(&mut self, hub: &Arc<Hub>) -> io::Result<()> {
        let mut outcome = Ok(());
        for _ in 0..BATCH {
            if self.buffer.is_taken() {
                self.buffer = Buffer::large();
            } else {
                self.buffer.empty();
            }
            match self.device.read(self.buffer.room()) {
                Ok((count, came)) => {
                    self.buffer.grow(count);
                    self.buffer.advance(HEADER);
                    if self.take(came).is_err() {
                        hub.tally.dropped(Bad::Malformed);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.give(hub);
        outcome
    }

    fn take(&mut self, came: Came) -> Result<(), Malformed> {
        let bytes = &*self.buffer;
        let packet = Packet::parse(bytes)?;
        if packet.fragment {
            return Err(Malformed);
        }
        match packet.protocol {
            protocol::TCP => {
                let segment = Segment::parse(&packet, bytes, came.trusted)?;
                let Range { start, end } = segment.payload;
                self.buffer.keep(start, end);
                self.stack.hear(&segment, &mut self.buffer);
            }
            protocol::UDP => {
                let datagram = Datagram::parse(&packet, bytes, came.trusted)?;
                let payload = &bytes[datagram.payload.clone()];
                let each = if came.datagram > 0 {
                    came.datagram
                } else {
                    payload.len().max(1)
                };
                for piece in payload.chunks(each) {
                    self.datagrams
                        .push((datagram.pair, Bytes::copy_from_slice(piece)));
                }
                if payload.is_empty() {
                    self.datagrams.push((datagram.pair, Bytes::new()));
                }
            }
            _ => {
                if let Some(answer) = unreachable(Unreachable::Prohibited, &packet, bytes) {
                    let _ = self.device.send_whole(&answer);
                }
            }
        }
        Ok(())
    }

    /// Hand the datagrams of the batch over.
    fn give(&mut self, hub: &Arc<Hub>) {
        let mut left = self.datagrams.drain(..).peekable();
        while left.peek().is_some() {
            let mut packets = 0;
            with_boxes(|boxes| {
                hub.with_up(boxes, |up, _| {
                    let (mut at, mut head) = (0, Vec::new());
                    while let Some((pair, payload)) = left.peek() {
                        head.clear();
                        encode_place(Spot::Address(pair.local), &mut head);
                        let (middle, end) = (at + head.len(), at + head.len() + payload.len());
                        if end > up.data.len() {
                            break;
                        }
                        up.data[at..middle].copy_from_slice(&head);
                        up.data[middle..end].copy_from_slice(payload);
                        up.parts(pair.remote, Span::new(at, head.len()), middle..end);
                        at = end;
                        packets += 1;
                        left.next();
                    }
                });
            });
            hub.tally.packets_up.fetch_add(packets, Relaxed);
        }
    }

    fn poll_clock(&mut self, cx: &mut Context<'_>) {
        loop {
            let due = self.stack.look(std::time::Instant::now());
            if self.due != Some(due) {
                self.due = Some(due);
                self.timer.as_mut().reset(due.into());
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return;
            }
        }
    }
}

/// Where answers to datagrams leave by.
struct Out {
    device: Arc<Device>,
    joinable: usize,
}

impl Exit for Out {
    fn joinable(&self) -> Option<usize> {
        Some(self.joinable)
    }

    fn offloads(&self) -> (bool, bool) {
        let udp = self.device.offloads().udp;
        (udp, udp)
    }

    fn send(
        &self,
        run: &Run<'_>,
        _memory: &mut Memory,
        losses: &Losses,
        sent: &mut dyn FnMut(u32, u64),
    ) {
        for group in run.groups {
            let Some(from) = group.from else {
                losses.lost(&io::ErrorKind::AddrNotAvailable.into(), group.packets);
                continue;
            };
            let pair = Pair {
                local: from,
                remote: group.to,
            };
            let parts: Vec<&[u8]> = run.packets(group).flat_map(|packet| packet.parts).collect();
            let whole: usize = parts.iter().map(|part| part.len()).sum();
            let segment = if group.packets > 1 { group.size } else { 0 };
            match self.datagram(&pair, &parts, whole, segment) {
                Ok(()) => sent(group.flow, group.payload as u64),
                Err(error) => losses.lost(&error, group.packets),
            }
        }
    }
}

impl Out {
    fn datagram(
        &self,
        pair: &Pair,
        parts: &[&[u8]],
        whole: usize,
        segment: usize,
    ) -> io::Result<()> {
        if pair.local.is_ipv4() != pair.remote.is_ipv4() || whole > 0xFFFF - 48 {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut header = Vec::with_capacity(8);
        put_udp(pair, whole, &mut header);
        let mut head = Vec::with_capacity(48);
        let length = header.len() + whole;
        put_ip(
            pair.local.ip(),
            pair.remote.ip(),
            protocol::UDP,
            length,
            &mut head,
        );
        let transport = head.len();
        head.extend_from_slice(&header);
        self.device.send(&Outgoing {
            head: &head,
            transport,
            checksum: 6,
            parts,
            segment,
        })
    }
}
