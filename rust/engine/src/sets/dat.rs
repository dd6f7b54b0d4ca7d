//! The files `geosite.dat` and `geoip.dat`: many lists in one protobuf message, of which one is
//! read to lines and the others are stepped over.

use std::net::IpAddr;

use memchr::memchr;

use super::trie::Malformed;

/// The names of a list, a line each: those that have all of `attributes`. None: no such list.
///
/// # Errors
///
/// [`Malformed`] for what is no such file.
pub fn names(data: &[u8], code: &str, attributes: &[&str]) -> Result<Option<Vec<u8>>, Malformed> {
    let Some(list) = list(data, code)? else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for field in Fields(list) {
        if let (2, Value::Bytes(entry)) = field? {
            name(entry, attributes, &mut found)?;
        }
    }
    Ok(Some(found))
}

/// The prefixes of a list, a line each. None: no such list.
///
/// # Errors
///
/// [`Malformed`] for what is no such file.
pub fn prefixes(data: &[u8], code: &str) -> Result<Option<Vec<u8>>, Malformed> {
    let Some(list) = list(data, code)? else {
        return Ok(None);
    };
    let mut found = Vec::new();
    for field in Fields(list) {
        let (2, Value::Bytes(entry)) = field? else {
            continue;
        };
        let (mut address, mut bits) = (&[][..], 0);
        for field in Fields(entry) {
            match field? {
                (1, Value::Bytes(packed)) => address = packed,
                (2, Value::Number(number)) => bits = number,
                _ => {}
            }
        }
        let address: IpAddr = match address.len() {
            4 => <[u8; 4]>::try_from(address).map_err(|_| Malformed)?.into(),
            16 => <[u8; 16]>::try_from(address).map_err(|_| Malformed)?.into(),
            _ => return Err(Malformed),
        };
        found.extend_from_slice(format!("{address}/{bits}\n").as_bytes());
    }
    Ok(Some(found))
}

/// The codes of all lists, as they are written.
///
/// # Errors
///
/// [`Malformed`] for what is no such file.
pub fn codes(data: &[u8]) -> Result<Vec<String>, Malformed> {
    let mut found = Vec::new();
    for field in Fields(data) {
        if let (1, Value::Bytes(list)) = field? {
            found.push(String::from_utf8_lossy(code_of(list)?).into_owned());
        }
    }
    Ok(found)
}

/// The list with this code, in whatever case.
fn list<'a>(data: &'a [u8], code: &str) -> Result<Option<&'a [u8]>, Malformed> {
    for field in Fields(data) {
        if let (1, Value::Bytes(list)) = field?
            && code_of(list)?.eq_ignore_ascii_case(code.as_bytes())
        {
            return Ok(Some(list));
        }
    }
    Ok(None)
}

fn code_of(list: &[u8]) -> Result<&[u8], Malformed> {
    for field in Fields(list) {
        if let (1, Value::Bytes(code)) = field? {
            return Ok(code);
        }
    }
    Ok(&[])
}

fn name(entry: &[u8], attributes: &[&str], to: &mut Vec<u8>) -> Result<(), Malformed> {
    let (mut kind, mut value, mut had) = (0, &[][..], Vec::new());
    for field in Fields(entry) {
        match field? {
            (1, Value::Number(number)) => kind = number,
            (2, Value::Bytes(text)) => value = text,
            (3, Value::Bytes(attribute)) if !attributes.is_empty() => {
                for field in Fields(attribute) {
                    if let (1, Value::Bytes(key)) = field? {
                        had.push(key);
                    }
                }
            }
            _ => {}
        }
    }
    if !attributes.iter().all(|one| {
        had.iter()
            .any(|key| key.eq_ignore_ascii_case(one.as_bytes()))
    }) {
        return Ok(());
    }
    let mark: &[u8] = match kind {
        0 => b"keyword:",
        1 => b"regex:",
        2 => b"domain:",
        3 => b"=",
        _ => return Err(Malformed),
    };
    if value.is_empty() || memchr(b'\n', value).is_some() {
        return Ok(()); // no line of a list, and no name has one
    }
    // A plain name needs no mark, and so the engine takes it itself.
    if kind != 2 || !value[0].is_ascii_alphanumeric() || memchr(b':', value).is_some() {
        to.extend_from_slice(mark);
    }
    to.extend_from_slice(value);
    to.push(b'\n');
    Ok(())
}

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, each with its number.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = self.number()?;
        let value = match tag & 7 {
            0 => Value::Number(self.number()?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = usize::try_from(self.number()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return None,
        };
        Some((tag >> 3, value))
    }

    fn number(&mut self) -> Option<u64> {
        let mut found = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            found |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(found);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let found = self.field().ok_or(Malformed);
        if found.is_err() {
            self.0 = &[];
        }
        Some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SITES: &str = "0a7e0a0454455354120708021203612e62120f08031203632e641a060a02636e1001121512\
        026b771a070a0361647310011a060a02636e10011215080112085e725c645c2e78241a070a0321636e10011208\
        0802120455502e651211080212056f66662e7a1a060a02636e1000121108021205696e742e7a1a060a02636e18\
        050a120a056c6f7765721209080212056c6f772e62";
    const PLACES: &str = "0a240a02414112080a040a000000100812140a1020010db800000000000000000000000010\
        200a100a02525612080a040a000000100818010a0c0a025a3012060a04000000000a0e0a02563412080a041400\
        00001008";

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let digit = |c: u8| char::from(c).to_digit(16).expect("a digit") as u8;
        digits
            .chunks(2)
            .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
            .collect()
    }

    fn text(found: Result<Option<Vec<u8>>, Malformed>) -> Option<String> {
        found
            .expect("a file")
            .map(|text| String::from_utf8(text).expect("text"))
    }

    #[test]
    fn reads_one_list_of_names() {
        let data = bytes(SITES);
        let all = "a.b\n=c.d\nkeyword:kw\nregex:^r\\d\\.x$\nUP.e\noff.z\nint.z\n";
        assert_eq!(text(names(&data, "test", &[])).as_deref(), Some(all));
        let cn = "=c.d\nkeyword:kw\noff.z\nint.z\n";
        assert_eq!(text(names(&data, "TEST", &["cn"])).as_deref(), Some(cn));
        assert_eq!(
            text(names(&data, "test", &["ads", "cn"])).as_deref(),
            Some("keyword:kw\n")
        );
        assert_eq!(text(names(&data, "test", &["none"])).as_deref(), Some(""));
        assert_eq!(text(names(&data, "LOWER", &[])).as_deref(), Some("low.b\n"));
        assert_eq!(text(names(&data, "other", &[])), None);
        assert_eq!(
            codes(&data),
            Ok(vec!["TEST".to_owned(), "lower".to_owned()])
        );
    }

    #[test]
    fn reads_one_list_of_prefixes() {
        let data = bytes(PLACES);
        let found = text(prefixes(&data, "aa"));
        assert_eq!(found.as_deref(), Some("10.0.0.0/8\n2001:db8::/32\n"));
        assert_eq!(text(prefixes(&data, "z0")).as_deref(), Some("0.0.0.0/0\n"));
        assert_eq!(text(prefixes(&data, "zz")), None);
    }

    #[test]
    fn refuses_what_is_cut_short() {
        let data = bytes(SITES);
        for length in 1..data.len() {
            let _ = names(&data[..length], "test", &["cn"]);
            let _ = prefixes(&data[..length], "test");
        }
        assert_eq!(names(&data[..20], "test", &[]), Err(Malformed));
        assert_eq!(
            codes(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"),
            Err(Malformed)
        );
    }
}
