//! yamux (hashicorp's specification): a header of 12 bytes before everything, a window per stream.
//!
//! `version 0 | type | flags u16 | stream u32 | length u32`, big-endian. Types: 0 data, 1 window, 2 ping,
//! 3 go away. Flags: 1 SYN, 2 ACK, 4 FIN, 8 RST; they stand on data and window frames alike, so one
//! frame may open a stream, carry its bytes and end it.

use std::collections::VecDeque;

use bytes::{Buf, BufMut, BytesMut};

use super::protocol::{Event, Frame, Limits, Protocol};
use crate::layers::Broken;

const HEADER: usize = 12;

const DATA: u8 = 0;
const WINDOW: u8 = 1;
const PING: u8 = 2;
const GO_AWAY: u8 = 3;

const SYN: u16 = 1;
const ACK: u16 = 2;
const FIN: u16 = 4;
const RST: u16 = 8;

/// Every stream's window at its beginning, both ways: the specification's.
const FIRST: u32 = 256 * 1024;

/// The most payload of a frame that this side sends: few enough bytes that others get their turn.
const PIECE: usize = 32 * 1024;

/// Streams at once. Each may hold a window's bytes.
const STREAMS: usize = 1024;

/// Streams that wait to be accepted: as many as hashicorp's own.
const BACKLOG: usize = 256;

/// Answers to pings that may wait for a slow carrier.
const PINGS: usize = 64;

/// One side.
pub struct Yamux {
    next: Option<u32>,
    client: bool,
    limits: Limits,
    /// Payload of a data frame that is still to come: its stream, how much, and the flags for its end.
    body: Option<(u32, usize, u16)>,
    /// What the last frame said besides.
    events: VecDeque<Event>,
    /// Pings since bytes of a stream came: a flood of them is no use to anybody.
    pings: usize,
}

impl Yamux {
    /// The side that made the connection has odd ids.
    pub fn new(client: bool) -> Self {
        Self {
            next: Some(if client { 1 } else { 2 }),
            client,
            limits: Limits {
                window: FIRST,
                credit: FIRST,
                frame: PIECE,
                streams: STREAMS,
                backlog: BACKLOG,
            },
            body: None,
            events: VecDeque::new(),
            pings: 0,
        }
    }

    /// What the flags of a frame say when all of it is there.
    fn flagged(&mut self, id: u32, flags: u16) {
        if flags & RST != 0 {
            self.events.push_back(Event::Reset(id));
        } else if flags & FIN != 0 {
            self.events.push_back(Event::Ended(id));
        }
    }

    /// The payload of the data frame at hand, as far as it is there.
    fn payload(&mut self, input: &mut BytesMut) -> Option<Event> {
        let (id, left, flags) = self.body.take()?;
        let n = left.min(input.len());
        let piece = input.split_to(n).freeze();
        if n < left {
            self.body = Some((id, left - n, flags));
        } else {
            self.flagged(id, flags);
        }
        (n > 0).then_some(Event::Data(id, piece))
    }

    fn ping(&mut self, flags: u16, value: u32, out: &mut BytesMut) -> Result<(), Broken> {
        if flags & SYN == 0 {
            return Ok(());
        }
        self.pings += 1;
        if self.pings > PINGS {
            return Err(Broken("a flood of pings"));
        }
        put(out, PING, ACK, 0, value);
        Ok(())
    }
}

impl Protocol for Yamux {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn next_id(&mut self) -> Option<u32> {
        let id = self.next?;
        self.next = id.checked_add(2);
        Some(id)
    }

    fn may_open(&self, id: u32) -> bool {
        id != 0 && id.is_multiple_of(2) == self.client
    }

    fn say(&mut self, frame: Frame<'_>, out: &mut BytesMut) {
        match frame {
            Frame::Open(id) => put(out, WINDOW, SYN, id, 0),
            Frame::Data(id, data) => {
                put(out, DATA, 0, id, data.len() as u32);
                out.put_slice(data);
            }
            Frame::Credit(id, more) => put(out, WINDOW, 0, id, more),
            Frame::End(id) => put(out, WINDOW, FIN, id, 0),
            Frame::Reset(id) => put(out, WINDOW, RST, id, 0),
            Frame::Leaving => put(out, GO_AWAY, 0, 0, 0),
        }
    }

    fn hear(&mut self, input: &mut BytesMut, out: &mut BytesMut) -> Result<Option<Event>, Broken> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            if self.body.is_some() {
                match self.payload(input) {
                    Some(event) => {
                        self.pings = 0;
                        return Ok(Some(event));
                    }
                    None if self.body.is_some() => return Ok(None),
                    None => continue,
                }
            }
            if input.len() < HEADER {
                return Ok(None);
            }
            let (version, kind, flags) = (input.get_u8(), input.get_u8(), input.get_u16());
            let (id, length) = (input.get_u32(), input.get_u32());
            if version != 0 {
                return Err(Broken("not yamux of version 0"));
            }
            match kind {
                DATA | WINDOW if id == 0 => return Err(Broken("bytes of no stream")),
                DATA | WINDOW => {
                    if flags & SYN != 0 {
                        self.events.push_back(Event::Opened(id));
                        put(out, WINDOW, ACK, id, 0);
                    }
                    if kind == DATA {
                        self.body = Some((id, length as usize, flags));
                        if length == 0 {
                            self.body = None;
                            self.flagged(id, flags);
                        }
                    } else {
                        if length > 0 {
                            self.events.push_back(Event::Credit(id, length));
                        }
                        self.flagged(id, flags);
                    }
                }
                PING => self.ping(flags, length, out)?,
                GO_AWAY => return Ok(Some(Event::Leaving)),
                _ => return Err(Broken("a yamux frame of no known type")),
            }
        }
    }
}

