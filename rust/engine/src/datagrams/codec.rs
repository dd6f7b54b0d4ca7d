//! How the packets of a near end say whose they are and where they want to go, and how the source is
//! shown what comes back. A near end is one half of what a listener does, a codec the other: any codec
//! of whole packets works at any near end of whole packets.

use std::net::SocketAddr;
use std::ops::Range;

use super::address::{Place, Scratch, Spot};
use super::ids::Origin;
use super::tally::Bad;

/// What a packet of a source is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    /// Whose session it belongs to.
    pub origin: Origin,
    /// Where its header and payload are.
    pub body: Range<usize>,
    /// Whether it proves its session and is the newest of it, so that answers may go where it came from.
    pub newest: bool,
}

/// How a source is shown the packets of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The same head before each.
    Prefix,
    /// Each with a head of its own.
    Head,
    /// A head that is the same, and all of it sealed.
    Sealed,
}

/// The packets of a near end. One works for a whole batch at a time.
pub trait Codec: Send {
    /// Whether `open` does anything; of others a session is its source's address, and a packet's beginning
    /// says all.
    fn opens(&self) -> bool {
        false
    }

    /// Open a packet in place.
    fn open(&mut self, from: SocketAddr, packet: &mut [u8]) -> Result<Opened, Bad> {
        Ok(Opened {
            origin: Origin::Source(from),
            body: 0..packet.len(),
            newest: false,
        })
    }

    /// Where an opened packet wants to go, and the length of the header that says so: packets of the
    /// same origin that begin with the same header go to the same target. None when it is malformed.
    fn target<'a>(
        &'a self,
        origin: Origin,
        body: &[u8],
        scratch: &'a mut Scratch,
    ) -> Option<(Spot<'a>, usize)>;

    /// How a sender's packets are shown. None when the source does not see them; `expected` says
    /// whether it wrote to that sender.
    fn form(&self, origin: Origin, expected: bool) -> Option<Form>;

    /// Whether answers leave with the address that the source wrote to, and those of others with their
    /// sender's, where a head would say it.
    fn masks(&self) -> bool {
        false
    }

    /// Append the head of a payload of so many bytes.
    fn put_head(&self, origin: Origin, sender: Spot<'_>, payload: usize, into: &mut Vec<u8>);

    /// Append the sealed packet of a head that is in `arena`, and a payload. False when it cannot be.
    /// For `Form::Sealed` alone.
    fn seal(
        &mut self,
        _origin: Origin,
        _port: u16,
        _head: Range<usize>,
        _payload: &[u8],
        _arena: &mut Vec<u8>,
    ) -> bool {
        false
    }
}

/// Bare packets, all for this target; only its replies come back.
pub struct Fixed(pub Place);

impl Codec for Fixed {
    fn target<'a>(
        &'a self,
        _origin: Origin,
        _body: &[u8],
        _scratch: &'a mut Scratch,
    ) -> Option<(Spot<'a>, usize)> {
        Some((self.0.spot(), 0))
    }

    fn form(&self, _origin: Origin, expected: bool) -> Option<Form> {
        expected.then_some(Form::Prefix)
    }

    fn put_head(&self, _origin: Origin, _sender: Spot<'_>, _payload: usize, _into: &mut Vec<u8>) {}
}
