//! The conformance suite: two sessions over a pair in memory, each driven by a task.

use std::future::poll_fn;
use std::time::Duration;

use byway_engine::failure::{Failure, Outcome};
use byway_engine::pair::pair;
use byway_engine::session::{Drive, Limits, Protocol, Session, Yamux};
use byway_engine::stream::{Stream, Want};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::plain::{LIMITS, Plain};

/// A hang is a failure; nothing here waits for a time to pass.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two ends that speak with each other, and what drives them.
pub struct Ground {
    limits: Limits,
    pub client: Session,
    pub server: Session,
    driving: [JoinHandle<Outcome<()>>; 2],
}

impl Ground {
    pub fn new(client: Box<dyn Protocol>, server: Box<dyn Protocol>) -> Self {
        let limits = client.limits();
        let (one, other) = pair((0, 0));
        let (client, here): (_, Drive) = Session::over(one, client);
        let (server, there): (_, Drive) = Session::over(other, server);
        Self {
            limits,
            client,
            server,
            driving: [tokio::spawn(here), tokio::spawn(there)],
        }
    }

    /// One for each protocol that there is.
    fn each() -> [Self; 2] {
        [
            Self::new(Box::new(Plain::client()), Box::new(Plain::server())),
            Self::new(Box::new(Yamux::new(true)), Box::new(Yamux::new(false))),
        ]
    }

    async fn joined(&self) -> (Stream, Stream) {
        let here = self.client.open().expect("opens");
        let there = accepted(&self.server).await.expect("comes");
        (here, there)
    }

    /// Both come to their end by themselves.
    async fn over(self) {
        let Self {
            client,
            server,
            driving,
            ..
        } = self;
        drop((client, server));
        for drive in driving {
            let _ = within(drive).await.expect("no panic");
        }
    }
}

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    timeout(PATIENCE, work).await.expect("it hangs")
}

pub async fn accepted(session: &Session) -> Outcome<Stream> {
    within(poll_fn(|cx| session.poll_accept(cx))).await
}

pub async fn read(stream: &mut Stream, want: &Want) -> Outcome<Vec<u8>> {
    within(poll_fn(|cx| stream.poll_want(cx, want)))
        .await
        .map(|bytes| bytes.to_vec())
}

pub async fn write(stream: &mut Stream, data: &[u8]) -> Outcome<()> {
    stream.start_write(data);
    within(poll_fn(|cx| stream.poll_sent(cx))).await
}

