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

use super::device::{Came, Device, HEADER, LONGEST, Offloads};
use crate::datagrams::address::{Spot, encode_place};
use crate::datagrams::{Asked, Asks, Bad, Hub, Near, PacketListener, PacketOptions};
use crate::packets::{
    Datagram, Malformed, Packet, Pair, Segment, Unreachable, protocol, put_ip, put_udp, unreachable,
};
use crate::reactor::Reactors;
use crate::relay::End;
use crate::stack::{Door, Outgoing, Stack, Wire};
use crate::udp::{Exit, Losses, Memory, Run, Span, with_boxes};

/// Packets that are read before their answers go.
const BATCH: usize = 64;

/// Batches before others have a turn.
const TURN: usize = 8;

/// A payload that is shorter is copied, so that the buffer of the packet is free again.
const SHORT: usize = 16 * 1024;

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
        room: Vec::with_capacity(LONGEST),
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
    room: Vec<u8>,
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
        let mut left = TURN;
        while left > 0 {
            match self.device.poll_ready(cx) {
                Poll::Pending => break,
                Poll::Ready(Err(error)) => return Poll::Ready(End::Near(error.kind())),
                Poll::Ready(Ok(())) => {}
            }
            if let Err(error) = self.batch(hub) {
                if error.kind() != io::ErrorKind::WouldBlock {
                    return Poll::Ready(End::Near(error.kind()));
                }
                self.device.is_empty(cx);
            }
            left -= 1;
        }
        if left == 0 {
            cx.waker().wake_by_ref();
        }
        self.poll_clock(cx);
        Poll::Pending
    }
}

impl Reader {
    /// Read some packets and see them through.
    fn batch(&mut self, hub: &Arc<Hub>) -> io::Result<()> {
        let now = std::time::Instant::now();
        let mut outcome = Ok(());
        for _ in 0..BATCH {
            self.room.clear();
            self.room.reserve(LONGEST);
            match self.device.read(&mut self.room) {
                Ok(came) => self.packet(hub, came, now),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    outcome = Err(error);
                    break;
                }
            }
        }
        self.stack.finish();
        self.give(hub);
        outcome
    }

    fn packet(&mut self, hub: &Arc<Hub>, came: Came, now: std::time::Instant) {
        if self.take(came, now).is_err() {
            hub.tally.dropped(Bad::Malformed);
        }
    }

    fn take(&mut self, came: Came, now: std::time::Instant) -> Result<(), Malformed> {
        let bytes = &self.room[HEADER..];
        let packet = Packet::parse(bytes)?;
        if packet.fragment {
            return Err(Malformed);
        }
        match packet.protocol {
            protocol::TCP => {
                let segment = Segment::parse(&packet, bytes, came.trusted)?;
                self.segment(&packet, &segment, now);
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

    fn segment(&mut self, packet: &Packet, segment: &Segment, now: std::time::Instant) {
        if segment.payload.len() < SHORT {
            let bytes = &self.room[HEADER..];
            let mut take = |range: Range<usize>| Bytes::copy_from_slice(&bytes[range]);
            self.stack.hear((packet, bytes), segment, &mut take, now);
            return;
        }
        let whole = Bytes::from(std::mem::take(&mut self.room)).slice(HEADER..);
        let mut take = |range: Range<usize>| whole.slice(range);
        self.stack.hear((packet, &whole), segment, &mut take, now);
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
            let due = self.stack.on_time(std::time::Instant::now());
            if due != self.due {
                self.due = due;
                if let Some(due) = due {
                    self.timer.as_mut().reset(due.into());
                }
            }
            if self.due.is_none() || self.timer.as_mut().poll(cx).is_pending() {
                return;
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stack.close();
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
