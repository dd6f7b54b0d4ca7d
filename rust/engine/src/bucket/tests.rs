//! The arithmetic beside a slow reference, and what flows get of it over time. The clock is ours.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const MILLI: u64 = 1_000_000;

fn of(rate: u64) -> Arc<Bucket> {
    Arc::new(Bucket::new(rate, rate, None, 0))
}

/// Flows that always have more to move, `size` bytes a read, until `end`. What each has moved.
fn moved(buckets: &[Arc<Bucket>], flows: usize, size: u64, end: u64, late: u64) -> Vec<u64> {
    let shared = Buckets::new(buckets.to_vec());
    let mut done = vec![0; flows];
    let mut due: Vec<(u64, u64)> = vec![(SECOND, 0); flows];
    loop {
        let next = (0..flows).min_by_key(|&at| (due[at].0, at));
        let Some(at) = next.filter(|&at| due[at].0 < end) else {
            return done;
        };
        let (now, waiting) = due[at];
        done[at] += waiting;
        let Room::For(n) = shared.room(Direction::Down, size) else {
            return done;
        };
        let begin = shared.take(Direction::Down, n, n, now);
        // Timers come late, by up to so much.
        let wait = if begin > now + SOON {
            begin - now + late
        } else {
            1
        };
        due[at] = (now + wait, n);
    }
}

#[test]
fn rates_are_kept_from_slow_to_fast() {
    for rate in [100_000, 1_000_000, 30_000_000, 1_000_000_000] {
        for flows in [1, 3, 50] {
            for late in [0, MILLI, 3 * MILLI] {
                let all: u64 = moved(&[of(rate)], flows, 64 * 1024, 4 * SECOND, late)
                    .iter()
                    .sum();
                let told = 3 * rate;
                assert!(
                    all.abs_diff(told) < told / 20,
                    "{all} of {told} at {rate} by {flows}, {late} late"
                );
            }
        }
    }
}

#[test]
fn flows_share_alike() {
    for flows in [2, 7, 40] {
        let each = moved(&[of(1_000_000)], flows, 64 * 1024, 6 * SECOND, MILLI);
        let (least, most) = (each.iter().min(), each.iter().max());
        let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
        assert!(most - least <= 2 * 1_000_000 / TURNS, "{each:?}");
    }
}

#[test]
fn the_narrowest_of_several_holds() {
    let all: u64 = moved(
        &[of(50_000_000), of(1_000_000), of(2_000_000)],
        4,
        64 * 1024,
        5 * SECOND,
        0,
    )
    .iter()
    .sum();
    assert!(all.abs_diff(4_000_000) < 200_000, "{all}");
}

#[test]
fn many_short_flows_do_not_slip_past() {
    let bucket = of(100_000);
    let shared = Buckets::new(vec![Arc::clone(&bucket)]);
    let mut last = 0;
    for _ in 0..1000 {
        let Room::For(n) = shared.room(Direction::Up, 1000) else {
            panic!("no quota was set");
        };
        last = shared.take(Direction::Up, n, n, SECOND);
    }
    assert!(
        last > 10 * SECOND,
        "the last of 1 MB waits for its turn: {last}"
    );
    assert_eq!(bucket.seen().up, 1_000_000);
    assert!(bucket.seen().waits > 900);
    assert_eq!(
        shared.take(Direction::Down, 1000, 1000, SECOND),
        SECOND - BURST
    );
}

#[test]
fn a_quota_is_given_out_to_the_byte() {
    let narrow = Arc::new(Bucket::new(0, 0, Some(1000), 0));
    let wide = Arc::new(Bucket::new(0, 0, Some(5000), 0));
    let shared = Buckets::new(vec![wide.clone(), narrow.clone()]);
    assert_eq!(shared.room(Direction::Up, 700), Room::For(700));
    assert_eq!(shared.room(Direction::Up, 700), Room::For(300));
    assert_eq!(
        shared.room(Direction::Up, 700),
        Room::Busy,
        "all is promised, not used"
    );
    shared.take(Direction::Up, 300, 100, SECOND);
    assert_eq!(shared.room(Direction::Down, 700), Room::For(200));
    shared.take(Direction::Down, 200, 200, SECOND);
    shared.take(Direction::Up, 700, 700, SECOND);
    assert_eq!(shared.room(Direction::Up, 1), Room::Spent);
    assert!(narrow.is_spent() && !wide.is_spent());
    assert_eq!((narrow.seen().used, wide.seen().used), (1000, 1000));
    assert_eq!(
        wide.taken.load(Relaxed),
        1000,
        "what the other refused is not promised"
    );
    narrow.renew();
    assert_eq!(shared.room(Direction::Up, 9999), Room::For(1000));
    shared.leave(1000);
    narrow.set(0, 0, Some(500));
    assert_eq!(shared.room(Direction::Up, 9999), Room::For(500));
    shared.leave(500);
    narrow.set(0, 0, None);
    assert_eq!(shared.room(Direction::Up, 9999), Room::For(4000));
}

