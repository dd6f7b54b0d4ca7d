//! The Internet checksum (RFC 1071).

use std::net::IpAddr;

/// A sum in the making: words of network order, folded at the end.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sum(u64);

impl Sum {
    /// Add bytes; a part that has an odd number of them must be the last.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let mut sum = u128::from(self.0);
        let mut wholes = bytes.chunks_exact(8);
        for whole in &mut wholes {
            let mut word = [0; 8];
            word.copy_from_slice(whole);
            sum += u128::from(u64::from_be_bytes(word));
        }
        let rest = wholes.remainder();
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        sum += u128::from(u64::from_be_bytes(word));
        // Words of 16 bits may be added in pieces of any size: 2^16 is 1 in this arithmetic.
        let folded = (sum >> 64) as u64;
        let (low, carried) = (sum as u64).overflowing_add(folded);
        Self(low + u64::from(carried))
    }

    /// Add parts that need not be of even lengths, behind an even number of bytes.
    #[must_use]
    pub fn with_all(self, parts: &[&[u8]]) -> Self {
        let (mut sum, mut odd) = (self, false);
        for part in parts {
            // A part that begins at an odd place has its bytes in each other's places.
            let partial = Self::default().with(part).partial();
            let turned = if odd { partial.swap_bytes() } else { partial };
            sum = sum.with(&turned.to_be_bytes());
            odd ^= part.len() % 2 == 1;
        }
        sum
    }

    /// The sum in 16 bits, not inverted: what a device is left to finish.
    #[must_use]
    pub fn partial(self) -> u16 {
        let mut sum = self.0;
        while sum > 0xFFFF {
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        sum as u16
    }

    /// The checksum.
    #[must_use]
    pub fn done(self) -> u16 {
        !self.partial()
    }
}

/// The pseudo header of a packet with so many bytes behind its IP header.
pub fn pseudo(source: IpAddr, destination: IpAddr, protocol: u8, length: usize) -> Sum {
    let sum = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => Sum::default()
            .with(&source.octets())
            .with(&destination.octets()),
        (source, destination) => Sum::default().with(&six(source)).with(&six(destination)),
    };
    sum.with(&(length as u32).to_be_bytes())
        .with(&u32::from(protocol).to_be_bytes())
}

fn six(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sums_the_example_of_the_rfc() {
        let sum = Sum::default().with(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]);
        assert_eq!(sum.partial(), 0xddf2);
        assert_eq!(sum.done(), 0x220d);
    }

    proptest! {
        #[test]
        fn it_is_the_sum_of_all_words(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut plain: u32 = 0;
            for pair in bytes.chunks(2) {
                let word = [pair[0], pair.get(1).copied().unwrap_or(0)];
                plain += u32::from(u16::from_be_bytes(word));
                plain = (plain & 0xFFFF) + (plain >> 16);
            }
            // Zero has two forms in this arithmetic.
            let same = |sum: u16| if sum == 0xFFFF { 0 } else { sum };
            prop_assert_eq!(same(Sum::default().with(&bytes).partial()), same(plain as u16));
            let middle = bytes.len() / 4 * 2;
            let parts = Sum::default().with(&bytes[..middle]).with(&bytes[middle..]);
            prop_assert_eq!(same(parts.partial()), same(plain as u16));
        }
    }
}
