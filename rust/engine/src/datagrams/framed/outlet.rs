//! A stream that is a session's way out, and its task.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use tokio::task::AbortHandle;

use super::framing::{Framing, LONGEST};
use super::tube::{ROOM, Tube};
use crate::datagrams::address::{NAME, Place};
use crate::datagrams::far::{Far, FarHandle};
use crate::datagrams::ground::{Back, Frame, Ground, Lead, Sink};
use crate::lock::lock;
use crate::stream::Stream;
use crate::udp::{Boxes, Exit, ROUNDS, with_boxes};

impl Far {
    /// A way inside a stream that leads to who understands `framing`. It carries names too; it ends
    /// with the stream, and the stream with it. What the stream holds goes out with the first packets,
    /// behind it the first one's target (in SOCKS5's form, where the framing has none for it) and `tail`.
    pub fn framed(stream: Stream, framing: Framing, tail: Vec<u8>) -> FarHandle {
        let request = Mutex::new(Some(Request { stream, tail }));
        let begun = Arc::default();
        Self::on(Arc::new(Inlaid {
            framing,
            request,
            begun,
        }))
    }
}

/// A stream, until a session takes it up, and how packets look in it.
struct Inlaid {
    framing: Framing,
    request: Mutex<Option<Request>>,
    /// Whether a packet was framed: the first one may look different.
    begun: Arc<AtomicBool>,
}

/// A stream whose request is still to be sent: what it holds, the first packet's target in SOCKS5's
/// form, and this. Servers route by that target, though none says that they do.
struct Request {
    stream: Stream,
    tail: Vec<u8>,
}

impl Request {
    /// The stream, with its request for a target held.
    fn to(self, framing: &Framing, target: &Place) -> Stream {
        let Self { mut stream, tail } = self;
        framing.put_first(target.spot(), &mut stream.held);
        stream.held.extend_from_slice(&tail);
        stream
    }
}

impl Ground for Inlaid {
    fn lead(&self, first: &Place) -> Option<Lead> {
        let mut address = Vec::new();
        self.framing.put_address(first.spot(), &mut address);
        let framing = self.framing.clone();
        let begun = Arc::clone(&self.begun);
        Some(Lead {
            to: (Ipv4Addr::UNSPECIFIED, 0).into(),
            frame: Some(Box::new(Framed {
                framing,
                address,
                begun,
            })),
        })
    }

    fn open(
        &self,
        _lead: SocketAddr,
        first: &Place,
        back: Box<dyn Back>,
    ) -> io::Result<(Arc<dyn Exit>, AbortHandle)> {
        let request = lock(&self.request).take();
        let mut stream = request
            .ok_or(io::ErrorKind::NotConnected)?
            .to(&self.framing, first);
        if stream.home != back.home() {
            stream.io.rehome()?;
            stream.home = back.home();
        }
        let tube = Arc::new(Tube::new(stream, self.framing.clone()));
        let outlet = Outlet {
            tube: Arc::clone(&tube),
            back,
        };
        Ok((tube, tokio::spawn(outlet).abort_handle()))
    }

    fn close(&self) {
        let request = lock(&self.request).take();
        drop(request);
    }
}

/// The frame of packets for one place.
struct Framed {
    framing: Framing,
    address: Vec<u8>,
    begun: Arc<AtomicBool>,
}

impl Frame for Framed {
    fn begin(&self, arena: &mut Vec<u8>) {
        arena.extend_from_slice(&self.address);
        self.framing.put_length(0, arena);
    }

    fn finish(&self, frame: &mut [u8]) -> bool {
        let at = self.address.len();
        let length = frame.len() - at - self.framing.length_len();
        let Some(told) = frame.get_mut(at..at + 2).filter(|_| length <= LONGEST) else {
            return false;
        };
        told.copy_from_slice(&(length as u16).to_be_bytes());
        if !self.begun.swap(true, Relaxed) {
            self.framing.make_first(frame);
        }
        true
    }
}

/// Reads the packets that come back; its end is the end of the way.
struct Outlet {
    tube: Arc<Tube>,
    back: Box<dyn Back>,
}

impl Outlet {
    /// One read. False when the session is gone; fails with the end of the stream.
    fn poll_batch(
        &self,
        cx: &mut Context<'_>,
        boxes: &mut Boxes,
    ) -> Poll<Result<bool, io::ErrorKind>> {
        let read = ready!(self.tube.poll_read(cx, &mut boxes.inbox.split().1[..ROOM]))?;
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof));
        }
        let mut result = Ok(());
        let alive = self.back.take(boxes, &mut |sink, _| {
            result = self.frames(sink, read);
        });
        Poll::Ready(result.map(|()| alive))
    }

    fn frames(&self, sink: &mut dyn Sink, read: usize) -> Result<(), io::ErrorKind> {
        let mut at = 0;
        loop {
            let frame = match self.tube.frame(&sink.data()[..read], at) {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ok(()),
                Err(kind) => {
                    sink.malformed();
                    return Err(kind);
                }
            };
            let mut scratch = [0; NAME];
            let address = &sink.data()[at..at + frame.address];
            match self.tube.framing().place(address, &mut scratch) {
                Some(from) => sink.packet(from, at + frame.head, frame.end - frame.head),
                None => sink.malformed(),
            }
            at += frame.end;
        }
    }

    fn poll_end(&self, cx: &mut Context<'_>) -> Poll<Option<io::ErrorKind>> {
        if let Poll::Ready(kind) = self.tube.poll_sent(cx) {
            return Poll::Ready(Some(kind));
        }
        for _ in 0..ROUNDS {
            match ready!(with_boxes(|boxes| self.poll_batch(cx, boxes))) {
                Ok(true) => {}
                Ok(false) => return Poll::Ready(None),
                Err(kind) => return Poll::Ready(Some(kind)),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Future for Outlet {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(kind) = ready!(self.poll_end(cx)) {
            self.back.end(kind);
        }
        Poll::Ready(())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.tube.close();
    }
}
