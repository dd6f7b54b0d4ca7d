//! The succinct trie in which sing-box (srs) and mihomo (mrs) publish names, read back to lines.
//!
//! Its keys are names from their end to their beginning. Nodes are numbered level by level; for
//! each node the bitmap has a zero bit for each child and then a one bit, so the edge with index
//! `i` in `labels` leads to node `i + 1`. Bits that point outside are an error, never a panic.

/// What the marks at the beginning of a name mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marks {
    /// sing-box's domains: a carriage return before a suffix, a line feed before a name with all
    /// below it.
    SingBox,
    /// sing-box's `AdGuard` rules: an anchor before, and perhaps a back space behind.
    AdGuard,
    /// mihomo's: `+.` for all below, `*` for one label.
    Mihomo,
}

impl Marks {
    /// The marks with this name.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "sing-box" => Some(Self::SingBox),
            "adguard" => Some(Self::AdGuard),
            "mihomo" => Some(Self::Mihomo),
            _ => None,
        }
    }
}

/// The arrays do not fit together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Bytes of a key that are followed: a name has at most 253, with its marks a few more. What is
/// deeper can match nothing, and is left out.
const DEEPEST: usize = 300;

/// All names, a line each. `leaves` and `bitmap` are words of 64 bits in network order. At most
/// `most` bytes: more is malformed, too.
///
/// # Errors
///
/// [`Malformed`].
pub fn lines(
    leaves: &[u8],
    bitmap: &[u8],
    labels: &[u8],
    marks: Marks,
    most: usize,
) -> Result<Vec<u8>, Malformed> {
    let first = first_labels(bitmap, labels.len()).ok_or(Malformed)?;
    if !leaves.len().is_multiple_of(8) || leaves.len() * 8 < first.len() - 1 {
        return Err(Malformed);
    }
    let children = |node: usize| Some(*first.get(node)?..*first.get(node + 1)?);
    let mut found = Vec::new();
    let mut key: Vec<u8> = Vec::with_capacity(DEEPEST);
    let mut stack = vec![children(0).ok_or(Malformed)?];
    if bit(leaves, 0) {
        write(&key, marks, &mut found);
    }
    while let Some(edges) = stack.last_mut() {
        let Some(edge) = edges.next() else {
            stack.pop();
            key.pop();
            continue;
        };
        let edge = edge as usize;
        key.push(*labels.get(edge).ok_or(Malformed)?);
        if bit(leaves, edge + 1) {
            write(&key, marks, &mut found);
            if found.len() > most {
                return Err(Malformed);
            }
        }
        if key.len() < DEEPEST {
            stack.push(children(edge + 1).ok_or(Malformed)?);
        } else {
            key.pop();
        }
    }
    Ok(found)
}

/// The index of each node's first label, and behind the last node the number of all.
fn first_labels(bitmap: &[u8], labels: usize) -> Option<Vec<u32>> {
    if !bitmap.len().is_multiple_of(8) || bitmap.len() * 8 < 2 * labels + 1 {
        return None;
    }
    let mut first = Vec::with_capacity(labels + 2);
    first.push(0);
    let mut zeros = 0;
    for at in 0..=2 * labels {
        if bit(bitmap, at) {
            first.push(zeros);
        } else {
            zeros += 1;
        }
        // A child has a greater number than its parent, so that no walk can turn back.
        if first.len() - 1 > zeros as usize + 1 {
            return None;
        }
    }
    (zeros as usize == labels && first.len() == labels + 2).then_some(first)
}

fn bit(words: &[u8], at: usize) -> bool {
    let byte = at / 64 * 8 + 7 - at % 64 / 8;
    words
        .get(byte)
        .is_some_and(|found| found >> (at % 8) & 1 == 1)
}

/// A line for a key, if any name can fit it.
fn write(key: &[u8], marks: Marks, to: &mut Vec<u8>) {
    let Ok(text) = std::str::from_utf8(key) else {
        return;
    };
    let name: String = text.chars().rev().collect();
    let line = match marks {
        Marks::SingBox => plain(&name),
        Marks::AdGuard => adguard(&name),
        Marks::Mihomo => Some(match name.strip_prefix("+.") {
            Some(below) => format!(".{below}"),
            None => name,
        }),
    };
    if let Some(line) = line
        && !line.is_empty()
        && !line.contains(['\n', '\r'])
    {
        to.extend_from_slice(line.as_bytes());
        to.push(b'\n');
    }
}

