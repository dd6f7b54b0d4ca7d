//! Memory for one batch in and one out.

use std::cell::RefCell;

use super::mmsg::Inbox;
use super::outbox::Outbox;

/// What every thread that moves packets has once, so that no session owns a buffer.
pub struct Boxes {
    /// Where packets come in.
    pub inbox: Inbox,
    /// Where they leave.
    pub outbox: Outbox,
}

thread_local! {
    static BOXES: RefCell<Option<Box<Boxes>>> = const { RefCell::new(None) };
}

/// Lend the thread's boxes. Not to be called from within `work`.
pub fn with_boxes<R>(work: impl FnOnce(&mut Boxes) -> R) -> R {
    BOXES.with_borrow_mut(|boxes| {
        let boxes = boxes.get_or_insert_with(|| {
            Box::new(Boxes {
                inbox: Inbox::new(),
                outbox: Outbox::default(),
            })
        });
        work(boxes)
    })
}
