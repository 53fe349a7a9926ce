//! Promise: the checkers agree with plain definitions of what they check on small random histories, are silent about
//! histories of a store that is right, and hear a store that is wrong.

mod support;

use std::collections::BTreeSet;

use helenus_bench::{
    checkers::{self, Checker, Checks},
    history::{Action, History, Level, Operation, Outcome, Phase, Seen},
};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256StarStar;
use support::Story;

type Random = Xoshiro256StarStar;

const LEVELS: [Level; 3] = [Level::One, Level::Quorum, Level::All];

/// The store's order as plain numbers: timestamp, then tombstone over value, then the value. Nothing is (0, 0, 0).
type Order = (u64, u64, u64);

fn order_of(operation: &Operation, timestamp: u64) -> Order {
    match operation.action {
        Action::Write { value, .. } => (timestamp, 0, value.0),
        Action::Delete { .. } => (timestamp, 1, 0),
        Action::Read => unreachable!("reads make no version"),
    }
}

fn order_seen(read: &Operation) -> Option<Order> {
    Some(match read.seen.as_ref()? {
        Seen::Value { value, timestamp, .. } => (timestamp.0, 0, value.0),
        Seen::Tombstone { timestamp } => (timestamp.0, 1, 0),
        Seen::Absent => (0, 0, 0),
        Seen::Garbage { .. } => return None,
    })
}

#[test]
fn lost_writes_are_those_of_the_definition() {
    let mut with_loss = 0;
    for seed in 0..3_000 {
        let history = random_history(seed);
        // The definition, pair by pair: the reads that miss some write they had to see.
        let guilty: BTreeSet<u64> = history
            .operations
            .iter()
            .filter(|read| read.is_ok_read())
            .filter(|read| {
                let seen = order_seen(read).expect("no garbage here");
                history.operations.iter().filter(|write| write.is_ok_write()).any(|write| {
                    let timestamp = write.timestamp.expect("acknowledged").0;
                    write.returned < read.invoked
                        && write.level.required(3) + read.level.required(3) > 3
                        && seen < order_of(write, timestamp)
                })
            })
            .map(|read| read.id)
            .collect();
        let found = checkers::lost_write::check(&history);
        assert_eq!(found.is_empty(), guilty.is_empty(), "seed {seed}: {guilty:?} {found:?}");
        for violation in &found {
            assert!(guilty.contains(&violation.operations[1]), "seed {seed}: {violation}");
        }
        with_loss += usize::from(!guilty.is_empty());
    }
    assert!((300..2_700).contains(&with_loss), "both kinds must be common, {with_loss} lose");
}

#[test]
fn a_final_value_is_right_if_some_subset_of_the_unknown_writes_explains_it() {
    let (mut right, mut wrong) = (0, 0);
    for seed in 0..3_000 {
        let mut history = random_history(seed);
        history.operations.retain(Operation::is_write);
        let Some(seen) = make_final_read(&mut history, seed) else { continue };
        let explained = is_explained(&history, seen);
        let found: Vec<Checker> = checkers::last_write_wins::check(&history)
            .into_iter()
            .chain(checkers::invention::check(&history))
            .map(|violation| violation.checker)
            .collect();
        assert_eq!(found.is_empty(), explained, "seed {seed}: {found:?}\n{:#?}", history.operations);
        *(if explained { &mut right } else { &mut wrong }) += 1;
    }
    assert!(right > 300 && wrong > 300, "both kinds must be common: {right} right, {wrong} wrong");
}

/// Whether the newest of the acknowledged writes and some unknown ones, at some timestamps, is what was seen.
fn is_explained(history: &History, seen: Order) -> bool {
    let newest_ok = history
        .operations
        .iter()
        .filter(|write| write.is_ok_write())
        .map(|write| order_of(write, write.timestamp.expect("acknowledged").0))
        .max()
        .unwrap_or((0, 0, 0));
    let unknown: Vec<&Operation> = history
        .operations
        .iter()
        .filter(|write| write.is_write() && write.outcome == Outcome::Unknown)
        .collect();
    // Each unknown write: not applied, or applied @1..=5.
    (0..6_u64.pow(u32::try_from(unknown.len()).expect("few"))).any(|mut choice| {
        let mut newest = newest_ok;
        for write in &unknown {
            if choice % 6 > 0 {
                newest = newest.max(order_of(write, choice % 6));
            }
            choice /= 6;
        }
        newest == seen
    })
}

/// Appends a read at ALL of something plausible; `None` if nothing was written.
fn make_final_read(history: &mut History, seed: u64) -> Option<Order> {
    let mut random = Random::seed_from_u64(!seed);
    let candidates = history.operations.len();
    let chosen = candidates.checked_sub(1).map(|last| random.random_range(0..=last))?;
    let write = history.operations[chosen].clone();
    // Mostly its own timestamp, so that right histories are common.
    let timestamp = match write.timestamp {
        Some(timestamp) if random.random_bool(0.8) => timestamp.0,
        _ => random.random_range(1..=5),
    };
    let mut story = Story::new();
    let read = story.read(1_000, 1_001).level(Level::All).phase(Phase::Final);
    let _ = match write.action {
        Action::Write { value, .. } => read.sees(value.0, timestamp),
        Action::Delete { .. } => read.sees_tombstone(timestamp),
        Action::Read => unreachable!("only writes are left"),
    };
    let mut read = story.history().operations.remove(0);
    read.id = 1_000;
    history.operations.push(read.clone());
    order_seen(&read)
}

