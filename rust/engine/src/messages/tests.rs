use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// A query for the A records of a name.
fn query(id: u16, name: &str, edns: Option<(u16, bool)>) -> Vec<u8> {
    let mut wire = id.to_be_bytes().to_vec();
    wire.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, u8::from(edns.is_some())]);
    for label in name.split('.') {
        wire.push(label.len() as u8);
        wire.extend(label.as_bytes());
    }
    wire.extend([0, 0, 1, 0, 1]);
    if let Some((payload, secure)) = edns {
        wire.extend([0, 0, 41]);
        wire.extend(payload.to_be_bytes());
        wire.extend([0, 0, if secure { 0x80 } else { 0 }, 0, 0, 0]);
    }
    wire
}

/// An answer with so many addresses.
fn answer(asked: &[u8], count: u8, ttl: u32) -> Vec<u8> {
    let end = name(asked, HEAD).expect("there is one") + 4;
    let mut wire = asked[..end].to_vec();
    wire[2] = 0x81;
    wire[3] = 0x80;
    wire[6..12].copy_from_slice(&[0, count, 0, 0, 0, 0]);
    for at in 0..count {
        wire.extend([0xC0, 12, 0, 1, 0, 1]);
        wire.extend(ttl.to_be_bytes());
        wire.extend([0, 4, 192, 0, 2, at]);
    }
    wire
}

fn kept(fresh: f64, stale: f64) -> Kept {
    Kept {
        fresh,
        stale,
        aging: true,
    }
}

fn ask(table: &mut Messages, wire: &[u8], now: f64) -> Option<(Found, Vec<u8>)> {
    let mut out = Vec::new();
    let found = table.answer(0, wire, false, now, &mut out)?;
    Some((found, out))
}

#[test]
fn an_answer_is_found_for_each_spelling_and_grows_old() {
    let mut table = Messages::new(8);
    let asked = query(1, "www.example", None);
    assert!(table.put(0, &asked, &answer(&asked, 1, 60), kept(60.0, 100.0), 0.0));
    let (found, wire) =
        ask(&mut table, &query(7, "wWw.EXAMPLE", None), 10.5).expect("there is one");
    assert_eq!(found, Found::Fresh);
    assert_eq!(&wire[..4], &[0, 7, 0x81, 0x80]);
    assert_eq!(&wire[13..16], b"wWw");
    let end = wire.len();
    assert_eq!(&wire[end - 10..end - 6], &50_u32.to_be_bytes());
    let (found, wire) = ask(&mut table, &asked, 70.0).expect("there is one");
    assert_eq!(found, Found::Stale);
    assert_eq!(&wire[end - 10..end - 6], &STALE.to_be_bytes());
    assert!(ask(&mut table, &asked, 100.0).is_none());
    let mut out = Vec::new();
    assert!(table.answer(1, &asked, false, 1.0, &mut out).is_none());
}

#[test]
fn edns_is_answered_with_edns_and_what_is_long_is_cut() {
    let mut table = Messages::new(8);
    let asked = query(1, "www.example", None);
    assert!(table.put(0, &asked, &answer(&asked, 60, 60), kept(60.0, 60.0), 0.0));
    let (_, cut) = ask(&mut table, &asked, 1.0).expect("there is one");
    assert_eq!((cut[2] & 2, cut.len()), (2, asked.len()));
    assert_eq!(&cut[6..12], &[0; 6]);
    let (_, whole) = ask(
        &mut table,
        &query(2, "www.example", Some((4096, false))),
        1.0,
    )
    .expect("there is one");
    assert_eq!((whole[2] & 2, whole[7], whole[11]), (0, 60, 1));
    assert_eq!(whole[whole.len() - 11..][..5], [0, 0, 41, 0x04, 0xD0]);
    let mut out = Vec::new();
    assert!(table.answer(0, &asked, true, 1.0, &mut out).is_some());
    assert_eq!(out[2] & 2, 0);
    // signatures are another answer
    assert!(
        ask(
            &mut table,
            &query(2, "www.example", Some((4096, true))),
            1.0
        )
        .is_none()
    );
}

#[test]
fn what_is_odd_is_not_found() {
    let mut table = Messages::new(8);
    let asked = query(1, "www.example", None);
    assert!(table.put(0, &asked, &answer(&asked, 1, 60), kept(60.0, 60.0), 0.0));
    for (at, byte) in [
        (2, 0x81),
        (2, 0x09),
        (5, 2),
        (7, 1),
        (9, 1),
        (11, 1),
        (12, 64),
    ] {
        let mut odd = asked.clone();
        odd[at] = byte;
        assert!(ask(&mut table, &odd, 1.0).is_none(), "{at} {byte}");
    }
    for end in 0..asked.len() {
        assert!(ask(&mut table, &asked[..end], 1.0).is_none());
    }
    let long = [&asked[..], b"x"].concat();
    assert!(ask(&mut table, &long, 1.0).is_none());
}

#[test]
fn a_full_table_keeps_what_is_read() {
    let mut table = Messages::new(8);
    let asked = query(1, "read.example", None);
    table.put(0, &asked, &answer(&asked, 1, 60), kept(60.0, 60.0), 0.0);
    for at in 0..100 {
        assert!(ask(&mut table, &asked, 0.0).is_some());
        let other = query(1, &format!("n{at}.example"), None);
        assert!(table.put(0, &other, &answer(&other, 1, 60), kept(60.0, 60.0), 0.0));
        assert!(table.sizes().0 <= 8);
    }
    table.clear(8);
    assert!(ask(&mut table, &asked, 0.0).is_none());
}

proptest! {
    #[test]
    fn no_bytes_harm_it(query in vec(any::<u8>(), 0..200), message in vec(any::<u8>(), 0..200)) {
        let mut table = Messages::new(4);
        table.put(0, &query, &message, kept(9.0, 9.0), 0.0);
        let mut out = Vec::new();
        table.answer(0, &query, false, 1.0, &mut out);
    }

    #[test]
    fn a_changed_message_is_kept_or_not(
        at in 0..60_usize, byte in any::<u8>(), count in 0..4_u8, edns in any::<bool>(),
    ) {
        let asked = query(1, "www.example", edns.then_some((1232, true)));
        let mut message = answer(&asked, count, 60);
        if let Some(place) = message.get_mut(at) {
            *place = byte;
        }
        let mut table = Messages::new(4);
        if table.put(0, &asked, &message, kept(9.0, 9.0), 0.0) {
            let (_, wire) = ask(&mut table, &asked, 1.0).expect("there is one");
            prop_assert!(wire.len() >= message.len());
        }
    }
}