#[test]
fn what_is_used_already_counts() {
    let bucket = Bucket::new(0, 0, Some(1000), 990);
    assert_eq!(bucket.reserve(64), 10);
    bucket.settle(10, 0);
    bucket.charge(Direction::Up, 400, SECOND);
    assert!(bucket.is_spent(), "a head may pass what is left");
    assert_eq!(bucket.reserve(64), 0);
    assert!(Bucket::new(0, 0, Some(1000), 1001).is_spent());
}

#[test]
fn packets_are_dropped_before_their_turn() {
    let bucket = of(1_000_000);
    let mut turns = Turns::new(&Buckets::new(vec![bucket.clone()])).expect("there is a limit");
    let (mut passed, mut dropped) = (0, 0);
    // 5 MB/s for 4 s.
    for at in 0..20_000 {
        match turns.packet(Direction::Up, 1000, SECOND + at * MILLI / 5) {
            Pass::Yes => passed += 1,
            Pass::Early => dropped += 1,
            Pass::Spent => panic!("no quota was set"),
        }
    }
    assert!((3900..4100).contains(&passed), "{passed}");
    assert_eq!(bucket.seen().dropped, dropped);
    assert_eq!(bucket.seen().up, 1000 * passed);
}

#[test]
fn packets_and_streams_share_alike() {
    let bucket = of(1_000_000);
    let shared = Buckets::new(vec![bucket.clone()]);
    let mut turns = Turns::new(&shared).expect("there is a limit");
    let (mut stream, mut packets, mut due) = (0, 0, SECOND);
    for at in 0..20_000 {
        let now = SECOND + at * MILLI / 5;
        if turns.packet(Direction::Up, 1000, now) == Pass::Yes {
            packets += 1000;
        }
        while due <= now {
            let Room::For(n) = shared.room(Direction::Up, 65536) else {
                panic!("no quota was set");
            };
            stream += n;
            due = shared.take(Direction::Up, n, n, now).max(now + 1);
        }
    }
    let all = stream + packets;
    assert!(all.abs_diff(4_000_000) < 200_000, "{all}");
    assert!(packets > all / 3, "{packets} of {all}");
    assert!(stream > all / 3, "{stream} of {all}");
}

#[test]
fn packets_end_with_their_quota() {
    let bucket = Arc::new(Bucket::new(0, 0, Some(2500), 0));
    let mut turns = Turns::new(&Buckets::new(vec![bucket.clone()])).expect("there is a limit");
    let told: Vec<Pass> = (0..4)
        .map(|_| turns.packet(Direction::Down, 1000, SECOND))
        .collect();
    assert_eq!(told, [Pass::Yes, Pass::Yes, Pass::Spent, Pass::Spent]);
    assert!(bucket.is_spent(), "nothing more of this size fits");
    assert_eq!(bucket.seen().used, 2000);
    bucket.renew();
    assert_eq!(turns.packet(Direction::Down, 1000, SECOND), Pass::Yes);
    assert!(!bucket.is_spent());
}

#[test]
fn what_was_given_up_is_no_burden() {
    let bucket = of(1000);
    let buckets = Buckets::new(vec![bucket.clone()]);
    bucket.charge(Direction::Up, 50_000, clock());
    let mut throttle = Throttle::new(&buckets, Direction::Up).expect("there is a limit");
    let before = bucket.up.booked.load(Relaxed);
    let cx = Context::from_waker(std::task::Waker::noop());
    assert_eq!(throttle.poll_room(&cx, 9999), Poll::Ready(Ok(256)));
    throttle.took(200);
    assert!(throttle.waits());
    assert_eq!(bucket.seen().used, 50_200);
    drop(throttle);
    assert_eq!(bucket.up.booked.load(Relaxed), before);
    assert_eq!((bucket.seen().used, bucket.seen().up), (50_000, 50_000));
    assert_eq!(bucket.taken.load(Relaxed), 50_000);
}

