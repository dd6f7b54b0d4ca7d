//! SOCKS5's packets: what a client of ours sends, and what a relay takes.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use futures_util::future::poll_fn;

use super::address::{self, Place, Scratch, Spot};
use super::codec::{Codec, Form};
use super::far::{Far, FarHandle};
use super::hop::Hop;
use super::ids::Origin;
use super::tally::Bad;
use crate::failure::Failure;
use crate::reactor::Reactors;
use crate::relay::End;
use crate::stream::{Stream, Want};

/// Each packet has a header with its target (RFC 1928, section 7); replies carry their sender.
pub struct Socks5;

impl Codec for Socks5 {
    fn target<'a>(
        &'a self,
        _origin: Origin,
        body: &[u8],
        scratch: &'a mut Scratch,
    ) -> Option<(Spot<'a>, usize)> {
        address::decode(body, scratch)
    }

    fn form(&self, _origin: Origin, _expected: bool) -> Option<Form> {
        Some(Form::Prefix)
    }

    fn put_head(&self, _origin: Origin, sender: Spot<'_>, _payload: usize, into: &mut Vec<u8>) {
        address::encode(sender, into);
    }
}

impl Hop for Socks5 {
    fn put_head(&self, next: Spot<'_>, into: &mut Vec<u8>) {
        address::encode(next, into);
    }

    fn open<'a>(
        &self,
        left: &mut [u8],
        scratch: &'a mut Scratch,
    ) -> Result<(Spot<'a>, Range<usize>), Bad> {
        let (sender, head) = address::decode(left, scratch).ok_or(Bad::Malformed)?;
        Ok((sender, head..left.len()))
    }
}

impl Far {
    /// A way through `inner` to a SOCKS5 relay, which carries names too. It lives as long as `control`
    /// (RFC 1928, section 6): when that ends, the flows of this way and of all built on it end with
    /// `End::Far`. `inner` must not be given to a session itself.
    pub fn wrap_socks5(
        inner: &FarHandle,
        relay: Place,
        control: Stream,
        reactors: &Reactors,
    ) -> FarHandle {
        let far = Self::over(inner, relay, Arc::new(Socks5));
        match reactors.home(control.home) {
            Ok(home) => {
                let watcher = home.spawn(watch(control, Arc::downgrade(&far)));
                far.keep(watcher.abort_handle());
            }
            Err(_) => far.kill(End::Closed),
        }
        far
    }
}

/// Hold the control stream; what comes on it means nothing, its end means all.
async fn watch(mut control: Stream, far: Weak<Far>) {
    let end = poll_fn(|cx| poll_end(&mut control, cx)).await;
    drop(control);
    if let Some(far) = far.upgrade() {
        far.kill(end);
    }
}

fn poll_end(control: &mut Stream, cx: &mut Context<'_>) -> Poll<End> {
    loop {
        let kind = match ready!(control.poll_want(cx, &Want::Some(4096))) {
            Ok(_) => continue,
            Err(Failure::Os(error)) => error.kind(),
            Err(_) => io::ErrorKind::UnexpectedEof,
        };
        return Poll::Ready(End::Far(kind));
    }
}
