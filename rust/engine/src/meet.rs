//! Where two streams are joined: the one rule of who moves to whom.
//!
//! | near | far | the relay runs | who moves |
//! |---|---|---|---|
//! | free | free | at the near side's home | the far side |
//! | pinned | free | at the near side's home | the far side |
//! | free | pinned | at the far side's home | the near side |
//! | pinned | pinned, same loop | there | nobody |
//! | pinned | pinned elsewhere | at the near side's home | a bounded pair stands between |

use std::sync::Arc;
use std::time::Duration;

use crate::pair::pair;
use crate::reactor::Reactors;
use crate::relay::{Gauge, Run};
use crate::stream::Stream;

/// Longer than anything: the near relay has the idle limit.
const EVER: Duration = Duration::from_secs(u32::MAX as u64);

/// The relay of two streams, and the loop that it must run on.
pub fn meet(
    reactors: &Reactors,
    near: Stream,
    far: Stream,
    idle: Duration,
    gauge: Arc<Gauge>,
) -> (Run, usize) {
    let (home, far) = match (near.io.is_pinned(), far.io.is_pinned()) {
        (false, true) => (far.home, far),
        (true, true) if near.home != far.home => (near.home, bridged(reactors, &near, far)),
        _ => (near.home, far),
    };
    (Run::new(near, far, home, idle, gauge), home)
}

/// A stand-in for `far` at the home of `near`; bytes go to `far` on a loop of its own. Whichever of
/// the two relays ends first ends the other, as the near side's limits say.
fn bridged(reactors: &Reactors, near: &Stream, far: Stream) -> Stream {
    let (here, there) = pair((near.home, far.home));
    let (home, gauge) = (far.home, Arc::new(Gauge::default()));
    let across = Run::new(there, far, home, EVER, gauge);
    reactors.spawn(home, async move {
        // How it ended shows at the pair.
        let _ = across.await;
    });
    here
}
