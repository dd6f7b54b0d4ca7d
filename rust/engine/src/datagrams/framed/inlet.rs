//! A stream that turned out to carry packets: the near side of one session.

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

use super::framing::Framing;
use super::tube::{ROOM, Tube};
use crate::datagrams::batch::{Boxes, Exit, Span, with_boxes};
use crate::datagrams::codec::NAME;
use crate::datagrams::hub::{Hub, ROUNDS};
use crate::datagrams::near::{Asks, Keeper};
use crate::datagrams::road::{Known, Up};
use crate::datagrams::session::{Done, Origin};
use crate::datagrams::{Codec, PacketListener, PacketOptions};
use crate::reactor::Reactors;
use crate::relay::{End, Gauge};
use crate::stream::Stream;

impl PacketListener {
    /// Take packets from a stream, as one session; new targets go to `asks`. Of its `life`, the gauge
    /// can cut it and the other is called when the stream has ended, or no flow was on it for `quiet`,
    /// or it broke the framing, or this is dropped; the flows have ended then, and the stream is closed.
    pub fn over(
        stream: Stream,
        framing: Framing,
        options: &PacketOptions,
        quiet: Duration,
        reactors: &Reactors,
        asks: Arc<Asks>,
        (gauge, done): (Arc<Gauge>, Done),
    ) -> Self {
        let home = stream.home;
        let source = stream.remote;
        let tube = Arc::new(Tube::new(stream, framing.clone()));
        let exit = Exit::Tube(Arc::clone(&tube));
        let alone = PacketOptions {
            sessions: 1,
            only: None,
            ..options.clone()
        };
        let codec = Codec::Framed(framing);
        let hub = Arc::new(Hub::unsealed((exit, home), codec, &alone, asks));
        let (of, quiet) = (Arc::clone(&hub), quiet.min(LONG));
        let mut teller = Teller(End::Closed, Some(done));
        reactors.spawn(home, async move {
            let inlet = Inlet {
                keeper: Keeper::new(Arc::clone(&of)),
                hub: of,
                tube,
                gauge,
                source: source.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into()),
                empty: Box::pin(sleep(quiet)),
                busy: false,
                quiet,
            };
            teller.learn(inlet.await);
        });
        let address = (Ipv4Addr::UNSPECIFIED, 0).into();
        Self { address, hub }
    }
}

/// Tells the owner when all else is over, also when the engine stops.
struct Teller(End, Option<Done>);

impl Teller {
    fn learn(&mut self, end: End) {
        self.0 = end;
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some(done) = self.1.take() {
            done(self.0);
        }
    }
}

/// The longest that can be waited for.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads the packets of the near side; its end is the end of the session.
struct Inlet {
    hub: Arc<Hub>,
    keeper: Keeper,
    tube: Arc<Tube>,
    gauge: Arc<Gauge>,
    source: SocketAddr,
    /// When it will have been without flows for too long, unless it has any.
    empty: Pin<Box<Sleep>>,
    busy: bool,
    quiet: Duration,
}

impl Inlet {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if self.keeper.poll_mail(cx).is_ready() {
            return Poll::Ready(End::Closed);
        }
        if self.gauge.poll_cut(cx) {
            return Poll::Ready(End::Cut);
        }
        if let Poll::Ready(kind) = self.tube.poll_sent(cx) {
            return Poll::Ready(End::Near(kind));
        }
        if let Poll::Ready(end) = self.poll_rounds(cx) {
            return Poll::Ready(end);
        }
        let busy = self.keeper.poll_clock(cx);
        if !busy && self.busy {
            self.empty.as_mut().reset(Instant::now() + self.quiet);
        }
        self.busy = busy;
        if busy {
            return Poll::Pending;
        }
        self.empty.as_mut().poll(cx).map(|()| End::Idle)
    }

    fn poll_rounds(&self, cx: &mut Context<'_>) -> Poll<End> {
        for _ in 0..ROUNDS {
            if let Err(kind) = ready!(with_boxes(|boxes| self.poll_batch(cx, boxes))) {
                return Poll::Ready(End::Near(kind));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// One read. Fails with the end of the stream.
    fn poll_batch(
        &self,
        cx: &mut Context<'_>,
        boxes: &mut Boxes,
    ) -> Poll<Result<(), io::ErrorKind>> {
        let read = ready!(self.tube.poll_read(cx, &mut boxes.inbox.split().1[..ROOM]))?;
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof));
        }
        let result = self.hub.with_up(boxes, |up, _| self.frames(up, read));
        if result.is_err() {
            self.hub.tally.malformed.fetch_add(1, Relaxed);
        }
        Poll::Ready(result)
    }

    fn frames(&self, up: &mut Up<'_>, read: usize) -> Result<(), io::ErrorKind> {
        let mut at = 0;
        while let Some(frame) = self.tube.frame(&up.data[..read], at)? {
            self.hub.tally.packets_up.fetch_add(1, Relaxed);
            let address = Span::new(at, frame.address);
            self.packet(up, address, at + frame.head, frame.end - frame.head);
            at += frame.end;
        }
        Ok(())
    }

    fn packet(&self, up: &mut Up<'_>, address: Span, at: usize, len: usize) {
        let head = address.of(up.data);
        if let Some(known) = &up.known
            && known.head.of(up.data) == head
        {
            up.pass(known.flow, at, len);
            return;
        }
        let mut scratch = [0; NAME];
        let place = self.tube.framing().place(head, &mut scratch);
        let Some(target) = place.filter(|target| target.port() != 0) else {
            self.hub.tally.malformed.fetch_add(1, Relaxed);
            return;
        };
        let origin = Origin::Source(self.source);
        if let Some(flow) = up.find(self.source, None, origin, target) {
            up.known = Some(Known {
                from: self.source,
                origin,
                head: address,
                flow,
            });
            up.pass(flow, at, len);
        }
    }
}

impl Future for Inlet {
    type Output = End;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let end = ready!(self.poll_end(cx));
        if end != End::Closed {
            self.hub.with_table(|table| table.end_all(end));
        }
        Poll::Ready(end)
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.tube.close();
    }
}
