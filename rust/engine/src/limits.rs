//! How many connections one or several listeners let in: in all, and from each source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The counts of one listener, or of several that share them. Cheap to clone.
#[derive(Clone)]
pub struct Turnstile(Arc<Inner>);

struct Inner {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: usize,
    per_source: usize,
    all: usize,
    by_source: HashMap<IpAddr, usize>,
    turned_away: u64,
}

impl Turnstile {
    /// Let in at most `total` at once, and `per_source` from one address (one /64 of IPv6).
    pub fn new(total: usize, per_source: usize) -> Self {
        Self(Arc::new(Inner {
            counts: Mutex::new(Counts {
                total,
                per_source,
                ..Counts::default()
            }),
        }))
    }

    /// Other limits from now on; who is in stays in.
    pub fn set(&self, total: usize, per_source: usize) {
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.total, counts.per_source) = (total, per_source);
    }

    /// Count one in, or say no.
    pub fn enter(&self, source: Option<IpAddr>) -> Option<Permit> {
        let source = source.map(network_of);
        let mut counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let here = source
            .and_then(|source| counts.by_source.get(&source).copied())
            .unwrap_or(0);
        if counts.all >= counts.total || here >= counts.per_source {
            counts.turned_away += 1;
            return None;
        }
        counts.all += 1;
        if let Some(source) = source {
            counts.by_source.insert(source, here + 1);
        }
        drop(counts);
        Some(Permit {
            turnstile: self.clone(),
            source,
        })
    }

    /// How many are in now, and how many were turned away since the start.
    pub fn counts(&self) -> (usize, u64) {
        let counts = self.0.counts.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.all, counts.turned_away)
    }
}

/// A place inside; dropping it counts one out.
pub struct Permit {
    turnstile: Turnstile,
    source: Option<IpAddr>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut counts = self
            .turnstile
            .0
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(source) = self.source
            && let Some(here) = counts.by_source.get_mut(&source)
        {
            *here -= 1;
            if *here == 0 {
                counts.by_source.remove(&source);
            }
        }
    }
}

fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::from([a, b, c, d, 0, 0, 0, 0])
        }
        IpAddr::V4(address) => IpAddr::V4(address),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_and_out() {
        let turnstile = Turnstile::new(3, 2);
        let one = Some(IpAddr::from([192, 0, 2, 1]));
        let first = turnstile.enter(one);
        let second = turnstile.enter(one);
        assert!(first.is_some() && second.is_some());
        assert!(turnstile.enter(one).is_none(), "the source's own limit");
        let other = turnstile.enter(None);
        assert!(other.is_some());
        assert!(turnstile.enter(None).is_none(), "the limit in all");
        drop(first);
        assert!(turnstile.enter(one).is_some());
        assert_eq!(turnstile.counts(), (2, 2));
        turnstile.set(2, 2);
        assert!(turnstile.enter(None).is_none(), "the new limit in all");
    }

    #[test]
    fn one_network_of_ipv6_is_one_source() {
        let turnstile = Turnstile::new(10, 1);
        let first = turnstile.enter("2001:db8::1".parse().ok());
        assert!(first.is_some());
        assert!(turnstile.enter("2001:db8::2".parse().ok()).is_none());
        assert!(turnstile.enter("2001:db8:0:1::2".parse().ok()).is_some());
    }
}
