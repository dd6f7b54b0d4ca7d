//! The UDP load: a closed loop of a fixed number of packets in flight, each flow its own session.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::OwnedFd;
use std::time::Duration;

use crate::args::{Args, Via};
use crate::handshake::{socks5_reply_size, socks5_request};
use crate::packets::{BATCH, Packets};
use crate::samples::Samples;
use crate::sys::{self, Epoll};

/// After so long without an answer a packet counts as lost.
const LOST: u64 = 50_000_000;
/// What identifies a packet: its number in the flow and when it left.
const MARK: usize = 16;

/// One place in the window.
#[derive(Clone, Copy, Default)]
struct Place {
    number: u64,
    left: u64,
    busy: bool,
}

struct Flow {
    fd: OwnedFd,
    places: Vec<Place>,
    next: u64,
    /// Keeps the SOCKS5 association alive.
    _control: Option<TcpStream>,
}

#[derive(Default)]
struct Tally {
    done: u64,
    lost: u64,
    all: u64,
}

/// Runs the load and prints what came of it.
pub fn run(args: &Args) -> io::Result<()> {
    let header = match args.via {
        // The header of RFC 1928 section 7: the request's address behind three zero bytes.
        Via::Socks5(_) => [&[0; 3], &socks5_request(0, args.target)[3..]].concat(),
        _ => Vec::new(),
    };
    let mut flows = (0..args.conns)
        .map(|_| Flow::open(args))
        .collect::<io::Result<Vec<_>>>()?;
    let mut epoll = Epoll::new()?;
    for (index, flow) in flows.iter().enumerate() {
        epoll.add(&flow.fd, sys::EPOLLIN, index as u64)?;
    }
    let (mut packets, mut samples, mut tally) =
        (Packets::new(), Samples::default(), Tally::default());
    let (mut ready, begin) = (Vec::new(), sys::now());
    let (mut first, mut now) = (None, begin);
    while now < begin + args.secs {
        if first.is_none() && now >= begin + args.warm {
            first = Some(now);
            samples.clear();
            (tally.done, tally.lost) = (0, 0);
        }
        for flow in &mut flows {
            flow.send(&mut packets, &header, args.size, now);
        }
        epoll.wait(5, &mut ready);
        for &(index, _) in &ready {
            flows[index as usize].receive(
                &mut packets,
                header.is_empty(),
                &mut samples,
                &mut tally,
            );
        }
        now = sys::now();
        tally.lost += flows.iter_mut().map(|flow| flow.give_up(now)).sum::<u64>();
    }
    let seconds = (now - first.unwrap_or(begin)) as f64 / 1e9;
    let (user, system) = sys::cpu_used();
    let share = 100.0 * tally.lost as f64 / (tally.done + tally.lost).max(1) as f64;
    println!(
        "{{\"secs\":{seconds:.4},\"conns\":{},\"ops\":{},\"done\":{},\"per_s\":{:.1},\"lost\":{},\"loss_pct\":{share:.4},\"gen_user_s\":{user:.3},\"gen_sys_s\":{system:.3},{}}}",
        args.conns,
        tally.all,
        tally.done,
        tally.done as f64 / seconds,
        tally.lost,
        samples.json()
    );
    Ok(())
}

impl Flow {
    fn open(args: &Args) -> io::Result<Self> {
        let (to, control) = match args.via {
            Via::Socks5(proxy) => associate(proxy).map(|(to, control)| (to, Some(control)))?,
            Via::Direct => (args.target, None),
            Via::Plain(at) => (at, None),
            Via::Http(_) => {
                return Err(io::Error::new(
                    io::ErrorKind::Unsupported,
                    "no UDP over HTTP",
                ));
            }
        };
        let places = vec![Place::default(); args.window];
        Ok(Self {
            fd: sys::udp_connected(to)?,
            places,
            next: 0,
            _control: control,
        })
    }

