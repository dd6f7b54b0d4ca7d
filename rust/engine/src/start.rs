//! The first step of a relay is taken by the thread that asks for it, the others by its reactor.
//!
//! That step sends what is here already (what came with a request, what was held) and finds that the
//! sockets have no more. Who wakes the work then is the reactor that watches those sockets, so that
//! a relay begins without waking another thread.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};

use crate::reactor::{Post, Reactors};

/// Take the first step of `work` here and now; what is left runs on the loop `home` once it is woken.
/// The work must be short before its first wait: the caller stands still for it.
pub fn start<F>(reactors: &Reactors, home: usize, mut work: F)
where
    F: Future<Output = ()> + Send + Unpin + 'static,
{
    // Sockets and timers belong to the loop that will watch them.
    let Ok(handle) = reactors.home(home) else {
        return; // stopped: what is dropped is closed
    };
    let _entered = handle.enter();
    let step = Arc::new(Step {
        post: reactors.post(home),
        stage: Mutex::new(Stage::Stepping),
    });
    let waker = Waker::from(Arc::clone(&step));
    if Pin::new(&mut work)
        .poll(&mut Context::from_waker(&waker))
        .is_pending()
    {
        step.rest(work);
    }
}

struct Step<F> {
    post: Post,
    stage: Mutex<Stage<F>>,
}

enum Stage<F> {
    /// The first step is being taken.
    Stepping,
    /// It was woken meanwhile.
    Woken,
    /// It waits to be woken.
    Waiting(F),
}

impl<F: Future<Output = ()> + Send + Unpin + 'static> Step<F> {
    fn rest(&self, work: F) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*stage, Stage::Stepping) {
            *stage = Stage::Waiting(work);
        } else {
            drop(stage);
            self.post.spawn(work);
        }
    }
}

impl<F: Future<Output = ()> + Send + Unpin + 'static> Wake for Step<F> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let mut stage = self.stage.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *stage, Stage::Woken);
        drop(stage);
        if let Stage::Waiting(work) = before {
            self.post.spawn(work);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::task::Poll;
    use std::thread::{ThreadId, current};
    use std::time::Duration;

    use super::*;

    /// Waits `pauses` times, each time having seen to its being woken, and says where it was polled.
    struct Steps {
        pauses: usize,
        polled: Sender<ThreadId>,
        wakers: Sender<Waker>,
        at_once: bool,
    }

    impl Future for Steps {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            let _ = self.polled.send(current().id());
            if self.pauses == 0 {
                return Poll::Ready(());
            }
            self.pauses -= 1;
            if self.at_once {
                cx.waker().wake_by_ref();
            } else {
                let _ = self.wakers.send(cx.waker().clone());
            }
            Poll::Pending
        }
    }

    const PATIENCE: Duration = Duration::from_secs(10);

    #[test]
    fn the_first_step_is_taken_here_and_the_rest_on_the_loop() {
        for at_once in [false, true] {
            let reactors = Reactors::start(1).expect("threads");
            let (polled, places) = channel();
            let (wakers, sleeping) = channel();
            let work = Steps {
                pauses: 2,
                polled,
                wakers,
                at_once,
            };
            start(&reactors, 0, work);
            assert_eq!(places.recv_timeout(PATIENCE), Ok(current().id()));
            for _ in 0..2 {
                if !at_once {
                    assert!(places.try_recv().is_err(), "nobody has woken it");
                    sleeping.recv_timeout(PATIENCE).expect("a waker").wake();
                }
                let there = places.recv_timeout(PATIENCE).expect("a further step");
                assert_ne!(there, current().id());
            }
            assert!(
                places.recv_timeout(PATIENCE).is_err(),
                "it is over and gone"
            );
        }
    }

    #[test]
    fn what_nobody_wakes_goes_with_its_wakers() {
        let reactors = Reactors::start(1).expect("threads");
        let (polled, places) = channel();
        let (wakers, sleeping) = channel();
        let work = Steps {
            pauses: 1,
            polled,
            wakers,
            at_once: false,
        };
        start(&reactors, 0, work);
        assert!(places.recv_timeout(PATIENCE).is_ok());
        drop(sleeping);
        assert!(places.recv_timeout(PATIENCE).is_err(), "dropped");
    }
}
