//! What a history says: for people, and as JSON with stable names.

use std::{collections::BTreeMap, path::Path, time::Duration};

use comfy_table::{Table, presets};
use helenus_bench::{
    checkers::{Checks, Violation, availability},
    history::{History, Moment, Outcome},
    timeline::{self, Extent},
};
use serde_json::{Value as Json, json};

/// Timelines that are printed; the history file has the rest.
const MOST_TIMELINES: usize = 10;

/// Reasons that are printed.
const MOST_REASONS: usize = 12;

/// Operations before and after those that a violation names.
const CONTEXT: usize = 6;

const OUTCOMES: [Outcome; 4] = [Outcome::Ok, Outcome::Failed, Outcome::Unknown, Outcome::Rejected];

/// The judgement of a history.
pub(super) struct Report<'a> {
    pub(super) history: &'a History,
    pub(super) violations: &'a [Violation],
    pub(super) checks: &'a Checks,
    pub(super) file: &'a Path,
}

impl Report<'_> {
    pub(super) fn json(&self) -> Json {
        let header = &self.history.header;
        let operations: BTreeMap<&str, BTreeMap<&str, u64>> = self
            .operations()
            .into_iter()
            .map(|(kind, outcomes)| {
                (kind, outcomes.into_iter().map(|(outcome, count)| (outcome.name(), count)).collect())
            })
            .collect();
        let accounting = availability::account(self.history, self.checks.transition);
        json!({
            "seed": header.seed,
            "version": header.version,
            "nodes": header.nodes,
            "factor": header.factor,
            "seconds": self.duration().as_secs_f64(),
            "operations_checked": self.history.operations.len(),
            "operations": operations,
            "faults": self.faults(),
            "availability": {
                "judged": accounting.judged,
                "failed": accounting.failed.len(),
                "examples": accounting.failed.iter().take(10).collect::<Vec<_>>(),
            },
            "violations": self.violations,
            "history": self.file,
        })
    }

    pub(super) fn text(&self) -> String {
        let header = &self.history.header;
        let mut operations = Table::new();
        operations.load_style(presets::UTF8_HORIZONTAL_ONLY);
        operations
            .set_header(std::iter::once("operations").chain(OUTCOMES.iter().map(|outcome| outcome.name())));
        for (kind, outcomes) in self.operations() {
            let counts =
                OUTCOMES.iter().map(|outcome| outcomes.get(outcome).copied().unwrap_or(0).to_string());
            operations.add_row(std::iter::once(kind.to_owned()).chain(counts));
        }
        let mut faults = Table::new();
        faults.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(["faults", "count"]);
        for (name, count) in self.faults() {
            faults.add_row([name.to_owned(), count.to_string()]);
        }
        let mut reasons = Table::new();
        reasons.load_style(presets::UTF8_HORIZONTAL_ONLY).set_header(["why not", "count"]);
        for (reason, count) in self.reasons() {
            reasons.add_row([reason, count.to_string()]);
        }
        let accounting = availability::account(self.history, self.checks.transition);
        let mut text = format!(
            "seed {} · {} nodes, factor {} · {:.1} s · Helenus {}\n{operations}\n{reasons}\n{faults}\n\
             {} operations had enough healthy replicas while the cluster was disturbed; {} of them were not done\n",
            header.seed,
            header.nodes,
            header.factor,
            self.duration().as_secs_f64(),
            header.version,
            accounting.judged,
            accounting.failed.len(),
        );
        for violation in self.violations.iter().take(MOST_TIMELINES) {
            text += &format!("\nVIOLATION {violation}\n");
            text += &timeline::of_violation(self.history, violation, Extent::Around(CONTEXT));
        }
        if self.violations.len() > MOST_TIMELINES {
            text.push('\n');
            for violation in &self.violations[MOST_TIMELINES..] {
                text += &format!("VIOLATION {violation}\n");
            }
        }
        let count = self.violations.len();
        text += &format!("\n{count} violations in {} operations", self.history.operations.len());
        text + &format!(" · check again: helenus-bench verify --check {}", self.file.display())
    }

    fn operations(&self) -> BTreeMap<&'static str, BTreeMap<Outcome, u64>> {
        let mut operations: BTreeMap<&str, BTreeMap<Outcome, u64>> = BTreeMap::new();
        for operation in &self.history.operations {
            *operations.entry(operation.action.kind()).or_default().entry(operation.outcome).or_default() +=
                1;
        }
        operations
    }

    /// Why operations were not done, the most frequent reason first.
    fn reasons(&self) -> Vec<(String, u64)> {
        let mut counts: BTreeMap<&str, u64> = BTreeMap::new();
        for detail in self.history.operations.iter().filter_map(|operation| operation.detail.as_deref()) {
            *counts.entry(detail).or_default() += 1;
        }
        let mut reasons: Vec<_> =
            counts.into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons.truncate(MOST_REASONS);
        reasons
    }

    fn faults(&self) -> BTreeMap<&'static str, u64> {
        let mut faults = BTreeMap::new();
        for event in &self.history.faults {
            *faults.entry(event.fault.name()).or_default() += 1;
        }
        faults
    }

    fn duration(&self) -> Duration {
        let ends = self.history.operations.iter().map(|operation| operation.returned);
        ends.max().unwrap_or_default().since(Moment(0))
    }
}
