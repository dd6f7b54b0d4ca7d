//! Reading a list line by line. Taken is what is plainly a name or a prefix; every other line goes
//! back as it is, to be read (or refused) by somebody who knows the whole form.

use super::Lists;
use super::names::{BELOW, CHILD, ITSELF, NameBuilder};
use super::prefixes::{Prefix, PrefixSet};

/// How a list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One entry a line; a plain name takes all below it, too.
    Lines,
    /// A rule provider of Clash, as text or YAML.
    Clash,
    /// A hosts file that blocks.
    Hosts,
    /// The DNS filter syntax of `AdGuard`.
    Adblock,
    /// The part of dnsmasq's configuration that gives names servers or answers.
    Dnsmasq,
    /// What a binary list was read to: lines without comments.
    Unpacked,
}

impl Form {
    /// The form with this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "lines" => Some(Self::Lines),
            "clash" => Some(Self::Clash),
            "hosts" => Some(Self::Hosts),
            "adblock" => Some(Self::Adblock),
            "dnsmasq" => Some(Self::Dnsmasq),
            "unpacked" => Some(Self::Unpacked),
            _ => None,
        }
    }
}

const SUFFIX: u8 = ITSELF | BELOW;
const BLOCKING: [&str; 4] = ["0.0.0.0", "127.0.0.1", "::", "::1"];
const OWN: [&str; 4] = [
    "localhost",
    "localhost.localdomain",
    "local",
    "broadcasthost",
];

struct Reading {
    names: NameBuilder,
    addresses: Vec<(Prefix, u32)>,
    literal: Vec<(Prefix, u32)>,
}

pub(super) fn read(data: &[u8], form: Form) -> Lists {
    let data = data.strip_prefix(b"\xef\xbb\xbf").unwrap_or(data);
    let mut reading = Reading {
        names: NameBuilder::with_room(memchr::memchr_iter(b'\n', data).count() + 1),
        addresses: Vec::new(),
        literal: Vec::new(),
    };
    let mut rest = Vec::new();
    for (raw, line) in data.split(|&c| c == b'\n').zip(1..) {
        let taken = std::str::from_utf8(raw).is_ok_and(|text| {
            let text = text.trim_ascii();
            text.is_empty() || reading.line(text, form, line).is_some()
        });
        if !taken {
            rest.push((line, String::from_utf8_lossy(raw).trim().to_owned()));
        }
    }
    Lists {
        names: reading.names.done(),
        addresses: PrefixSet::of(&reading.addresses),
        literal: PrefixSet::of(&reading.literal),
        rest,
    }
}

impl Reading {
    /// Take a line, or None when it has to be read by somebody else.
    fn line(&mut self, text: &str, form: Form, line: u32) -> Option<()> {
        match form {
            Form::Lines if text.starts_with(['#', ';']) => Some(()),
            Form::Lines | Form::Unpacked => match text.strip_prefix('=') {
                Some(name) => self.name(name, ITSELF, line),
                None => self.labelled(text, SUFFIX, line),
            },
            Form::Clash => self.clash(text, line),
            Form::Hosts => self.hosts(text, line),
            Form::Adblock => self.adblock(text, line),
            Form::Dnsmasq => self.dnsmasq(text, line),
        }
    }

    fn name(&mut self, name: &str, takes: u8, line: u32) -> Option<()> {
        let mut lower = [0; 253];
        let name = lowered(name, &mut lower)?;
        self.names.insert(name, takes, line).then_some(())
    }

    /// `+.a`, `.a`, `*.a`, a prefix, or a plain name, which stands for `plain`.
    fn labelled(&mut self, text: &str, plain: u8, line: u32) -> Option<()> {
        let (name, takes) = if let Some(name) = text.strip_prefix("+.") {
            (name, SUFFIX)
        } else if let Some(name) = text.strip_prefix('.') {
            (name, BELOW)
        } else if let Some(name) = text.strip_prefix("*.") {
            (name, CHILD)
        } else {
            (text, plain)
        };
        if name.len() == text.len()
            && text.ends_with(|c: char| c.is_ascii_hexdigit() || c == ':')
            && let Some(prefix) = Prefix::parse(text)
        {
            self.addresses.push((prefix, line));
            return Some(());
        }
        self.name(name, takes, line)
    }

    fn clash(&mut self, text: &str, line: u32) -> Option<()> {
        if text.starts_with('#') || text.starts_with("//") {
            return Some(());
        }
        if matches!(text, "payload:" | "---" | "...") {
            return Some(());
        }
        let entry = match text.strip_prefix('-') {
            Some(item) => unquoted(item.strip_prefix([' ', '\t'])?.trim_ascii())?,
            None => text,
        };
        let Some((kind, value)) = entry.split_once(',') else {
            return self.labelled(entry, ITSELF, line);
        };
        match kind {
            "DOMAIN" => self.name(value, ITSELF, line),
            "DOMAIN-SUFFIX" => self.name(value, SUFFIX, line),
            "IP-CIDR" | "IP-CIDR6" => {
                let (text, to) = match value.strip_suffix(",no-resolve") {
                    Some(text) => (text, &mut self.literal),
                    None => (value, &mut self.addresses),
                };
                to.push((Prefix::parse(text)?, line));
                Some(())
            }
            _ => None,
        }
    }

