//! What a server hears before it can shake hands: whether it is TLS, and if it begins as TLS does and
//! goes wrong, what a web server says to that. Pure.
//!
//! Who tries a server with odd bytes must not learn that it is not the usual web server, so this does as
//! nginx does with OpenSSL 3: some mistakes get an alert, some are hung up on, and which get which
//! alert is compared with both programs by a test.

/// A handshake record, a `ClientHello`, and what an SSL 2 hello begins with.
const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SSL2: u8 = 0x80;

const ALERT: u8 = 21;
const UNEXPECTED_MESSAGE: u8 = 10;
const RECORD_OVERFLOW: u8 = 22;
const HANDSHAKE_FAILURE: u8 = 40;
const ILLEGAL_PARAMETER: u8 = 47;
/// Of rustls: no certificate fits, which here means no application protocol.
const ACCESS_DENIED: u8 = 49;
const DECODE_ERROR: u8 = 50;
const PROTOCOL_VERSION: u8 = 70;
const NO_APPLICATION_PROTOCOL: u8 = 120;

const HEADER: usize = 5;

/// The most that a web server takes from its socket at once: a header and the longest record.
pub const READ: usize = HEADER + SEALED;

/// The longest record that is read at all, the longest that may be in the clear, and the longest hello.
const SEALED: usize = 0x4000 + 320;
const PLAIN: usize = 0x4000;
const HELLO: usize = 131_396;

/// Records with nothing in them that are read past.
const EMPTY: usize = 32;

/// The shortest SSL 2 hello behind its length.
const SHORTEST: usize = 9;

/// The alert of this description, in a record of this minor version.
pub fn alert(minor: u8, description: u8) -> [u8; 7] {
    [ALERT, 3, minor, 0, 2, 2, description]
}

/// What came so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Too little to tell.
    More,
    /// Nothing that TLS ever begins with.
    Foreign,
    /// A whole `ClientHello`, of this minor version.
    Hello(u8),
    /// No TLS, and this is said to it before it is hung up on.
    Wrong(Option<[u8; 7]>),
}

/// Looks at what comes until it is a `ClientHello`, or cannot become one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// Whether the first byte was that of a handshake.
    is_tls: bool,
    /// Where the next record begins.
    at: usize,
    /// The first bytes of the message, up to its version, and how many there were of it.
    begun: Vec<u8>,
    came: usize,
    empty: usize,
}

impl Greeting {
    /// Look at all that came, of which nothing is taken away but records with nothing in them.
    pub fn hear(&mut self, bytes: &mut Vec<u8>) -> Heard {
        match bytes.first() {
            _ if self.is_tls => {}
            None => return Heard::More,
            Some(&HANDSHAKE) => self.is_tls = true,
            Some(first) if first & SSL2 != 0 => return ssl2(bytes),
            Some(_) => return Heard::Foreign,
        }
        while let Some(header) = bytes.get(self.at..).and_then(<[u8]>::first_chunk) {
            let [kind, major, minor, high, low]: [u8; HEADER] = *header;
            let length = usize::from(u16::from_be_bytes([high, low]));
            // As long as nothing was right, it may speak another protocol altogether.
            let minor = if self.came == 0 { 3 } else { minor };
            if major != 3 {
                return Heard::Wrong((self.came > 0).then(|| alert(3, PROTOCOL_VERSION)));
            }
            if length > SEALED {
                return Heard::Wrong(Some(alert(minor, RECORD_OVERFLOW)));
            }
            let from = self.at + HEADER;
            let Some(body) = bytes.get(from..from + length) else {
                return Heard::More;
            };
            if length > PLAIN {
                return Heard::Wrong(Some(alert(minor, RECORD_OVERFLOW)));
            }
            if length == 0 {
                self.empty += 1;
                if self.empty > EMPTY {
                    return Heard::Wrong(Some(alert(minor, UNEXPECTED_MESSAGE)));
                }
                bytes.drain(self.at..from);
                continue;
            }
            if kind != HANDSHAKE {
                return Heard::Wrong(Some(alert(minor, UNEXPECTED_MESSAGE)));
            }
            self.at = from + length;
            self.came += length;
            let missing = 6 - self.begun.len();
            self.begun.extend(body.iter().take(missing));
            match self.message() {
                Heard::More => {}
                heard => return heard,
            }
        }
        Heard::More
    }

    /// How many bytes the records of a whole hello took.
    pub fn heard(&self) -> usize {
        self.at
    }

    /// What the message is, as far as it came.
    fn message(&self) -> Heard {
        let [kind, length @ ..]: [u8; 4] = match self.begun.first_chunk() {
            Some(begun) => *begun,
            None => return Heard::More,
        };
        let [a, b, c] = length;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        if kind != CLIENT_HELLO {
            return Heard::Wrong(Some(alert(3, UNEXPECTED_MESSAGE)));
        }
        if length > HELLO {
            return Heard::Wrong(Some(alert(3, ILLEGAL_PARAMETER)));
        }
        if self.came < 4 + length {
            return Heard::More;
        }
        match self.begun.get(4..6) {
            Some([3, minor]) if length >= 2 => Heard::Hello(*minor),
            Some(_) if length >= 2 => Heard::Hello(3),
            _ => Heard::Wrong(Some(alert(3, DECODE_ERROR))),
        }
    }
}