    /// Fills the free places, once a quarter of the window is free: this spares the generator.
    fn send(&mut self, packets: &mut Packets, header: &[u8], size: usize, now: u64) {
        let free = self.places.iter().filter(|place| !place.busy).count();
        if free == 0 || (free < self.places.len() / 4) {
            return;
        }
        let mut filled = [0; BATCH];
        let mut count = 0;
        for index in (0..self.places.len()).filter(|&index| !self.places[index].busy) {
            let packet = packets.put(count, header.len() + size);
            packet[..header.len()].copy_from_slice(header);
            // The place is the number's remainder, so an answer finds it again.
            let number = self.next * self.places.len() as u64 + index as u64;
            packet[header.len()..][..8].copy_from_slice(&number.to_ne_bytes());
            packet[header.len() + 8..][..8].copy_from_slice(&now.to_ne_bytes());
            (filled[count], count) = (index, count + 1);
        }
        let sent = packets.send(&self.fd, count, false).unwrap_or(0);
        for &index in &filled[..sent] {
            let number = self.next * self.places.len() as u64 + index as u64;
            self.places[index] = Place {
                number,
                left: now,
                busy: true,
            };
        }
        self.next += 1;
    }

    fn receive(
        &mut self,
        packets: &mut Packets,
        plain: bool,
        samples: &mut Samples,
        tally: &mut Tally,
    ) {
        let Ok(count) = packets.receive(&self.fd, false) else {
            return;
        };
        let now = sys::now();
        for index in 0..count {
            let packet = packets.get(index);
            let start = if plain { 0 } else { socks5_reply_size(packet) };
            let Some(mark) = packet.get(start..start + MARK) else {
                continue;
            };
            let number = u64::from_ne_bytes(mark[..8].try_into().unwrap_or_default());
            let left = u64::from_ne_bytes(mark[8..].try_into().unwrap_or_default());
            let place = (number % self.places.len() as u64) as usize;
            if self.places[place].busy && self.places[place].number == number {
                self.places[place].busy = false;
            } else {
                // It was given up, yet it came.
                tally.lost = tally.lost.saturating_sub(1);
            }
            samples.add(now.saturating_sub(left));
            tally.done += 1;
            tally.all += 1;
        }
    }

    fn give_up(&mut self, now: u64) -> u64 {
        let mut lost = 0;
        for place in self
            .places
            .iter_mut()
            .filter(|place| place.busy && now - place.left > LOST)
        {
            place.busy = false;
            lost += 1;
        }
        lost
    }
}

/// Asks a SOCKS5 proxy for an association (RFC 1928 section 6): where to send, and what holds it.
fn associate(proxy: SocketAddrV4) -> io::Result<(SocketAddrV4, TcpStream)> {
    let refused = |why: &str| {
        io::Error::new(
            io::ErrorKind::ConnectionRefused,
            format!("UDP ASSOCIATE: {why}"),
        )
    };
    let mut control = TcpStream::connect(proxy)?;
    control.set_read_timeout(Some(Duration::from_secs(3)))?;
    control.write_all(&[5, 1, 0])?;
    let mut method = [0; 2];
    control
        .read_exact(&mut method)
        .map_err(|_| refused("no answer"))?;
    control.write_all(&socks5_request(3, sys::ANYWHERE))?;
    let mut reply = vec![0; 5];
    control
        .read_exact(&mut reply)
        .map_err(|_| refused("no reply"))?;
    if reply[1] != 0 {
        return Err(refused(&format!("reply {}", reply[1])));
    }
    reply.resize(socks5_reply_size(&reply), 0);
    control
        .read_exact(&mut reply[5..])
        .map_err(|_| refused("short reply"))?;
    let (host, port) = reply[4..].split_at(reply.len() - 6);
    let port = u16::from_be_bytes([port[0], port[1]]);
    // A proxy that names no usable IPv4 address means its own.
    let host = match <[u8; 4]>::try_from(host) {
        Ok(octets) if octets != [0; 4] => Ipv4Addr::from(octets),
        _ => *proxy.ip(),
    };
    Ok((SocketAddrV4::new(host, port), control))
}
