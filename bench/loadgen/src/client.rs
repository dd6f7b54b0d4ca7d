//! The TCP load: many connections, one thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::args::{Args, Via, Work};
use crate::handshake::{Handshake, Step};
use crate::payload::Payload;
use crate::samples::Samples;
use crate::sys::{self, Epoll};

const STDIN: u64 = u64::MAX;
const REQUEST: usize = 64;
/// Idle connections being opened at once.
const BURST: usize = 50;
/// Failures after which a run is given up.
const HOPELESS: u64 = 100_000;
/// How long a connection may take before it counts as stuck.
const STUCK: u64 = 1_000_000_000;
const PATIENCE: u64 = 20_000_000_000;

enum Stage {
    Dialling,
    Asking(Handshake),
    Open,
}

struct Conn {
    fd: OwnedFd,
    stage: Stage,
    since: u64,
    got: usize,
    offset: i64,
}

struct Load<'a> {
    args: &'a Args,
    work: Work,
    epoll: Epoll,
    conns: Vec<Option<Conn>>,
    payload: Payload,
    buffer: Vec<u8>,
    samples: Samples,
    run: u64,
    tally: Tally,
}

#[derive(Default)]
struct Tally {
    established: u64,
    errors: u64,
    done: u64,
    all: u64,
    received: u64,
}

/// Runs one load and prints what came of it.
pub fn run(args: &Args, work: Work) -> io::Result<()> {
    let mut load = Load {
        args,
        work,
        epoll: Epoll::new()?,
        conns: (0..args.conns).map(|_| None).collect(),
        payload: Payload::new(args.copy)?,
        buffer: vec![0; 65536],
        samples: Samples::default(),
        run: sys::now(),
        tally: Tally::default(),
    };
    match work {
        Work::Idle => load.hold(),
        _ => load.measure(),
    }
}