/// A hello in SSL 2's form, which old clients sent to servers of any version. Nothing is agreed on by it.
fn ssl2(bytes: &[u8]) -> Heard {
    let Some([high, low, kind, versions @ ..]) = bytes.first_chunk::<HEADER>() else {
        return Heard::More;
    };
    if *kind != CLIENT_HELLO {
        return Heard::Wrong(None);
    }
    let length = usize::from(u16::from_be_bytes([high & !SSL2, *low]));
    let wrong = |alert| Heard::Wrong(Some(alert));
    if length > SEALED {
        return wrong(alert(3, RECORD_OVERFLOW));
    }
    if length < SHORTEST {
        return wrong(alert(3, DECODE_ERROR));
    }
    let Some(message) = bytes.get(2..2 + length) else {
        return Heard::More;
    };
    let sizes = message.get(3..SHORTEST).unwrap_or_default();
    let parts: usize = sizes
        .chunks_exact(2)
        .map(|size| usize::from(size[0]) << 8 | usize::from(size[1]))
        .sum();
    wrong(match *versions {
        _ if SHORTEST + parts != length => alert(3, DECODE_ERROR),
        [3, 0] => alert(0, HANDSHAKE_FAILURE),
        [3, minor @ (1 | 2)] => alert(minor, PROTOCOL_VERSION),
        [3, _] => alert(3, HANDSHAKE_FAILURE),
        _ => alert(3, PROTOCOL_VERSION),
    })
}

/// What is said about a hello that cannot be agreed with, or about what came behind it: `said` is what
/// rustls says, if anything, `minor` the hello's version, and `behind` how that began which came once the
/// server had answered the hello.
pub fn reworded(said: Option<u8>, minor: u8, behind: Option<[u8; HEADER]>) -> [u8; 7] {
    let said = said.unwrap_or(UNEXPECTED_MESSAGE);
    match (behind, said) {
        (Some([_, 3, 3, ..]), said) => alert(3, said),
        (Some([_, 3, other, ..]), _) => alert(other, PROTOCOL_VERSION),
        (Some(_), _) => alert(3, PROTOCOL_VERSION),
        (None, ACCESS_DENIED) => alert(3, NO_APPLICATION_PROTOCOL),
        (None, HANDSHAKE_FAILURE | PROTOCOL_VERSION) if minor == 0 => alert(0, HANDSHAKE_FAILURE),
        (None, HANDSHAKE_FAILURE | PROTOCOL_VERSION) if minor < 3 => alert(minor, PROTOCOL_VERSION),
        (None, said) => alert(3, said),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heard(bytes: &[u8]) -> Heard {
        Greeting::default().hear(&mut bytes.to_vec())
    }

    fn record(kind: u8, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&[kind, 3, 1, length[0], length[1]][..], body].concat()
    }

    fn hello() -> Vec<u8> {
        [&[CLIENT_HELLO, 0, 0, 50, 3, 3][..], &[7; 48]].concat()
    }

    #[test]
    fn a_hello_in_any_pieces() {
        let whole = record(HANDSHAKE, &hello());
        assert_eq!(heard(&whole), Heard::Hello(3));
        let message = hello();
        let (front, back) = message.split_at(3);
        let parts = [
            record(HANDSHAKE, &[]),
            record(HANDSHAKE, front),
            record(HANDSHAKE, &[]),
            record(HANDSHAKE, back),
        ];
        let mut came = Vec::new();
        let mut greeting = Greeting::default();
        let all = parts.concat();
        for byte in &all[..all.len() - 1] {
            came.push(*byte);
            assert_eq!(greeting.hear(&mut came), Heard::More);
        }
        came.extend(all.last());
        assert_eq!(greeting.hear(&mut came), Heard::Hello(3));
        let kept = [record(HANDSHAKE, front), record(HANDSHAKE, back)].concat();
        assert_eq!(came, kept, "without what was empty");
    }

    #[test]
    fn empty_records_are_not_read_past_for_ever() {
        let empty = record(HANDSHAKE, &[]);
        let whole = record(HANDSHAKE, &hello());
        let few = [empty.repeat(EMPTY), whole.clone()].concat();
        assert_eq!(heard(&few), Heard::Hello(3));
        let many = [empty.repeat(EMPTY + 1), whole].concat();
        assert_eq!(
            heard(&many),
            Heard::Wrong(Some(alert(3, UNEXPECTED_MESSAGE)))
        );
    }

    #[test]
    fn what_no_tls_begins_with() {
        for first in (0..0x80_u8).filter(|first| *first != HANDSHAKE) {
            assert_eq!(heard(&[first]), Heard::Foreign);
        }
        assert_eq!(heard(&[]), Heard::More);
        assert_eq!(heard(&[HANDSHAKE]), Heard::More);
        assert_eq!(heard(&[SSL2]), Heard::More);
    }

    proptest! {
        #[test]
        fn pieces_say_what_the_whole_says(
            first in prop_oneof![Just(HANDSHAKE), SSL2..=255],
            body in proptest::collection::vec(prop_oneof![Just(0_u8), Just(3), Just(22), any::<u8>()], 0..200),
        ) {
            let whole = [&[first][..], &body].concat();
            let (mut greeting, mut came, mut last) = (Greeting::default(), Vec::new(), Heard::More);
            for byte in &whole {
                came.push(*byte);
                last = greeting.hear(&mut came);
                if last != Heard::More {
                    break;
                }
            }
            prop_assert_eq!(last, heard(&whole));
        }
    }
}
