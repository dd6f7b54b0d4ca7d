//! A connection, as whatever stands above it sees it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::shared::Shared;
use crate::io::{Io, Layer, Refusal};
use crate::packets::Pair;
use crate::stream::Stream;

/// One of the connections of a stack; it lives on the stack's loop.
pub struct Part {
    id: usize,
    pair: Pair,
    shared: Arc<Shared>,
}

impl Part {
    pub fn stream(id: usize, pair: Pair, shared: Arc<Shared>, home: usize) -> Stream {
        let remote = Some(pair.remote);
        Stream::new(Io::Layer(Box::new(Self { id, pair, shared })), home, remote)
    }
}

impl Layer for Part {
    fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        self.shared.poll_read(self.id, cx, into)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        self.shared.poll_write(self.id, cx, data)
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.end(self.id);
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        self.shared.abort(self.id);
    }

    fn refuse(&mut self, why: Refusal) {
        self.shared.refuse(self.id, why);
    }

    fn is_pinned(&self) -> bool {
        true
    }

    fn local(&self) -> Option<SocketAddr> {
        Some(self.pair.local)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.shared.forget(self.id);
    }
}
