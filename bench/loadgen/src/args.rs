//! The command line.

use std::net::{Ipv4Addr, SocketAddrV4};

/// What one run of the program does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Serve as the target.
    Target,
    /// Serve as the bare splice relay.
    Relay,
    /// Wait until an address accepts.
    Probe,
    /// Load over UDP.
    Udp,
    /// Seal and open, with the copies of a pair.
    Cipher,
    /// Load over TCP.
    Work(Work),
}

/// What a TCP connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// Receive as fast as it goes.
    Down,
    /// Send as fast as it goes.
    Up,
    /// One request, one reply, close, and the next connection.
    Short,
    /// Requests and replies one after the other on a kept connection.
    PingPong,
    /// One request and reply, then silence.
    Idle,
}

/// The cipher of a pair, whatever the protocol calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// AES-128-GCM.
    Aes128,
    /// AES-256-GCM.
    Aes256,
    /// ChaCha20-Poly1305.
    ChaCha20,
}

/// How the target is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// Straight.
    Direct,
    /// Through something that forwards to the target without being told.
    Plain(SocketAddrV4),
    /// Through a SOCKS5 proxy without authentication.
    Socks5(SocketAddrV4),
    /// Through an HTTP proxy by CONNECT.
    Http(SocketAddrV4),
}

/// The parsed command line. Times are nanoseconds.
#[derive(Clone, Debug)]
pub struct Args {
    pub mode: Mode,
    pub listen: SocketAddrV4,
    pub target: SocketAddrV4,
    pub via: Via,
    pub method: Method,
    pub conns: usize,
    pub window: usize,
    pub size: usize,
    pub secs: u64,
    pub warm: u64,
    pub copy: bool,
}

impl Args {
    /// Reads `MODE --key value ...`.
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut words = words;
        let word = words.next().ok_or("which mode? (see the top of main.rs)")?;
        let nowhere = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);
        let mut args = Self {
            mode: mode(&word)?,
            listen: nowhere,
            target: nowhere,
            via: Via::Direct,
            method: Method::Aes128,
            conns: 1,
            window: 32,
            size: 64,
            secs: nanoseconds("5")?,
            warm: nanoseconds("0.5")?,
            copy: false,
        };
        while let Some(key) = words.next() {
            if key == "--copy" {
                args.copy = true;
                continue;
            }
            let value = words.next().ok_or_else(|| format!("{key} wants a value"))?;
            match key.as_str() {
                "--listen" => args.listen = address(&value)?,
                "--target" => args.target = address(&value)?,
                "--via" => args.via = via(&value)?,
                "--method" => args.method = method(&value)?,
                "--conns" => args.conns = number(&value)?,
                "--window" => args.window = number(&value)?,
                "--size" => args.size = number(&value)?,
                "--secs" => args.secs = nanoseconds(&value)?,
                "--warm" => args.warm = nanoseconds(&value)?,
                "--dir" if args.mode == Mode::Work(Work::Down) && value == "up" => {
                    args.mode = Mode::Work(Work::Up);
                }
                "--dir" if value == "down" => {}
                _ => return Err(format!("unknown option {key} {value}")),
            }
        }
        if args.size < 16 || args.size > 2048 || args.window > 64 {
            return Err("--size must be 16 to 2048, --window at most 64".into());
        }
        Ok(args)
    }
}

fn mode(word: &str) -> Result<Mode, String> {
    Ok(match word {
        "target" => Mode::Target,
        "relay" => Mode::Relay,
        "probe" => Mode::Probe,
        "udp" => Mode::Udp,
        "cipher" => Mode::Cipher,
        "bulk" => Mode::Work(Work::Down),
        "cps" => Mode::Work(Work::Short),
        "pingpong" => Mode::Work(Work::PingPong),
        "idle" => Mode::Work(Work::Idle),
        _ => return Err(format!("unknown mode {word}")),
    })
}

fn method(text: &str) -> Result<Method, String> {
    // Shadowsocks has names of its own for the same ciphers.
    match text.strip_prefix("2022-blake3-").unwrap_or(text) {
        "aes-128-gcm" => Ok(Method::Aes128),
        "aes-256-gcm" => Ok(Method::Aes256),
        "chacha20-ietf-poly1305" | "chacha20-poly1305" => Ok(Method::ChaCha20),
        _ => Err(format!("no such cipher: {text}")),
    }
}

fn via(text: &str) -> Result<Via, String> {
    if text == "direct" {
        return Ok(Via::Direct);
    }
    let (kind, at) = text
        .split_once(':')
        .ok_or_else(|| format!("bad --via {text}"))?;
    Ok(match kind {
        "plain" => Via::Plain(address(at)?),
        "socks5" => Via::Socks5(address(at)?),
        "http" => Via::Http(address(at)?),
        _ => return Err(format!("bad --via {text}")),
    })
}

fn address(text: &str) -> Result<SocketAddrV4, String> {
    text.parse()
        .map_err(|_| format!("not an IPv4 address and port: {text}"))
}

fn number(text: &str) -> Result<usize, String> {
    text.parse().map_err(|_| format!("not a number: {text}"))
}

fn nanoseconds(text: &str) -> Result<u64, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| format!("not a number of seconds: {text}"))?;
    if (0.0..1e6).contains(&seconds) {
        Ok((seconds * 1e9) as u64)
    } else {
        Err(format!("out of range: {text}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(String::from))
    }

    #[test]
    fn reads_a_whole_line() {
        let args = parse(
            "bulk --dir up --conns 8 --secs 1.5 --via socks5:127.0.0.1:1080 --target 10.0.0.2:7000",
        );
        let args = args.expect("a good line");
        assert_eq!(args.mode, Mode::Work(Work::Up));
        assert_eq!((args.conns, args.secs), (8, 1_500_000_000));
        assert_eq!(
            args.via,
            Via::Socks5("127.0.0.1:1080".parse().expect("an address"))
        );
    }

    #[test]
    fn knows_a_cipher_by_each_of_its_names() {
        for (name, expected) in [
            ("aes-128-gcm", Method::Aes128),
            ("2022-blake3-aes-256-gcm", Method::Aes256),
            ("2022-blake3-chacha20-poly1305", Method::ChaCha20),
            ("chacha20-ietf-poly1305", Method::ChaCha20),
        ] {
            let args = parse(&format!("cipher --method {name}")).expect("a good line");
            assert_eq!((args.mode, args.method), (Mode::Cipher, expected));
        }
    }

    #[test]
    fn refuses_what_it_does_not_know() {
        for line in [
            "",
            "fly",
            "cps --dir up",
            "bulk --speed 3",
            "bulk --conns",
            "udp --size 8",
            "cps --via ftp:1.2.3.4:5",
            "cipher --method rot13",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
