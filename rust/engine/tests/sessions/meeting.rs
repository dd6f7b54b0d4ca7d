//! Where relays run whose sides are pinned, free, or pinned to different loops.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use byway_engine::meet::meet;
use byway_engine::pair::pair;
use byway_engine::reactor::Reactors;
use byway_engine::relay::{End, Gauge};
use byway_engine::session::Session;
use byway_engine::stream::{Stream, Want};
use tokio::sync::oneshot;

use crate::plain::Plain;
use crate::suite::{accepted, read, within, write};

const IDLE: Duration = Duration::from_secs(60);

/// A stream of a session at home on a loop, its other end, and the sessions to keep.
async fn pinned(reactors: &Reactors, home: usize) -> (Stream, Stream, (Session, Session)) {
    let (one, other) = pair((home, home));
    let (client, here) = Session::over(one, Box::new(Plain::client()));
    let (server, there) = Session::over(other, Box::new(Plain::server()));
    reactors.spawn(home, async move { drop(here.await) });
    reactors.spawn(home, async move { drop(there.await) });
    let near = client.open().expect("opens");
    let far = accepted(&server).await.expect("comes");
    (near, far, (client, server))
}

/// Join two streams and say whose loop the relay runs on; talk both ways through it, then end.
async fn talk(
    reactors: &Reactors,
    near: Stream,
    far: Stream,
    mut client: Stream,
    mut server: Stream,
) -> usize {
    let gauge = Arc::new(Gauge::default());
    let (run, home) = meet(reactors, near, far, IDLE, Arc::clone(&gauge));
    let (ended, ending) = oneshot::channel();
    reactors.spawn(home, async move { drop(ended.send(run.await)) });
    let text: Vec<u8> = (0..500_000_u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let all = Want::Exactly(text.len());
    let (said, heard) = tokio::join!(write(&mut client, &text), read(&mut server, &all),);
    said.expect("sends");
    assert!(heard.expect("comes") == text);
    write(&mut server, b"answer").await.expect("sends");
    assert_eq!(
        read(&mut client, &Want::Exactly(6)).await.expect("comes"),
        b"answer"
    );
    for stream in [&mut client, &mut server] {
        within(poll_fn(|cx| stream.poll_end(cx)))
            .await
            .expect("ends");
    }
    let end = within(ending).await.expect("an end").expect("no fault");
    assert_eq!(end, End::Closed);
    assert_eq!(gauge.up.load(Ordering::Relaxed), text.len() as u64);
    assert_eq!(gauge.down.load(Ordering::Relaxed), 6);
    home
}

#[tokio::test]
async fn a_relay_runs_where_the_pinned_side_lives() {
    let reactors = Reactors::start(2).expect("threads");
    for (near_home, far_home) in [(0, 0), (0, 1), (1, 0)] {
        let (near, client) = pair((near_home, 0));
        let (far, server) = pair((far_home, 0));
        assert_eq!(
            talk(&reactors, near, far, client, server).await,
            near_home,
            "free sides"
        );

        let (near, client, _kept) = pinned(&reactors, near_home).await;
        let (far, server) = pair((far_home, 0));
        assert_eq!(
            talk(&reactors, near, far, client, server).await,
            near_home,
            "near pinned"
        );

        let (near, client) = pair((near_home, 0));
        let (far, server, _kept) = pinned(&reactors, far_home).await;
        assert_eq!(
            talk(&reactors, near, far, client, server).await,
            far_home,
            "far pinned"
        );

        let (near, client, _kept) = pinned(&reactors, near_home).await;
        let (far, server, _far_kept) = pinned(&reactors, far_home).await;
        assert_eq!(
            talk(&reactors, near, far, client, server).await,
            near_home,
            "both pinned"
        );
    }
    reactors.stop();
}

#[tokio::test]
async fn a_break_is_passed_on_over_the_pair_between_two_loops() {
    let reactors = Reactors::start(2).expect("threads");
    let (near, mut client, _kept) = pinned(&reactors, 0).await;
    let (far, server, _far_kept) = pinned(&reactors, 1).await;
    let (run, home) = meet(&reactors, near, far, IDLE, Arc::default());
    let (ended, ending) = oneshot::channel();
    reactors.spawn(home, async move { drop(ended.send(run.await)) });
    drop(server);
    assert!(
        read(&mut client, &Want::Some(1)).await.is_err(),
        "a reset, no end"
    );
    let end = within(ending).await.expect("an end").expect("no fault");
    assert!(matches!(end, End::Far(_)), "{end:?}");
    reactors.stop();
}
