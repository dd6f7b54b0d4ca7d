//! The task of a stream that is a session's way out.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use tokio::task::AbortHandle;

use super::framing::Framing;
use super::tube::{ROOM, Tube};
use crate::datagrams::batch::{Boxes, Exit, with_boxes};
use crate::datagrams::codec::NAME;
use crate::datagrams::far::{Far, FarHandle};
use crate::datagrams::hub::{Hub, ROUNDS};
use crate::datagrams::road::Down;
use crate::datagrams::session::SessionId;
use crate::relay::End;
use crate::stream::Stream;

/// Reads the packets that come back; its end is the end of the way.
pub struct Outlet {
    hub: Arc<Hub>,
    tube: Arc<Tube>,
    far: Weak<Far>,
    session: SessionId,
    way: usize,
}

impl Outlet {
    /// Take up the stream of a far, on the thread of the session. Fails when another took it.
    pub fn start(
        hub: &Arc<Hub>,
        stream: Option<Stream>,
        framing: &Framing,
        far: &FarHandle,
        (session, way): (SessionId, usize),
    ) -> io::Result<(Exit, AbortHandle)> {
        let mut stream = stream.ok_or(io::ErrorKind::NotConnected)?;
        if stream.home != hub.home {
            stream.io.rehome()?;
            stream.home = hub.home;
        }
        let tube = Arc::new(Tube::new(stream, framing.clone()));
        let exit = Exit::Tube(Arc::clone(&tube));
        let outlet = Self {
            hub: Arc::clone(hub),
            tube,
            far: Arc::downgrade(far),
            session,
            way,
        };
        Ok((exit, tokio::spawn(outlet).abort_handle()))
    }

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
        let (session, way) = (self.session, self.way);
        let alive = self.hub.with_down(boxes, session, way, |down, _, far| {
            result = self.frames(down, far, read);
        });
        if result.is_err() {
            self.hub.tally.malformed.fetch_add(1, Relaxed);
        }
        Poll::Ready(result.map(|()| alive))
    }

    fn frames(
        &self,
        down: &mut Down<'_>,
        far: &FarHandle,
        read: usize,
    ) -> Result<(), io::ErrorKind> {
        let mut at = 0;
        while let Some(frame) = self.tube.frame(&down.data[..read], at)? {
            let mut scratch = [0; NAME];
            let address = &down.data[at..at + frame.address];
            let place = self.tube.framing().place(address, &mut scratch);
            self.hub.tally.packets_down.fetch_add(1, Relaxed);
            match place {
                Some(from) => down.wrapped(from, at + frame.head, frame.end - frame.head, far),
                None => _ = self.hub.tally.malformed.fetch_add(1, Relaxed),
            }
            at += frame.end;
        }
        Ok(())
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
        let ended = ready!(self.poll_end(cx));
        if let (Some(kind), Some(far)) = (ended, self.far.upgrade()) {
            far.kill(End::Far(kind));
        }
        Poll::Ready(())
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.tube.close();
    }
}
