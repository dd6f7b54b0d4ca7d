//! One stream that carries many: multiplexing, HTTP/2, tunnels, the userspace stack.
//!
//! ```text
//! Part --poll_write--> Shared.out --+                    +--> Shared.parts[id] --poll_read--> Part
//!                                   +--> Drive <--> io --+
//! Part --poll_write--> Shared.out --+                    +--> Shared.parts[id] --poll_read--> Part
//! ```
//!
//! A `Protocol` is pure: it turns frames into bytes and back. `Drive` owns the stream below and lives
//! on its loop; so do the parts, which are pinned there. A part may send what the other side has
//! credited it with, and receive what it has credited: a stalled one is neither buffered without
//! bound, nor stops the others.
//!
//! Read in this order: `protocol`, `shared`, `part`, `drive`, then what is spoken: `yamux`.

mod drive;
mod part;
mod protocol;
mod shared;
mod yamux;

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

pub use self::drive::Drive;
use self::part::Part;
pub use self::protocol::{Event, Frame, Limits, Protocol};
use self::shared::Shared;
pub use self::yamux::Yamux;
use crate::failure::Outcome;
use crate::stream::Stream;

/// A session, in the hands of whoever opens and accepts its streams. Dropped, it lets the streams that
/// there are come to their end, and then the session.
pub struct Session {
    shared: Arc<Shared>,
    home: usize,
    remote: Option<SocketAddr>,
}

impl Session {
    /// A session over `stream`, which is consumed, and the work that must run on the loop `home`.
    pub fn over(stream: Stream, protocol: Box<dyn Protocol>) -> (Self, Drive) {
        let shared = Arc::new(Shared::new(protocol));
        let (home, remote) = (stream.home, stream.remote);
        let session = Self {
            shared: Arc::clone(&shared),
            home,
            remote,
        };
        (session, Drive::new(stream, shared))
    }

    /// Open a stream. Fails once either side is leaving, and where there are too many.
    pub fn open(&self) -> Outcome<Stream> {
        self.shared.open().map(|id| self.stream(id))
    }

    /// The next stream that the other side opened. Fails with `Ended` when no more can come.
    pub fn poll_accept(&self, cx: &Context<'_>) -> Poll<Outcome<Stream>> {
        self.shared.poll_accept(cx).map_ok(|id| self.stream(id))
    }

    fn stream(&self, id: u32) -> Stream {
        let part = Part::new(id, Arc::clone(&self.shared));
        part.into_stream(self.home, self.remote)
    }

    /// Open and accept no more; the streams that there are go on.
    pub fn leave(&self) {
        self.shared.leave();
    }

    /// End it and all its streams at once.
    pub fn close(&self) {
        self.shared.fail("the session was closed");
    }

    /// Whether a stream can be opened now.
    pub fn is_open(&self) -> bool {
        self.shared.is_open()
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.shared.count()
    }

    /// Bytes that wait in it, both ways: never more than the windows and the queue allow.
    pub fn waiting(&self) -> usize {
        self.shared.waiting()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.shared.leave();
    }
}
