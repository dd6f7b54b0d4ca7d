//! The cache file of a list: what was read, ready for use after one read of the file.
//!
//! `BYWAYSET`, a version, a stamp of the source, a checksum of what follows; then the lengths of the
//! parts and the parts. All numbers are little-endian. A file that is not just so counts as none.

use std::fs;
use std::io;
use std::path::Path;

use bytes::Bytes;

use super::Lists;
use super::names::NameSet;
use super::prefixes::PrefixSet;

/// What a cache file was made from, in the caller's terms.
pub type Stamp = [u8; 32];

const MAGIC: &[u8; 8] = b"BYWAYSET";
const VERSION: u32 = 1;
const HEAD: usize = 8 + 4 + 32 + 8;

impl Lists {
    /// Write the cache file whole: nobody ever sees a part of it.
    pub fn save(&self, path: &Path, stamp: &Stamp) -> io::Result<()> {
        let body = self.body();
        let mut data = Vec::with_capacity(HEAD + body.len());
        data.extend_from_slice(MAGIC);
        data.extend_from_slice(&VERSION.to_le_bytes());
        data.extend_from_slice(stamp);
        data.extend_from_slice(&checksum(&body).to_le_bytes());
        data.extend_from_slice(&body);
        let beside = path.with_extension(format!("{}.new", std::process::id()));
        fs::write(&beside, &data)
            .and_then(|()| fs::rename(&beside, path))
            .inspect_err(|_| drop(fs::remove_file(&beside)))
    }

    /// Load a cache file. None when there is none of this version and stamp, or it is damaged.
    pub fn load(path: &Path, stamp: &Stamp) -> Option<Self> {
        Self::of_bytes(&fs::read(path).ok()?.into(), stamp)
    }

    fn of_bytes(data: &Bytes, stamp: &Stamp) -> Option<Self> {
        let mut from = Parts(data);
        let known = from.take(8)? == MAGIC
            && from.number()? == VERSION
            && from.take(32)? == stamp
            && from.take(8)? == checksum(data.get(HEAD..)?).to_le_bytes();
        if !known {
            return None;
        }
        let count = from.number()? as usize;
        let (tags, slots, text) = (from.part()?, from.part()?, from.part()?);
        let names = NameSet::of_parts(
            count,
            data.slice_ref(tags),
            data.slice_ref(slots),
            data.slice_ref(text),
        )?;
        let (addresses, literal) = (from.prefixes()?, from.prefixes()?);
        let mut rest = Vec::new();
        for _ in 0..from.number()? {
            rest.push((
                from.number()?,
                String::from_utf8(from.part()?.to_vec()).ok()?,
            ));
        }
        from.0.is_empty().then_some(Self {
            names,
            addresses,
            literal,
            rest,
        })
    }

    fn body(&self) -> Vec<u8> {
        let mut to = Vec::with_capacity(self.names.size() + 1024);
        let (count, parts) = self.names.parts();
        number(&mut to, count);
        for part in parts {
            number(&mut to, part.len());
            to.extend_from_slice(part);
        }
        for set in [&self.addresses, &self.literal] {
            number(&mut to, set.v4.len());
            for (start, bits, line) in &set.v4 {
                to.extend_from_slice(&start.to_le_bytes());
                to.push(*bits);
                to.extend_from_slice(&line.to_le_bytes());
            }
            number(&mut to, set.v6.len());
            for (start, bits, line) in &set.v6 {
                to.extend_from_slice(&start.to_le_bytes());
                to.push(*bits);
                to.extend_from_slice(&line.to_le_bytes());
            }
        }
        number(&mut to, self.rest.len());
        for (line, text) in &self.rest {
            to.extend_from_slice(&line.to_le_bytes());
            number(&mut to, text.len());
            to.extend_from_slice(text.as_bytes());
        }
        to
    }
}

/// Lists are read from at most 4 GiB, so that every count fits.
fn number(to: &mut Vec<u8>, value: usize) {
    to.extend_from_slice(&(value as u32).to_le_bytes());
}

struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (part, after) = self.0.split_at_checked(count)?;
        self.0 = after;
        Some(part)
    }

    fn number(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn part(&mut self) -> Option<&'a [u8]> {
        let length = self.number()? as usize;
        self.take(length)
    }

    fn prefixes(&mut self) -> Option<PrefixSet> {
        let mut found = PrefixSet::default();
        for _ in 0..self.number()? {
            let start = self.number()?;
            found.v4.push((start, self.take(1)?[0], self.number()?));
        }
        for _ in 0..self.number()? {
            let start = u128::from_le_bytes(self.take(16)?.try_into().ok()?);
            found.v6.push((start, self.take(1)?[0], self.number()?));
        }
        Some(found)
    }
}

/// Against damage, not against malice: the file is the user's own. Four lanes, for speed.
fn checksum(data: &[u8]) -> u64 {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut lanes = [1u64, 2, 3, 4].map(|lane| FACTOR.wrapping_mul(lane));
    let (words, rest) = data.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let lane = &mut lanes[at % 4];
        *lane = (*lane ^ u64::from_le_bytes(*word))
            .wrapping_mul(FACTOR)
            .rotate_left(29);
    }
    let mut sum = data.len() as u64;
    for part in lanes.into_iter().chain(rest.iter().map(|&c| u64::from(c))) {
        sum = (sum ^ part).wrapping_mul(FACTOR).rotate_left(31);
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sets::Form;

    fn lists() -> Lists {
        let text = "a.example\nb.example\n10.0.0.0/8\nfd00::/8\nkeyword:ü\n";
        Lists::read(text.as_bytes(), Form::Lines)
    }

    fn bytes(stamp: &Stamp) -> Bytes {
        let path =
            std::env::temp_dir().join(format!("byway-set-{}-{}", std::process::id(), stamp[0]));
        lists().save(&path, stamp).expect("saved");
        let data = fs::read(&path).expect("read");
        fs::remove_file(&path).expect("removed");
        data.into()
    }

    #[test]
    fn loads_what_was_saved() {
        let data = bytes(&[7; 32]);

        assert_eq!(Lists::of_bytes(&data, &[7; 32]), Some(lists()));
        assert_eq!(Lists::of_bytes(&data, &[8; 32]), None);
    }

    #[test]
    fn takes_no_damaged_file() {
        let data = bytes(&[9; 32]);

        for at in 0..data.len() {
            let mut damaged = data.to_vec();
            damaged[at] ^= 0x40;
            assert_eq!(
                Lists::of_bytes(&damaged.into(), &[9; 32]),
                None,
                "byte {at}"
            );
            assert_eq!(
                Lists::of_bytes(&data.slice(..at), &[9; 32]),
                None,
                "cut at {at}"
            );
        }
    }
}
