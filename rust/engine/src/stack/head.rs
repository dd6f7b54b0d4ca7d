//! What a segment says, and numbers that turn around.

use crate::packets::{Flags, Options, Segment};

/// No more data comes.
pub const FIN: Flags = Flags::FIN;
/// The first one.
pub const SYN: Flags = Flags::SYN;
/// There is no such connection.
pub const RST: Flags = Flags::RST;
/// Hand it to the program now.
pub const PSH: Flags = Flags::PSH;
/// The acknowledgement counts.
pub const ACK: Flags = Flags::ACK;

/// A segment without its ports and its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The number of its first byte.
    pub sequence: u32,
    /// The number of the byte that its sender expects next.
    pub acknowledged: u32,
    /// Its control bits.
    pub flags: Flags,
    /// How much more its sender takes, unscaled.
    pub window: u16,
    /// Of a `SYN`.
    pub options: Options,
}

impl Head {
    /// Of a segment that came.
    pub fn of(segment: &Segment) -> Self {
        Self {
            sequence: segment.seq,
            acknowledged: segment.ack,
            flags: segment.flags,
            window: segment.window,
            options: segment.options,
        }
    }

    /// Whether it has this flag.
    pub fn has(&self, flag: Flags) -> bool {
        self.flags.has(flag)
    }
}

/// Whether a number comes before another.
pub fn before(one: u32, other: u32) -> bool {
    (one.wrapping_sub(other) as i32) < 0
}

/// How far it is from `from` on to `to`; 0 if that lies before it.
pub fn ahead(from: u32, to: u32) -> u32 {
    if before(to, from) {
        0
    } else {
        to.wrapping_sub(from)
    }
}
