//! Promise: every node, and every driver of Cassandra's protocol, finds the same owner for a key.

mod setting;

use helenus_cluster::{
    membership::Member,
    partitioning::{Partitioner, Ring, Token, draw_tokens},
};
use proptest::prelude::*;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use setting::{host, joining, normal};

#[test]
fn tokens_are_cassandras() {
    let vectors: [(&[u8], i64); 12] = [
        (b"", i64::MIN),
        (b"k0", 5_638_682_346_300_632_201),
        (b"123", -7_468_325_962_851_647_638),
        (b"testvalue", 5_965_290_492_934_326_460),
        ("château".as_bytes(), 9_114_062_196_463_836_094),
        (&[0xFF; 15], -2_195_530_867_418_009_455),
        (&[0xFF; 16], -2_824_192_546_314_762_522),
        (&[0xFE; 8], -8_927_430_733_708_461_935),
        (&[0x10; 8], 1_446_172_840_243_228_796),
        (b"9223372036854775807", 7_162_290_910_810_015_547),
        (&[0x00, 0xFF, 0x10, 0xFA, 0x99].repeat(10), 5_837_342_703_291_459_765),
        // Its published digest is e34bbc7bbc071b6c…: more than a block, all ASCII, so textbook Murmur3 agrees.
        (b"The quick brown fox jumps over the lazy dog", -2_068_352_364_225_029_268),
    ];
    for (key, token) in vectors {
        assert_eq!(Partitioner::Murmur3.token(key), Token(token), "of {key:?}");
    }
}

