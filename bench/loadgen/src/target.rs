//! The server that programs are asked to reach. The first byte of a connection says what it is:
//! `D` sends without end; `U` and eight bytes (a run's name) takes without end; `R` wants 64 bytes,
//! answers 64 and closes; `P` echoes; `C` and a run's name answers what that run's uploads have
//! brought so far (bytes and time, native u64s), so an upload is counted where it arrives.
//! UDP packets to the same port come back.

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::packets::Packets;
use crate::payload::Payload;
use crate::sys::{self, Epoll};

const LISTENER: u64 = u64::MAX;
const UDP: u64 = u64::MAX - 1;
const SHORT: usize = 64;
const NAMED: usize = 9;

enum Part {
    Unknown(Vec<u8>),
    Source(i64),
    Sink(Rc<Cell<u64>>),
    Short(usize),
    Echo,
    Counter(Vec<u8>),
}

struct Conn {
    fd: OwnedFd,
    part: Part,
}

/// Serves until it is ended from outside.
pub fn serve(at: SocketAddrV4) -> io::Result<()> {
    let listener = sys::listen(at)?;
    let udp = sys::udp_bound(at)?;
    let mut epoll = Epoll::new()?;
    epoll.add(&listener, sys::EPOLLIN, LISTENER)?;
    epoll.add(&udp, sys::EPOLLIN, UDP)?;
    let mut server = Server {
        conns: Vec::new(),
        free: Vec::new(),
        uploads: HashMap::new(),
        payload: Payload::new(false)?,
        buffer: vec![0; 65536],
    };
    let mut packets = Packets::new();
    let mut ready = Vec::new();
    loop {
        epoll.wait(-1, &mut ready);
        for &(token, events) in &ready {
            match token {
                LISTENER => server.accept(&listener, &epoll)?,
                UDP => {
                    if let Ok(count) = packets.receive(&udp, true) {
                        // What the socket does not take is lost, as on any network.
                        let _lost = packets.send(&udp, count, true);
                    }
                }
                _ => server.serve(token as usize, events, &epoll),
            }
        }
    }
}

struct Server {
    conns: Vec<Option<Conn>>,
    free: Vec<usize>,
    uploads: HashMap<[u8; 8], Rc<Cell<u64>>>,
    payload: Payload,
    buffer: Vec<u8>,
}

impl Server {
    fn accept(&mut self, listener: &OwnedFd, epoll: &Epoll) -> io::Result<()> {
        for _ in 0..64 {
            let Ok(fd) = sys::accept(listener) else { break };
            let index = self.free.pop().unwrap_or(self.conns.len());
            epoll.add(&fd, sys::EPOLLIN, index as u64)?;
            let conn = Some(Conn {
                fd,
                part: Part::Unknown(Vec::new()),
            });
            if index == self.conns.len() {
                self.conns.push(conn);
            } else {
                self.conns[index] = conn;
            }
        }
        Ok(())
    }

    fn serve(&mut self, index: usize, events: i32, epoll: &Epoll) {
        // Taken out for the time being; not put back when it is over.
        let Some(mut conn) = self.conns[index].take() else {
            return;
        };
        match self.step(&mut conn, events, epoll, index as u64) {
            Ok(true) => self.conns[index] = Some(conn),
            Err(error) if sys::later(&error) => self.conns[index] = Some(conn),
            _ => self.free.push(index),
        }
    }

    /// False when the connection is over.
    fn step(
        &mut self,
        conn: &mut Conn,
        events: i32,
        epoll: &Epoll,
        token: u64,
    ) -> io::Result<bool> {
        match &mut conn.part {
            Part::Source(offset) => {
                if events & (sys::EPOLLIN | sys::EPOLLHUP | sys::EPOLLERR) != 0 {
                    let mut rest = [0; 64];
                    match sys::receive(&conn.fd, &mut rest) {
                        Ok(0) => return Ok(false),
                        Err(error) if !sys::later(&error) => return Err(error),
                        _ => {}
                    }
                }
                self.payload.push(&conn.fd, offset)?;
                Ok(true)
            }
            Part::Sink(count) => {
                let size = self.payload.pull(&conn.fd)?;
                count.set(count.get() + size as u64);
                Ok(size > 0)
            }
            _ => {
                let size = sys::receive(&conn.fd, &mut self.buffer)?;
                if size == 0 {
                    return Ok(false);
                }
                self.converse(conn, size, epoll, token)
            }
        }
    }

    fn converse(
        &mut self,
        conn: &mut Conn,
        size: usize,
        epoll: &Epoll,
        token: u64,
    ) -> io::Result<bool> {
        if let Part::Unknown(seen) = &mut conn.part {
            seen.extend_from_slice(&self.buffer[..size]);
            match seen[0] {
                b'D' => {
                    epoll.change(&conn.fd, sys::EPOLLIN | sys::EPOLLOUT, token)?;
                    conn.part = Part::Source(0);
                    return Ok(true);
                }
                b'U' => {
                    let Some(name) = run_name(seen) else {
                        return Ok(true);
                    };
                    let count = self.uploads.entry(name).or_default();
                    count.set(count.get() + (seen.len() - NAMED) as u64);
                    conn.part = Part::Sink(Rc::clone(count));
                    return Ok(true);
                }
                b'R' => conn.part = Part::Short(0),
                b'P' => conn.part = Part::Echo,
                b'C' => conn.part = Part::Counter(Vec::new()),
                _ => return Ok(false),
            }
        }
        let data = &self.buffer[..size];
        match &mut conn.part {
            Part::Short(got) => {
                *got += size;
                if *got < SHORT {
                    return Ok(true);
                }
                sys::send(&conn.fd, &[b'r'; SHORT])?;
                Ok(false)
            }
            Part::Counter(asked) => {
                asked.extend_from_slice(data);
                while let Some(name) = run_name(asked) {
                    asked.drain(..NAMED);
                    let count = self.uploads.get(&name).map_or(0, |count| count.get());
                    let mut answer = count.to_ne_bytes().to_vec();
                    answer.extend_from_slice(&sys::now().to_ne_bytes());
                    sys::send(&conn.fd, &answer)?;
                }
                Ok(true)
            }
            // What is asked is small and the client waits for it, so the socket takes it whole.
            _ => Ok(sys::send(&conn.fd, data)? == size),
        }
    }
}

fn run_name(seen: &[u8]) -> Option<[u8; 8]> {
    seen.get(1..NAMED)?.try_into().ok()
}
