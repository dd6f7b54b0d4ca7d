//! The answers of name servers that are still good: a table of bounded size, searched for each flow.
//!
//! An answer belongs to a realm (whoever was asked, a number of the owner's choice), a family of
//! addresses and a name. It is fresh for a while, then stale for a while, then gone. The clock is the
//! owner's: `now` is passed in, in seconds, and never runs backwards.
//!
//! When the table is full a hand goes round (the CLOCK algorithm): what was read since the hand last
//! came by is spared once, what is gone or was not read makes room.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use hashbrown::HashTable;

/// IPv4 or IPv6: what was asked for (an A or an AAAA record).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records.
    V6,
}

/// How the servers ended a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// There are addresses.
    Found,
    /// The name exists, without addresses of this family (RFC 2308, section 2.2).
    Empty,
    /// The name does not exist (RFC 2308, section 2.1).
    Unknown,
    /// Nobody could tell (RFC 9520).
    Failed,
}

/// An answer as it was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// How it ended, for all families together: addresses of one make it `Found`.
    pub outcome: Outcome,
    /// Seconds until the first part of it is no longer fresh; zero or less: it is stale.
    pub left: f64,
    /// Seconds until the first part of it is gone.
    pub stays: f64,
    /// The addresses, families in the order asked for.
    pub addresses: Vec<IpAddr>,
}

/// An answer as it is put in.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// How it ended; addresses make it `Found`.
    pub outcome: Outcome,
    /// The addresses, best first.
    pub addresses: &'a [IpAddr],
    /// It is fresh until then.
    pub fresh: f64,
    /// It is stale until then.
    pub stale: f64,
}

struct Entry {
    hash: u64,
    realm: u32,
    family: Family,
    name: Box<str>,
    outcome: Outcome,
    addresses: Box<[IpAddr]>,
    fresh: f64,
    stale: f64,
    read: bool,
}

impl Entry {
    fn is(&self, realm: u32, family: Family, name: &str) -> bool {
        self.realm == realm && self.family == family && *self.name == *name
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.name.len() + size_of_val(&*self.addresses)
    }
}

/// The table.
pub struct Answers {
    hasher: RandomState,
    places: HashTable<usize>,
    entries: Vec<Entry>,
    most: usize,
    hand: usize,
    hits: u64,
    misses: u64,
}

