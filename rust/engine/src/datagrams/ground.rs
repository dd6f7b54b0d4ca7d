//! What all layers of a way stand on: packets leave by it in the end, and answers come in by it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::task::AbortHandle;

use super::address::{Place, Spot};
use crate::udp::{Boxes, Exit, Message, Messages};

/// The far end of a session's packets. It serves one session.
pub trait Ground: Send + Sync {
    /// How packets leave whose first station is this one. None when it cannot carry them.
    fn lead(&self, first: &Place) -> Option<Lead>;

    /// Open what packets with this lead leave by, and start what reads the answers. Called on the
    /// thread of the session, once for each address family; the reader ends by its handle.
    fn open(
        &self,
        lead: SocketAddr,
        first: &Place,
        back: Box<dyn Back>,
    ) -> io::Result<(Arc<dyn Exit>, AbortHandle)>;

    /// Give up what is not opened yet.
    fn close(&self) {}
}

/// How packets leave a ground.
pub struct Lead {
    /// The address that a socket sends them to. Unspecified where there is no socket.
    pub to: SocketAddr,
    /// What goes around each, if anything does.
    pub frame: Option<Box<dyn Frame>>,
}

/// What a ground puts around each packet.
pub trait Frame: Send + Sync {
    /// Append what goes before it.
    fn begin(&self, arena: &mut Vec<u8>);

    /// It is there: `frame` is what `begin` appended, and the packet. False when it is too long.
    fn finish(&self, frame: &mut [u8]) -> bool;
}

/// The session that answers go back to.
pub trait Back: Send {
    /// The reactor of the session.
    fn home(&self) -> usize;

    /// Have what came into the inbox taken by the session. False when that is gone.
    fn take(&self, boxes: &mut Boxes, work: &mut Work<'_>) -> bool;

    /// The ground is of no use any more, and so the way is none.
    fn end(&self, kind: io::ErrorKind);
}

/// What gives packets of an inbox to a session.
pub type Work<'a> = dyn FnMut(&mut dyn Sink, &Messages<'_>) + 'a;

/// Takes the packets of one batch.
pub trait Sink {
    /// The bytes that came.
    fn data(&self) -> &[u8];

    /// The packets of a message are of its sender.
    fn message(&mut self, message: &Message);

    /// So many bytes there are a packet of this sender.
    fn packet(&mut self, from: Spot<'_>, at: usize, len: usize);

    /// A packet that nobody can have sent.
    fn malformed(&mut self);
}
