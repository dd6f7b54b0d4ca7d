//! The client's side of what stands before the payload: SOCKS5 (RFC 1928), HTTP CONNECT
//! (RFC 9110 section 9.3.6), or nothing. Bytes in, bytes out.

use std::net::SocketAddrV4;

use crate::args::Via;

/// What to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Send this, then read on.
    Send(Vec<u8>),
    /// Read more.
    More,
    /// The way is open.
    Open,
    /// The proxy said no, or something else.
    Failed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Method,
    Reply,
    Head,
}

/// The state of one handshake. The target never speaks first, so whatever comes belongs to it.
#[derive(Debug)]
pub struct Handshake {
    stage: Stage,
    got: Vec<u8>,
}

impl Handshake {
    /// Nothing said yet.
    pub fn new() -> Self {
        Self {
            stage: Stage::Start,
            got: Vec::new(),
        }
    }

    /// Takes what was read (nothing, at the start) and tells what follows.
    pub fn take(&mut self, data: &[u8], via: Via, target: SocketAddrV4) -> Step {
        self.got.extend_from_slice(data);
        match (self.stage, via) {
            (Stage::Start, Via::Direct | Via::Plain(_)) => Step::Open,
            (Stage::Start, Via::Socks5(_)) => self.say(Stage::Method, vec![5, 1, 0]),
            (Stage::Start, Via::Http(_)) => {
                let head = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
                self.say(Stage::Head, head.into_bytes())
            }
            (Stage::Method, _) => match self.got.as_slice() {
                [5, 0] => self.say(Stage::Reply, socks5_request(1, target)),
                [] | [5] => Step::More,
                _ => Step::Failed,
            },
            (Stage::Reply, _) => match self.got.get(1) {
                Some(0) if self.got.len() < socks5_reply_size(&self.got) => Step::More,
                Some(0) => Step::Open,
                Some(_) => Step::Failed,
                None => Step::More,
            },
            (Stage::Head, _) => {
                if !self.got.windows(4).any(|part| part == b"\r\n\r\n") {
                    return if self.got.len() > 16384 {
                        Step::Failed
                    } else {
                        Step::More
                    };
                }
                if self.got.get(9..12) == Some(b"200") {
                    Step::Open
                } else {
                    Step::Failed
                }
            }
        }
    }

    fn say(&mut self, next: Stage, words: Vec<u8>) -> Step {
        self.stage = next;
        self.got.clear();
        Step::Send(words)
    }
}

/// A SOCKS5 request (RFC 1928 section 4): 1 is CONNECT, 3 is UDP ASSOCIATE.
pub fn socks5_request(command: u8, target: SocketAddrV4) -> Vec<u8> {
    let mut request = vec![5, command, 0, 1];
    request.extend_from_slice(&target.ip().octets());
    request.extend_from_slice(&target.port().to_be_bytes());
    request
}

/// How long the reply that starts like this will be; 5 as long as that cannot be told.
pub fn socks5_reply_size(start: &[u8]) -> usize {
    match (start.get(3), start.get(4)) {
        (Some(1), _) => 10,
        (Some(4), _) => 22,
        (Some(3), Some(&name)) => 7 + usize::from(name),
        _ => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddrV4 {
        text.parse().expect("an address")
    }

    #[test]
    fn socks5_in_small_pieces() {
        let (via, target) = (Via::Socks5(at("127.0.0.1:1080")), at("10.0.0.2:7000"));
        let mut handshake = Handshake::new();
        assert_eq!(handshake.take(b"", via, target), Step::Send(vec![5, 1, 0]));
        assert_eq!(handshake.take(&[5], via, target), Step::More);
        assert_eq!(
            handshake.take(&[0], via, target),
            Step::Send(vec![5, 1, 0, 1, 10, 0, 0, 2, 27, 88])
        );
        assert_eq!(handshake.take(&[5, 0, 0, 1, 0], via, target), Step::More);
        assert_eq!(handshake.take(&[0, 0, 0, 0, 0], via, target), Step::Open);
    }

    #[test]
    fn http_connect() {
        let (via, target) = (Via::Http(at("127.0.0.1:1080")), at("10.0.0.2:7000"));
        for (answer, expected) in [("200 yes", Step::Open), ("403 no", Step::Failed)] {
            let mut handshake = Handshake::new();
            assert!(matches!(handshake.take(b"", via, target), Step::Send(_)));
            assert_eq!(
                handshake.take(format!("HTTP/1.1 {answer}\r\n").as_bytes(), via, target),
                Step::More
            );
            assert_eq!(handshake.take(b"\r\n", via, target), expected);
        }
    }

    #[test]
    fn refusals() {
        let (via, target) = (Via::Socks5(at("127.0.0.1:1080")), at("10.0.0.2:7000"));
        let mut handshake = Handshake::new();
        handshake.take(b"", via, target);
        assert_eq!(handshake.take(&[5, 255], via, target), Step::Failed);
        let mut handshake = Handshake::new();
        handshake.take(b"", via, target);
        handshake.take(&[5, 0], via, target);
        assert_eq!(handshake.take(&[5, 1, 0, 1], via, target), Step::Failed);
    }
}