fn plain(name: &str) -> Option<String> {
    if let Some(both) = name.strip_prefix('\n') {
        return Some(both.to_owned());
    }
    match name.strip_prefix('\r') {
        Some(below) => below.starts_with('.').then(|| below.to_owned()),
        None => Some(format!("={name}")),
    }
}

/// A rule in the words of `AdGuard`, or a plain line where that says the same.
fn adguard(key: &str) -> Option<String> {
    let (start, text) = match key.as_bytes().first()? {
        b'\n' => ("||", &key[1..]),
        b'\r' => ("", &key[1..]),
        _ => ("|", key),
    };
    let (text, end) = match text.strip_suffix('\x08') {
        Some(text) => (text, ""),
        None => (text, "^"),
    };
    if text.contains(|c: char| c.is_ascii_uppercase()) {
        return None; // it is compared with names in lower case
    }
    Some(match (start, end) {
        ("||", "^") if !text.contains('*') => text.to_owned(),
        ("|", "^") if !text.contains('*') => format!("={text}"),
        _ => format!("adguard:{start}{text}{end}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(hex: &[u64]) -> Vec<u8> {
        hex.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn read(leaves: u64, bitmap: u64, labels: &[u8], marks: Marks) -> Result<String, Malformed> {
        let found = lines(&words(&[leaves]), &words(&[bitmap]), labels, marks, 1 << 20)?;
        Ok(String::from_utf8(found).expect("text"))
    }

    #[test]
    fn reads_the_vectors_of_sing_box() {
        let of = |leaves, bitmap, labels| read(leaves, bitmap, labels, Marks::SingBox);
        assert_eq!(of(0x08, 0x6a, b"b.a").as_deref(), Ok("=a.b\n"));
        assert_eq!(of(0x28, 0x6aa, b"b.a.\r").as_deref(), Ok("=a.b\n.a.b\n"));
        assert_eq!(of(0x10, 0x1aa, b"b.a\n").as_deref(), Ok("a.b\n"));
        assert_eq!(of(0x20, 0x6aa, b"b.a.\r").as_deref(), Ok(".a.b\n"));
        let many = of(0x148, 0x1b58a, b"b.acd\n.\r");
        assert_eq!(many.as_deref(), Ok("=a.b\nc.b\n.d.b\n"));
        assert_eq!(of(0x10, 0x1aa, "b.é".as_bytes()).as_deref(), Ok("=é.b\n"));
    }

    #[test]
    fn reads_the_vectors_of_mihomo_and_of_adguard() {
        let of = |leaves, bitmap, labels| read(leaves, bitmap, labels, Marks::Mihomo);
        assert_eq!(of(0x28, 0x6aa, b"b.a.+").as_deref(), Ok("a.b\n.a.b\n"));
        assert_eq!(of(0x08, 0x6a, b"b.*").as_deref(), Ok("*.b\n"));
        let rules = read(0x1a80, 0x1db_5548, b"\x08bedf.\r.\rac\n", Marks::AdGuard);
        let rules = rules.expect("a trie");
        let mut found: Vec<_> = rules.lines().collect();
        found.sort_unstable();
        assert_eq!(found, ["a.b", "adguard:e^", "adguard:f", "adguard:|c.d"]);
    }

    #[test]
    fn refuses_what_points_outside() {
        let of = |leaves: &[u64], bitmap: &[u64], labels: &[u8]| {
            lines(
                &words(leaves),
                &words(bitmap),
                labels,
                Marks::SingBox,
                1 << 20,
            )
        };
        assert_eq!(of(&[8], &[], b"b.a"), Err(Malformed));
        assert_eq!(of(&[], &[0x6a], b"b.a"), Err(Malformed));
        assert_eq!(of(&[8], &[0x6a], b"b."), Err(Malformed));
        assert_eq!(of(&[8], &[0], b"b.a"), Err(Malformed));
        assert_eq!(of(&[8], &[u64::MAX], b"b.a"), Err(Malformed));
        assert_eq!(of(&[8], &[0x6a], &[b'a'; 100]), Err(Malformed));
        assert_eq!(
            lines(&words(&[8]), &words(&[0x6a]), b"b.a", Marks::SingBox, 2),
            Err(Malformed)
        );
    }
}
