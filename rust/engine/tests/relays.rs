//! Many relays at once, with random sizes, half-closes, resets and cuts: what is delivered is a
//! prefix of what was said, byte for byte, and an end that looks whole is whole.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use byway_engine::io::Io;
use byway_engine::reactor::Reactors;
use byway_engine::relay::{End, Gauge, Run};
use byway_engine::stream::Stream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

const WAVES: u64 = 5;
const FLOWS: u64 = 60;

/// A small generator of numbers (xorshift64*): the same ones in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }
}

/// What one side says: so many bytes of a text that depends on its seed, or a reset before the end.
#[derive(Clone, Copy)]
struct Speech {
    seed: u64,
    size: usize,
    /// So many bytes are said before a reset.
    reset: Option<usize>,
}

impl Speech {
    fn random(dice: &mut Dice, seed: u64) -> Self {
        let size = match dice.roll(10) {
            0 => 0,
            1..=5 => dice.roll(5_000),
            6..=8 => dice.roll(300_000),
            _ => 1_000_000 + dice.roll(3_000_000),
        };
        let reset = (dice.roll(6) == 0).then(|| dice.roll(size + 1));
        Self { seed, size, reset }
    }

    fn text(&self, from: usize, to: usize) -> Vec<u8> {
        (from..to)
            .map(|at| ((at as u64 ^ self.seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8)
            .collect()
    }
}

/// How one side's speech ended.
#[derive(PartialEq)]
enum Said {
    All,
    /// The connection failed; that was told here, and a read may now take it for an end.
    Torn,
    Reset,
}

/// What one side heard, and whether the end it saw was an orderly one.
struct Heard {
    size: usize,
    whole: bool,
}

/// Say `speech` from `said` on, hear `other`. None for a side that reset the connection itself.
async fn side(mut socket: TcpStream, speech: Speech, said: usize, other: Speech) -> Option<Heard> {
    let heard = {
        let (mut reader, mut writer) = socket.split();
        let mut saying = pin!(async {
            let mut dice = Dice(speech.seed | 1);
            let mut at = said;
            let end = speech.reset.map_or(speech.size, |reset| reset.max(said));
            while at < end {
                let next = end.min(at + 1 + dice.roll(200_000));
                if writer.write_all(&speech.text(at, next)).await.is_err() {
                    return Said::Torn;
                }
                at = next;
                if dice.roll(4) == 0 {
                    tokio::task::yield_now().await;
                }
            }
            // A half-close before a reset would be the end that the other side sees.
            if speech.reset.is_some() {
                return Said::Reset;
            }
            let _ = writer.shutdown().await;
            Said::All
        });
        let mut hearing = pin!(async {
            let mut buffer = vec![0; 70_000];
            let mut size = 0;
            loop {
                match reader.read(&mut buffer).await {
                    Ok(0) => return Heard { size, whole: true },
                    Ok(n) => {
                        assert!(size + n <= other.size, "more than was said");
                        assert!(
                            buffer[..n] == other.text(size, size + n),
                            "not what was said, within {n} bytes of {size}"
                        );
                        size += n;
                    }
                    Err(_) => return Heard { size, whole: false },
                }
            }
        });
        let (said, heard) = tokio::select! {
            said = &mut saying => match said {
                Said::Reset => (said, None),
                said => (said, Some(hearing.await)),
            },
            heard = &mut hearing => (saying.await, Some(heard)),
        };
        match (said, heard) {
            (Said::Reset, _) | (_, None) => None,
            (said, Some(Heard { size, whole })) => {
                let whole = whole && said == Said::All;
                Some(Heard { size, whole })
            }
        }
    };
    if heard.is_none() {
        let zero = Some(Duration::ZERO);
        let _ = socket2::SockRef::from(&socket).set_linger(zero);
    }
    heard
}

async fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.expect("connects"), other.expect("accepts").0)
}

fn at_home(socket: TcpStream, reactors: &Reactors, home: usize) -> Stream {
    let socket = socket.into_std().expect("a socket");
    let handle = reactors.home(home).expect("it runs");
    let _entered = handle.enter();
    let socket = TcpStream::from_std(socket).expect("registers");
    Stream::new(Io::Tcp(socket), home, None)
}

async fn flow(seed: u64, reactors: Arc<Reactors>) {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let near_says = Speech::random(&mut dice, seed * 2);
    let far_says = Speech::random(&mut dice, seed * 2 + 1);
    let (client, near) = connection().await;
    let (server, far) = connection().await;
    let mut near = at_home(near, &reactors, dice.roll(2));
    let mut far = at_home(far, &reactors, dice.roll(2));

    // The beginning may have been held back, or read and put back, before the relay.
    let held = dice.roll(100).min(near_says.size);
    let said = (held + dice.roll(2_000)).min(near_says.size);
    far.held = near_says.text(0, held);
    near.put_back(&near_says.text(held, said));

    let gauge = Arc::new(Gauge::default());
    let cut = dice.roll(8) == 0;
    let home = near.home;
    let relay = Run::new(near, far, home, Duration::from_secs(60), Arc::clone(&gauge));
    let (ended, ending) = oneshot::channel();
    reactors.spawn(home, async move {
        let _ = ended.send(relay.await);
    });
    let cutting = async {
        if cut {
            for _ in 0..dice.roll(50) {
                tokio::task::yield_now().await;
            }
            gauge.cut("to see what is left");
        }
    };
    let (client, server, ()) = tokio::join!(
        side(client, near_says, said, far_says),
        side(server, far_says, 0, near_says),
        cutting,
    );
    let end = ending
        .await
        .expect("an end")
        .expect("no fault of the engine");

    for (heard, other) in [(&client, far_says), (&server, near_says)] {
        if let Some(Heard { size, whole: true }) = heard {
            assert_eq!(*size, other.size, "a torn stream looks whole: {end:?}");
        }
    }
    let orderly = near_says.reset.is_none() && far_says.reset.is_none() && !cut;
    if orderly {
        assert_eq!(end, End::Closed);
        assert!(client.is_some_and(|heard| heard.whole));
        assert!(server.is_some_and(|heard| heard.whole));
        assert_eq!(gauge.down.load(Ordering::Relaxed), far_says.size as u64);
        assert_eq!(
            gauge.up.load(Ordering::Relaxed),
            (near_says.size - held) as u64
        );
    }
}

#[tokio::test]
async fn every_delivered_prefix_is_exact() {
    let reactors = Arc::new(Reactors::start(2).expect("threads"));
    for wave in 0..WAVES {
        let mut flows = JoinSet::new();
        for number in 0..FLOWS {
            flows.spawn(flow(1 + wave * FLOWS + number, Arc::clone(&reactors)));
        }
        let over = timeout(Duration::from_secs(30), async {
            while let Some(result) = flows.join_next().await {
                if let Err(error) = result {
                    std::panic::resume_unwind(error.into_panic());
                }
            }
        });
        assert!(over.await.is_ok(), "a flow hangs");
    }
    reactors.stop();
}