/// Take what fits without waiting; how much that was.
async fn fill(stream: &mut Stream) -> usize {
    let mut sent = 0;
    loop {
        let chunk = [7; 8192];
        let polled = poll_fn(|cx| std::task::Poll::Ready(stream.io.poll_write(cx, &chunk))).await;
        match polled {
            std::task::Poll::Ready(n) => sent += n.expect("takes"),
            std::task::Poll::Pending => return sent,
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn streams_are_opened_and_accepted_by_either_side() {
    for ground in Ground::each() {
        streams_are_opened_and_accepted_by_either_side_on(ground).await;
    }
}

async fn streams_are_opened_and_accepted_by_either_side_on(ground: Ground) {
    let (mut here, mut there) = ground.joined().await;
    write(&mut here, b"question").await.expect("sends");
    assert_eq!(
        read(&mut there, &Want::Exactly(8)).await.expect("comes"),
        b"question"
    );
    write(&mut there, b"answer").await.expect("sends");
    assert_eq!(
        read(&mut here, &Want::Exactly(6)).await.expect("comes"),
        b"answer"
    );

    let mut back = ground.server.open().expect("opens");
    let mut forth = accepted(&ground.client).await.expect("comes");
    write(&mut back, b"x").await.expect("sends");
    assert_eq!(read(&mut forth, &Want::Some(9)).await.expect("comes"), b"x");
    assert!(
        here.io.is_pinned(),
        "a stream of a session stays on its loop"
    );
    drop((here, there, back, forth));
    ground.over().await;
}

#[tokio::test]
async fn an_end_is_passed_on_and_the_other_way_goes_on() {
    for ground in Ground::each() {
        an_end_is_passed_on_and_the_other_way_goes_on_on(ground).await;
    }
}

async fn an_end_is_passed_on_and_the_other_way_goes_on_on(ground: Ground) {
    let (mut here, mut there) = ground.joined().await;
    write(&mut here, b"all").await.expect("sends");
    within(poll_fn(|cx| here.poll_end(cx))).await.expect("ends");
    assert_eq!(
        read(&mut there, &Want::Exactly(3)).await.expect("comes"),
        b"all"
    );
    assert!(matches!(
        read(&mut there, &Want::Some(1)).await,
        Err(Failure::Ended)
    ));
    write(&mut there, b"still").await.expect("sends");
    assert_eq!(
        read(&mut here, &Want::Exactly(5)).await.expect("comes"),
        b"still"
    );
    within(poll_fn(|cx| there.poll_end(cx)))
        .await
        .expect("ends");
    assert!(matches!(
        read(&mut here, &Want::Some(1)).await,
        Err(Failure::Ended)
    ));
    drop((here, there));
    assert_eq!(ground.client.streams(), 0);
    ground.over().await;
}

#[tokio::test]
async fn a_stalled_stream_neither_stops_the_others_nor_is_buffered_without_bound() {
    for ground in Ground::each() {
        a_stalled_stream_neither_stops_the_others_nor_is_buffered_without_bound_on(ground).await;
    }
}

async fn a_stalled_stream_neither_stops_the_others_nor_is_buffered_without_bound_on(
    ground: Ground,
) {
    let (mut stalled, kept) = ground.joined().await;
    let sent = fill(&mut stalled).await;
    assert_eq!(sent, ground.limits.credit as usize, "as much as its window");

    let (mut here, mut there) = ground.joined().await;
    let text: Vec<u8> = (0..1_000_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let all = Want::Exactly(text.len());
    let (said, heard) = tokio::join!(
        async {
            for chunk in text.chunks(50_000) {
                write(&mut here, chunk).await?;
            }
            Ok::<_, Failure>(here)
        },
        read(&mut there, &all),
    );
    said.expect("sends");
    assert!(heard.expect("comes") == text, "every byte, in order");
    let bound = 2 * (ground.limits.window as usize) + 300_000;
    assert!(ground.client.waiting() + ground.server.waiting() < bound);

    // Once it is read, it goes on.
    let mut kept = kept;
    let got = read(&mut kept, &Want::Exactly(sent))
        .await
        .expect("was kept");
    assert!(got.iter().all(|byte| *byte == 7));
    write(&mut stalled, b"again").await.expect("sends");
    assert_eq!(
        read(&mut kept, &Want::Exactly(5)).await.expect("comes"),
        b"again"
    );
    drop((stalled, kept, there));
    ground.over().await;
}

#[tokio::test]
async fn a_cancelled_read_loses_nothing() {
    for ground in Ground::each() {
        a_cancelled_read_loses_nothing_on(ground).await;
    }
}

async fn a_cancelled_read_loses_nothing_on(ground: Ground) {
    let (mut here, mut there) = ground.joined().await;
    write(&mut here, b"hal").await.expect("sends");
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    let given_up = tokio::select! {
        biased;
        _ = poll_fn(|cx| there.poll_want(cx, &Want::Exactly(5))) => false,
        () = tokio::task::yield_now() => true,
    };
    assert!(given_up);
    there.begin_want();
    write(&mut here, b"f!").await.expect("sends");
    assert_eq!(
        read(&mut there, &Want::Exactly(5)).await.expect("comes"),
        b"half!"
    );
    drop((here, there));
    ground.over().await;
}

#[tokio::test]
async fn a_dropped_stream_is_a_reset_for_the_other_side_alone() {
    for ground in Ground::each() {
        a_dropped_stream_is_a_reset_for_the_other_side_alone_on(ground).await;
    }
}

async fn a_dropped_stream_is_a_reset_for_the_other_side_alone_on(ground: Ground) {
    let (here, mut there) = ground.joined().await;
    let (mut other, mut others) = ground.joined().await;
    drop(here);
    assert!(matches!(
        read(&mut there, &Want::Some(1)).await,
        Err(Failure::Os(_))
    ));
    assert!(write(&mut there, b"x").await.is_err());
    write(&mut other, b"y").await.expect("sends");
    assert_eq!(
        read(&mut others, &Want::Some(9)).await.expect("comes"),
        b"y"
    );
    drop((there, other, others));
    ground.over().await;
}

#[tokio::test]
async fn who_leaves_takes_no_more_and_lets_what_is_there_end() {
    for ground in Ground::each() {
        who_leaves_takes_no_more_and_lets_what_is_there_end_on(ground).await;
    }
}

async fn who_leaves_takes_no_more_and_lets_what_is_there_end_on(ground: Ground) {
    let (mut here, mut there) = ground.joined().await;
    ground.server.leave();
    within(async {
        while ground.client.is_open() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(ground.client.open().is_err());
    assert!(matches!(
        accepted(&ground.server).await,
        Err(Failure::Ended)
    ));
    write(&mut here, b"on").await.expect("sends");
    assert_eq!(
        read(&mut there, &Want::Exactly(2)).await.expect("comes"),
        b"on"
    );
    within(poll_fn(|cx| there.poll_end(cx)))
        .await
        .expect("ends");
    assert!(matches!(
        read(&mut here, &Want::Some(1)).await,
        Err(Failure::Ended)
    ));
    drop((here, there));
    ground.over().await;
}

#[tokio::test]
async fn a_close_ends_every_stream_of_both_sides() {
    for ground in Ground::each() {
        a_close_ends_every_stream_of_both_sides_on(ground).await;
    }
}

async fn a_close_ends_every_stream_of_both_sides_on(ground: Ground) {
    let (mut here, mut there) = ground.joined().await;
    ground.client.close();
    assert!(read(&mut here, &Want::Some(1)).await.is_err());
    assert!(read(&mut there, &Want::Some(1)).await.is_err());
    assert!(matches!(
        accepted(&ground.client).await,
        Err(Failure::Ended)
    ));
    assert!(matches!(
        accepted(&ground.server).await,
        Err(Failure::Ended)
    ));
    drop((here, there));
    ground.over().await;
}

#[tokio::test]
async fn there_are_no_more_streams_than_allowed_and_none_wait_without_bound() {
    for ground in Ground::each() {
        there_are_no_more_streams_than_allowed_and_none_wait_without_bound_on(ground).await;
    }
}

async fn there_are_no_more_streams_than_allowed_and_none_wait_without_bound_on(ground: Ground) {
    let here: Vec<Stream> = (0..ground.limits.streams)
        .map(|_| ground.client.open().expect("opens"))
        .collect();
    assert!(ground.client.open().is_err(), "one too many");
    let mut there = Vec::new();
    for _ in 0..ground.limits.backlog {
        there.push(accepted(&ground.server).await.expect("comes"));
    }
    // Those past the backlog were refused, unless they came after room was made.
    assert!(ground.server.streams() <= ground.limits.streams);
    drop((here, there));
    ground.over().await;
}

#[tokio::test]
async fn who_breaks_the_protocol_ends_the_session_and_nothing_else() {
    for bad in [
        &[9, 0, 0, 0, 1, 0, 0, 0, 0][..],         // no known kind
        &[1, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff], // longer than a frame may be
        &[0, 0, 0, 0, 2, 0, 0, 0, 0],             // an id of ours
        &[2, 0, 0, 0, 1, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff], // more credit than can be counted
    ] {
        let (raw, below) = pair((0, 0));
        let (session, drive) = Session::over(below, Box::new(Plain::server()));
        let driving = tokio::spawn(drive);
        let mut raw = raw;
        write(&mut raw, &[0, 0, 0, 0, 1, 0, 0, 0, 0])
            .await
            .expect("sends");
        let mut stream = accepted(&session).await.expect("comes");
        let _ = write(&mut raw, bad).await;
        let outcome = within(driving).await.expect("no panic");
        assert!(
            matches!(outcome, Err(Failure::Peer(_))),
            "{bad:?}: {outcome:?}"
        );
        assert!(read(&mut stream, &Want::Some(1)).await.is_err());
        assert!(session.open().is_err());
    }
}

#[tokio::test]
async fn more_than_a_window_breaks_the_protocol() {
    let (mut raw, below) = pair((0, 0));
    let (session, drive) = Session::over(below, Box::new(Plain::server()));
    let driving = tokio::spawn(drive);
    write(&mut raw, &[0, 0, 0, 0, 1, 0, 0, 0, 0])
        .await
        .expect("sends");
    let stream = accepted(&session).await.expect("comes");
    let mut frame = vec![1, 0, 0, 0, 1, 0, 0, 0x40, 0];
    frame.resize(9 + 0x4000, 0);
    let mut torn = false;
    for _ in 0..6 {
        torn |= write(&mut raw, &frame).await.is_err();
    }
    let outcome = within(driving).await.expect("no panic");
    assert!(
        matches!(outcome, Err(Failure::Peer(_))),
        "{outcome:?}, torn: {torn}"
    );
    assert!(session.waiting() <= LIMITS.window as usize + 64);
    drop(stream);
}

#[tokio::test]
async fn what_stands_below_ends_and_all_streams_know() {
    let (mut here, mut there) = tokio::io::duplex(64);
    here.shutdown().await.expect("ends");
    there.shutdown().await.expect("ends");
    let (raw, below) = pair((0, 0));
    let (session, drive) = Session::over(below, Box::new(Plain::client()));
    let driving = tokio::spawn(drive);
    let mut stream = session.open().expect("opens");
    drop(raw);
    let _ = within(driving).await.expect("no panic");
    assert!(read(&mut stream, &Want::Some(1)).await.is_err());
}

/// A peer that has itself answered and takes no answer is read no further, and goes on once it does.
#[tokio::test]
async fn answers_that_nobody_takes_are_bounded() {
    const OPENED: u32 = 100_000;
    let (mut raw, below) = pair((0, 0));
    let (session, drive) = Session::over(below, Box::new(Yamux::new(false)));
    let driving = tokio::spawn(drive);
    let mut opening = Vec::new();
    for at in 0..OPENED {
        opening.extend_from_slice(&[0, 1, 0, 1]);
        opening.extend_from_slice(&(2 * at + 1).to_be_bytes());
        opening.extend_from_slice(&[0; 4]);
    }
    raw.start_write(&opening);
    let mut sent = false;
    for _ in 0..2_000 {
        let polled = poll_fn(|cx| std::task::Poll::Ready(raw.poll_sent(cx))).await;
        sent |= polled.is_ready();
        tokio::task::yield_now().await;
    }
    assert!(!sent, "all was read, and answered without bound");
    assert!(session.waiting() < 4 * 1024 * 1024);

    // An acknowledgement for each, and a reset for those past the backlog.
    let answers = 12 * (2 * OPENED as usize - session.streams());
    let all = Want::Exactly(answers);
    let heard = within(poll_fn(|cx| {
        let _ = raw.poll_sent(cx);
        raw.poll_want(cx, &all)
    }))
    .await
    .expect("comes");
    assert_eq!(heard.len(), answers);
    drop(raw);
    let _ = within(driving).await.expect("no panic");
}
