//! `loadgen`: what the bench drives programs with, and what it drives them against.
//!
//! ```text
//! loadgen target   --listen A                     the server: source, sink, echo, UDP echo
//! loadgen relay    --listen A --target A          the floor: a relay that only splices
//! loadgen probe    --target A --secs T            when does A accept? (monotonic ns)
//! loadgen bulk     --dir down|up --conns N        bytes as fast as they go
//! loadgen cps      --conns N                      connect, 64 B, 64 B, close, again
//! loadgen pingpong --conns N --size B             requests on kept connections
//! loadgen idle     --conns N                      opens N, says READY, holds till stdin ends
//! loadgen udp      --conns N --window W --size B  UDP echo, closed loop
//! loadgen cipher   --method M                     the floor of a pair: two passes, four copies
//! ```
//! Clients take `--target A`, `--via direct | plain:A | socks5:A | http:A`, `--secs`, `--warm`, and
//! `--copy` (no zero-copy). A is an IPv4 address and port. Each prints one line of JSON.
//!
//! One thread, level-triggered epoll. It sends with `sendfile` from a memfd and receives with
//! `MSG_TRUNC`, so that it copies no payload and leaves the processor to the program under test.

mod args;
mod cipher;
mod client;
mod handshake;
mod packets;
mod payload;
mod relay;
mod samples;
mod sys;
mod target;
mod udp;

use std::io;
use std::process::ExitCode;

use args::{Args, Mode};

fn main() -> ExitCode {
    let args = match Args::parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(message) => {
            eprintln!("loadgen: {message}");
            return ExitCode::from(2);
        }
    };
    sys::raise_file_limit();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!(
                "{{\"error\":\"{}\"}}",
                error.to_string().replace(['"', '\\'], "'")
            );
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> io::Result<()> {
    match args.mode {
        Mode::Target => target::serve(args.listen),
        Mode::Relay => relay::serve(args.listen, args.target),
        Mode::Probe => probe(args),
        Mode::Udp => udp::run(args),
        Mode::Cipher => cipher::run(args),
        Mode::Work(work) => client::run(args, work),
    }
}

/// Dials until somebody accepts; the answer is the moment of the first success.
fn probe(args: &Args) -> io::Result<()> {
    let end = sys::now() + args.secs;
    while sys::now() < end {
        if std::net::TcpStream::connect(args.target).is_ok() {
            println!("{{\"t_ns\":{}}}", sys::now());
            return Ok(());
        }
        std::thread::sleep(std::time::Duration::from_micros(500));
    }
    Err(io::Error::new(
        io::ErrorKind::TimedOut,
        "nobody accepted in time",
    ))
}
