//! A chunked body: both ways of passing it on agree, and what is passed on can be read in one way only.
#![no_main]

use std::io;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use byway_engine::body::{BodyMove, Framing};
use byway_engine::io::{Io, Layer};
use byway_engine::stream::Stream;
use libfuzzer_sys::fuzz_target;

/// Bytes that are there at once, in pieces of a given size; what is written is kept.
struct Memory {
    input: Vec<u8>,
    at: usize,
    piece: usize,
    output: Arc<Mutex<Vec<u8>>>,
}

impl Layer for Memory {
    fn poll_read(&mut self, _: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = into.len().min(self.piece).min(self.input.len() - self.at);
        into[..n].copy_from_slice(&self.input[self.at..self.at + n]);
        self.at += n;
        Poll::Ready(Ok(n))
    }

    fn poll_write(&mut self, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let n = data.len().min(self.piece);
        self.output
            .lock()
            .expect("alone")
            .extend_from_slice(&data[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {}
}

/// What is passed on, if the body is sound.
fn pass(input: &[u8], piece: usize, framing: Framing) -> Option<Vec<u8>> {
    let output = Arc::<Mutex<Vec<u8>>>::default();
    let stream = |input: &[u8]| {
        let memory = Memory {
            input: input.to_vec(),
            at: 0,
            piece,
            output: Arc::clone(&output),
        };
        Stream::new(Io::Layer(Box::new(memory)), 0, None)
    };
    let (mut source, mut sink) = (stream(input), stream(&[]));
    let mut body = BodyMove::new(framing, std::sync::Arc::default());
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        match body.poll(&mut cx, &mut source, &mut sink) {
            Poll::Ready(Ok(moved)) => {
                let passed = output.lock().expect("alone").clone();
                assert!(passed.len() as u64 >= moved);
                return Some(passed);
            }
            Poll::Ready(Err(_)) => return None,
            Poll::Pending => {}
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&piece, input)) = data.split_first() else {
        return;
    };
    let piece = usize::from(piece).max(1);
    let framed = pass(input, piece, Framing::Chunked(false));
    let payload = pass(input, 65536, Framing::Chunked(true));
    assert_eq!(framed.is_some(), payload.is_some());
    let Some(framed) = framed else { return };
    assert_eq!(pass(&framed, 65536, Framing::Chunked(true)), payload);
    assert_eq!(
        pass(&framed, piece, Framing::Chunked(false)).as_ref(),
        Some(&framed)
    );
});