#[test]
fn what_is_given_up_after_a_renewal_leaves_no_debt() {
    let bucket = Arc::new(Bucket::new(1000, 0, Some(100_000), 0));
    let buckets = Buckets::new(vec![bucket.clone()]);
    bucket.charge(Direction::Up, 50_000, clock());
    let mut throttle = Throttle::new(&buckets, Direction::Up).expect("there is a limit");
    let cx = Context::from_waker(std::task::Waker::noop());
    assert_eq!(throttle.poll_room(&cx, 200), Poll::Ready(Ok(200)));
    throttle.took(200);
    assert!(throttle.waits());
    bucket.renew();
    bucket.charge(Direction::Up, 50, clock());
    drop(throttle);
    assert_eq!(bucket.seen().used, 0);
    assert_eq!(bucket.taken.load(Relaxed), 0);
    assert!(!bucket.is_spent());
    assert_eq!(buckets.room(Direction::Down, 9), Room::For(9));
}

#[test]
fn a_crowd_of_small_packets_fits_where_its_bytes_do() {
    // Questions for names: each is a flow of its own, of one packet.
    let buckets = Buckets::new(vec![of(1_000_000)]);
    for at in 0..100 {
        let mut turns = Turns::new(&buckets).expect("there is a limit");
        let told = turns.packet(Direction::Up, 60, SECOND);
        assert_eq!(told, Pass::Yes, "packet {at} of 6 KB at 1 MB/s");
    }
}

#[test]
fn another_rate_forgives_what_was_booked_at_the_old_one() {
    let bucket = of(1);
    for _ in 0..100 {
        bucket.charge(Direction::Up, 1000, SECOND);
    }
    bucket.set(1, 0, None);
    assert!(bucket.up.book(1, SECOND) > 90_000 * SECOND, "the same rate");
    bucket.set(1_000_000, 0, None);
    assert!(bucket.up.book(1000, SECOND) <= SECOND);
}

proptest! {
    /// Bookings begin when, and only when, a bucket that fills drop by drop has paid for all before.
    #[test]
    fn bookings_are_those_of_the_slow_reference(
        rate in 1_u64..2_000_000_000,
        steps in proptest::collection::vec((1_u64..(1 << 20), 0_u64..200 * MILLI), 1..60),
    ) {
        let pace = Pace::default();
        pace.rate.store(rate, Relaxed);
        // In parts of a byte: bytes times nanoseconds, exact.
        let (mut debt, mut then, mut now) = (0_i128, 0_u64, 10 * SECOND);
        let most = -i128::from(BURST) * i128::from(rate);
        for (n, pause) in steps {
            now += pause;
            debt = (debt - i128::from(now - then) * i128::from(rate)).max(most);
            then = now;
            let begin = pace.book(n, now);
            let exact = i128::from(now) + debt.div_euclid(i128::from(rate));
            // Rounding is up, by less than a tick for each booking, and a nanosecond at the end.
            let slack = i128::from(60 / TICKS) + 2;
            prop_assert!((i128::from(begin) - exact).abs() <= slack, "{begin} {exact}");
            debt += i128::from(n) * i128::from(SECOND);
        }
    }

    /// However promises, moves and returns mix, no byte is given out twice and none is lost.
    #[test]
    fn quotas_add_up(
        sizes in proptest::collection::vec(1_u64..5000, 1..4),
        steps in proptest::collection::vec((0_u8..3, 0_u64..2000), 1..80),
    ) {
        let all: Vec<_> = sizes
            .iter()
            .map(|&size| Arc::new(Bucket::new(0, 0, Some(size), 0)))
            .collect();
        let shared = Buckets::new(all.clone());
        let least = sizes.iter().copied().min().unwrap_or_default();
        let (mut promised, mut used) = (VecDeque::new(), 0);
        for (step, amount) in steps {
            match step {
                0 => {
                    let left = least - used - promised.iter().sum::<u64>();
                    let room = shared.room(Direction::Up, amount.max(1));
                    match room {
                        Room::For(n) => {
                            prop_assert_eq!(n, amount.max(1).min(left));
                            promised.push_back(n);
                        }
                        Room::Busy => prop_assert!(left == 0 && !promised.is_empty()),
                        Room::Spent => prop_assert!(left == 0 && used == least),
                    }
                }
                1 => {
                    if let Some(n) = promised.pop_front() {
                        let moved = amount.min(n);
                        shared.take(Direction::Up, n, moved, SECOND);
                        used += moved;
                    }
                }
                _ => {
                    if let Some(n) = promised.pop_back() {
                        shared.leave(n);
                    }
                }
            }
            for bucket in &all {
                prop_assert_eq!(bucket.seen().used, used);
                prop_assert_eq!(bucket.taken.load(Relaxed), used + promised.iter().sum::<u64>());
            }
        }
    }
}
