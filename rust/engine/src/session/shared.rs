//! What the streams of a session and its driver have in common, under one lock.

use std::collections::VecDeque;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Buf, BytesMut};
use futures_util::task::AtomicWaker;
use hashbrown::HashMap;

use super::protocol::{Event, Frame, Limits, Protocol};
use crate::failure::{Failure, Outcome};
use crate::layers::Broken;

/// Payload that waits to be sent, of all streams together: then writers wait.
const QUEUE: usize = 256 * 1024;

/// With what this side answers besides (credit, acknowledgements): then nothing more is read.
const FULL: usize = 2 * QUEUE;

/// What opening a stream fails with when the session takes no more.
const LEAVING: &str = "the session takes no more streams";

pub struct Shared {
    state: Mutex<State>,
    /// Of the driver.
    pub driver: AtomicWaker,
}

pub struct State {
    protocol: Box<dyn Protocol>,
    limits: Limits,
    parts: HashMap<u32, Entry>,
    accepted: VecDeque<u32>,
    acceptor: Option<Waker>,
    /// Framed, to be sent.
    pub out: BytesMut,
    /// Those who wait for room in `out`.
    writers: Vec<Waker>,
    /// This side opens and accepts no more.
    leaving: bool,
    /// The other side accepts no more.
    left: bool,
    /// Why the session is over.
    failed: Option<&'static str>,
}

/// One stream of the session.
struct Entry {
    incoming: BytesMut,
    /// What the other side may still send.
    window: u32,
    /// What was taken and not credited yet.
    taken: u32,
    /// What this side may still send.
    credit: u32,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Nothing more comes.
    ended: bool,
    /// This side said that nothing more comes.
    ending: bool,
    reset: bool,
}

impl Entry {
    fn new(limits: &Limits) -> Self {
        Self {
            incoming: BytesMut::new(),
            window: limits.window,
            taken: 0,
            credit: limits.credit,
            reader: None,
            writer: None,
            ended: false,
            ending: false,
            reset: false,
        }
    }

