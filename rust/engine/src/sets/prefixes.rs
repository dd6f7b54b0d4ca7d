//! A set of IP prefixes as sorted ranges that do not overlap: one search by halves answers.

use std::net::IpAddr;

/// The leading `bits` bits of `address` (4 or 16 bytes), the others zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The first address in it.
    pub address: IpAddr,
    /// How many leading bits count.
    pub bits: u8,
}

impl Prefix {
    /// A prefix of this address, bits beyond its length cut off. None when it is too long. One of
    /// v4-mapped addresses becomes the IPv4 prefix.
    pub fn new(address: IpAddr, bits: u8) -> Option<Self> {
        match address {
            IpAddr::V4(v4) => {
                let kept = v4.to_bits() & mask(u128::from(bits), 32, bits <= 32)? as u32;
                Some(Self {
                    address: IpAddr::V4(kept.into()),
                    bits,
                })
            }
            IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
                Some(v4) if (96..=128).contains(&bits) => Self::new(IpAddr::V4(v4), bits - 96),
                _ => {
                    let kept = v6.to_bits() & mask(u128::from(bits), 128, bits <= 128)?;
                    Some(Self {
                        address: IpAddr::V6(kept.into()),
                        bits,
                    })
                }
            },
        }
    }

    /// Read `10.0.0.0/8` or an address.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) if bits.bytes().all(|c| c.is_ascii_digit()) => {
                (address.parse().ok()?, bits.parse().ok()?)
            }
            Some(_) => return None,
            None => {
                let address: IpAddr = text.parse().ok()?;
                (address, if address.is_ipv4() { 32 } else { 128 })
            }
        };
        Self::new(address, bits)
    }
}

fn mask(bits: u128, width: u32, fits: bool) -> Option<u128> {
    let free = width - u32::try_from(bits).ok().filter(|_| fits)?;
    Some(if free == 128 { 0 } else { u128::MAX << free })
}

/// Ranges from `start`, each a whole prefix; the widest of those that overlap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrefixSet {
    pub(super) v4: Vec<(u32, u8, u32)>, // start, bits, line
    pub(super) v6: Vec<(u128, u8, u32)>,
}

impl PrefixSet {
    /// A set of prefixes with their lines; of the same prefix the first line counts.
    pub fn of(prefixes: &[(Prefix, u32)]) -> Self {
        let mut found = Self::default();
        for (prefix, line) in prefixes {
            match prefix.address {
                IpAddr::V4(v4) => found.v4.push((v4.to_bits(), prefix.bits, *line)),
                IpAddr::V6(v6) => found.v6.push((v6.to_bits(), prefix.bits, *line)),
            }
        }
        // Prefixes lie inside each other or apart: sorted, a narrower one follows its widest.
        found.v4.sort_unstable();
        found.v6.sort_unstable();
        found
            .v4
            .dedup_by(|next, kept| within(next.0.into(), (kept.0.into(), kept.1), 32));
        found
            .v6
            .dedup_by(|next, kept| within(next.0, (kept.0, kept.1), 128));
        found.v4.shrink_to_fit();
        found.v6.shrink_to_fit();
        found
    }

    /// How many ranges there are.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes that it takes.
    pub fn size(&self) -> usize {
        self.v4.capacity() * size_of::<(u32, u8, u32)>()
            + self.v6.capacity() * size_of::<(u128, u8, u32)>()
    }

    /// The widest prefix that an address is in, with its line.
    pub fn find(&self, address: IpAddr) -> Option<(Prefix, u32)> {
        match address {
            IpAddr::V4(v4) => {
                let number = v4.to_bits();
                let after = self.v4.partition_point(|range| range.0 <= number);
                let (start, bits, line) = *self.v4.get(after.checked_sub(1)?)?;
                let inside = within(number.into(), (start.into(), bits), 32);
                let address = IpAddr::V4(start.into());
                inside.then_some((Prefix { address, bits }, line))
            }
            IpAddr::V6(v6) => {
                let number = v6.to_bits();
                let after = self.v6.partition_point(|range| range.0 <= number);
                let (start, bits, line) = *self.v6.get(after.checked_sub(1)?)?;
                let inside = within(number, (start, bits), 128);
                let address = IpAddr::V6(start.into());
                inside.then_some((Prefix { address, bits }, line))
            }
        }
    }
}

fn within(number: u128, (start, bits): (u128, u8), width: u32) -> bool {
    let free = width.saturating_sub(u32::from(bits));
    (number ^ start).checked_shr(free).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> impl Strategy<Value = Prefix> {
        let v4 = (any::<u32>(), 0..=32u8)
            .prop_filter_map("bits", |(n, bits)| Prefix::new(IpAddr::V4(n.into()), bits));
        let near = (0..64u32, 26..=32u8)
            .prop_filter_map("bits", |(n, bits)| Prefix::new(IpAddr::V4(n.into()), bits));
        let v6 = (any::<u128>(), 0..=128u8)
            .prop_filter_map("bits", |(n, bits)| Prefix::new(IpAddr::V6(n.into()), bits));
        prop_oneof![v4, near, v6]
    }

    fn slowly(prefix: Prefix, address: IpAddr) -> bool {
        Prefix::new(address, prefix.bits).is_some_and(|cut| cut == prefix)
            && address.is_ipv4() == prefix.address.is_ipv4()
    }

    proptest! {
        #[test]
        fn holds_what_any_of_its_prefixes_holds(
            prefixes in prop::collection::vec(prefix(), 0..20),
            some in prop::collection::vec(prop_oneof![
                (0..64u32).prop_map(|n| IpAddr::V4(n.into())),
                any::<u32>().prop_map(|n| IpAddr::V4(n.into())),
                any::<u128>().prop_map(|n| IpAddr::V6(n.into())),
            ], 0..10),
        ) {
            let numbered: Vec<_> = prefixes.iter().copied().zip(0..).collect();
            let set = PrefixSet::of(&numbered);
            for address in some.into_iter().chain(prefixes.iter().map(|one| one.address)) {
                let slow = prefixes.iter().any(|&one| slowly(one, address));
                let found = set.find(address);
                prop_assert_eq!(found.is_some(), slow);
                if let Some((prefix, line)) = found {
                    prop_assert_eq!(prefixes.iter().position(|&one| one == prefix), Some(line as usize));
                }
            }
        }
    }

    #[test]
    fn reads_prefixes_strictly() {
        let read = |text| Prefix::parse(text).map(|p| format!("{}/{}", p.address, p.bits));
        assert_eq!(read("10.1.2.3/8").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(read("::ffff:10.0.0.0/104").as_deref(), Some("10.0.0.0/8"));
        assert_eq!(read("::1").as_deref(), Some("::1/128"));
        assert_eq!(read("::/0").as_deref(), Some("::/0"));
        assert_eq!(read("0.0.0.0/0").as_deref(), Some("0.0.0.0/0"));
        for wrong in [
            "10.0.0.0/33",
            "10.0.0/8",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "::/129",
            "a",
            "",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