impl Answers {
    /// A table of at most so many answers (of one family each); none of them takes memory yet.
    pub fn new(most: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            places: HashTable::new(),
            entries: Vec::new(),
            most,
            hand: 0,
            hits: 0,
            misses: 0,
        }
    }

    /// What is known of a name in a realm, for all of these families; None when any part is unknown
    /// or gone.
    pub fn find(&mut self, realm: u32, families: &[Family], name: &str, now: f64) -> Option<Found> {
        let found = self.known(realm, families, name, now);
        if found.is_some() {
            self.hits += 1;
        } else {
            self.misses += 1;
        }
        found
    }

    fn known(&mut self, realm: u32, families: &[Family], name: &str, now: f64) -> Option<Found> {
        let mut found: Option<Found> = None;
        for &family in families {
            let at = self.place(realm, family, name)?;
            let entry = self.entries.get_mut(at)?;
            if entry.stale <= now {
                return None;
            }
            entry.read = true;
            let (left, stays) = (entry.fresh - now, entry.stale - now);
            match &mut found {
                None => {
                    found = Some(Found {
                        outcome: entry.outcome,
                        left,
                        stays,
                        addresses: entry.addresses.to_vec(),
                    });
                }
                Some(all) => {
                    all.left = all.left.min(left);
                    all.stays = all.stays.min(stays);
                    all.addresses.extend_from_slice(&entry.addresses);
                    all.outcome = joined(all.outcome, entry.outcome);
                }
            }
        }
        found
    }

    /// Remember an answer, in place of an earlier one. What is not good any more is not taken in.
    pub fn put(&mut self, realm: u32, family: Family, name: &str, answer: Answer<'_>, now: f64) {
        let until = answer.stale.max(answer.fresh);
        // also for a NaN, which compares with nothing
        if self.most == 0 || until.partial_cmp(&now) != Some(std::cmp::Ordering::Greater) {
            return;
        }
        let hash = self.hash(realm, family, name);
        let entry = Entry {
            hash,
            realm,
            family,
            name: name.into(),
            outcome: answer.outcome,
            addresses: answer.addresses.into(),
            fresh: answer.fresh,
            stale: until,
            read: false,
        };
        if let Some(at) = self.place(realm, family, name) {
            if let Some(old) = self.entries.get_mut(at) {
                *old = entry;
            }
            return;
        }
        if self.entries.len() >= self.most {
            self.make_room(now);
        }
        self.entries.push(entry);
        let entries = &self.entries;
        self.places
            .insert_unique(hash, entries.len() - 1, |&at| hash_at(entries, at));
    }

    /// Forget all answers of a realm.
    pub fn forget(&mut self, realm: u32) {
        let mut at = 0;
        while let Some(entry) = self.entries.get(at) {
            if entry.realm == realm {
                self.remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Hold at most so many answers from now on.
    pub fn resize(&mut self, most: usize, now: f64) {
        self.most = most;
        while self.entries.len() > most {
            self.make_room(now);
        }
    }

    /// How many answers there are, and the bytes that they take.
    pub fn sizes(&self) -> (usize, usize) {
        let own: usize = self.entries.iter().map(Entry::size).sum();
        let spare = (self.entries.capacity() - self.entries.len()) * size_of::<Entry>();
        (
            self.entries.len(),
            own + spare + self.places.allocation_size(),
        )
    }

    /// Look-ups that found all they asked for, and those that did not.
    pub fn counts(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }

    fn hash(&self, realm: u32, family: Family, name: &str) -> u64 {
        self.hasher.hash_one((realm, family, name))
    }

    fn place(&self, realm: u32, family: Family, name: &str) -> Option<usize> {
        let hash = self.hash(realm, family, name);
        let entries = &self.entries;
        let same = |&at: &usize| entries.get(at).is_some_and(|it| it.is(realm, family, name));
        self.places.find(hash, same).copied()
    }

    /// Remove one answer: the first under the hand that is gone, or was not read for a round.
    fn make_room(&mut self, now: f64) {
        for _ in 0..=2 * self.entries.len() {
            if self.hand >= self.entries.len() {
                self.hand = 0;
            }
            let Some(entry) = self.entries.get_mut(self.hand) else {
                return;
            };
            if entry.stale <= now || !entry.read {
                self.remove(self.hand);
                return;
            }
            entry.read = false;
            self.hand += 1;
        }
    }

    /// Take an entry out; the last one comes to its place.
    fn remove(&mut self, at: usize) {
        let Some(last) = self.entries.len().checked_sub(1) else {
            return;
        };
        self.drop_place(at);
        if at != last {
            let hash = hash_at(&self.entries, last);
            if let Some(place) = self.places.find_mut(hash, |&found| found == last) {
                *place = at;
            }
        }
        self.entries.swap_remove(at);
    }

    fn drop_place(&mut self, at: usize) {
        let hash = hash_at(&self.entries, at);
        if let Ok(place) = self.places.find_entry(hash, |&found| found == at) {
            place.remove();
        }
    }
}

fn hash_at(entries: &[Entry], at: usize) -> u64 {
    entries.get(at).map_or(0, |entry| entry.hash)
}

/// What two families say together: one with addresses is enough; else what is known of the name
/// itself; that nobody could tell counts least.
fn joined(one: Outcome, other: Outcome) -> Outcome {
    use Outcome::{Empty, Failed, Found, Unknown};
    match (one, other) {
        (Found, _) | (_, Found) => Found,
        (Unknown, _) | (_, Unknown) => Unknown,
        (Failed, _) | (_, Failed) => Failed,
        (Empty, Empty) => Empty,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::Ipv4Addr;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, Clone)]
    enum Step {
        Put(u32, Family, u8, u8, u8, u8),
        Find(u32, u8),
        Forget(u32),
        Wait(u8),
    }

    fn family() -> impl Strategy<Value = Family> {
        prop_oneof![Just(Family::V4), Just(Family::V6)]
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            6 => (0..2_u32, family(), 0..6_u8, 0..3_u8, 0..5_u8, 0..5_u8)
                .prop_map(|(a, b, c, d, e, f)| Step::Put(a, b, c, d, e, f)),
            6 => (0..2_u32, 0..6_u8).prop_map(|(a, b)| Step::Find(a, b)),
            1 => (0..2_u32).prop_map(Step::Forget),
            3 => (0..4_u8).prop_map(Step::Wait),
        ]
    }

    fn addresses(count: u8) -> Vec<IpAddr> {
        (0..count)
            .map(|at| Ipv4Addr::new(192, 0, 2, at).into())
            .collect()
    }

    /// The same, slow and without a bound.
    #[derive(Default)]
    struct Reference(HashMap<(u32, Family, u8), (u8, f64, f64)>);

    impl Reference {
        fn find(&self, realm: u32, name: u8, now: f64) -> Option<(usize, f64)> {
            let mut parts = Vec::new();
            for family in [Family::V4, Family::V6] {
                let &(count, fresh, stale) = self.0.get(&(realm, family, name))?;
                if stale <= now {
                    return None;
                }
                parts.push((usize::from(count), fresh - now));
            }
            let left = parts
                .iter()
                .map(|part| part.1)
                .fold(f64::INFINITY, f64::min);
            Some((parts.iter().map(|part| part.0).sum(), left))
        }
    }

    fn play(steps: &[Step], most: usize, exact: bool) {
        let (mut table, mut reference, mut now) = (Answers::new(most), Reference::default(), 0.0);
        for step in steps {
            match *step {
                Step::Put(realm, family, name, count, fresh, stale) => {
                    let (fresh, stale) = (now + f64::from(fresh), now + f64::from(fresh + stale));
                    let addresses = addresses(count);
                    let outcome = if count == 0 {
                        Outcome::Empty
                    } else {
                        Outcome::Found
                    };
                    let answer = Answer {
                        outcome,
                        addresses: &addresses,
                        fresh,
                        stale,
                    };
                    table.put(realm, family, &format!("n{name}"), answer, now);
                    if stale > now {
                        reference
                            .0
                            .insert((realm, family, name), (count, fresh, stale));
                    }
                }
                Step::Find(realm, name) => {
                    let both = [Family::V4, Family::V6];
                    let found = table.find(realm, &both, &format!("n{name}"), now);
                    let wanted = reference.find(realm, name, now);
                    let told = found.map(|found| (found.addresses.len(), found.left));
                    // what had to make room is not found; what is found is what was put in
                    assert!(
                        told == wanted || (!exact && told.is_none()),
                        "{told:?} {wanted:?}"
                    );
                }
                Step::Forget(realm) => {
                    table.forget(realm);
                    reference.0.retain(|key, _| key.0 != realm);
                }
                Step::Wait(seconds) => now += f64::from(seconds),
            }
            let (entries, _) = table.sizes();
            assert!(entries <= most && table.places.len() == entries);
            for (at, entry) in table.entries.iter().enumerate() {
                assert_eq!(
                    table.place(entry.realm, entry.family, &entry.name),
                    Some(at)
                );
            }
        }
    }

    proptest! {
        #[test]
        fn it_answers_as_a_slow_table_does(steps in vec(step(), 0..80)) {
            play(&steps, 1000, true);
        }

        #[test]
        fn a_full_one_forgets_and_never_invents(steps in vec(step(), 0..120), most in 0..8_usize) {
            play(&steps, most, false);
        }
    }

    #[test]
    fn what_is_read_outlives_what_is_not() {
        let mut table = Answers::new(8);
        let one = addresses(1);
        let answer = Answer {
            outcome: Outcome::Found,
            addresses: &one,
            fresh: 60.0,
            stale: 60.0,
        };
        table.put(0, Family::V4, "read", answer, 0.0);
        for at in 0..100 {
            assert!(table.find(0, &[Family::V4], "read", 0.0).is_some());
            table.put(0, Family::V4, &format!("other{at}"), answer, 0.0);
        }
        assert!(table.find(0, &[Family::V4], "read", 0.0).is_some());
        table.resize(1, 0.0);
        assert_eq!(table.sizes().0, 1);
    }

    #[test]
    fn families_join_to_one_outcome() {
        let mut table = Answers::new(8);
        let one = addresses(1);
        let none = Answer {
            outcome: Outcome::Unknown,
            addresses: &[],
            fresh: 5.0,
            stale: 5.0,
        };
        let some = Answer {
            outcome: Outcome::Found,
            addresses: &one,
            fresh: 9.0,
            stale: 9.0,
        };
        table.put(0, Family::V4, "a", none, 0.0);
        table.put(0, Family::V6, "a", some, 0.0);
        let found = table.find(0, &[Family::V6, Family::V4], "a", 1.0);
        let wanted = Found {
            outcome: Outcome::Found,
            left: 4.0,
            stays: 4.0,
            addresses: one,
        };
        assert_eq!(found, Some(wanted));
    }
}
