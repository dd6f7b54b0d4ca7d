//! Moving one HTTP/1.1 message body between two streams that both live on (RFC 9112, section 6).
//!
//! Chunked framing is checked strictly, byte by byte, and written anew, so that what leaves can be
//! read in one way only.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};

use crate::bucket::{Buckets, Direction, Spent, Throttle};
use crate::failure::{Failure, Outcome};
use crate::stream::{SCRATCH, Stream, Want};

/// The longest chunk-size line (extensions included) and trailer section taken.
const LINE: usize = 4096;
const TRAILERS: usize = 16 * 1024;

/// What no trailer may hold (RFC 9110, section 6.5.1), in lower case: fields of one hop, of framing and
/// routing, of conditions, of credentials, and of how the content is to be read.
const NO_TRAILERS: [&[u8]; 42] = [
    b"accept-encoding",
    b"authentication-info",
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"cookie2",
    b"expect",
    b"forwarded",
    b"host",
    b"http2-settings",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"pragma",
    b"proxy-authenticate",
    b"proxy-authentication-info",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"set-cookie2",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"via",
    b"www-authenticate",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
];

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// Exactly so many bytes.
    Length(u64),
    /// Chunks; `true` passes on the payload alone, `false` chunks and trailers.
    Chunked(bool),
    /// Whatever comes until the end.
    UntilEnd,
}

enum Step {
    Size,
    Data(u64),
    DataEnd,
    Trailers(usize),
    Over,
}

/// A body on its way.
pub struct BodyMove {
    framing: Framing,
    step: Step,
    moved: u64,
    meter: Arc<AtomicU64>,
    throttle: Option<Box<Throttle>>,
    /// Further trailers that stay here.
    without: Vec<Vec<u8>>,
}

/// How many steps one poll may take, so that a fast body leaves its loop to others now and then.
const TURN: usize = 32;

impl BodyMove {
    /// Begin with a body framed so. `meter` counts its payload as it goes.
    pub fn new(framing: Framing, meter: Arc<AtomicU64>) -> Self {
        let step = match framing {
            Framing::Length(0) => Step::Over,
            Framing::Length(n) => Step::Data(n),
            Framing::Chunked(_) => Step::Size,
            Framing::UntilEnd => Step::Data(u64::MAX),
        };
        Self {
            framing,
            step,
            moved: 0,
            meter,
            throttle: None,
            without: Vec::new(),
        }
    }

    /// Pass no trailers of these names on (in lower case), besides those that none may hold: the
    /// fields that the head has declared to be for this hop.
    #[must_use]
    pub fn without(mut self, names: Vec<Vec<u8>>) -> Self {
        self.without = names;
        self
    }

    /// Let it draw from these. It must then be polled on a thread with timers.
    #[must_use]
    pub fn drawing(mut self, buckets: &Buckets, direction: Direction) -> Self {
        self.throttle = Throttle::new(buckets, direction);
        self
    }

    /// Whether it waits for its turn.
    pub fn waits(&self) -> bool {
        self.throttle
            .as_ref()
            .is_some_and(|throttle| throttle.waits())
    }

