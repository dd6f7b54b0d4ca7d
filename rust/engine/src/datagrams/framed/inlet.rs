//! A stream that turned out to carry packets: the near end of one session.

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
use crate::datagrams::asks::Asks;
use crate::datagrams::hub::Hub;
use crate::datagrams::near::{Near, PacketListener};
use crate::datagrams::options::PacketOptions;
use crate::datagrams::road::Up;
use crate::datagrams::session::Done;
use crate::reactor::Reactors;
use crate::relay::{End, Gauge};
use crate::stream::Stream;
use crate::udp::{Boxes, Exit, ROUNDS, Span, with_boxes};

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
        let (home, quiet) = (stream.home, quiet.min(LONG));
        let source = stream.remote.unwrap_or((Ipv4Addr::UNSPECIFIED, 0).into());
        let inlet = Inlet {
            tube: Arc::new(Tube::new(stream, framing.clone())),
            gauge,
            source,
            empty: None,
            busy: false,
            quiet,
        };
        let place = ((Ipv4Addr::UNSPECIFIED, 0).into(), home);
        let alone = options.for_one();
        Self::start(
            inlet,
            place,
            Box::new(framing),
            &alone,
            reactors,
            asks,
            done,
        )
    }
}

/// The longest that can be waited for.
const LONG: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads the packets of the near side; its end is the end of the session.
struct Inlet {
    tube: Arc<Tube>,
    gauge: Arc<Gauge>,
    source: SocketAddr,
    /// When it will have been without flows for too long, unless it has any.
    empty: Option<Pin<Box<Sleep>>>,
    busy: bool,
    quiet: Duration,
}

impl Near for Inlet {
    fn exit(&self) -> Arc<dyn Exit> {
        Arc::clone(&self.tube) as _
    }

    fn poll(&mut self, hub: &Arc<Hub>, cx: &mut Context<'_>) -> Poll<End> {
        if self.gauge.poll_cut(cx) {
            return Poll::Ready(End::Cut);
        }
        if let Poll::Ready(kind) = self.tube.poll_sent(cx) {
            return Poll::Ready(End::Near(kind));
        }
        for _ in 0..ROUNDS {
            if let Err(kind) = ready!(with_boxes(|boxes| self.poll_batch(hub, cx, boxes))) {
                return Poll::Ready(End::Near(kind));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_quiet(&mut self, busy: bool, cx: &mut Context<'_>) -> Poll<End> {
        let quiet = self.quiet;
        let empty = self.empty.get_or_insert_with(|| Box::pin(sleep(quiet)));
        if !busy && self.busy {
            empty.as_mut().reset(Instant::now() + quiet);
        }
        self.busy = busy;
        if busy {
            return Poll::Pending;
        }
        empty.as_mut().poll(cx).map(|()| End::Idle)
    }
}

impl Inlet {
    /// One read. Fails with the end of the stream.
    fn poll_batch(
        &self,
        hub: &Arc<Hub>,
        cx: &mut Context<'_>,
        boxes: &mut Boxes,
    ) -> Poll<Result<(), io::ErrorKind>> {
        let read = ready!(self.tube.poll_read(cx, &mut boxes.inbox.split().1[..ROOM]))?;
        if read == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof));
        }
        let (mut packets, mut result) = (0, Ok(()));
        hub.with_up(boxes, |up, _| {
            result = self.frames(up, read, &mut packets);
        });
        hub.tally.packets_up.fetch_add(packets, Relaxed);
        if result.is_err() {
            hub.tally.malformed.fetch_add(1, Relaxed);
        }
        Poll::Ready(result)
    }

    fn frames(&self, up: &mut Up<'_>, read: usize, packets: &mut u64) -> Result<(), io::ErrorKind> {
        let mut at = 0;
        while let Some(frame) = self.tube.frame(&up.data[..read], at)? {
            *packets += 1;
            let address = Span::new(at, frame.address);
            up.parts(self.source, address, at + frame.head..at + frame.end);
            at += frame.end;
        }
        Ok(())
    }
}

impl Drop for Inlet {
    fn drop(&mut self) {
        self.tube.close();
    }
}
