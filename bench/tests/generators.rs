//! Every generator draws what its formula says: chi-square at one in a thousand, seeds fixed.

use std::{collections::BTreeMap, sync::Arc};

use helenus_bench::{
    generators::{
        AcknowledgedCounter, Discrete, Exponential, Histogram, Hotspot, Random, ScrambledZipfian, Sequential,
        SkewedLatest, Uniform, ZIPFIAN_CONSTANT, Zipfian, fnv_hash,
    },
    properties::Properties,
    workload::{Operation, Phase, Session, Workload},
};
use rand::SeedableRng;
use statrs::distribution::{ChiSquared, ContinuousCDF};

const DRAWS: u64 = 200_000;
const SEED: u64 = 20_261_121;

/// Fails if draws that fall into each class contradict the classes' probabilities.
fn expect(probabilities: &[f64], mut draw: impl FnMut(&mut Random) -> usize) {
    let mut random = Random::seed_from_u64(SEED);
    let mut seen = vec![0u64; probabilities.len()];
    for _ in 0..DRAWS {
        seen[draw(&mut random)] += 1;
    }
    let total: f64 = probabilities.iter().sum();
    assert!((total - 1.0).abs() < 1e-9, "probabilities sum to {total}");
    let chi_square: f64 = seen
        .iter()
        .zip(probabilities)
        .map(|(&seen, &probability)| {
            let expected = probability * DRAWS as f64;
            assert!(expected >= 5.0, "a class too rare for the test: {expected}");
            (seen as f64 - expected).powi(2) / expected
        })
        .sum();
    let degrees = (probabilities.len() - 1) as f64;
    let likelihood = ChiSquared::new(degrees).expect("degrees of freedom").sf(chi_square);
    assert!(
        likelihood > 0.001,
        "seed {SEED}: chi-square {chi_square:.1}, {degrees} degrees: {likelihood:.2e}\n{seen:?}"
    );
}

/// The shares of Gray et al.'s algorithm: exact for the first two items, the inverse of its approximation for the rest.
fn zipfian_shares(items: u64) -> Vec<f64> {
    let theta = ZIPFIAN_CONSTANT;
    let zeta = |n: u64| (1..=n).map(|i| (i as f64).powf(-theta)).sum::<f64>();
    let (zeta_n, n) = (zeta(items), items as f64);
    let eta = (1.0 - (2.0 / n).powf(1.0 - theta)) / (1.0 - zeta(2) / zeta_n);
    // u below which the rank is below r, beyond the two exact cases.
    let exact = (1.0 + 0.5_f64.powf(theta)) / zeta_n;
    let below = |rank: u64| (((rank as f64 / n).powf(1.0 - theta) - 1.0 + eta) / eta).clamp(exact, 1.0);
    let mut shares: Vec<f64> = (0..items).map(|rank| below(rank + 1) - below(rank)).collect();
    shares[0] += 1.0 / zeta_n;
    shares[1] += 0.5_f64.powf(theta) / zeta_n;
    shares
}

#[test]
fn zipfian_draws_follow_gray_and_others() {
    let zipfian = Zipfian::new(0, 99);
    expect(&zipfian_shares(100), |random| zipfian.next(random) as usize);
}

#[test]
fn the_approximation_is_close_to_the_zipfian_formula() {
    let zeta: f64 = (1..=100).map(|i| f64::from(i).powf(-ZIPFIAN_CONSTANT)).sum();
    for (rank, share) in (1u32..).zip(zipfian_shares(100)) {
        let formula = f64::from(rank).powf(-ZIPFIAN_CONSTANT) / zeta;
        assert!((share - formula).abs() < 0.02, "rank {rank}: {share} beside {formula}");
    }
}

#[test]
fn a_zipfian_that_grew_is_one_that_was_made_large() {
    let mut grown = Zipfian::new(0, 9);
    grown.grow(100);
    expect(&zipfian_shares(100), |random| grown.next(random) as usize);
}

