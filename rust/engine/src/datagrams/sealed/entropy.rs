//! Random bytes in small pieces: each thread draws a page and gives it out once. A fork, which has the
//! page of the thread that made it, draws anew: two with one session id would use the same nonces.

use std::cell::RefCell;

use aws_lc_rs::rand;

use crate::reactor::forks;

const PAGE: usize = 2048;

/// What was drawn: the bytes, how many are given out, and by how many forks this process came about.
struct Drawn {
    page: [u8; PAGE],
    at: usize,
    forks: usize,
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const {
        RefCell::new(Drawn { page: [0; PAGE], at: PAGE, forks: 0 })
    };
}

/// Fill `out`, which is at most a page, with random bytes that nobody else gets.
pub fn fill(out: &mut [u8]) {
    let now = forks();
    DRAWN.with_borrow_mut(|Drawn { page, at, forks }| {
        if PAGE - *at < out.len() || *forks != now {
            // It fails only where the system has no entropy at all, and then nothing may be sealed.
            assert!(rand::fill(page).is_ok(), "no random bytes");
            (*at, *forks) = (0, now);
        }
        let given = &mut page[*at..*at + out.len()];
        out.copy_from_slice(given);
        given.fill(0);
        *at += out.len();
    });
}

/// A random number.
pub fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    #[expect(unsafe_code, reason = "fork has no safe form")]
    fn a_fork_draws_its_own() {
        let (mut reader, writer) = std::io::pipe().expect("pipe");
        let before = number();
        // SAFETY: the child draws, writes to a descriptor and leaves without unwinding or destructors.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let drawn = number().to_ne_bytes();
            let _ = rustix::io::write(&writer, &drawn);
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(0) };
        }
        drop(writer);
        assert!(child > 0);
        let mut there = [0; 8];
        reader.read_exact(&mut there).expect("the child's number");
        // SAFETY: waits for a child of ours; the status is not wanted.
        unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
        let (here, there) = (number(), u64::from_ne_bytes(there));
        assert!(before != here && before != there && here != there);
    }
}
