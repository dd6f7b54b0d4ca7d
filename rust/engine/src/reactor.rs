//! The engine's threads: one event loop each, and a flow stays on the one where it began.
//!
//! Several single-threaded loops instead of one pool of stealing workers: a relay's two sockets are
//! polled by the thread that moves their bytes, so a chunk costs no wake-up of another thread.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_queue::SegQueue;
use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, watch};

use crate::buffer;
use crate::pipe::clear_pool;

/// Work handed to a loop from elsewhere. Many hand-overs cost one wake-up while the loop is busy.
#[derive(Default)]
struct Mailbox {
    queue: SegQueue<Box<dyn FnOnce() + Send>>,
    signalled: AtomicBool,
    came: Notify,
}

impl Mailbox {
    fn put(&self, work: Box<dyn FnOnce() + Send>) {
        self.queue.push(work);
        if !self.signalled.swap(true, Ordering::AcqRel) {
            self.came.notify_one();
        }
    }

    async fn serve(&self) {
        loop {
            self.came.notified().await;
            // A swap, to see all that was put before the signal it takes back.
            self.signalled.swap(false, Ordering::AcqRel);
            while let Some(work) = self.queue.pop() {
                work();
            }
        }
    }
}

/// A loop's mailbox, in the hands of who outlives the call that got it.
pub struct Post(Arc<Mailbox>);

impl Post {
    /// Run a task on the loop, from any thread.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.put(Box::new(move || drop(tokio::spawn(task))));
    }
}

/// The event loops and their threads.
pub struct Reactors {
    /// Given up by `stop`: they keep the loops' descriptors open.
    handles: RwLock<Vec<Handle>>,
    mailboxes: Vec<Arc<Mailbox>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
    next: AtomicUsize,
    /// How many forks led to the process that started the threads.
    forks: usize,
}

impl Reactors {
    /// Start `count` threads. They block every signal, so that the program's own thread gets them.
    pub fn start(count: usize) -> io::Result<Self> {
        let forks = forks();
        let (stop, _) = watch::channel(false);
        let mut handles = Vec::with_capacity(count);
        let mut mailboxes = Vec::with_capacity(count);
        let mut threads = Vec::with_capacity(count);
        for index in 0..count.max(1) {
            let runtime = Builder::new_current_thread()
                .enable_all()
                .event_interval(31)
                .build()?;
            handles.push(runtime.handle().clone());
            let mailbox = Arc::<Mailbox>::default();
            mailboxes.push(Arc::clone(&mailbox));
            let mut stopped = stop.subscribe();
            let (deaf, is_deaf) = std::sync::mpsc::channel();
            let thread = std::thread::Builder::new()
                .name(format!("byway-{index}"))
                .stack_size(512 * 1024)
                .spawn(move || {
                    block_signals();
                    let _ = deaf.send(());
                    runtime.block_on(async move {
                        tokio::select! {
                            _ = stopped.wait_for(|stop| *stop) => {}
                            () = mailbox.serve() => {}
                        }
                    });
                    clear_pool();
                    buffer::clear_pool();
                    runtime.shutdown_timeout(Duration::from_millis(200));
                })?;
            // Not before it blocks signals may the program go on.
            let _ = is_deaf.recv();
            threads.push(thread);
        }
        Ok(Self {
            handles: RwLock::new(handles),
            mailboxes,
            threads: Mutex::new(threads),
            stop,
            next: AtomicUsize::new(0),
            forks,
        })
    }

    /// Whether there are threads to work: not after `stop`, nor in a fork.
    pub fn alive(&self) -> bool {
        !self.forked() && !*self.stop.borrow()
    }

    /// Whether this process is a fork of the one that started the threads, which it has not.
    pub fn forked(&self) -> bool {
        FORKS.load(Ordering::Relaxed) != self.forks
    }

    /// A loop for the next flow, in turn.
    pub fn next_home(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.mailboxes.len()
    }

    /// The loop with this number. Fails after `stop`.
    pub fn home(&self, home: usize) -> io::Result<Handle> {
        let handles = self.handles.read().unwrap_or_else(PoisonError::into_inner);
        let found = handles.get(home % self.mailboxes.len()).cloned();
        found.ok_or_else(|| io::Error::other("the engine is closed"))
    }

    /// Run a task on a loop, from any thread.
    pub fn spawn(&self, home: usize, task: impl Future<Output = ()> + Send + 'static) {
        self.post(home).spawn(task);
    }

    /// The mailbox of a loop.
    pub fn post(&self, home: usize) -> Post {
        Post(Arc::clone(&self.mailboxes[home % self.mailboxes.len()]))
    }

    /// How many loops there are.
    pub fn count(&self) -> usize {
        self.mailboxes.len()
    }

    /// End the loops, dropping what runs on them, and wait for the threads. Idempotent.
    pub fn stop(&self) {
        if self.forked() {
            return;
        }
        self.stop.send_replace(true);
        let threads = self
            .threads
            .lock()
            .map(|mut threads| std::mem::take(&mut *threads));
        for thread in threads.unwrap_or_default() {
            let _ = thread.join();
        }
        // What came too late to be run owns sockets.
        for mailbox in &self.mailboxes {
            while mailbox.queue.pop().is_some() {}
        }
        let mut handles = self.handles.write().unwrap_or_else(PoisonError::into_inner);
        *handles = Vec::new();
    }
}

impl Drop for Reactors {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Counted in the child of each fork: asking for the process id costs a system call each time.
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// The forks so far, counted from the first call on.
pub fn forks() -> usize {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(watch_forks);
    FORKS.load(Ordering::Relaxed)
}

extern "C" fn forked() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

#[expect(unsafe_code, reason = "pthread_atfork has no safe form")]
fn watch_forks() {
    // SAFETY: `forked` only adds to an atomic, which a child may do in any state; it is never unloaded,
    // since Python unloads no extensions.
    unsafe {
        libc::pthread_atfork(None, None, Some(forked));
    }
}

#[expect(
    unsafe_code,
    reason = "pthread_sigmask has no safe form; the set is a local value"
)]
fn block_signals() {
    // SAFETY: both calls only touch `set`, which is initialised by sigfillset before use.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(set.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut());
    }
}
