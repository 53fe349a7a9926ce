//! A run beside an earlier one.

use super::statistics::Sample;
use crate::{
    measurement::{OperationRow, RunResult},
    workload::Operation,
};

/// A number of a row.
type Figure = fn(&OperationRow) -> f64;

/// Below this probability a difference counts as one.
const SIGNIFICANT: f64 = 0.01;

/// One number of both runs.
#[derive(Debug, Clone)]
pub struct Change {
    /// Which number.
    pub name: String,
    /// Earlier.
    pub before: f64,
    /// Now.
    pub after: f64,
    /// Of so large a difference if nothing had changed; none if a run had too few intervals to tell.
    pub chance: Option<f64>,
    /// Whether more is better.
    pub more_is_better: bool,
}

impl Change {
    /// Relative change.
    #[must_use]
    pub fn relative(&self) -> f64 {
        if self.before == 0.0 { 0.0 } else { self.after / self.before - 1.0 }
    }

    /// Whether it is more than chance.
    #[must_use]
    pub fn is_significant(&self) -> bool {
        self.chance.is_some_and(|chance| chance < SIGNIFICANT)
    }
}

/// Two runs, number by number: totals, with the significance of the difference between their intervals.
#[derive(Debug, Clone)]
pub struct Baseline {
    /// Throughput first, then latencies by kind.
    pub changes: Vec<Change>,
    /// What makes the runs hard to compare.
    pub differences: Vec<String>,
}

impl Baseline {
    /// Compares a run with an earlier one.
    #[must_use]
    pub fn new(before: &RunResult, after: &RunResult) -> Self {
        let throughput = |run: &RunResult| -> Vec<f64> {
            complete(run).map(|row| row.succeeded as f64 / row.length_s).collect()
        };
        let mut changes = vec![Change {
            name: "throughput".to_owned(),
            before: before.throughput(),
            after: after.throughput(),
            chance: chance(&throughput(before), &throughput(after)),
            more_is_better: true,
        }];
        for operation in &after.operations {
            let kind = operation.operation;
            let Some(earlier) = before.operations.iter().find(|earlier| earlier.operation == kind) else {
                continue;
            };
            let figures: [(&str, Figure); 3] = [
                ("mean", |row| row.mean_us),
                ("50", |row| row.p50_us as f64),
                ("99", |row| row.p99_us as f64),
            ];
            for (figure, of_row) in figures {
                let total = |latencies: &crate::measurement::Latencies| {
                    latencies.percentiles_us.get(figure).map_or(latencies.mean_us, |&value| value as f64)
                };
                changes.push(Change {
                    name: if figure == "mean" {
                        format!("{} mean", kind.name())
                    } else {
                        format!("{} p{figure}", kind.name())
                    },
                    before: total(earlier.honest()),
                    after: total(operation.honest()),
                    chance: chance(&series(before, kind, of_row), &series(after, kind, of_row)),
                    more_is_better: false,
                });
            }
        }
        Self { changes, differences: differences(before, after) }
    }
}

/// The last interval is cut short by the end.
fn complete(run: &RunResult) -> impl Iterator<Item = &crate::measurement::IntervalResult> {
    run.intervals.iter().filter(|row| row.start_s + row.length_s <= run.seconds)
}

fn series(run: &RunResult, kind: Operation, figure: Figure) -> Vec<f64> {
    let rows = complete(run).filter_map(|row| row.operations.get(&kind));
    rows.filter(|row| row.count > 0).map(figure).collect()
}

fn chance(before: &[f64], after: &[f64]) -> Option<f64> {
    Some(Sample::new(before)?.chance_of_difference(&Sample::new(after)?))
}

fn differences(before: &RunResult, after: &RunResult) -> Vec<String> {
    let facts = |run: &RunResult| {
        let settings = &run.settings;
        let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
        [
            ("machine", format!("{} {}", run.host.name, run.host.processor)),
            ("protocol", settings.protocol.clone()),
            ("phase", settings.phase.clone()),
            ("level", text(&settings.consistency)),
            ("factor", text(&run.server.factor)),
            ("sync mode", text(&run.server.sync_mode)),
            ("clients", settings.clients.to_string()),
            ("target", settings.target.map_or_else(|| "none".to_owned(), |target| target.to_string())),
            ("properties", format!("{:?}", settings.properties)),
        ]
    };
    let pairs = facts(before).into_iter().zip(facts(after));
    pairs
        .filter(|(before, after)| before.1 != after.1)
        .map(|((name, before), (_, after))| format!("{name}: {before} before, {after} now"))
        .collect()
}
