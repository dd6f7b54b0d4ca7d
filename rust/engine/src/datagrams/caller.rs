//! A near end inside this process: no socket, no stream, a queue each way.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;

use super::asks::Asks;
use super::codec::Codec;
use super::hub::Hub;
use super::near::{Near, PacketListener};
use super::options::{OVERHEAD, PacketOptions};
use crate::lock::lock;
use crate::reactor::Reactors;
use crate::relay::End;
use crate::udp::{Exit, Losses, Memory, ROUNDS, Run, with_boxes};

/// Bytes of packets that may wait each way, `OVERHEAD` for each packet; further ones are dropped.
const QUEUE: usize = 512 * 1024;

/// The longest packet.
const LONGEST: usize = 0xFFFF;

impl PacketListener {
    /// Take the packets of a caller in this process, as one session; new targets go to `asks`. `signal`
    /// is called, on an engine thread, when the first of a batch of answers waits, and at the end. It
    /// ends when the caller is dropped.
    pub fn inside(
        codec: Box<dyn Codec>,
        options: &PacketOptions,
        reactors: &Reactors,
        asks: Arc<Asks>,
        signal: impl Fn() + Send + Sync + 'static,
    ) -> (Self, Caller) {
        let queues = Arc::new(Queues {
            up: Mutex::default(),
            down: Mutex::default(),
            waker: AtomicWaker::new(),
            signal: Box::new(signal),
        });
        let caller = Caller(Arc::clone(&queues));
        let place = ((Ipv4Addr::UNSPECIFIED, 0).into(), reactors.next_home());
        let near = Inside(queues);
        let alone = options.for_one();
        let listener = Self::start(near, place, codec, &alone, reactors, asks, drop);
        (listener, caller)
    }
}

/// Whoever sends and receives here.
pub struct Caller(Arc<Queues>);

impl Caller {
    /// Send a packet, in the codec's form. False when it is dropped: there is no room, it is longer than
    /// a packet can be, or the session is over.
    pub fn send(&self, packet: &[u8]) -> bool {
        let taken = packet.len() <= LONGEST && lock(&self.0.up).add(packet).is_some();
        if taken {
            self.0.waker.wake();
        }
        taken
    }

    /// Take all that has come, in the codec's form. None when none is left and none can come.
    pub fn take(&self) -> Option<Vec<Box<[u8]>>> {
        let mut down = lock(&self.0.down);
        if down.over && down.packets.is_empty() {
            return None;
        }
        down.bytes = 0;
        Some(std::mem::take(&mut down.packets).into())
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        lock(&self.0.up).over = true;
        self.0.waker.wake();
    }
}

struct Queues {
    up: Mutex<Queue>,
    down: Mutex<Queue>,
    waker: AtomicWaker,
    signal: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Queue {
    packets: VecDeque<Box<[u8]>>,
    bytes: usize,
    over: bool,
}

impl Queue {
    /// Whether it is the first; None when there is no room for it.
    fn add(&mut self, packet: &[u8]) -> Option<bool> {
        let size = packet.len() + OVERHEAD;
        if self.over || self.bytes + size > QUEUE {
            return None;
        }
        self.bytes += size;
        self.packets.push_back(packet.into());
        Some(self.packets.len() == 1)
    }

    /// Take the next one if it fits there.
    fn next(&mut self, room: &mut [u8]) -> Option<usize> {
        let len = self.packets.front()?.len();
        let room = room.get_mut(..len)?;
        let packet = self.packets.pop_front()?;
        room.copy_from_slice(&packet);
        self.bytes -= len + OVERHEAD;
        Some(len)
    }
}

/// The engine's side of it.
struct Inside(Arc<Queues>);

impl Near for Inside {
    fn exit(&self) -> Arc<dyn Exit> {
        Arc::clone(&self.0) as _
    }

    fn poll(&mut self, hub: &Arc<Hub>, cx: &mut Context<'_>) -> Poll<End> {
        self.0.waker.register(cx.waker());
        for _ in 0..ROUNDS {
            if !self.take(hub) {
                if lock(&self.0.up).over {
                    return Poll::Ready(End::Near(ErrorKind::UnexpectedEof));
                }
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Inside {
    /// One batch; whether there was any.
    fn take(&self, hub: &Arc<Hub>) -> bool {
        if lock(&self.0.up).packets.is_empty() {
            return false;
        }
        let source: SocketAddr = (Ipv4Addr::UNSPECIFIED, 0).into();
        let (mut at, mut packets) = (0, 0);
        with_boxes(|boxes| {
            hub.with_up(boxes, |up, _| {
                while let Some(len) = lock(&self.0.up).next(&mut up.data[at..]) {
                    up.packet((source, None), at..at + len);
                    at += len;
                    packets += 1;
                }
            });
        });
        hub.tally.packets_up.fetch_add(packets, Relaxed);
        true
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        lock(&self.0.up).over = true;
        lock(&self.0.down).over = true;
        (self.0.signal)();
    }
}

impl Exit for Queues {
    fn joinable(&self) -> Option<usize> {
        None
    }

    fn send(
        &self,
        run: &Run<'_>,
        memory: &mut Memory,
        losses: &Losses,
        sent: &mut dyn FnMut(u32, u64),
    ) {
        let mut first = false;
        let mut down = lock(&self.down);
        for group in run.groups {
            for packet in run.packets(group) {
                memory.gathered.clear();
                for part in packet.parts {
                    memory.gathered.extend_from_slice(part);
                }
                match down.add(&memory.gathered) {
                    Some(alone) => {
                        first |= alone;
                        sent(group.flow, packet.payload as u64);
                    }
                    None => _ = losses.congested.fetch_add(1, Relaxed),
                }
            }
        }
        drop(down);
        memory.gathered.clear();
        if first {
            (self.signal)();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_nobody_takes_is_bounded() {
        let queues = Queues {
            up: Mutex::default(),
            down: Mutex::default(),
            waker: AtomicWaker::new(),
            signal: Box::new(|| ()),
        };
        let caller = Caller(Arc::new(queues));
        assert!(!caller.send(&vec![0; LONGEST + 1]));
        assert!(caller.send(&vec![0; LONGEST]));
        let empty = (0..QUEUE).take_while(|_| caller.send(b"")).count();
        assert_eq!(empty, (QUEUE - LONGEST - OVERHEAD) / OVERHEAD);
    }

    proptest! {
        #[test]
        fn a_queue_counts_what_is_in_it(
            steps in proptest::collection::vec((any::<bool>(), 0..80_000_usize), 0..60),
        ) {
            let (mut queue, mut model) = (Queue::default(), VecDeque::new());
            let mut room = vec![0; 80_000];
            for (add, len) in steps {
                if add {
                    let held: usize = model.iter().map(|len| len + OVERHEAD).sum();
                    let fits = held + len + OVERHEAD <= QUEUE;
                    let first = fits.then_some(model.is_empty());
                    prop_assert_eq!(queue.add(&vec![7; len]), first);
                    model.extend(fits.then_some(len));
                } else {
                    // A packet that does not fit into what is left stays the next one.
                    let fits = model.front().is_some_and(|next| *next <= len);
                    let next = if fits { model.pop_front() } else { None };
                    prop_assert_eq!(queue.next(&mut room[..len]), next);
                }
                let held: usize = model.iter().map(|len| len + OVERHEAD).sum();
                prop_assert_eq!(queue.bytes, held);
            }
        }
    }
}
