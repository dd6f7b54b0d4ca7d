//! A stream that packets leave by, many in one write. Its task reads it; whoever has a batch for it
//! writes at once, on the same thread, so a lock is never waited for.

use std::io;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, MutexGuard};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, BytesMut};

use super::framing::{FRAME, Frame, Framing, Unframed};
use crate::failure::Failure;
use crate::lock::lock;
use crate::stream::Stream;
use crate::udp::{Exit, Losses, Memory, Run};

/// Bytes that may wait for a stream that is slower than its packets; more are dropped.
const QUEUE: usize = 512 * 1024;

/// Bytes that gather before they are written: what a layer takes at once.
const CHUNK: usize = 64 * 1024;

/// Bytes that are read at once.
const READ: usize = 64 * 1024;

/// What `poll_read` may fill: what was kept of a frame, and a read.
pub const ROOM: usize = FRAME + READ;

/// A stream and what is on its way into it. It is gone once its task is.
pub struct Tube {
    framing: Framing,
    open: Mutex<Option<Open>>,
}

struct Open {
    stream: Stream,
    /// The task that reads.
    waker: Waker,
    /// Why nothing can be written any more.
    failed: Option<io::ErrorKind>,
    /// A write was not finished: in the stream, or in a layer of it, bytes wait.
    unfinished: bool,
    /// What was read begins a frame that needs so many bytes; zero when it was not looked at.
    needed: usize,
}

impl Tube {
    /// Over a stream that is at home on the thread where its task will run.
    pub fn new(stream: Stream, framing: Framing) -> Self {
        let open = Open {
            stream,
            waker: Waker::noop().clone(),
            failed: None,
            unfinished: false,
            needed: 0,
        };
        Self {
            framing,
            open: Mutex::new(Some(open)),
        }
    }

    /// How packets look in it.
    pub fn framing(&self) -> &Framing {
        &self.framing
    }

    /// Give up the stream, which closes it.
    pub fn close(&self) {
        let open = lock(&self.open).take();
        drop(open);
    }

    /// Begin to write a batch; frames gather in `gathered`, which is left empty.
    fn writer<'a>(&'a self, gathered: &'a mut Vec<u8>) -> Writer<'a> {
        gathered.clear();
        Writer {
            open: lock(&self.open),
            gathered,
        }
    }

    /// Go on sending what is on its way. Ready when nothing can be sent any more.
    pub fn poll_sent(&self, cx: &mut Context<'_>) -> Poll<io::ErrorKind> {
        let mut open = lock(&self.open);
        let Some(open) = open.as_mut() else {
            return Poll::Ready(io::ErrorKind::NotConnected);
        };
        if !open.waker.will_wake(cx.waker()) {
            open.waker = cx.waker().clone();
        }
        if let Some(failed) = open.failed {
            return Poll::Ready(failed);
        }
        if !open.unfinished && open.stream.held.is_empty() {
            return Poll::Pending;
        }
        open.stream.start_write(&[]);
        match open.stream.poll_sent(cx) {
            Poll::Ready(Err(failure)) => return Poll::Ready(kind_of(&failure)),
            polled => open.unfinished = polled.is_pending(),
        }
        Poll::Pending
    }

