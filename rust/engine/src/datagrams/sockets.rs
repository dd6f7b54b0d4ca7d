//! A direct way: packets leave by UDP sockets.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::task::AbortHandle;

use super::address::Place;
use super::far::{Far, FarHandle};
use super::ground::{Back, Ground, Lead};
use crate::dial::DialOptions;
use crate::udp::{Exit, Line};

impl Far {
    /// A direct way: packets leave by UDP sockets made with `options`. It carries addresses only.
    pub fn direct(options: DialOptions) -> FarHandle {
        Self::on(Arc::new(Sockets(options)))
    }
}

struct Sockets(DialOptions);

impl Ground for Sockets {
    fn lead(&self, first: &Place) -> Option<Lead> {
        match first {
            Place::Address(to) => Some(Lead {
                to: *to,
                frame: None,
            }),
            Place::Name(..) => None,
        }
    }

    fn open(
        &self,
        lead: SocketAddr,
        _first: &Place,
        back: Box<dyn Back>,
    ) -> io::Result<(Arc<dyn Exit>, AbortHandle)> {
        let line = Arc::new(Line::new(self.socket(lead)?)?);
        let reader = Reader {
            line: Arc::clone(&line),
            back,
        };
        Ok((line, tokio::spawn(reader).abort_handle()))
    }
}

impl Sockets {
    /// A socket of the family that `to` needs.
    fn socket(&self, to: SocketAddr) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP))?;
        self.0.mark_socket(&socket)?;
        if to.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if let Some(bind) = self.0.bind {
            if bind.is_ipv4() != to.is_ipv4() {
                return Err(io::ErrorKind::AddrNotAvailable.into());
            }
            socket.bind(&SocketAddr::new(bind, 0).into())?;
        }
        Ok(socket)
    }
}

/// The task of one socket.
struct Reader {
    line: Arc<Line>,
    back: Box<dyn Back>,
}

impl Future for Reader {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { line, back } = &*self;
        line.poll_rounds(cx, |boxes| {
            let count = line.receive(&mut boxes.inbox)?;
            let alive = back.take(boxes, &mut |sink, messages| {
                for message in (0..count).filter_map(|at| messages.message(at)) {
                    sink.message(&message);
                }
            });
            if alive {
                Ok(())
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        })
    }
}
