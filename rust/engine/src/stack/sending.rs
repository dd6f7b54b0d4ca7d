//! What a connection sends: pure, and nothing of it waits.

use std::ops::Range;

use super::conn::{Conn, Fin, JOINED, SHIFT, Stage, after};
use super::wire::{Outgoing, Wire};
use crate::packets::{Flags, IP_MOST, Options, protocol, put_ip, put_tcp};

impl Conn {
    pub(super) fn say_syn(&mut self, wire: &dyn Wire) {
        let options = Options {
            mss: Some(self.own_mss),
            shift: self.scaled.then_some(SHIFT),
        };
        // The window of a SYN is never shifted.
        self.edge = self.rcv.wrapping_add(0xFFFF);
        let flags = Flags::SYN.and(Flags::ACK);
        self.write(wire, self.una, flags, 0xFFFF, options, 0..0);
    }

    /// What is answered whatever it finds: whether the other side lives, and how far its window is.
    pub(super) fn ask(&mut self, wire: &dyn Wire) {
        let window = self.said();
        self.write(
            wire,
            self.una.wrapping_sub(1),
            Flags::ACK,
            window,
            Options::default(),
            0..0,
        );
    }

    /// Acknowledge what came.
    pub(super) fn acknowledge(&mut self, wire: &dyn Wire, room: u32) {
        if self.stage == Stage::Open {
            let window = self.opened(room);
            self.write(wire, self.nxt, Flags::ACK, window, Options::default(), 0..0);
        }
    }

    /// Send what the window allows.
    pub(super) fn push(&mut self, wire: &dyn Wire, room: u32) {
        if self.stage != Stage::Open || self.reset {
            return;
        }
        loop {
            if matches!(self.fin, Fin::Sent | Fin::Acknowledged) {
                return;
            }
            let sent = self.nxt.wrapping_sub(self.una) as usize;
            let unsent = self.out.len() - sent;
            let open = (self.window as usize).saturating_sub(sent);
            let n = unsent.min(open).min(JOINED);
            let last = n == unsent;
            if n == 0 && !(last && self.fin == Fin::Queued) {
                return;
            }
            // No small segments into a window that is nearly full.
            if !last && n < self.mss && sent > 0 && n < JOINED {
                return;
            }
            let mut flags = Flags::ACK;
            if last {
                flags = flags.and(Flags::PSH);
            }
            let ends = last && self.fin == Fin::Queued;
            if ends {
                flags = flags.and(Flags::FIN);
                self.fin = Fin::Sent;
            }
            let window = self.opened(room);
            self.write(
                wire,
                self.nxt,
                flags,
                window,
                Options::default(),
                sent..sent + n,
            );
            self.nxt = self.nxt.wrapping_add(n as u32 + u32::from(ends));
            if after(self.nxt, self.max) {
                self.max = self.nxt;
            }
        }
    }

    /// Send the first of what is not acknowledged once more.
    pub(super) fn again(&mut self, wire: &dyn Wire) {
        let flight = self.max.wrapping_sub(self.una) as usize;
        let n = flight.min(self.out.len()).min(JOINED);
        let mut flags = Flags::ACK.and(Flags::PSH);
        if self.fin == Fin::Sent && n == self.out.len() {
            flags = flags.and(Flags::FIN);
        }
        let window = self.said();
        self.write(wire, self.una, flags, window, Options::default(), 0..n);
    }

    pub(super) fn say_reset(&mut self, wire: &dyn Wire) {
        let flags = Flags::RST.and(Flags::ACK);
        self.write(wire, self.nxt, flags, 0, Options::default(), 0..0);
    }

    /// How much may still come.
    pub(super) fn free(&self, room: u32) -> u32 {
        room.saturating_sub(self.waiting)
    }

    /// The window to be said, opened as far as there is room. It never shrinks.
    pub(super) fn opened(&mut self, room: u32) -> u16 {
        let free = self.free(room);
        let free = if self.scaled {
            free >> SHIFT << SHIFT
        } else {
            free.min(0xFFFF)
        };
        let edge = self.rcv.wrapping_add(free);
        if after(edge, self.edge) {
            self.edge = edge;
        }
        self.owes = false;
        self.said()
    }

    fn said(&self) -> u16 {
        let open = self.edge.wrapping_sub(self.rcv);
        let shift = if self.scaled { SHIFT } else { 0 };
        (open >> shift).min(0xFFFF) as u16
    }

    fn write(
        &self,
        wire: &dyn Wire,
        seq: u32,
        flags: Flags,
        window: u16,
        options: Options,
        range: Range<usize>,
    ) {
        let mut header = Vec::with_capacity(28);
        let (pair, ack) = (&self.pair, self.rcv);
        put_tcp(
            pair,
            (seq, ack),
            flags,
            window,
            options,
            range.len(),
            &mut header,
        );
        let mut head = Vec::with_capacity(IP_MOST + header.len());
        let whole = header.len() + range.len();
        put_ip(
            pair.local.ip(),
            pair.remote.ip(),
            protocol::TCP,
            whole,
            &mut head,
        );
        let transport = head.len();
        head.extend_from_slice(&header);
        let (one, other) = self.out.as_slices();
        let split = one.len();
        let parts = [
            one.get(range.start.min(split)..range.end.min(split))
                .unwrap_or_default(),
            other
                .get(range.start.saturating_sub(split)..range.end.saturating_sub(split))
                .unwrap_or_default(),
        ];
        let _ = wire.send(&Outgoing {
            head: &head,
            transport,
            checksum: 16,
            parts: &parts,
            segment: if range.len() > self.mss { self.mss } else { 0 },
        });
    }
}
