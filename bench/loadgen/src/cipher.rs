//! The floor of an encrypted pair: what its two ends cannot do without. Each chunk is received,
//! sealed and sent by the one, received, opened and sent by the other: two passes of the cipher
//! and four copies through sockets, without framing, events, rules or bounds. One thread is both
//! ends, and what brings the chunks and takes them away is not counted.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::OwnedFd;

use aws_lc_rs::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey,
};

use crate::args::{Args, Method};
use crate::sys;

/// The payload of a chunk: a TLS record's, and about a shadowsocks chunk's.
const CHUNK: usize = 16 * 1024;
const TAG: usize = 16;
/// Chunks that travel together.
const TOGETHER: usize = 4;

#[derive(Default)]
struct Spent {
    /// Processor nanoseconds.
    cipher: u64,
    copies: u64,
    bytes: u64,
}

struct Pair {
    key: LessSafeKey,
    count: u64,
    source: (OwnedFd, TcpStream),
    wire: (TcpStream, TcpStream),
    sink: (TcpStream, OwnedFd),
    payload: OwnedFd,
    buffer: Vec<u8>,
}

/// Seals and opens for the time given and prints what it took.
pub fn run(args: &Args) -> io::Result<()> {
    let mut pair = Pair::new(args.method)?;
    let begin = sys::now();
    let (mut spent, mut warm) = (Spent::default(), true);
    while sys::now() < begin + args.secs {
        if warm && sys::now() >= begin + args.warm {
            (spent, warm) = (Spent::default(), false);
        }
        pair.turn(&mut spent)?;
    }
    let per_gigabyte = |nanoseconds: u64| nanoseconds as f64 / spent.bytes.max(1) as f64;
    let (cipher, copies) = (per_gigabyte(spent.cipher), per_gigabyte(spent.copies));
    let (user, system) = sys::cpu_used();
    println!(
        "{{\"bytes\":{},\"mb_per_s\":{:.2},\"cpu_s_per_gb\":{:.4},\"cipher_s_per_gb\":{cipher:.4},\"copies_s_per_gb\":{copies:.4},\"gen_user_s\":{user:.3},\"gen_sys_s\":{system:.3}}}",
        spent.bytes,
        1e3 / (cipher + copies),
        cipher + copies,
    );
    Ok(())
}

impl Pair {
    fn new(method: Method) -> io::Result<Self> {
        let algorithm = algorithm(method);
        let key = UnboundKey::new(algorithm, &vec![7; algorithm.key_len()]).map_err(refused)?;
        let (near, client) = connection()?;
        let (server, far) = connection()?;
        Ok(Self {
            key: LessSafeKey::new(key),
            count: 0,
            source: (near.into(), client),
            wire: connection()?,
            sink: (server, far.into()),
            payload: sys::memory_file(&vec![b'x'; CHUNK * TOGETHER])?,
            buffer: vec![0; (CHUNK + TAG) * TOGETHER],
        })
    }

    /// Takes one batch of chunks all the way.
    fn turn(&mut self, spent: &mut Spent) -> io::Result<()> {
        let (mut offset, mut left) = (0, CHUNK * TOGETHER);
        while left > 0 {
            left -= sys::send_file(&self.source.0, &self.payload, &mut offset, left)?;
        }
        let mut clock = Clock::new();
        for chunk in self.buffer.chunks_exact_mut(CHUNK + TAG) {
            self.source.1.read_exact(&mut chunk[..CHUNK])?;
        }
        spent.copies += clock.lap();
        let first = self.count;
        for chunk in self.buffer.chunks_exact_mut(CHUNK + TAG) {
            let (text, room) = chunk.split_at_mut(CHUNK);
            let tag = self
                .key
                .seal_in_place_separate_tag(nonce(self.count), Aad::empty(), text)
                .map_err(refused)?;
            room.copy_from_slice(tag.as_ref());
            self.count += 1;
        }
        spent.cipher += clock.lap();
        self.wire.0.write_all(&self.buffer)?;
        self.wire.1.read_exact(&mut self.buffer)?;
        spent.copies += clock.lap();
        for (index, chunk) in self.buffer.chunks_exact_mut(CHUNK + TAG).enumerate() {
            self.key
                .open_in_place(nonce(first + index as u64), Aad::empty(), chunk)
                .map_err(refused)?;
        }
        spent.cipher += clock.lap();
        for chunk in self.buffer.chunks_exact(CHUNK + TAG) {
            self.sink.0.write_all(&chunk[..CHUNK])?;
        }
        spent.copies += clock.lap();
        spent.bytes += (CHUNK * TOGETHER) as u64;
        let mut left = CHUNK * TOGETHER;
        while left > 0 {
            match sys::discard(&self.sink.1, left) {
                Ok(size) => left -= size,
                Err(error) if sys::later(&error) => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// This thread's processor time, lap by lap.
struct Clock(u64);

impl Clock {
    fn new() -> Self {
        Self(sys::thread_time())
    }

    fn lap(&mut self) -> u64 {
        let now = sys::thread_time();
        let spent = now - self.0;
        self.0 = now;
        spent
    }
}

fn algorithm(method: Method) -> &'static Algorithm {
    match method {
        Method::Aes128 => &AES_128_GCM,
        Method::Aes256 => &AES_256_GCM,
        Method::ChaCha20 => &CHACHA20_POLY1305,
    }
}

/// As shadowsocks makes it: a counter, little end first.
fn nonce(count: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[..8].copy_from_slice(&count.to_le_bytes());
    Nonce::assume_unique_for_key(bytes)
}

/// A loopback connection whose buffers hold more than is ever under way, so that nothing waits.
fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0))?;
    sys::widen_buffers(&listener)?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    sys::widen_buffers(&near)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

fn refused(_: aws_lc_rs::error::Unspecified) -> io::Error {
    io::Error::other("the cipher refused")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_and_is_counted() {
        for method in [Method::Aes128, Method::Aes256, Method::ChaCha20] {
            let mut pair = Pair::new(method).expect("sockets");
            let mut spent = Spent::default();
            for _ in 0..3 {
                pair.turn(&mut spent).expect("a whole turn");
            }
            assert_eq!(spent.bytes, 3 * (CHUNK * TOGETHER) as u64);
            assert!(spent.cipher > 0 && spent.copies > 0);
            assert_eq!(&pair.buffer[..4], b"xxxx");
        }
    }
}