#[test]
fn scrambled_draws_give_each_rank_the_item_that_its_hash_names() {
    let items = 10u64;
    // Ranks come from ten thousand million items; beyond the first million they are spread evenly by the hash.
    let zeta = 26.469_028_201_783_02;
    let mut shares = vec![0.0; items as usize];
    let mut named = 0.0;
    for rank in 0..1_000_000u64 {
        let share = ((rank + 1) as f64).powf(-ZIPFIAN_CONSTANT) / zeta;
        shares[(fnv_hash(rank) % items) as usize] += share;
        named += share;
    }
    for share in &mut shares {
        *share += (1.0 - named) / items as f64;
    }
    let scrambled = ScrambledZipfian::new(5, 14);
    let mut random = Random::seed_from_u64(SEED);
    let mut seen = vec![0u64; items as usize];
    for _ in 0..DRAWS {
        seen[(scrambled.next(&mut random) - 5) as usize] += 1;
    }
    // Gray's approximation shifts shares of small ranks by a percent or so, more than chi-square forgives.
    for (item, (&seen, share)) in seen.iter().zip(&shares).enumerate() {
        let seen = seen as f64 / DRAWS as f64;
        assert!((seen - share).abs() < 0.015, "item {item}: {seen} beside {share}");
    }
}

#[test]
fn latest_draws_count_back_from_the_newest_record() {
    let inserted = Arc::new(AcknowledgedCounter::new(101));
    let mut latest = SkewedLatest::new(Arc::clone(&inserted));
    expect(&zipfian_shares(100), |random| (100 - latest.next(random)) as usize);
    let number = inserted.next();
    inserted.acknowledge(number);
    expect(&zipfian_shares(101), |random| (101 - latest.next(random)) as usize);
}

#[test]
fn uniform_draws_take_all_alike() {
    let uniform = Uniform::new(3, 52);
    expect(&[0.02; 50], |random| (uniform.next(random) - 3) as usize);
}

#[test]
fn hotspot_draws_give_the_lowest_records_their_share() {
    let hotspot = Hotspot::new(0, 99, 0.2, 0.8);
    let shares: Vec<f64> = (0..100).map(|item| if item < 20 { 0.8 / 20.0 } else { 0.2 / 80.0 }).collect();
    expect(&shares, |random| hotspot.next(random) as usize);
}

#[test]
fn exponential_draws_fall_within_the_range_as_often_as_asked() {
    let exponential = Exponential::new(95.0, 50.0);
    let gamma = -(0.05_f64.ln()) / 50.0;
    let mut shares: Vec<f64> =
        (0..50).map(|d| (-gamma * f64::from(d)).exp() - (-gamma * f64::from(d + 1)).exp()).collect();
    shares.push(0.05);
    expect(&shares, |random| exponential.next(random).min(50) as usize);
}

#[test]
fn sequential_draws_begin_again_and_are_shared_by_clones() {
    let sequential = Sequential::new(4, 6);
    let clone = sequential.clone();
    let drawn: Vec<u64> = (0..4).flat_map(|_| [sequential.next(), clone.next()]).collect();
    assert_eq!(drawn, [4, 5, 6, 4, 5, 6, 4, 5]);
}

#[test]
fn things_are_drawn_by_weight() {
    let discrete = Discrete::new(&[(0, 0.5), (1, 0.0), (2, 1.5)]).expect("a weight");
    expect(&[0.25, 0.75], |random| if discrete.next(random) == 0 { 0 } else { 1 });
    assert!(Discrete::new(&[((), 0.0)]).is_none());
}

#[test]
fn histograms_draw_upper_ends_of_buckets() {
    let histogram = Histogram::parse("BlockSize\t10\n0\t100\n1\t300\n2\t600\n").expect("a histogram");
    // Of a thousand draws YCSB gives a bucket one more than its weight, taken from the next; the last counts as 20.
    expect(&[0.101, 0.899], |random| if histogram.next(random) == 10 { 0 } else { 1 });
    for (text, line) in [("", 1), ("BlockSize\tx", 1), ("BlockSize\t1\n1\t5", 2), ("BlockSize\t1\n0\tx", 2)] {
        assert_eq!(Histogram::parse(text).expect_err(text).line, line);
    }
}

fn workload(assignments: &[&str]) -> Arc<Workload> {
    let assignments: Vec<String> = assignments.iter().map(|&text| text.to_owned()).collect();
    let properties = Properties::read(&[], &assignments).expect("properties");
    Arc::new(Workload::new(&properties).expect("a workload"))
}

