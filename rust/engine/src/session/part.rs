//! A stream of a session, as whatever stands above it sees it.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::shared::Shared;
use crate::io::{Io, Layer};
use crate::stream::Stream;

/// One of the streams that a session carries; it lives on the session's loop.
pub struct Part {
    id: u32,
    shared: Arc<Shared>,
}

impl Part {
    pub fn new(id: u32, shared: Arc<Shared>) -> Self {
        Self { id, shared }
    }

    pub fn into_stream(self, home: usize, remote: Option<SocketAddr>) -> Stream {
        Stream::new(Io::Layer(Box::new(self)), home, remote)
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
        self.shared.forget(self.id);
    }

    fn is_pinned(&self) -> bool {
        true
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.shared.forget(self.id);
    }
}