impl Load<'_> {
    fn measure(&mut self) -> io::Result<()> {
        let mut counter = if self.work == Work::Up {
            Some(Counter::new(self.args.target, self.run)?)
        } else {
            None
        };
        for index in 0..self.conns.len() {
            self.open(index);
        }
        let begin = sys::now();
        self.work_until(begin + self.args.warm, |_| false);
        let first = self.mark(counter.as_mut())?;
        (self.tally.done, self.samples) = (0, Samples::default());
        self.work_until(begin + self.args.secs, |load| load.tally.errors > HOPELESS);
        let last = self.mark(counter.as_mut())?;
        self.print(first, last);
        Ok(())
    }

    /// Payload bytes so far, and when that was so.
    fn mark(&self, counter: Option<&mut Counter>) -> io::Result<(u64, u64)> {
        match counter {
            Some(counter) => counter.read(),
            None => Ok((self.tally.received, sys::now())),
        }
    }

    fn print(&mut self, first: (u64, u64), last: (u64, u64)) {
        let seconds = (last.1 - first.1) as f64 / 1e9;
        let stuck = self
            .conns
            .iter()
            .flatten()
            .filter(|conn| last.1 - conn.since > STUCK)
            .count();
        let (user, system) = sys::cpu_used();
        let tally = &self.tally;
        print!(
            "{{\"secs\":{seconds:.4},\"conns\":{},\"established\":{},\"errors\":{},\"gen_user_s\":{user:.3},\"gen_sys_s\":{system:.3}",
            self.args.conns, tally.established, tally.errors
        );
        if matches!(self.work, Work::Down | Work::Up) {
            let rate = (last.0 - first.0) as f64 / seconds / 1e6;
            println!(",\"bytes\":{},\"mb_per_s\":{rate:.2}}}", last.0);
        } else {
            let samples = std::mem::take(&mut self.samples);
            let rate = tally.done as f64 / seconds;
            println!(
                ",\"ops\":{},\"done\":{},\"per_s\":{rate:.1},\"stuck\":{stuck},{}}}",
                tally.all,
                tally.done,
                samples.json()
            );
        }
    }

    /// Opens them all, says READY, holds them until standard input ends, then tries each again.
    fn hold(&mut self) -> io::Result<()> {
        let (mut opened, count) = (0, self.conns.len());
        let end = sys::now() + PATIENCE;
        loop {
            let settled = (self.tally.all + self.tally.errors) as usize;
            if settled >= count || sys::now() > end {
                break;
            }
            while opened < count && opened < settled + BURST {
                self.open(opened);
                opened += 1;
            }
            self.events(10);
        }
        println!("READY {} {}", self.tally.all, self.tally.errors);
        io::stdout().flush()?;
        let stdin = io::stdin();
        self.epoll.add(&stdin, sys::EPOLLIN, STDIN)?;
        while !self.events(100) {}
        let before = self.tally.all;
        for index in 0..count {
            if let Some(conn) = &mut self.conns[index] {
                conn.got = 0;
                // A connection that is gone shows by its missing answer.
                let _gone = sys::send(&conn.fd, &[b'P'; REQUEST]);
            }
        }
        self.work_until(sys::now() + PATIENCE / 4, |load| {
            load.tally.all - before >= before
        });
        println!(
            "{{\"conns\":{count},\"held\":{before},\"errors\":{},\"alive\":{}}}",
            self.tally.errors,
            self.tally.all - before
        );
        Ok(())
    }

    fn work_until(&mut self, end: u64, enough: impl Fn(&Self) -> bool) {
        while sys::now() < end && !enough(self) {
            self.events(5);
        }
    }

    /// One round of events; true when standard input has something to say.
    fn events(&mut self, milliseconds: i32) -> bool {
        let mut ready = Vec::with_capacity(256);
        self.epoll.wait(milliseconds, &mut ready);
        let mut told = false;
        for (token, events) in ready {
            if token == STDIN {
                told = true;
            } else {
                self.serve(token as usize, events);
            }
        }
        told
    }

    fn open(&mut self, index: usize) {
        let to = match self.args.via {
            Via::Direct => self.args.target,
            Via::Plain(at) | Via::Socks5(at) | Via::Http(at) => at,
        };
        let since = sys::now();
        let dialled = sys::dial(to).and_then(|fd| {
            self.epoll
                .add(&fd, sys::EPOLLOUT, index as u64)
                .map(|()| fd)
        });
        match dialled {
            Ok(fd) => {
                let stage = Stage::Dialling;
                self.conns[index] = Some(Conn {
                    fd,
                    stage,
                    since,
                    got: 0,
                    offset: 0,
                });
            }
            Err(_) => self.tally.errors += 1,
        }
    }

    fn serve(&mut self, index: usize, events: i32) {
        let Some(mut conn) = self.conns[index].take() else {
            return;
        };
        let kept = match self.step(&mut conn, events, index as u64) {
            Err(error) if sys::later(&error) => true,
            Ok(kept) => kept,
            Err(_) => {
                self.tally.errors += 1;
                false
            }
        };
        if kept {
            self.conns[index] = Some(conn);
            return;
        }
        drop(conn);
        if self.work == Work::Short && self.tally.errors <= HOPELESS {
            self.open(index);
        }
    }

    /// False when the connection has done its part.
    fn step(&mut self, conn: &mut Conn, events: i32, token: u64) -> io::Result<bool> {
        match &mut conn.stage {
            Stage::Dialling => {
                sys::dial_result(&conn.fd)?;
                let mut handshake = Handshake::new();
                let step = handshake.take(b"", self.args.via, self.args.target);
                conn.stage = Stage::Asking(handshake);
                if !matches!(step, Step::Open) {
                    self.epoll.change(&conn.fd, sys::EPOLLIN, token)?;
                }
                self.follow(conn, step, token)
            }
            Stage::Asking(handshake) => {
                let size = sys::receive(&conn.fd, &mut self.buffer)?;
                if size == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let step = handshake.take(&self.buffer[..size], self.args.via, self.args.target);
                self.follow(conn, step, token)
            }
            Stage::Open => self.work(conn, events),
        }
    }

    fn follow(&mut self, conn: &mut Conn, step: Step, token: u64) -> io::Result<bool> {
        match step {
            Step::More => Ok(true),
            Step::Send(words) => whole(sys::send(&conn.fd, &words)?, words.len()),
            Step::Failed => Err(io::ErrorKind::ConnectionRefused.into()),
            Step::Open => self.begin(conn, token),
        }
    }

    fn begin(&mut self, conn: &mut Conn, token: u64) -> io::Result<bool> {
        conn.stage = Stage::Open;
        self.tally.established += 1;
        let both = sys::EPOLLIN | sys::EPOLLOUT;
        self.epoll.change(
            &conn.fd,
            if self.work == Work::Up {
                both
            } else {
                sys::EPOLLIN
            },
            token,
        )?;
        let first = match self.work {
            Work::Down => b"D".to_vec(),
            Work::Up => named(b'U', self.run),
            Work::Short => vec![b'R'; REQUEST],
            Work::PingPong => vec![b'P'; self.args.size],
            Work::Idle => vec![b'P'; REQUEST],
        };
        match self.work {
            Work::Down | Work::Up => sys::reset_on_close(&conn.fd),
            Work::PingPong => conn.since = sys::now(),
            Work::Short | Work::Idle => {}
        }
        whole(sys::send(&conn.fd, &first)?, first.len())
    }

    fn work(&mut self, conn: &mut Conn, events: i32) -> io::Result<bool> {
        match self.work {
            Work::Down => {
                let size = self.payload.pull(&conn.fd)?;
                self.tally.received += size as u64;
                conn.since = sys::now();
                if size == 0 {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    Ok(true)
                }
            }
            Work::Up => {
                if events & (sys::EPOLLIN | sys::EPOLLHUP | sys::EPOLLERR) != 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.payload.push(&conn.fd, &mut conn.offset)?;
                Ok(true)
            }
            Work::Short | Work::PingPong | Work::Idle => {
                let size = sys::receive(&conn.fd, &mut self.buffer)?;
                if size == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                conn.got += size;
                let wanted = if self.work == Work::PingPong {
                    self.args.size
                } else {
                    REQUEST
                };
                if conn.got < wanted {
                    return Ok(true);
                }
                self.answered(conn, wanted)
            }
        }
    }

    fn answered(&mut self, conn: &mut Conn, size: usize) -> io::Result<bool> {
        let now = sys::now();
        self.samples.add(now - conn.since);
        self.tally.done += 1;
        self.tally.all += 1;
        conn.got = 0;
        if self.work == Work::PingPong {
            conn.since = now;
            self.buffer[..size].fill(b'P');
            return whole(sys::send(&conn.fd, &self.buffer[..size])?, size);
        }
        Ok(self.work == Work::Idle)
    }
}

/// Small messages leave whole or something is wrong.
fn whole(sent: usize, size: usize) -> io::Result<bool> {
    if sent == size {
        Ok(true)
    } else {
        Err(io::ErrorKind::WriteZero.into())
    }
}

fn named(what: u8, run: u64) -> Vec<u8> {
    let mut words = vec![what];
    words.extend_from_slice(&run.to_ne_bytes());
    words
}

/// Asks the target, beside the program under test, what this run's uploads have brought.
struct Counter {
    stream: TcpStream,
    run: u64,
}

impl Counter {
    fn new(target: SocketAddrV4, run: u64) -> io::Result<Self> {
        let stream = TcpStream::connect(target)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self { stream, run })
    }

    fn read(&mut self) -> io::Result<(u64, u64)> {
        self.stream.write_all(&named(b'C', self.run))?;
        let (mut bytes, mut time) = ([0; 8], [0; 8]);
        self.stream.read_exact(&mut bytes)?;
        self.stream.read_exact(&mut time)?;
        Ok((u64::from_ne_bytes(bytes), u64::from_ne_bytes(time)))
    }
}