    fn wake(&mut self) {
        wake(&mut self.reader);
        wake(&mut self.writer);
    }
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

fn reset() -> io::Error {
    io::Error::from_raw_os_error(libc::ECONNRESET)
}

impl Shared {
    pub fn new(protocol: Box<dyn Protocol>) -> Self {
        let limits = protocol.limits();
        Self {
            state: Mutex::new(State {
                protocol,
                limits,
                parts: HashMap::new(),
                accepted: VecDeque::new(),
                acceptor: None,
                out: BytesMut::new(),
                writers: Vec::new(),
                leaving: false,
                left: false,
                failed: None,
            }),
            driver: AtomicWaker::new(),
        }
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Open a stream: its id.
    pub fn open(&self) -> Outcome<u32> {
        let mut state = self.lock();
        if !state.is_open() {
            return Err(Failure::Misuse(LEAVING));
        }
        let id = state.protocol.next_id().ok_or(Failure::Misuse(LEAVING))?;
        let entry = Entry::new(&state.limits);
        state.parts.insert(id, entry);
        state.say(Frame::Open(id));
        drop(state);
        self.driver.wake();
        Ok(id)
    }

    /// The id of the next stream that the other side opened.
    pub fn poll_accept(&self, cx: &Context<'_>) -> Poll<Outcome<u32>> {
        let mut state = self.lock();
        if let Some(id) = state.accepted.pop_front() {
            return Poll::Ready(Ok(id));
        }
        if state.failed.is_some() || state.leaving {
            return Poll::Ready(Err(Failure::Ended));
        }
        state.acceptor = Some(cx.waker().clone());
        Poll::Pending
    }

    pub fn leave(&self) {
        let mut state = self.lock();
        if !state.leaving && state.failed.is_none() {
            state.leaving = true;
            state.say(Frame::Leaving);
            while let Some(id) = state.accepted.pop_front() {
                state.forget(id);
            }
            wake(&mut state.acceptor);
        }
        drop(state);
        self.driver.wake();
    }

    /// The session is over, and so are all its streams.
    pub fn fail(&self, why: &'static str) {
        let mut state = self.lock();
        state.failed.get_or_insert(why);
        state.parts.values_mut().for_each(Entry::wake);
        state.writers.drain(..).for_each(Waker::wake);
        wake(&mut state.acceptor);
        drop(state);
        self.driver.wake();
    }

    pub fn is_open(&self) -> bool {
        self.lock().is_open()
    }

    pub fn count(&self) -> usize {
        self.lock().parts.len()
    }

    pub fn waiting(&self) -> usize {
        let state = self.lock();
        let incoming = state.parts.values().map(|entry| entry.incoming.len());
        state.out.len() + incoming.sum::<usize>()
    }

    pub fn poll_read(&self, id: u32, cx: &Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut state = self.lock();
        let window = state.limits.window;
        let failed = state.failed.is_some();
        let Some(entry) = state.parts.get_mut(&id) else {
            return Poll::Ready(Err(reset()));
        };
        if entry.incoming.is_empty() {
            if entry.reset {
                return Poll::Ready(Err(reset()));
            }
            if entry.ended {
                return Poll::Ready(Ok(0));
            }
            if failed {
                return Poll::Ready(Err(reset()));
            }
            entry.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let n = entry.incoming.len().min(into.len());
        entry.incoming.copy_to_slice(&mut into[..n]);
        if entry.incoming.is_empty() {
            entry.incoming = BytesMut::new();
        }
        entry.taken += n as u32;
        // Credited in halves of the window, so that small reads cost no frame each.
        if entry.taken >= window / 2 && !entry.ended && !entry.reset {
            let taken = std::mem::take(&mut entry.taken);
            entry.window += taken;
            state.say(Frame::Credit(id, taken));
            drop(state);
            self.driver.wake();
        }
        Poll::Ready(Ok(n))
    }

    pub fn poll_write(&self, id: u32, cx: &Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let mut guard = self.lock();
        let state = &mut *guard;
        let failed = state.failed.is_some();
        let Some(entry) = state.parts.get_mut(&id) else {
            return Poll::Ready(Err(reset()));
        };
        if entry.reset || failed {
            return Poll::Ready(Err(reset()));
        }
        if entry.ending {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if entry.credit == 0 {
            entry.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if state.out.len() >= QUEUE {
            if !state.writers.iter().any(|one| one.will_wake(cx.waker())) {
                state.writers.push(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let n = data
            .len()
            .min(entry.credit as usize)
            .min(state.limits.frame);
        entry.credit -= n as u32;
        state.say(Frame::Data(id, &data[..n]));
        drop(guard);
        self.driver.wake();
        Poll::Ready(Ok(n))
    }

    /// Say that nothing more comes on a stream.
    pub fn end(&self, id: u32) {
        let mut state = self.lock();
        if let Some(entry) = state.parts.get_mut(&id)
            && !entry.ending
            && !entry.reset
        {
            entry.ending = true;
            state.say(Frame::End(id));
        }
        drop(state);
        self.driver.wake();
    }

    /// A stream is let go: the other side is told, unless both said their end.
    pub fn forget(&self, id: u32) {
        self.lock().forget(id);
        self.driver.wake();
    }

    /// Take what the other side sent. Fails where it breaks the protocol.
    pub fn hear(&self, input: &mut BytesMut) -> Result<(), Broken> {
        let mut state = self.lock();
        loop {
            let State { protocol, out, .. } = &mut *state;
            match protocol.hear(input, out)? {
                Some(event) => state.take(event)?,
                None => return Ok(()),
            }
        }
    }

    /// Whether the other side must take what it was answered before more of it is read.
    pub fn is_full(&self) -> bool {
        self.lock().out.len() >= FULL
    }

    /// Room was made in the queue.
    pub fn sent(&self, count: usize) {
        let mut state = self.lock();
        state.out.advance(count);
        if state.out.len() < QUEUE {
            state.writers.drain(..).for_each(Waker::wake);
        }
        if state.out.is_empty() {
            state.out = BytesMut::new();
        }
    }
}

impl State {
    /// Whether nothing more is to be done.
    pub fn is_over(&self) -> bool {
        let done = self.leaving || self.left;
        self.failed.is_some() || (done && self.parts.is_empty() && self.out.is_empty())
    }

    fn is_open(&self) -> bool {
        let full = self.parts.len() >= self.limits.streams;
        self.failed.is_none() && !self.leaving && !self.left && !full
    }

    fn say(&mut self, frame: Frame<'_>) {
        if self.failed.is_none() {
            self.protocol.say(frame, &mut self.out);
        }
    }

    fn forget(&mut self, id: u32) {
        if let Some(entry) = self.parts.remove(&id)
            && !entry.reset
            && !(entry.ended && entry.ending)
        {
            self.say(Frame::Reset(id));
        }
    }

    fn take(&mut self, event: Event) -> Result<(), Broken> {
        match event {
            Event::Opened(id) => return self.opened(id),
            Event::Data(id, data) => {
                // What comes for one that was let go was on its way already.
                if let Some(entry) = self.parts.get_mut(&id)
                    && !entry.reset
                {
                    if entry.ended {
                        return Err(Broken("bytes behind the end of a stream"));
                    }
                    let left = (entry.window as usize).checked_sub(data.len());
                    entry.window = left.ok_or(Broken("more bytes than a window allows"))? as u32;
                    entry.incoming.extend_from_slice(&data);
                    wake(&mut entry.reader);
                }
            }
            Event::Credit(id, more) => {
                if let Some(entry) = self.parts.get_mut(&id) {
                    let sum = entry.credit.checked_add(more);
                    entry.credit = sum.ok_or(Broken("more credit than can be counted"))?;
                    wake(&mut entry.writer);
                }
            }
            Event::Ended(id) => {
                if let Some(entry) = self.parts.get_mut(&id) {
                    entry.ended = true;
                    wake(&mut entry.reader);
                }
            }
            Event::Reset(id) => {
                if let Some(entry) = self.parts.get_mut(&id) {
                    entry.reset = true; // what came before is still read: it may say why
                    entry.wake();
                }
            }
            Event::Leaving => {
                self.left = true;
            }
        }
        Ok(())
    }

    fn opened(&mut self, id: u32) -> Result<(), Broken> {
        if self.parts.contains_key(&id) || !self.protocol.may_open(id) {
            return Err(Broken("a stream is opened twice, or by the wrong side"));
        }
        let full = self.parts.len() >= self.limits.streams;
        if self.leaving || full || self.accepted.len() >= self.limits.backlog {
            self.say(Frame::Reset(id));
            return Ok(());
        }
        let entry = Entry::new(&self.limits);
        self.parts.insert(id, entry);
        self.accepted.push_back(id);
        wake(&mut self.acceptor);
        Ok(())
    }
}