    /// Read to the front of `room` (of `ROOM`): bytes that begin with a frame. What of them is not a
    /// whole frame is to be given back. None at the end of the stream.
    pub fn poll_read(
        &self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<Result<usize, io::ErrorKind>> {
        let mut open = lock(&self.open);
        let Some(Open { stream, needed, .. }) = open.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected));
        };
        loop {
            let kept = stream.unread.len().min(room.len());
            let mut got = 0;
            // A frame that comes in many small reads is gathered once, not moved back and forth.
            if kept == 0 || kept < *needed {
                let most = room.len().min(kept + READ);
                got = match ready!(stream.io.poll_read(cx, &mut room[kept..most])) {
                    Ok(0) if kept > 0 => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof)),
                    Ok(got) => got,
                    Err(error) => return Poll::Ready(Err(kind_of(&error.into()))),
                };
            }
            if got > 0 && kept + got < *needed {
                stream.unread.extend_from_slice(&room[kept..kept + got]);
                continue;
            }
            room[..kept].copy_from_slice(&stream.unread[..kept]);
            stream.unread.advance(kept);
            *needed = 0;
            if stream.unread.is_empty() {
                stream.unread = BytesMut::new();
            }
            return Poll::Ready(Ok(kept + got));
        }
    }

    /// The frame at `at` of what was read. None when no more are whole: the rest is kept for the next
    /// read then.
    pub fn frame(&self, read: &[u8], at: usize) -> Result<Option<Frame>, io::ErrorKind> {
        let rest = &read[at..];
        match self.framing.frame(rest) {
            Ok(frame) => Ok(Some(frame)),
            Err(Unframed::Short(needed)) => {
                if !rest.is_empty()
                    && let Some(open) = lock(&self.open).as_mut()
                {
                    open.stream.put_back(rest);
                    open.needed = needed;
                }
                Ok(None)
            }
            Err(Unframed::Broken) => Err(io::ErrorKind::InvalidData),
        }
    }
}

impl Exit for Tube {
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
        let mut writer = self.writer(&mut memory.gathered);
        for group in run.groups {
            for packet in run.packets(group) {
                if writer.add(packet.parts) {
                    sent(group.flow, packet.payload as u64);
                } else {
                    losses.congested.fetch_add(1, Relaxed);
                }
            }
        }
    }
}

/// A batch on its way into a stream.
struct Writer<'a> {
    open: MutexGuard<'a, Option<Open>>,
    gathered: &'a mut Vec<u8>,
}

impl Writer<'_> {
    /// Add a frame. False when there is no room for it, now.
    fn add(&mut self, parts: [&[u8]; 2]) -> bool {
        let Some(open) = self.open.as_ref() else {
            return false;
        };
        let size = parts[0].len() + parts[1].len();
        let waiting = open.stream.unsent() + self.gathered.len();
        if open.failed.is_some() || (waiting > 0 && waiting + size > QUEUE) {
            return false;
        }
        for part in parts {
            self.gathered.extend_from_slice(part);
        }
        if self.gathered.len() >= CHUNK {
            self.send();
        }
        true
    }

    fn send(&mut self) {
        let Some(open) = self.open.as_mut().filter(|_| !self.gathered.is_empty()) else {
            return;
        };
        let waker = open.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        match open.stream.write_now(cx, self.gathered) {
            Poll::Ready(Err(failure)) => {
                open.failed = Some(kind_of(&failure));
                waker.wake();
            }
            polled => open.unfinished = polled.is_pending(),
        }
        self.gathered.clear();
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.send();
    }
}

/// Why a stream is of no use any more.
fn kind_of(failure: &Failure) -> io::ErrorKind {
    match failure {
        Failure::Os(error) => error.kind(),
        Failure::Ended => io::ErrorKind::UnexpectedEof,
        Failure::TimedOut => io::ErrorKind::TimedOut,
        _ => io::ErrorKind::InvalidData,
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;
    use crate::io::Io;

    #[tokio::test]
    async fn what_was_read_before_is_not_waited_for() {
        let (here, _there) = UnixStream::pair().expect("pair");
        let mut stream = Stream::new(Io::Unix(here), 0, None);
        let mut frame = vec![0, 192, 0, 2, 1, 0, 53, 0xff, 0xff];
        frame.resize(frame.len() + 0xffff, 7);
        for _ in 0..3 {
            stream.unread.extend_from_slice(&frame);
        }
        assert!(stream.unread.len() > ROOM);
        let tube = Tube::new(stream, Framing::Uot);
        let (mut room, mut frames) = (vec![0; ROOM], 0);
        let cx = &mut Context::from_waker(Waker::noop());
        while let Poll::Ready(read) = tube.poll_read(cx, &mut room) {
            let (read, mut at) = (read.expect("bytes"), 0);
            while let Some(found) = tube.frame(&room[..read], at).expect("frames") {
                assert_eq!(found.end, frame.len());
                frames += 1;
                at += found.end;
            }
        }
        assert_eq!(frames, 3);
    }
}
