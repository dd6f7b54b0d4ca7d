//! One connection's segments as packets.

use std::sync::Arc;

use super::head::{ACK, Head, RST, SYN};
use super::tcp::Say;
use super::wire::{Outgoing, Wire};
use crate::io::Refusal;
use crate::packets::{IP_MOST, Packet, Pair, Unreachable, protocol, put_ip, put_tcp, unreachable};

/// A TCP header, with the options of the first segment.
const LONGEST: usize = 28;

/// Where the checksum is in a TCP header.
const CHECKSUM: usize = 16;

/// The way back to one program.
pub struct Link {
    pub wire: Arc<dyn Wire>,
    /// `local` is whom the program calls.
    pub pair: Pair,
    /// The most payload that the program takes in one segment.
    pub mss: u16,
}

impl Say for Link {
    fn send(&self, head: Head, payload: &[u8]) {
        let segment = if payload.len() > usize::from(self.mss) {
            usize::from(self.mss)
        } else {
            0
        };
        let (bytes, transport) = written(&self.pair, &head, payload.len());
        // One that does not go is as good as lost.
        let _ = self.wire.send(&Outgoing {
            head: &bytes,
            transport,
            checksum: CHECKSUM,
            parts: &[payload],
            segment,
        });
    }
}

impl Link {
    /// Say no to a first segment with this number, in the name of whoever it was sent to.
    pub fn refuse(&self, sequence: u32, why: Refusal) {
        let why = match why {
            Refusal::Silent => return,
            Refusal::Reset => {
                let reset = Head {
                    acknowledged: sequence.wrapping_add(1),
                    flags: RST.and(ACK),
                    ..Head::default()
                };
                return self.send(reset, &[]);
            }
            Refusal::Network => Unreachable::Network,
            Refusal::Host => Unreachable::Host,
            Refusal::Prohibited => Unreachable::Prohibited,
        };
        let asked = Head {
            sequence,
            flags: SYN,
            ..Head::default()
        };
        let back = Pair {
            local: self.pair.remote,
            remote: self.pair.local,
        };
        let (asked, _) = written(&back, &asked, 0);
        let answer = Packet::parse(&asked)
            .ok()
            .and_then(|packet| unreachable(why, &packet, &asked));
        if let Some(answer) = answer {
            let _ = self.wire.send_whole(&answer);
        }
    }
}

/// The headers of a segment, and where its own begins.
fn written(pair: &Pair, head: &Head, payload: usize) -> (Vec<u8>, usize) {
    let mut bytes = Vec::with_capacity(IP_MOST + LONGEST);
    let (local, remote) = (pair.local.ip(), pair.remote.ip());
    let length = 20
        + if head.options.mss.is_some() { 4 } else { 0 }
        + if head.options.shift.is_some() { 4 } else { 0 };
    put_ip(local, remote, protocol::TCP, length + payload, &mut bytes);
    let transport = bytes.len();
    let numbers = (head.sequence, head.acknowledged);
    put_tcp(
        pair,
        numbers,
        head.flags,
        head.window,
        head.options,
        payload,
        &mut bytes,
    );
    (bytes, transport)
}
