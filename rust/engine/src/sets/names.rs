//! A set of host names as one hash table over one text: some 30 bytes for a name.
//!
//! The hash runs from the end of a name to its beginning, so that one pass over a name asks for
//! every suffix of it. A slot is a byte of the hash (0: free) and the offset of an entry in `text`:
//! what the name stands for, its length, its line, and itself.

use std::ops::Deref;

use bytes::Bytes;

/// What a name stands for, as bits.
pub const ITSELF: u8 = 1;
/// Every name below it.
pub const BELOW: u8 = 2;
/// Every name directly below it.
pub const CHILD: u8 = 4;

const HEAD: usize = 6;
const LEAST_POWER: u32 = 4;

/// The entry that takes a name: its line, and where in the name it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// The line of the entry, from 1.
    pub line: u32,
    /// Where the entry begins in the name that was asked for.
    pub start: usize,
}

/// Names in lower case, without trailing dots: growing in vectors, or done, and then perhaps a part
/// of a cache file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<B> {
    tags: B,
    slots: B, // little-endian u32 each, as in the cache file
    text: B,
    count: usize,
}

/// A set that is done.
pub type NameSet = Table<Bytes>;

/// A set that grows.
pub type NameBuilder = Table<Vec<u8>>;

impl Default for NameSet {
    fn default() -> Self {
        NameBuilder::with_room(0).done()
    }
}

impl NameBuilder {
    /// An empty set with room for so many names.
    pub fn with_room(names: usize) -> Self {
        let power = (names * 4 / 3 + 1).next_power_of_two().trailing_zeros();
        Self::of_power(power.clamp(LEAST_POWER, 30))
    }

    fn of_power(power: u32) -> Self {
        Self {
            tags: vec![0; 1 << power],
            slots: vec![0; 4 << power],
            text: Vec::new(),
            count: 0,
        }
    }

    /// Add a name of at most 255 bytes; of the same name the first line counts. False when full.
    pub fn insert(&mut self, name: &[u8], takes: u8, line: u32) -> bool {
        let Ok(length) = u8::try_from(name.len()) else {
            return false;
        };
        if (self.count + 1) * 4 > self.tags.len() * 3 {
            self.grow();
        }
        let hash = mixed(name.iter().rev().fold(SEED, |hash, &c| step(hash, c)));
        let (slot, found) = self.probe(hash, name);
        if let Some(at) = found {
            if let Some(known) = self.text.get_mut(at) {
                *known |= takes;
            }
            return true;
        }
        let Ok(at) = u32::try_from(self.text.len()) else {
            return false;
        };
        self.tags[slot] = tag(hash);
        self.slots[slot * 4..slot * 4 + 4].copy_from_slice(&at.to_le_bytes());
        self.text.push(takes);
        self.text.push(length);
        self.text.extend_from_slice(&line.to_le_bytes());
        self.text.extend_from_slice(name);
        self.count += 1;
        true
    }

    fn grow(&mut self) {
        let power = self.tags.len().trailing_zeros() + 1;
        let mut wider = Self::of_power(power);
        wider.text = std::mem::take(&mut self.text);
        wider.count = self.count;
        let mut at = 0;
        while let Some(name) = wider.name(at) {
            let hash = mixed(name.iter().rev().fold(SEED, |hash, &c| step(hash, c)));
            let next = at + HEAD + name.len();
            let mask = wider.tags.len() - 1;
            let mut slot = (hash >> 8) as usize & mask;
            while wider.tags[slot] != 0 {
                slot = (slot + 1) & mask;
            }
            wider.tags[slot] = tag(hash);
            wider.slots[slot * 4..slot * 4 + 4].copy_from_slice(&(at as u32).to_le_bytes());
            at = next;
        }
        *self = wider;
    }

    /// The set, to be asked from now on.
    pub fn done(mut self) -> NameSet {
        self.text.shrink_to_fit();
        Table {
            tags: self.tags.into(),
            slots: self.slots.into(),
            text: self.text.into(),
            count: self.count,
        }
    }
}

impl<B: Deref<Target = [u8]>> Table<B> {
    /// How many different names there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes that it takes.
    pub fn size(&self) -> usize {
        self.tags.len() + self.slots.len() + self.text.len()
    }

    /// Whether any entry takes a name.
    pub fn holds(&self, name: &[u8]) -> bool {
        self.walk(name, true).is_some()
    }

    /// The entry nearest to a name that takes it.
    pub fn find(&self, name: &[u8]) -> Option<Found> {
        self.walk(name, false)
    }

