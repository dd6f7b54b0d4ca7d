//! The floor: a relay to a fixed target that does nothing but splice. No protocol, no rules, no
//! limits, one thread, edge-triggered; a pipe is lent to a direction only while it holds bytes.

use std::io;
use std::net::SocketAddrV4;
use std::os::fd::OwnedFd;

use crate::sys::{self, Epoll};

const LISTENER: u64 = u64::MAX;
const PIPE: usize = 1 << 20;
/// How often one direction may move before the others have their turn.
const TURNS: usize = 16;

type Pipe = (OwnedFd, OwnedFd);

#[derive(Default)]
struct Direction {
    pipe: Option<Pipe>,
    held: usize,
    ended: bool,
    done: bool,
}

struct Pair {
    /// The client's end and the target's.
    ends: [OwnedFd; 2],
    /// From the client, and to it.
    ways: [Direction; 2],
    dialled: bool,
}

/// Serves until it is ended from outside.
pub fn serve(at: SocketAddrV4, target: SocketAddrV4) -> io::Result<()> {
    let listener = sys::listen(at)?;
    let mut epoll = Epoll::new()?;
    epoll.add(&listener, sys::EPOLLIN, LISTENER)?;
    let mut relay = Relay {
        pairs: Vec::new(),
        free: Vec::new(),
        pipes: Vec::new(),
    };
    let (mut ready, mut again): (Vec<(u64, i32)>, Vec<usize>) = (Vec::new(), Vec::new());
    loop {
        epoll.wait(if again.is_empty() { -1 } else { 0 }, &mut ready);
        let mut turn: Vec<usize> = std::mem::take(&mut again);
        for &(token, _) in &ready {
            if token == LISTENER {
                relay.accept(&listener, target, &epoll)?;
            } else {
                turn.push(token as usize);
            }
        }
        turn.sort_unstable();
        turn.dedup();
        for index in turn {
            if relay.turn(index)? {
                again.push(index);
            }
        }
    }
}

struct Relay {
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    pipes: Vec<Pipe>,
}

impl Relay {
    fn accept(
        &mut self,
        listener: &OwnedFd,
        target: SocketAddrV4,
        epoll: &Epoll,
    ) -> io::Result<()> {
        for _ in 0..64 {
            let Ok(near) = sys::accept(listener) else {
                break;
            };
            let Ok(far) = sys::dial(target) else { continue };
            let index = self.free.pop().unwrap_or(self.pairs.len());
            for end in [&near, &far] {
                epoll.add(
                    end,
                    sys::EPOLLIN | sys::EPOLLOUT | sys::EPOLLRDHUP | sys::EPOLLET,
                    index as u64,
                )?;
            }
            let pair = Some(Pair {
                ends: [near, far],
                ways: Default::default(),
                dialled: false,
            });
            if index == self.pairs.len() {
                self.pairs.push(pair);
            } else {
                self.pairs[index] = pair;
            }
        }
        Ok(())
    }

    /// Moves what can be moved; true when there may be more.
    fn turn(&mut self, index: usize) -> io::Result<bool> {
        let Some(mut pair) = self.pairs[index].take() else {
            return Ok(false);
        };
        match self.pump(&mut pair) {
            Ok(more) if !pair.ways.iter().all(|way| way.done) => {
                self.pairs[index] = Some(pair);
                Ok(more)
            }
            Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                Err(error)
            }
            _ => {
                self.free.push(index);
                Ok(false)
            }
        }
    }

    fn pump(&mut self, pair: &mut Pair) -> io::Result<bool> {
        if !pair.dialled {
            sys::dial_result(&pair.ends[1])?;
        }
        let mut more = false;
        for side in 0..2 {
            let (from, to) = (&pair.ends[side], &pair.ends[1 - side]);
            let way = &mut pair.ways[side];
            if way.done {
                continue;
            }
            let pipe = match way.pipe.take().or_else(|| self.pipes.pop()) {
                Some(pipe) => pipe,
                None => sys::pipe(PIPE)?,
            };
            let stopped = move_bytes(way, from, to, &pipe);
            if way.held == 0 {
                self.pipes.push(pipe);
            } else {
                way.pipe = Some(pipe);
            }
            more |= !stopped?;
            pair.dialled = true;
        }
        Ok(more)
    }
}

/// True when it can go no further now.
fn move_bytes(way: &mut Direction, from: &OwnedFd, to: &OwnedFd, pipe: &Pipe) -> io::Result<bool> {
    for _ in 0..TURNS {
        if way.held == 0 {
            if way.ended {
                sys::end(to);
                way.done = true;
                return Ok(true);
            }
            match sys::splice(from, &pipe.1, PIPE) {
                Ok(0) => way.ended = true,
                Ok(size) => way.held = size,
                Err(error) if sys::later(&error) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
        while way.held > 0 {
            match sys::splice(&pipe.0, to, way.held) {
                Ok(size) => way.held -= size,
                Err(error) if sys::later(&error) => return Ok(true),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(false)
}
