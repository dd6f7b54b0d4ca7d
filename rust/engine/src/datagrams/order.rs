//! Who was silent longest: a list through the entries of a slab, newest to oldest.

use slab::Slab;

/// Nobody.
pub const NONE: u32 = u32::MAX;

/// An entry's neighbours in its list.
#[derive(Debug, Clone, Copy)]
pub struct Links {
    newer: u32,
    older: u32,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            newer: NONE,
            older: NONE,
        }
    }
}

/// What can be in a list.
pub trait Linked {
    /// Its neighbours.
    fn links(&self) -> &Links;
    /// The same, to be changed.
    fn links_mut(&mut self) -> &mut Links;
}

/// The ends of a list.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    newest: u32,
    oldest: u32,
    len: usize,
}

impl Default for Order {
    fn default() -> Self {
        Self {
            newest: NONE,
            oldest: NONE,
            len: 0,
        }
    }
}

impl Order {
    /// How many are in it.
    pub fn len(self) -> usize {
        self.len
    }

    /// The one that was silent longest.
    pub fn oldest(self) -> Option<u32> {
        known(self.oldest)
    }

    /// All of them, the newest first.
    pub fn iter<T: Linked>(self, slab: &Slab<T>) -> impl Iterator<Item = u32> {
        std::iter::successors(known(self.newest), |&at| {
            known(slab[at as usize].links().older)
        })
    }

    /// Put an entry that is in no list first.
    pub fn add<T: Linked>(&mut self, slab: &mut Slab<T>, entry: u32) {
        let next = std::mem::replace(&mut self.newest, entry);
        *slab[entry as usize].links_mut() = Links {
            newer: NONE,
            older: next,
        };
        match slab.get_mut(next as usize) {
            Some(next) => next.links_mut().newer = entry,
            None => self.oldest = entry,
        }
        self.len += 1;
    }

    /// Take out an entry that is in this list.
    pub fn remove<T: Linked>(&mut self, slab: &mut Slab<T>, entry: u32) {
        let Links { newer, older } = *slab[entry as usize].links();
        match slab.get_mut(newer as usize) {
            Some(next) => next.links_mut().older = older,
            None => self.newest = older,
        }
        match slab.get_mut(older as usize) {
            Some(next) => next.links_mut().newer = newer,
            None => self.oldest = newer,
        }
        self.len -= 1;
    }
}

fn known(at: u32) -> Option<u32> {
    (at != NONE).then_some(at)
}