/// Up to six operations with random intervals, levels, timestamps 1..=5 and answers.
fn random_history(seed: u64) -> History {
    let mut random = Random::seed_from_u64(seed);
    let mut story = Story::new();
    for value in 1..=random.random_range(2..=6) {
        let from = random.random_range(0..40);
        let to = from + random.random_range(1..20);
        let level = LEVELS[random.random_range(0..3)];
        let timestamp = random.random_range(1..=5);
        let _ = match (random.random_range(0..10), random.random_range(0..10)) {
            (0..4, 0..6) => story.write(from, to, value).ok(timestamp),
            (0..4, 6..9) => story.write(from, to, value).unknown(),
            (0..4, _) => story.write(from, to, value).failed(),
            (4, 0..6) => story.delete(from, to).ok(timestamp),
            (4, _) => story.delete(from, to).unknown(),
            (_, 0) => story.read(from, to).sees_nothing(),
            (_, 1) => story.read(from, to).sees_tombstone(timestamp),
            _ => story.read(from, to).sees(random.random_range(1..=6), timestamp),
        }
        .level(level);
    }
    story.history()
}

/// What is wrong with the store that makes a history.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Bug {
    None,
    /// A replica that acknowledges does not always keep it.
    AcknowledgesBeforeItKeeps,
    /// One replica's answer is counted twice.
    CountsAReplicaTwice,
    /// A write that is refused was sent to a replica nevertheless.
    RefusesAfterSending,
    /// A tombstone loses its tie.
    TombstoneLosesItsTie,
    /// Timestamps are made anew on one replica.
    StampsAgain,
    /// Its own timestamps are those of a clock that goes astray.
    StampsByItsClock,
}

#[test]
fn a_store_that_is_right_is_never_accused() {
    for seed in 0..1_000 {
        let history = run_store(seed, Bug::None);
        let found = checkers::check(&history, &Checks::default());
        assert_eq!(found, [], "seed {seed}");
    }
}

#[test]
fn a_store_that_is_wrong_is_caught_and_by_the_right_checker() {
    for (bug, checker) in [
        (Bug::AcknowledgesBeforeItKeeps, Checker::LostWrite),
        (Bug::CountsAReplicaTwice, Checker::LostWrite),
        (Bug::RefusesAfterSending, Checker::Invention),
        (Bug::TombstoneLosesItsTie, Checker::LostWrite),
        (Bug::StampsAgain, Checker::Invention),
        (Bug::StampsByItsClock, Checker::Succession),
    ] {
        let caught = (0..200)
            .filter(|&seed| {
                let history = run_store(seed, bug);
                let found = checkers::check(&history, &Checks::default());
                found.iter().any(|violation| violation.checker == checker)
            })
            .count();
        assert!(caught >= 20, "{bug:?} was caught in {caught} of 200 histories");
    }
}

/// A register on three replicas: each write reaches a random subset, each read asks a random quorum.
fn run_store(seed: u64, bug: Bug) -> History {
    let mut random = Random::seed_from_u64(seed);
    let mut story = Story::new();
    let mut replicas: [(Order, u64); 3] = Default::default();
    let mut now = 0;
    for value in 1..=40 {
        now += random.random_range(1..10);
        let level = LEVELS[random.random_range(0..3)];
        let required = level.required(3) as usize;
        let end = now + random.random_range(1..15);
        if random.random_bool(0.5) {
            let asked = some_replicas(&mut random, required);
            let asked = if bug == Bug::CountsAReplicaTwice { &asked[..1.max(required - 1)] } else { &asked };
            let (newest, stamp) = asked.iter().map(|&at| replicas[at]).max().expect("at least one");
            let read = story.read(now, now + 1);
            let _ = match newest {
                (0, ..) => read.sees_nothing(),
                (_, 1, _) => read.sees_tombstone(stamp),
                (_, _, value) => read.sees(value, stamp),
            }
            .level(level);
            now += 1;
            continue;
        }
        // Few timestamps, so that ties are common: of clients, and of the store where no client has been ahead.
        let is_own = random.random_bool(0.5);
        let clock = 1 + now / 20;
        let newest = replicas.iter().map(|&((timestamp, ..), _)| timestamp).max().unwrap_or(0);
        let timestamp = match bug {
            _ if is_own => clock,
            Bug::StampsByItsClock => clock.saturating_sub(random.random_range(0..3)).max(1),
            _ => clock.max(newest + 1),
        };
        let stamp = is_own.then_some(timestamp);
        let delete = random.random_bool(0.2);
        let tombstone_rank = u64::from(delete && bug != Bug::TombstoneLosesItsTie);
        let version = (timestamp, tombstone_rank, if delete { 0 } else { value });
        let told = match delete {
            true => story.delete_stamped(now, end, stamp),
            false => story.write_stamped(now, end, value, stamp),
        };
        let (reached, told) = match random.random_range(0..10) {
            0 => {
                let reached = if bug == Bug::RefusesAfterSending { 1 } else { 0 };
                (some_replicas(&mut random, reached), told.failed())
            }
            1..3 => {
                let reached = random.random_range(0..=3);
                (some_replicas(&mut random, reached), told.unknown())
            }
            _ => {
                let reached = random.random_range(required..=3);
                (some_replicas(&mut random, reached), told.ok(timestamp))
            }
        };
        let _ = told.level(level);
        for at in reached {
            let forgets = bug == Bug::AcknowledgesBeforeItKeeps && random.random_bool(0.2);
            let stamp = timestamp + u64::from(bug == Bug::StampsAgain && at == 2);
            if !forgets {
                replicas[at] = replicas[at].max((version, stamp));
            }
        }
        // The next operation may begin before this one has its answer.
        now += if random.random_bool(0.5) { end - now } else { 0 };
    }
    story.history()
}

fn some_replicas(random: &mut Random, count: usize) -> Vec<usize> {
    let mut order = vec![0, 1, 2];
    for index in (1..3).rev() {
        order.swap(index, random.random_range(0..=index));
    }
    order.truncate(count);
    order
}
