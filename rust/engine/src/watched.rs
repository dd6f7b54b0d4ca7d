//! Descriptors that are not sockets of tokio, watched by its loops; and those that Python lends.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Watch what owns its descriptor, on the loop of the calling thread.
#[expect(
    unsafe_code,
    reason = "AsyncFd asks its caller to vouch for the descriptor"
)]
pub fn watched<T: AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: listeners of the standard library and `OwnedFd`, all that is ever given here, own their
    // descriptor and give the same one each time.
    Ok(unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) }?)
}

/// A descriptor of our own for what somebody else's refers to. Fails where that is closed.
#[expect(unsafe_code, reason = "a number has no lifetime")]
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is used in this call alone, which fails for a number that is no open descriptor.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}
