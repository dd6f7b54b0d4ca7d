//! A connection that is shared by the loop that hears it and the stream that it is for others.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Instant;

use super::link::Link;
use super::tcp::{Stage, Tcp};
use super::timers::Timers;
use crate::buffer::Buffer;
use crate::io::{Buffered, Layer, Refusal};
use crate::lock::lock;

/// One connection.
pub struct Conn {
    pub link: Link,
    /// The number of its first segment.
    pub asked: u32,
    state: Mutex<State>,
    timers: Arc<Timers<Arc<Conn>>>,
    held: Arc<AtomicUsize>,
}

struct State {
    tcp: Tcp,
    /// When the timers will bring it up.
    timed: Option<Instant>,
    /// What of it is counted in `held`.
    counted: usize,
    /// It was brought up for the last time.
    over: bool,
}

impl Conn {
    pub fn new(
        link: Link,
        asked: u32,
        tcp: Tcp,
        timers: Arc<Timers<Arc<Self>>>,
        held: Arc<AtomicUsize>,
    ) -> Self {
        let state = State {
            tcp,
            timed: None,
            counted: 0,
            over: false,
        };
        Self {
            link,
            asked,
            state: Mutex::new(state),
            timers,
            held,
        }
    }

    /// Do something to it, and see to its being brought up when it wants to be.
    pub fn with<R>(self: &Arc<Self>, work: impl FnOnce(&mut Tcp, Instant, &Link) -> R) -> R {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let done = work(&mut state.tcp, now, &self.link);
        let held = state.tcp.held();
        if held != state.counted {
            // Both may be large, so that the sum is kept by what is added and taken away.
            self.held.fetch_add(held, Ordering::Relaxed);
            self.held.fetch_sub(state.counted, Ordering::Relaxed);
            state.counted = held;
        }
        let due = if state.tcp.stage == Stage::Closed {
            (!state.over).then_some(now)
        } else {
            state.tcp.due()
        };
        if let Some(due) = due
            && state.timed.is_none_or(|timed| due < timed)
        {
            state.over = state.tcp.stage == Stage::Closed;
            state.timed = Some(due);
            self.timers.add(due, Arc::clone(self));
        }
        done
    }

    /// It is brought up, as it wanted to be at `at`. Whether it is over.
    pub fn brought_up(self: &Arc<Self>, at: Instant) -> bool {
        let mut state = lock(&self.state);
        if state.timed != Some(at) {
            return false; // an earlier time took its place
        }
        state.timed = None;
        if state.tcp.stage == Stage::Closed {
            state.over = true;
            return true;
        }
        drop(state);
        self.with(Tcp::look);
        false
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        let counted = lock(&self.state).counted;
        self.held.fetch_sub(counted, Ordering::Relaxed);
    }
}

/// The connection as a stream. It lives on the loop of its device.
pub struct Part(pub Arc<Conn>);

impl Layer for Part {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0
            .with(|tcp, now, link| tcp.poll_read(cx, into, now, link))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.0.with(|tcp, now, link| {
            let room = std::task::ready!(tcp.poll_room(cx, now, link))?;
            let count = room.min(data.len());
            if count > 0 {
                tcp.write(Buffer::of(&data[..count]), now, link);
            }
            Poll::Ready(Ok(count))
        })
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.with(Tcp::end);
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        self.0.with(|tcp, _, link| tcp.abort(link));
    }

    fn refuse(&mut self, why: Refusal) {
        let Conn { link, asked, .. } = &*self.0;
        self.0.with(|tcp, _, _| {
            if tcp.stage == Stage::Knocking {
                tcp.fail();
                link.refuse(*asked, why);
            } else {
                tcp.abort(link);
            }
        });
    }

    fn local(&self) -> Option<SocketAddr> {
        Some(self.0.link.pair.local)
    }

    fn is_pinned(&self) -> bool {
        true
    }

    fn is_broken(&self) -> bool {
        self.0.with(|tcp, _, _| tcp.is_broken())
    }

    fn buffered(&mut self) -> Option<&mut dyn Buffered> {
        Some(self)
    }
}

impl Buffered for Part {
    fn poll_take(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Buffer>>> {
        self.0.with(|tcp, now, link| tcp.poll_take(cx, now, link))
    }

    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.0.with(|tcp, now, link| tcp.poll_room(cx, now, link))
    }

    fn put(&mut self, bytes: Buffer) {
        self.0.with(|tcp, now, link| tcp.write(bytes, now, link));
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.0.with(Tcp::let_go);
    }
}