    /// Go on. Ready with the payload bytes moved when the body is through and handed to the socket.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        sink: &mut Stream,
    ) -> Poll<Outcome<u64>> {
        for _ in 0..TURN {
            if matches!(self.step, Step::Over) || sink.unsent() >= SCRATCH {
                ready!(sink.poll_sent(cx))?;
                if matches!(self.step, Step::Over) {
                    return Poll::Ready(Ok(self.moved));
                }
            }
            let went = self.poll_step(cx, source, sink);
            if went.is_pending() {
                // Nothing to read for now: what has gathered goes out.
                let _ = sink.poll_sent(cx)?;
            }
            ready!(went)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        sink: &mut Stream,
    ) -> Poll<Outcome<()>> {
        match self.step {
            Step::Over => {}
            Step::Size => {
                let line = ready!(line(cx, source))?;
                let size = chunk_size(&line).ok_or(Failure::Peer("bad chunk size"))?;
                self.pass_framing(sink, format!("{size:x}\r\n").as_bytes());
                self.step = if size > 0 {
                    Step::Data(size)
                } else {
                    Step::Trailers(0)
                };
            }
            Step::Data(left) => return self.poll_data(cx, source, sink, left),
            Step::DataEnd => {
                let end = ready!(source.poll_want(cx, &Want::Exactly(2)))?;
                if &end[..] != b"\r\n" {
                    return Poll::Ready(Err(Failure::Peer("chunk data not followed by CRLF")));
                }
                self.pass_framing(sink, b"\r\n");
                self.step = Step::Size;
            }
            Step::Trailers(so_far) => {
                let line = ready!(line(cx, source))?;
                if so_far + line.len() > TRAILERS {
                    return Poll::Ready(Err(Failure::Peer("trailer section too long")));
                }
                if !line.is_empty() && !field_line(&line) {
                    return Poll::Ready(Err(Failure::Peer("bad trailer field")));
                }
                if line.is_empty() || self.goes_on(&line) {
                    self.pass_framing(sink, &line);
                    self.pass_framing(sink, b"\r\n");
                }
                self.step = if line.is_empty() {
                    Step::Over
                } else {
                    Step::Trailers(so_far + line.len())
                };
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        sink: &mut Stream,
        left: u64,
    ) -> Poll<Outcome<()>> {
        match ready!(source.poll_more(cx)) {
            Ok(()) => {}
            Err(Failure::Ended) if self.framing == Framing::UntilEnd => {
                self.step = Step::Over;
                return Poll::Ready(Ok(()));
            }
            Err(failure) => return Poll::Ready(Err(failure)),
        }
        let n =
            usize::try_from(left).map_or(source.unread.len(), |left| left.min(source.unread.len()));
        let n = match &mut self.throttle {
            None => n,
            Some(throttle) => ready!(poll_booked(cx, throttle, n))?,
        };
        // What could not be sent is kept by the sink, and sent before much more is read.
        let sent = sink.write_now(cx, &source.unread[..n]);
        source.unread.advance(n);
        self.moved += n as u64;
        self.meter.fetch_add(n as u64, Ordering::Relaxed);
        if self.framing != Framing::UntilEnd {
            self.step = match (left - n as u64, self.framing) {
                (0, Framing::Chunked(_)) => Step::DataEnd,
                (0, _) => Step::Over,
                (left, _) => Step::Data(left),
            };
        }
        match sent {
            Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
            Poll::Pending | Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
        }
    }

    fn goes_on(&self, trailer: &[u8]) -> bool {
        let name: Vec<u8> = trailer
            .iter()
            .take_while(|byte| **byte != b':')
            .map(u8::to_ascii_lowercase)
            .collect();
        !NO_TRAILERS.contains(&name.as_slice()) && !self.without.contains(&name)
    }

    fn pass_framing(&self, sink: &mut Stream, data: &[u8]) {
        if self.framing == Framing::Chunked(false) {
            sink.start_write(data);
        }
    }
}

/// How much of so many bytes may go on its way.
fn poll_booked(cx: &mut Context<'_>, throttle: &mut Throttle, n: usize) -> Poll<Outcome<usize>> {
    if throttle.booked() == 0 {
        match ready!(throttle.poll_room(cx, n)) {
            Ok(room) => throttle.took(room),
            Err(Spent) => return Poll::Ready(Err(Failure::Spent)),
        }
    }
    ready!(throttle.poll_turn(cx));
    let booked = throttle.booked();
    throttle.gone();
    Poll::Ready(Ok(booked))
}

/// One line without its CRLF. A bare LF or CR inside is an attack or a mistake; both end the flow.
fn line(cx: &mut Context<'_>, source: &mut Stream) -> Poll<Outcome<Bytes>> {
    let line = match ready!(source.poll_want(cx, &Want::Until(Bytes::from_static(b"\r\n"), LINE))) {
        Ok(line) => line.slice(..line.len() - 2),
        Err(Failure::TooLong) => return Poll::Ready(Err(Failure::Peer("chunk line too long"))),
        Err(failure) => return Poll::Ready(Err(failure)),
    };
    if line.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Poll::Ready(Err(Failure::Peer("bare CR, LF or NUL in a chunk line")));
    }
    Poll::Ready(Ok(line))
}

/// The size of a chunk line; extensions are allowed and left out. None when it is not one.
pub fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let rest = line[digits..].trim_ascii_start();
    if digits == 0 || digits > 15 || !(rest.is_empty() || rest[0] == b';') {
        return None;
    }
    let text = std::str::from_utf8(&line[..digits]).ok()?;
    u64::from_str_radix(text, 16).ok()
}

fn field_line(line: &[u8]) -> bool {
    let name = line
        .iter()
        .take_while(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte));
    let name = name.count();
    name > 0 && line.get(name) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(chunk_size(b"1a"), Some(26));
        assert_eq!(chunk_size(b"0"), Some(0));
        assert_eq!(chunk_size(b"A;name=value"), Some(10));
        assert_eq!(chunk_size(b"A ;name"), Some(10));
        for bad in [
            &b""[..],
            b" 1",
            b"-1",
            b"+1",
            b"0x1",
            b"1 2",
            b"1,2",
            b"g",
            b"fffffffffffffffff",
        ] {
            assert_eq!(chunk_size(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn trailer_lines() {
        assert!(field_line(b"X-Sum: 1"));
        assert!(!field_line(b"X Sum: 1"));
        assert!(!field_line(b": 1"));
        assert!(!field_line(b" folded"));
    }
}
