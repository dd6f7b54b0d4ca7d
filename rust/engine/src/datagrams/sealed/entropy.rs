//! Random bytes in small pieces: each thread draws a page and gives it out once.

use std::cell::RefCell;

use aws_lc_rs::rand;

const PAGE: usize = 2048;

thread_local! {
    static DRAWN: RefCell<([u8; PAGE], usize)> = const { RefCell::new(([0; PAGE], PAGE)) };
}

/// Fill `out`, which is at most a page, with random bytes that nobody else gets.
pub fn fill(out: &mut [u8]) {
    DRAWN.with_borrow_mut(|(page, at)| {
        if PAGE - *at < out.len() {
            // It fails only where the system has no entropy at all, and then nothing may be sealed.
            assert!(rand::fill(page).is_ok(), "no random bytes");
            *at = 0;
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
