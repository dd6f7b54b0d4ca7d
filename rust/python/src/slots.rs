//! Who waits for what: a token names a place here. Only the thread that holds the interpreter comes
//! near it, so the lock is never contended.

use std::sync::{Mutex, PoisonError};

use byway_engine::completion::Token;

/// A table of waiting operations. A token is a place and a generation, so a late completion of an
/// operation that was given up finds nothing.
pub struct Slots<T> {
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slots<T> {
    pub fn new() -> Self {
        Self {
            inner: Mutex::new(Inner {
                places: Vec::new(),
                free: Vec::new(),
            }),
        }
    }

    fn with<R>(&self, work: impl FnOnce(&mut Inner<T>) -> R) -> R {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reserve a place; `put` fills it.
    pub fn reserve(&self) -> Token {
        self.with(|inner| {
            let index = inner.free.pop().unwrap_or_else(|| {
                inner.places.push((0, None));
                (inner.places.len() - 1) as u32
            });
            Token::from(inner.places[index as usize].0) << 32 | Token::from(index)
        })
    }

    /// Fill a reserved place, or fill it again after `take`.
    pub fn put(&self, token: Token, value: T) {
        self.with(|inner| {
            if let Some((generation, place)) = inner.places.get_mut(token as u32 as usize)
                && *generation == (token >> 32) as u32
            {
                *place = Some(value);
            }
        });
    }

    /// Take out what waits at a place, keeping the place reserved.
    pub fn take(&self, token: Token) -> Option<T> {
        self.with(|inner| {
            let (generation, place) = inner.places.get_mut(token as u32 as usize)?;
            if *generation == (token >> 32) as u32 {
                place.take()
            } else {
                None
            }
        })
    }

    /// Free a place; its token will never match again.
    pub fn free(&self, token: Token) -> Option<T> {
        self.with(|inner| {
            let index = token as u32;
            let (generation, place) = inner.places.get_mut(index as usize)?;
            if *generation != (token >> 32) as u32 {
                return None;
            }
            *generation = generation.wrapping_add(1);
            let taken = place.take();
            inner.free.push(index);
            taken
        })
    }

    /// Take out everything, at shutdown.
    pub fn clear(&self) -> Vec<T> {
        self.with(|inner| {
            let taken = inner.places.iter_mut().filter_map(|(generation, place)| {
                *generation = generation.wrapping_add(1);
                place.take()
            });
            let taken = taken.collect();
            inner.free = (0..inner.places.len() as u32).collect();
            taken
        })
    }

    /// How many places are taken.
    pub fn len(&self) -> usize {
        self.with(|inner| inner.places.len() - inner.free.len())
    }
}
