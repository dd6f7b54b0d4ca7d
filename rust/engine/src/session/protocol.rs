//! What a session needs to know of the protocol that it speaks.

use bytes::{Bytes, BytesMut};

use crate::layers::Broken;

/// The bounds of a session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes that the other side may send on a new stream before it is credited with more.
    pub window: u32,
    /// Bytes that this side may send on a new stream.
    pub credit: u32,
    /// The most payload of one frame.
    pub frame: usize,
    /// Streams at once.
    pub streams: usize,
    /// Streams that were opened by the other side and not accepted yet.
    pub backlog: usize,
}

/// What this side says.
#[derive(Debug, Clone, Copy)]
pub enum Frame<'a> {
    /// A stream begins.
    Open(u32),
    /// Bytes of a stream.
    Data(u32, &'a [u8]),
    /// The other side may send so many bytes more on a stream.
    Credit(u32, u32),
    /// Nothing more comes on a stream.
    End(u32),
    /// A stream is over at once, both ways.
    Reset(u32),
    /// No further stream is accepted.
    Leaving,
}

/// What the other side said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A stream begins.
    Opened(u32),
    /// Bytes of a stream.
    Data(u32, Bytes),
    /// This side may send so many bytes more on a stream.
    Credit(u32, u32),
    /// Nothing more comes on a stream.
    Ended(u32),
    /// A stream is over at once, both ways.
    Reset(u32),
    /// The other side accepts no further stream.
    Leaving,
}

/// Frames to bytes and back. Pure: no stream, no clock.
pub trait Protocol: Send {
    /// Its bounds.
    fn limits(&self) -> Limits;
    /// The id of the next stream that this side opens; None when all are used up.
    fn next_id(&mut self) -> Option<u32>;
    /// Whether an id may be that of a new stream of the other side.
    fn may_open(&self, id: u32) -> bool;
    /// Put a frame behind what is to be sent.
    fn say(&mut self, frame: Frame<'_>, out: &mut BytesMut);
    /// Take the next whole frame off the front of `input`; None while it is not whole. What it says
    /// that only concerns the session (a ping) may be answered in `out`, and the next frame taken.
    fn hear(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<Option<Event>, Broken>;
}
