//! The engine's threads: one event loop each, and a flow stays on the one where it began.
//!
//! Several single-threaded loops instead of one pool of stealing workers: a relay's two sockets are
//! polled by the thread that moves their bytes, so a chunk costs no wake-up of another thread.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::Pid;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// The event loops and their threads.
pub struct Reactors {
    handles: Vec<Handle>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
    next: AtomicUsize,
    owner: Pid,
}

impl Reactors {
    /// Start `count` threads. They block every signal, so that the program's own thread gets them.
    pub fn start(count: usize) -> io::Result<Self> {
        let (stop, _) = watch::channel(false);
        let mut handles = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for index in 0..count.max(1) {
            let runtime = Builder::new_current_thread().enable_all().event_interval(31).build()?;
            handles.push(runtime.handle().clone());
            let mut stopped = stop.subscribe();
            let thread = std::thread::Builder::new()
                .name(format!("byway-{index}"))
                .stack_size(512 * 1024)
                .spawn(move || {
                    block_signals();
                    runtime.block_on(async move {
                        let _ = stopped.wait_for(|stop| *stop).await;
                    });
                    runtime.shutdown_timeout(Duration::from_millis(200));
                })?;
            threads.push(thread);
        }
        let owner = rustix::process::getpid();
        Ok(Self { handles, threads: Mutex::new(threads), stop, next: AtomicUsize::new(0), owner })
    }

    /// Whether this process is the one that started the threads (they do not survive a fork).
    pub fn alive(&self) -> bool {
        rustix::process::getpid() == self.owner && !*self.stop.borrow()
    }

    /// A loop for the next flow, in turn.
    pub fn next_home(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.handles.len()
    }

    /// The loop with this number.
    pub fn home(&self, home: usize) -> &Handle {
        &self.handles[home % self.handles.len()]
    }

    /// How many loops there are.
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// End the loops, dropping what runs on them, and wait for the threads. Idempotent.
    pub fn stop(&self) {
        if rustix::process::getpid() != self.owner {
            return;
        }
        self.stop.send_replace(true);
        let threads = self.threads.lock().map(|mut threads| std::mem::take(&mut *threads));
        for thread in threads.unwrap_or_default() {
            let _ = thread.join();
        }
    }
}

impl Drop for Reactors {
    fn drop(&mut self) {
        self.stop();
    }
}

#[expect(unsafe_code, reason = "pthread_sigmask has no safe form; the set is a local value")]
fn block_signals() {
    // SAFETY: both calls only touch `set`, which is initialised by sigfillset before use.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}
