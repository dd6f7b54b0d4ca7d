//! Two streams joined in memory, for ends that live on different threads. Bounded both ways.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};

use crate::io::{Io, Layer};
use crate::stream::Stream;

/// Bytes that wait in one direction; then its writer waits.
pub const ROOM: usize = 64 * 1024;

/// Two streams: what one writes the other reads. They are at home on `homes`, and free to move.
pub fn pair(homes: (usize, usize)) -> (Stream, Stream) {
    let (there, back) = (Arc::<Mutex<Way>>::default(), Arc::<Mutex<Way>>::default());
    let one = End {
        reads: Arc::clone(&back),
        writes: Arc::clone(&there),
        ended: false,
    };
    let other = End {
        reads: there,
        writes: back,
        ended: false,
    };
    (one.into_stream(homes.0), other.into_stream(homes.1))
}

/// One direction.
#[derive(Default)]
struct Way {
    bytes: BytesMut,
    /// Nothing more comes.
    ended: bool,
    /// The reader, or the writer before its end, is gone.
    broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Way {
    fn wake(&mut self) {
        for waker in [self.reader.take(), self.writer.take()]
            .into_iter()
            .flatten()
        {
            waker.wake();
        }
    }
}

struct End {
    reads: Arc<Mutex<Way>>,
    writes: Arc<Mutex<Way>>,
    ended: bool,
}

impl End {
    fn into_stream(self, home: usize) -> Stream {
        Stream::new(Io::Layer(Box::new(self)), home, None)
    }

    fn break_off(&mut self) {
        for way in [&self.reads, &self.writes] {
            let mut way = locked(way);
            way.broken = true;
            way.wake();
        }
    }
}

fn locked(way: &Mutex<Way>) -> MutexGuard<'_, Way> {
    way.lock().unwrap_or_else(PoisonError::into_inner)
}

fn reset() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNRESET)
}

impl Layer for End {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut way = locked(&self.reads);
        if way.bytes.is_empty() {
            if way.ended {
                return Poll::Ready(Ok(0));
            }
            if way.broken {
                return Poll::Ready(Err(reset()));
            }
            way.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = way.bytes.len().min(into.len());
        way.bytes.copy_to_slice(&mut into[..n]);
        if way.bytes.is_empty() {
            way.bytes = BytesMut::new();
        }
        if let Some(writer) = way.writer.take() {
            writer.wake();
        }
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut way = locked(&self.writes);
        if way.broken || self.ended {
            return Poll::Ready(Err(io::Error::from_raw_os_error(libc::EPIPE)));
        }
        let n = data.len().min(ROOM - way.bytes.len());
        if n == 0 && !data.is_empty() {
            way.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        way.bytes.extend_from_slice(&data[..n]);
        if let Some(reader) = way.reader.take() {
            reader.wake();
        }
        Poll::Ready(Ok(n))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended = true;
        let mut way = locked(&self.writes);
        way.ended = true;
        way.wake();
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        let mut way = locked(&self.writes);
        // What waits is not delivered: a torn stream must not look whole.
        if !way.ended {
            way.bytes = BytesMut::new();
        }
        drop(way);
        self.break_off();
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if !self.ended {
            let mut way = locked(&self.writes);
            way.ended |= !way.broken;
        }
        self.break_off();
    }
}