#[test]
fn byte_ordered_tokens_are_the_first_eight_bytes_in_the_order_of_keys() {
    let of = |key: &[u8]| Partitioner::ByteOrdered.token(key);
    let keys: [&[u8]; 7] = [b"", b"a", b"a\x01", b"ab", b"abcdefgh", b"b", b"\xff"];
    assert!(keys.windows(2).all(|pair| of(pair[0]) < of(pair[1])));
    assert_eq!(of(b"abcdefgh"), of(b"abcdefghi"), "what follows is for the nodes that hold it to tell apart");
    assert_eq!(of(b""), Token::MIN);

    let parse = |text| Partitioner::ByteOrdered.parse_token(text);
    assert_eq!(parse("6162"), Ok(of(b"ab")));
    for wrong in ["", "6", "xy", "00", "616263646566676869", "+1"] {
        assert!(parse(wrong).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_murmur3_token_is_written_in_one_way() {
    let parse = |text: &str| Partitioner::Murmur3.parse_token(text);
    for token in [-42, 0, i64::MIN + 1, i64::MAX] {
        assert_eq!(parse(&token.to_string()), Ok(Token(token)));
    }
    for wrong in ["", "+8", "007", "-0", "-07", " 5", "5.0", "0x5", "9223372036854775808"] {
        let why = parse(wrong).expect_err("no token");
        assert!(why.ends_with(&format!("found `{wrong}`")), "{why}");
    }
    assert!(parse("-9223372036854775808").is_err(), "the token of no node");
}

#[test]
fn a_partitioner_is_known_by_its_name_only() {
    assert_eq!(Partitioner::named("murmur3"), Some(Partitioner::Murmur3));
    assert_eq!(Partitioner::named(Partitioner::default().name()), Some(Partitioner::default()));
    assert_eq!(Partitioner::named("Murmur3"), None);
}

#[test]
fn a_token_owns_the_range_that_ends_in_it_and_the_lowest_one_wraps() {
    let ring = Ring::from_members(&[normal(1, &[-100, 50]), normal(2, &[0])]);
    let owners =
        [(i64::MIN, 1), (-101, 1), (-100, 1), (-99, 2), (0, 2), (1, 1), (50, 1), (51, 1), (i64::MAX, 1)];
    for (token, owner) in owners {
        assert_eq!(ring.owner(Token(token)), Some(host(owner)), "of {token}");
    }
}

#[test]
fn a_ring_without_normal_members_owns_nothing() {
    assert_eq!(Ring::from_members(&[]).owner(Token(0)), None);
    let forming = Ring::from_members(&[joining(1, &[0])]);
    assert_eq!(forming.owner(Token(0)), None);
    assert_eq!(forming.ranges().count(), 0);
    assert!(forming.shares().is_empty());
}

#[test]
fn a_token_claimed_twice_belongs_to_the_lower_normal_host_in_whatever_order_they_are_told() {
    let members = [normal(3, &[7]), normal(2, &[7]), joining(1, &[7])];
    let reversed: Vec<_> = members.iter().rev().collect();
    let ring = Ring::from_members(&members);

    assert_eq!(ring.owner(Token(7)), Some(host(2)));
    assert_eq!(ring, Ring::from_members(reversed));
    assert_eq!(ring.shares().into_iter().collect::<Vec<_>>(), [(host(2), 1.0)]);
}

#[test]
fn shares_are_the_widths_of_ranges_and_a_lone_token_owns_all() {
    let lone = Ring::from_members(&[normal(1, &[42])]);
    assert_eq!(lone.shares()[&host(1)], 1.0);

    let quarters = Ring::from_members(&[normal(1, &[i64::MIN / 2, 0]), normal(2, &[i64::MAX / 2 + 1])]);
    let shares = quarters.shares();
    assert_eq!((shares[&host(1)], shares[&host(2)]), (0.75, 0.25));
}

#[test]
fn a_ring_version_is_the_same_on_all_machines_and_changes_with_all_that_places_replicas() {
    let version = |members: &[_]| Ring::from_members(members).version();
    let base = [normal(1, &[1, 3]), normal(2, &[2])];

    assert_eq!(version(&base), 3_027_525_567_859_325_477);
    assert_eq!(version(&base), version(&[base[1].clone(), base[0].clone()]));
    assert_ne!(version(&base), version(&[normal(1, &[1, 4]), normal(2, &[2])]));
    assert_ne!(version(&base), version(&[normal(1, &[1, 3]), normal(3, &[2])]));
    assert_ne!(version(&base), version(&[normal(1, &[1, 3]), joining(2, &[2])]));
    let moved = Member { rack: "rack2".to_owned(), ..normal(2, &[2]) };
    assert_ne!(version(&base), version(&[normal(1, &[1, 3]), moved]));
}

#[test]
fn sixteen_drawn_tokens_differ_are_ascending_and_follow_from_the_seed() {
    let draw = |seed| draw_tokens(&mut Xoshiro256PlusPlus::seed_from_u64(seed), 16);
    let tokens = draw(1);

    assert_eq!(tokens.len(), 16);
    assert!(tokens.is_sorted_by(|lower, higher| lower < higher));
    assert_eq!(tokens, draw(1));
    assert_ne!(tokens, draw(2));
}

proptest! {
    #[test]
    fn the_order_of_token_bytes_is_the_order_of_tokens(a: i64, b: i64) {
        let (a, b) = (Token(a), Token(b));
        prop_assert_eq!(a.cmp(&b), a.to_ordered_bytes().cmp(&b.to_ordered_bytes()));
        prop_assert_eq!(Token::from_ordered_bytes(a.to_ordered_bytes()), a);
    }

    #[test]
    fn ranges_cover_the_ring_without_a_gap_and_agree_with_the_owner(
        tokens in prop::collection::vec((1u128..6, -50i64..50), 1..40),
        token in -60i64..60,
    ) {
        let members: Vec<_> = (1..6)
            .map(|number| {
                let own = tokens.iter().filter(|(owner, _)| *owner == number).map(|(_, token)| *token);
                normal(number, &own.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>())
            })
            .collect();
        let ring = Ring::from_members(&members);
        prop_assert_eq!(ring.ranges().map(|range| range.width).sum::<u128>(), 1 << 64);

        let holds = |range: &helenus_cluster::partitioning::Range| {
            let from_start = u128::from(range.after.distance_to(Token(token)));
            (1..=range.width).contains(&from_start) || (from_start == 0 && range.width == 1 << 64)
        };
        let owners: Vec<_> = ring.ranges().filter(holds).map(|range| Some(range.owner)).collect();
        prop_assert_eq!(owners, [ring.owner(Token(token))]);
    }
}