fn put(out: &mut BytesMut, kind: u8, flags: u16, id: u32, length: u32) {
    out.put_u8(0);
    out.put_u8(kind);
    out.put_u16(flags);
    out.put_u32(id);
    out.put_u32(length);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    fn said(side: &mut Yamux, frame: Frame<'_>) -> Vec<u8> {
        let mut out = BytesMut::new();
        side.say(frame, &mut out);
        out.to_vec()
    }

    fn heard(side: &mut Yamux, bytes: &[u8]) -> Result<(Vec<Event>, Vec<u8>), Broken> {
        let (mut input, mut out) = (BytesMut::from(bytes), BytesMut::new());
        let mut events = Vec::new();
        while let Some(event) = side.hear(&mut input, &mut out)? {
            events.push(event);
        }
        Ok((events, out.to_vec()))
    }

    /// From the notes, where a real peer took them.
    #[test]
    fn frames_are_as_peers_send_them() {
        let mut side = Yamux::new(true);
        assert_eq!(side.next_id(), Some(1));
        assert_eq!(
            said(&mut side, Frame::Open(1)),
            [0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0]
        );
        let data = said(&mut side, Frame::Data(1, b"hi"));
        assert_eq!(data, b"\0\0\0\0\0\0\0\x01\0\0\0\x02hi");
        let ack = [0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0];
        assert_eq!(heard(&mut side, &ack), Ok((vec![], vec![])));
    }

    #[test]
    fn one_frame_opens_carries_and_ends() {
        let mut side = Yamux::new(false);
        let (events, out) = heard(&mut side, b"\0\0\0\x05\0\0\0\x07\0\0\0\x03abc").expect("reads");
        let data = Event::Data(7, Bytes::from_static(b"abc"));
        assert_eq!(events, [Event::Opened(7), data, Event::Ended(7)]);
        assert_eq!(out, [0, 1, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0]);
    }

    #[test]
    fn pings_are_answered_and_not_without_bound() {
        let mut side = Yamux::new(false);
        let ping = b"\0\x02\0\x01\0\0\0\0\0\0\0\x2a";
        let (events, out) = heard(&mut side, ping).expect("reads");
        assert_eq!(
            (events, out.as_slice()),
            (vec![], &b"\0\x02\0\x02\0\0\0\0\0\0\0\x2a"[..])
        );
        assert!(heard(&mut side, &ping.repeat(PINGS)).is_err());
    }

    #[test]
    fn what_breaks_the_protocol_is_said() {
        for bytes in [
            &b"\x01\0\0\0\0\0\0\x01\0\0\0\0"[..],
            b"\0\x04\0\0\0\0\0\x01\0\0\0\0",
            b"\0\0\0\0\0\0\0\0\0\0\0\x01x",
        ] {
            assert!(heard(&mut Yamux::new(true), bytes).is_err());
        }
        assert!(Yamux::new(true).may_open(2) && !Yamux::new(true).may_open(1));
        assert!(!Yamux::new(true).may_open(0));
    }

    proptest! {
        /// However the bytes are cut, the same is heard.
        #[test]
        fn cuts_change_nothing(frames in proptest::collection::vec((0u8..5, 1u32..9, 0usize..40), 1..20),
                               cut in 1usize..50) {
            let mut out = BytesMut::new();
            let mut side = Yamux::new(true);
            for (kind, id, size) in frames {
                let data = vec![7; size];
                side.say(match kind {
                    0 => Frame::Open(id),
                    1 => Frame::Data(id, &data),
                    2 => Frame::Credit(id, size as u32 + 1),
                    3 => Frame::End(id),
                    _ => Frame::Reset(id),
                }, &mut out);
            }
            let whole = heard(&mut Yamux::new(false), &out).expect("reads");
            let mut other = Yamux::new(false);
            let (mut input, mut answer, mut events) = (BytesMut::new(), BytesMut::new(), Vec::new());
            for piece in out.chunks(cut) {
                input.extend_from_slice(piece);
                while let Some(event) = other.hear(&mut input, &mut answer).expect("reads") {
                    match (events.last_mut(), event) {
                        (Some(Event::Data(one, before)), Event::Data(id, more)) if *one == id => {
                            *before = [&before[..], &more[..]].concat().into();
                        }
                        (_, event) => events.push(event),
                    }
                }
            }
            let mut joined: Vec<Event> = Vec::new();
            for event in whole.0 {
                match (joined.last_mut(), event) {
                    (Some(Event::Data(one, before)), Event::Data(id, more)) if *one == id => {
                        *before = [&before[..], &more[..]].concat().into();
                    }
                    (_, event) => joined.push(event),
                }
            }
            prop_assert_eq!(joined, events);
            prop_assert_eq!(whole.1, answer.to_vec());
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = heard(&mut Yamux::new(true), &bytes);
        }
    }
}