#[test]
fn workload_files_run_as_they_are() {
    for (letter, expected) in [
        ('a', vec![(Operation::Read, 0.5), (Operation::Update, 0.5)]),
        ('b', vec![(Operation::Read, 0.95), (Operation::Update, 0.05)]),
        ('c', vec![(Operation::Read, 1.0)]),
        ('d', vec![(Operation::Read, 0.95), (Operation::Insert, 0.05)]),
        ('e', vec![(Operation::Insert, 0.05), (Operation::Scan, 0.95)]),
        ('f', vec![(Operation::Read, 0.5), (Operation::ReadModifyWrite, 0.5)]),
    ] {
        let path = format!("{}/../config/workloads/workload{letter}", env!("CARGO_MANIFEST_DIR"));
        let properties = Properties::read(&[path.into()], &[]).expect("a workload file");
        assert_eq!(properties.unknown().count(), 0, "workload {letter}");
        let workload = Arc::new(Workload::new(&properties).expect("a workload"));
        let mut session = Session::new(workload, SEED, 0);
        let mut seen: BTreeMap<Operation, f64> = BTreeMap::new();
        for _ in 0..10_000 {
            let task = session.next(Phase::Run).expect("runs have no end of their own");
            *seen.entry(task.operation).or_insert(0.0) += 1.0 / 10_000.0;
            if task.operation == Operation::Insert {
                session.inserted(task.record);
            }
        }
        assert_eq!(seen.len(), expected.len(), "workload {letter}: {seen:?}");
        for (operation, share) in expected {
            assert!((seen[&operation] - share).abs() < 0.02, "workload {letter}: {seen:?}");
        }
    }
}

#[test]
fn a_load_inserts_its_part_once_and_ends() {
    let workload = workload(&["recordcount=100", "insertstart=10", "insertcount=20", "insertorder=ordered"]);
    let mut clients = [0, 1].map(|client| Session::new(Arc::clone(&workload), SEED, client));
    let mut records = Vec::new();
    while let Some(task) = clients[records.len() % 2].next(Phase::Load) {
        assert_eq!(task.key, format!("user{}", task.record));
        records.push(task.record);
    }
    assert_eq!(records, (10..30).collect::<Vec<u64>>());
}

#[test]
fn no_record_is_asked_for_before_it_is_inserted() {
    for distribution in ["uniform", "zipfian", "latest", "hotspot", "exponential", "sequential"] {
        let request = format!("requestdistribution={distribution}");
        let proportions =
            ["readproportion=0.5", "insertproportion=0.5", "operationcount=5000", "recordcount=10"];
        let workload = workload(&[&request, proportions[0], proportions[1], proportions[2], proportions[3]]);
        let mut session = Session::new(workload, SEED, 0);
        let mut end = 10;
        for _ in 0..5_000 {
            let task = session.next(Phase::Run).expect("a task");
            if task.operation == Operation::Insert {
                assert_eq!(task.record, end);
                session.inserted(task.record);
                end += 1;
            } else {
                assert!(task.record < end, "{distribution}: {} of {end}", task.record);
            }
        }
    }
}

#[test]
fn contradictions_are_refused_by_name() {
    for (assignments, name) in [
        (vec!["recordcount=10", "insertstart=5", "insertcount=6"], "insertcount"),
        (vec!["requestdistribution=zipfy"], "requestdistribution"),
        (vec!["fieldcount=0"], "fieldcount"),
        (vec!["fieldcount=18446744073709551615"], "fieldcount"),
        (vec!["dataintegrity=true", "fieldlengthdistribution=uniform"], "fieldlengthdistribution"),
        (vec!["workload=site.ycsb.workloads.TimeSeriesWorkload"], "workload"),
        (vec!["readproportion=0", "updateproportion=0"], "readproportion"),
        (vec!["table=No"], "table"),
    ] {
        let assignments: Vec<String> = assignments.iter().map(|&text| text.to_owned()).collect();
        let properties = Properties::read(&[], &assignments).expect("properties");
        let error = Workload::new(&properties).expect_err(name).to_string();
        assert!(error.contains(name), "{error}");
    }
}