    fn walk(&self, name: &[u8], any: bool) -> Option<Found> {
        if self.count == 0 || name.len() > 255 {
            return None;
        }
        let mut above = memchr::memchr_iter(b'.', name).count(); // labels in front of the suffix
        let (mut hash, mut found) = (SEED, None);
        for start in (0..name.len()).rev() {
            hash = step(hash, name[start]);
            if start > 0 && name[start - 1] != b'.' {
                continue;
            }
            let wanted = match above {
                0 => ITSELF,
                1 => BELOW | CHILD,
                _ => BELOW,
            };
            above = above.saturating_sub(1);
            if let (_, Some(at)) = self.probe(mixed(hash), &name[start..])
                && self.text[at] & wanted != 0
            {
                let line = self.text.get(at + 2..at + 6)?;
                let line = u32::from_le_bytes(line.try_into().ok()?);
                found = Some(Found { line, start });
                if any {
                    return found;
                }
            }
        }
        found
    }

    /// The slot of a name, or the free one where it would stand; and its entry.
    fn probe(&self, hash: u64, name: &[u8]) -> (usize, Option<usize>) {
        let (mask, wanted) = (self.tags.len() - 1, tag(hash));
        let mut slot = (hash >> 8) as usize & mask;
        for _ in 0..=mask {
            match self.tags[slot] {
                0 => return (slot, None),
                tag if tag == wanted => {
                    if let Some(at) = self.entry(slot)
                        && self.name(at) == Some(name)
                    {
                        return (slot, Some(at));
                    }
                }
                _ => {}
            }
            slot = (slot + 1) & mask;
        }
        (slot, None)
    }

    fn entry(&self, slot: usize) -> Option<usize> {
        let bytes = self.slots.get(slot * 4..slot * 4 + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?) as usize)
    }

    fn name(&self, at: usize) -> Option<&[u8]> {
        let length = usize::from(*self.text.get(at + 1)?);
        self.text.get(at + HEAD..at + HEAD + length)
    }
}

impl NameSet {
    /// Its parts, as the cache file has them.
    pub(super) fn parts(&self) -> (usize, [&[u8]; 3]) {
        (self.count, [&self.tags, &self.slots, &self.text])
    }

    /// Put it together again. None when the parts do not fit each other.
    pub(super) fn of_parts(count: usize, tags: Bytes, slots: Bytes, text: Bytes) -> Option<Self> {
        let fits = tags.len().is_power_of_two() && slots.len() == tags.len() * 4;
        (fits && count < tags.len()).then_some(Self {
            tags,
            slots,
            text,
            count,
        })
    }
}

const SEED: u64 = 0xcbf2_9ce4_8422_2325;

/// One byte of FNV-1a.
fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

/// Spread the bits: FNV alone leaves the high ones of short names alike.
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ (hash >> 32)
}

fn tag(hash: u64) -> u8 {
    (hash as u8).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn name() -> impl Strategy<Value = String> {
        prop::collection::vec("(a|b|ab|com)", 1..5).prop_map(|labels| labels.join("."))
    }

    fn slowly(entries: &[(String, u8)], name: &str) -> bool {
        entries.iter().any(|(entry, takes)| {
            let below = name.ends_with(&format!(".{entry}"));
            let labels = |text: &str| text.split('.').count();
            (takes & ITSELF != 0 && entry == name)
                || (takes & BELOW != 0 && below)
                || (takes & CHILD != 0 && below && labels(name) == labels(entry) + 1)
        })
    }

    proptest! {
        #[test]
        fn holds_what_the_slow_way_holds(
            entries in prop::collection::vec((name(), prop::sample::select(vec![1u8, 2, 3, 4])), 0..40),
            names in prop::collection::vec(name(), 1..10),
        ) {
            let mut set = NameBuilder::with_room(0);
            for (line, (entry, takes)) in entries.iter().enumerate() {
                prop_assert!(set.insert(entry.as_bytes(), *takes, line as u32));
            }
            for name in names {
                prop_assert_eq!(set.holds(name.as_bytes()), slowly(&entries, &name));
                let found = set.find(name.as_bytes());
                prop_assert_eq!(found.is_some(), set.holds(name.as_bytes()));
                if let Some(found) = found {
                    let first = entries.iter().position(|(entry, _)| *entry == name[found.start..]);
                    prop_assert_eq!(first, Some(found.line as usize));
                }
            }
        }
    }

    #[test]
    fn grows_and_forgets_nothing() {
        let mut set = NameBuilder::with_room(0);
        let name = |at: u32| format!("host-{at}.example");
        for at in 0..5000 {
            assert!(set.insert(name(at).as_bytes(), ITSELF | BELOW, at));
        }
        for at in 0..5000 {
            let below = format!("www.{}", name(at));
            assert_eq!(
                set.find(below.as_bytes()),
                Some(Found { line: at, start: 4 })
            );
        }
        assert_eq!(set.len(), 5000);
        assert!(!set.holds(b"host-5000.example"));
    }
}
