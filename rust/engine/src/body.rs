//! Moving one HTTP/1.1 message body between two streams that both live on (RFC 9112, section 6).
//!
//! Chunked framing is checked strictly, byte by byte, and written anew, so that what leaves can be
//! read in one way only.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use crate::failure::{Failure, Outcome};
use crate::stream::{Stream, Want};

/// The longest chunk-size line (extensions included) and trailer section taken.
const LINE: usize = 4096;
const TRAILERS: usize = 16 * 1024;

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
}

impl BodyMove {
    /// Begin with a body framed so.
    pub fn new(framing: Framing) -> Self {
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
        }
    }

    /// Go on. Ready with the payload bytes moved when the body is through and handed to the socket.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        sink: &mut Stream,
    ) -> Poll<Outcome<u64>> {
        loop {
            ready!(sink.poll_sent(cx))?;
            match self.step {
                Step::Over => return Poll::Ready(Ok(self.moved)),
                Step::Size => {
                    let line = ready!(line(cx, source))?;
                    let size = chunk_size(&line).ok_or(Failure::Peer("bad chunk size"))?;
                    if size > 0 {
                        self.pass_framing(sink, format!("{size:x}\r\n").as_bytes());
                        self.step = Step::Data(size);
                    } else {
                        self.pass_framing(sink, b"0\r\n");
                        self.step = Step::Trailers(0);
                    }
                }
                Step::Data(left) => ready!(self.poll_data(cx, source, sink, left))?,
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
                    self.pass_framing(sink, &line);
                    self.pass_framing(sink, b"\r\n");
                    self.step = if line.is_empty() {
                        Step::Over
                    } else {
                        Step::Trailers(so_far + line.len())
                    };
                }
            }
        }
    }

    fn poll_data(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut Stream,
        sink: &mut Stream,
        left: u64,
    ) -> Poll<Outcome<()>> {
        let limit = usize::try_from(left).unwrap_or(usize::MAX);
        match ready!(source.poll_want(cx, &Want::Some(limit))) {
            Ok(data) => {
                self.moved += data.len() as u64;
                if self.framing != Framing::UntilEnd {
                    let left = left - data.len() as u64;
                    self.step = match (left, self.framing) {
                        (0, Framing::Chunked(_)) => Step::DataEnd,
                        (0, _) => Step::Over,
                        (left, _) => Step::Data(left),
                    };
                }
                match sink.write_now(cx, &data) {
                    // What could not be sent is kept, and sent before anything else is read.
                    Poll::Pending | Poll::Ready(Ok(())) => Poll::Ready(Ok(())),
                    Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
                }
            }
            Err(Failure::Ended) if self.framing == Framing::UntilEnd => {
                self.step = Step::Over;
                Poll::Ready(Ok(()))
            }
            Err(failure) => Poll::Ready(Err(failure)),
        }
    }

    fn pass_framing(&self, sink: &mut Stream, data: &[u8]) {
        if self.framing == Framing::Chunked(false) {
            sink.start_write(data);
        }
    }
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