    fn hosts(&mut self, text: &str, line: u32) -> Option<()> {
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let mut words = text.split_ascii_whitespace();
        let Some(address) = words.next() else {
            return Some(());
        };
        let names = words.clone();
        let plain = |name: &str| {
            lowered(name, &mut [0; 253]).is_some()
                && !OWN.contains(&name)
                && !name.starts_with("ip6-")
        };
        if !BLOCKING.contains(&address) || names.clone().next().is_none() || !words.all(plain) {
            return None;
        }
        for name in names {
            self.name(name, ITSELF, line)?;
        }
        Some(())
    }

    /// `server=/a/b/192.0.2.1`, `address=/a/`, `local=/a/`: each name with all below it.
    fn dnsmasq(&mut self, text: &str, line: u32) -> Option<()> {
        if text.starts_with('#') {
            return Some(());
        }
        let (key, rest) = text.split_once("=/")?;
        if !matches!(key, "server" | "address" | "local" | "ipset" | "nftset") {
            return None;
        }
        let (names, _) = rest.rsplit_once('/')?;
        let plain = |name: &str| lowered(name, &mut [0; 253]).is_some();
        if !names.split('/').all(plain) {
            return None;
        }
        for name in names.split('/') {
            self.name(name, SUFFIX, line)?;
        }
        Some(())
    }

    fn adblock(&mut self, text: &str, line: u32) -> Option<()> {
        if text.starts_with('!') {
            return Some(());
        }
        if let Some(name) = text.strip_prefix("||") {
            return self.name(name.strip_suffix('^')?, SUFFIX, line);
        }
        if text.starts_with(|c: char| c.is_ascii_digit() || c == ':') && text.contains(' ') {
            return self.hosts(text, line);
        }
        self.name(text, ITSELF, line)
    }
}

/// The inside of 'quotes' or "quotes", or the whole; None when that takes a closer look.
fn unquoted(item: &str) -> Option<&str> {
    let inner = match item.as_bytes() {
        [quote @ (b'\'' | b'"'), .., last] if quote == last => &item[1..item.len() - 1],
        _ => item,
    };
    let plain = !inner.contains(['\'', '"', '\\', '#']) && !inner.is_empty();
    plain.then_some(inner)
}

/// A host name in lower case: letters, digits, `-` and `_`; labels of 1 to 63; the last no number.
fn lowered<'a>(name: &str, room: &'a mut [u8; 253]) -> Option<&'a [u8]> {
    let found = room.get_mut(..name.len())?;
    let (mut label, mut digits) = (0, true);
    for (to, c) in found.iter_mut().zip(name.bytes()) {
        *to = match c {
            b'.' if label > 0 => {
                (label, digits) = (0, true);
                *to = c;
                continue;
            }
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => c,
            b'A'..=b'Z' => c.to_ascii_lowercase(),
            _ => return None,
        };
        digits &= c.is_ascii_digit();
        label += 1;
        if label > 63 {
            return None;
        }
    }
    (label > 0 && !digits).then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rest(form: Form, text: &str) -> Vec<u32> {
        let lists = Lists::read(text.as_bytes(), form);
        lists.rest.iter().map(|(line, _)| *line).collect()
    }

    #[test]
    fn takes_what_is_plain_and_hands_back_the_rest() {
        let text =
            "# x\nA.example\n=b.example\n.c.example\r\n10.0.0.0/8\n\nkeyword:x\na b\nfd00::/8";
        let lists = Lists::read(text.as_bytes(), Form::Lines);

        assert_eq!(rest(Form::Lines, text), [7, 8]);
        assert!(lists.names.holds(b"www.a.example"));
        assert!(!lists.names.holds(b"www.b.example"));
        assert!(lists.names.holds(b"www.c.example") && !lists.names.holds(b"c.example"));
        assert_eq!(lists.addresses.len(), 2);
        assert_eq!(lists.rest[0].1, "keyword:x");
    }

    #[test]
    fn knows_the_other_forms() {
        let clash = "payload:\n  - '+.a.example'\n- \"*.b.example\"\n  - DOMAIN,c.example\n\
                     - IP-CIDR,10.0.0.0/8,no-resolve\n- IP-CIDR6,fd00::/8\n- 'it''s'\n- GEOIP,XX";
        assert_eq!(rest(Form::Clash, clash), [7, 8]);
        let lists = Lists::read(clash.as_bytes(), Form::Clash);
        assert_eq!(
            (
                lists.names.len(),
                lists.addresses.len(),
                lists.literal.len()
            ),
            (3, 1, 1)
        );

        let hosts = "127.0.0.1 localhost\n0.0.0.0 a.example b.example # x\n10.0.0.1 c.example\n#";
        assert_eq!(rest(Form::Hosts, hosts), [1, 3]);

        let dnsmasq = "# x\nserver=/a.example/b.example/192.0.2.1#53\naddress=/c.example/\n\
                       address=/*d.example/\ncache-size=1\nserver=192.0.2.1";
        assert_eq!(rest(Form::Dnsmasq, dnsmasq), [4, 5, 6]);
        let lists = Lists::read(dnsmasq.as_bytes(), Form::Dnsmasq);
        assert!(lists.names.holds(b"www.b.example") && lists.names.holds(b"c.example"));

        let adblock = "! x\n||a.example^\n@@||b.example^\nc.example\n0.0.0.0 d.example\n||e^$x";
        assert_eq!(rest(Form::Adblock, adblock), [3, 6]);
    }

    #[test]
    fn hands_back_what_is_not_utf8() {
        let lists = Lists::read(b"a.example\n\xff\xfe\n", Form::Lines);
        assert_eq!(lists.rest, [(2, "\u{fffd}\u{fffd}".to_owned())]);
    }
}
