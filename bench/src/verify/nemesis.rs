//! What is done to the cluster and when: a pure function of the seed.

use std::time::Duration;

use clap::ValueEnum;
use helenus_bench::history::{Fault, Silence};
use rand::{RngExt, SeedableRng};
use rand_xoshiro::Xoshiro256StarStar;

/// The kinds of faults that can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Kill,
    Pause,
    Restart,
    Cut,
    CutOneWay,
    Slow,
    KillAll,
}

/// A fault, when it begins and how long it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) at: Duration,
    pub(super) lasts: Duration,
    pub(super) fault: Fault,
}

impl Planned {
    pub(super) fn end(&self) -> Duration {
        self.at + self.lasts
    }
}

/// What to plan for.
#[derive(Debug, Clone)]
pub(super) struct Terms {
    pub(super) seed: u64,
    pub(super) nodes: u32,
    pub(super) duration: Duration,
    pub(super) kinds: Vec<Kind>,
    /// Faults at once.
    pub(super) at_once: usize,
}

/// Draws a schedule, ordered by begin. Faults overlap freely, but no two touch the same node's process or the same link
/// at once: their ends would undo each other.
pub(super) fn plan(terms: &Terms) -> Vec<Planned> {
    let mut random = Xoshiro256StarStar::seed_from_u64(terms.seed);
    let mut planned: Vec<Planned> = Vec::new();
    let mut at = Duration::from_secs(1);
    if terms.kinds.is_empty() {
        return planned;
    }
    loop {
        at += millis(&mut random, 300, 3_000);
        let (fault, lasts) = draw(&mut random, terms);
        let candidate = Planned { at, lasts, fault };
        if candidate.end() >= terms.duration {
            // A shorter one may still fit, a later one does not.
            if at >= terms.duration {
                return planned;
            }
            continue;
        }
        let overlapping: Vec<&Planned> =
            planned.iter().filter(|other| other.end() + GAP >= candidate.at).collect();
        if overlapping.len() < terms.at_once
            && !overlapping.iter().any(|other| is_same_place(&other.fault, &candidate.fault))
        {
            planned.push(candidate);
        }
    }
}

/// Between the end of one fault of a node or link and the next.
const GAP: Duration = Duration::from_millis(100);

fn draw(random: &mut Xoshiro256StarStar, terms: &Terms) -> (Fault, Duration) {
    // The death of all nodes leaves little to see for a while: one in five of its draws is enough.
    let mut kind = terms.kinds[random.random_range(0..terms.kinds.len())];
    if kind == Kind::KillAll && random.random_bool(0.8) {
        kind = terms.kinds[random.random_range(0..terms.kinds.len())];
    }
    let node = random.random_range(1..=terms.nodes);
    let other = (node - 1 + random.random_range(1..terms.nodes)) % terms.nodes + 1;
    match kind {
        Kind::Kill => (Fault::Kill { node }, millis(random, 200, 6_000)),
        Kind::Pause => (Fault::Pause { node }, millis(random, 100, 8_000)),
        Kind::Restart => (Fault::Restart { node }, millis(random, 100, 2_000)),
        Kind::Cut => {
            let silence = if random.random_bool(0.5) { Silence::Held } else { Silence::Broken };
            (Fault::Cut { a: node, b: other, silence }, millis(random, 200, 10_000))
        }
        Kind::CutOneWay => (Fault::CutOneWay { from: node, to: other }, millis(random, 200, 10_000)),
        Kind::Slow => {
            let delay_ms = random.random_range(5..600);
            (Fault::Slow { a: node, b: other, delay_ms }, millis(random, 500, 10_000))
        }
        Kind::KillAll => (Fault::KillAll, millis(random, 100, 2_000)),
    }
}

fn millis(random: &mut Xoshiro256StarStar, from: u64, to: u64) -> Duration {
    Duration::from_millis(random.random_range(from..to))
}

fn is_same_place(a: &Fault, b: &Fault) -> bool {
    match (process(a), process(b)) {
        (Some(a), Some(b)) => a == b || a == ALL || b == ALL,
        (None, None) => link(a) == link(b),
        _ => false,
    }
}

const ALL: u32 = 0;

/// The node whose process a fault is about.
fn process(fault: &Fault) -> Option<u32> {
    match *fault {
        Fault::Kill { node } | Fault::Pause { node } | Fault::Restart { node } | Fault::Crash { node } => {
            Some(node)
        }
        Fault::KillAll => Some(ALL),
        Fault::Cut { .. } | Fault::CutOneWay { .. } | Fault::Slow { .. } => None,
    }
}

/// The two nodes whose link a fault is about, the smaller first.
fn link(fault: &Fault) -> Option<(u32, u32)> {
    match *fault {
        Fault::Cut { a, b, .. } | Fault::CutOneWay { from: a, to: b } | Fault::Slow { a, b, .. } => {
            Some((a.min(b), a.max(b)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terms(seed: u64) -> Terms {
        let duration = Duration::from_secs(120);
        Terms { seed, nodes: 5, duration, kinds: Kind::value_variants().to_vec(), at_once: usize::MAX }
    }

    #[test]
    fn a_schedule_depends_on_its_seed_alone() {
        assert_eq!(plan(&terms(1)), plan(&terms(1)));
        assert_ne!(plan(&terms(1)), plan(&terms(2)));
    }

    #[test]
    fn a_schedule_has_all_kinds_keeps_to_its_time_and_undoes_only_what_it_did() {
        for seed in 0..50 {
            let planned = plan(&terms(seed));
            assert!(planned.len() > 30, "seed {seed}: {}", planned.len());
            for (index, one) in planned.iter().enumerate() {
                assert!(one.end() < Duration::from_secs(120), "seed {seed}: {one:?}");
                for other in &planned[..index] {
                    assert!(other.at <= one.at, "seed {seed}");
                    let apart = other.end() < one.at || !is_same_place(&one.fault, &other.fault);
                    assert!(apart, "seed {seed}: {one:?} {other:?}");
                }
            }
        }
        let names: std::collections::BTreeSet<&str> =
            (0..50).flat_map(|seed| plan(&terms(seed))).map(|one| one.fault.name()).collect();
        assert_eq!(names.len(), Kind::value_variants().len(), "{names:?}");
    }

    #[test]
    fn one_at_a_time_is_one_at_a_time() {
        let planned = plan(&Terms { at_once: 1, ..terms(3) });
        assert!(planned.windows(2).all(|pair| pair[0].end() < pair[1].at));
        assert!(planned.len() > 5);
    }
}
