//! The table.

use std::{collections::BTreeMap, fmt::Write};

use super::{Levels, Panel, level_of};
use crate::{
    client::Outcome,
    measurement::{IntervalResult, RunResult},
    report::units::{count, duration, rate},
    workload::Operation,
};

/// What stands where there is no run.
const NONE: &str = "–";

impl Levels<'_> {
    /// Tables and the machine, in Markdown.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for panel in &self.panels {
            self.panel(panel, &mut text);
        }
        self.disturbed(&mut text);
        self.facts(&mut text);
        text
    }

    fn panel(&self, panel: &Panel<'_>, text: &mut String) {
        if !panel.title.is_empty() {
            let _ = writeln!(text, "**{}**\n", capitalized(panel.title));
        }
        let mut rule = String::from("|---|");
        text.push_str("| workload |");
        for figure in ["op/s", "p99"] {
            for level in &self.levels {
                let _ = write!(text, " {} {figure} |", level.to_uppercase());
                rule.push_str("---:|");
            }
        }
        let _ = writeln!(text, " failed |\n{rule}---|");
        for group in &panel.groups {
            let cells = |of: &dyn Fn(&RunResult) -> String| -> String {
                let cells = self.levels.iter().map(|level| group.at(level).map_or(NONE.to_owned(), of));
                cells.map(|cell| format!(" {cell} |")).collect()
            };
            let failed = reasons(&group.runs);
            let (rates, latencies) = (cells(&|run| rate(run.throughput())), cells(&slowest_p99));
            let _ = writeln!(text, "| {} |{rates}{latencies} {failed} |", group.name);
        }
        text.push('\n');
    }

    fn disturbed(&self, text: &mut String) {
        let Some(first) = self.disturbed.first() else { return };
        let commands: Vec<&str> = first.events.iter().map(|event| event.command.as_str()).collect();
        let label = first.settings.label.as_deref().unwrap_or(&first.settings.phase);
        let _ = writeln!(text, "**{}**, half-way: `{}`\n", capitalized(label), commands.join("; "));
        text.push_str("| level | op/s before | op/s after | failed |\n|---|---:|---:|---|\n");
        for run in &self.disturbed {
            let at = run.events.first().map_or(0.0, |event| event.at_s);
            let before = mean(run, |row| row.start_s + row.length_s <= at);
            // What was under way at that moment belongs to neither side.
            let after = mean(run, |row| row.start_s >= at && row.start_s + row.length_s <= run.seconds);
            let _ = writeln!(
                text,
                "| {} | {before} | {after} | {} |",
                level_of(run).to_uppercase(),
                reasons(&[run])
            );
        }
        text.push('\n');
    }

    fn facts(&self, text: &mut String) {
        let Some(run) = self.runs().next() else { return };
        let (settings, host) = (&run.settings, &run.host);
        let unknown = || "unknown".to_owned();
        let records = settings.properties.get("recordcount").cloned().unwrap_or_else(unknown);
        let _ = writeln!(
            text,
            "{} records, factor {}, sync mode {}, {} endpoints; {} clients on {} thread{}, each run {} s after {} s of \
             warm-up; p99 is that of the workload's slowest kind of operation. {}, {}; {} × {}, {:.1} GiB of memory, {}.",
            records,
            run.server.factor.clone().unwrap_or_else(unknown),
            run.server.sync_mode.clone().unwrap_or_else(unknown),
            settings.endpoints.len(),
            settings.clients,
            settings.threads,
            if settings.threads == 1 { "" } else { "s" },
            settings.duration_s.unwrap_or(run.seconds).round(),
            settings.warmup_s,
            run.server.version.clone().unwrap_or_else(unknown),
            &run.started.get(..10).unwrap_or_default(),
            host.processors,
            host.processor,
            host.memory_bytes as f64 / f64::from(1 << 30),
            host.system,
        );
    }
}

fn capitalized(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn slowest_p99(run: &RunResult) -> String {
    let kinds = run.operations.iter().filter(|kind| kind.honest().count > 0);
    let p99 = kinds.filter_map(|kind| kind.honest().percentiles_us.get("99")).max();
    p99.map_or(NONE.to_owned(), |&us| duration(us as f64))
}

/// Successes in a second of some intervals.
fn mean(run: &RunResult, is_meant: impl Fn(&IntervalResult) -> bool) -> String {
    let rows: Vec<&IntervalResult> = run.intervals.iter().filter(|row| is_meant(row)).collect();
    let seconds: f64 = rows.iter().map(|row| row.length_s).sum();
    let succeeded: u64 = rows.iter().map(|row| row.succeeded).sum();
    if seconds > 0.0 { rate(succeeded as f64 / seconds) } else { NONE.to_owned() }
}

/// How many requests failed, by kind.
fn reasons(runs: &[&RunResult]) -> String {
    let mut kinds: BTreeMap<Outcome, u64> = BTreeMap::new();
    let kinds_of_operation = runs.iter().flat_map(|run| &run.operations);
    // A read-modify-write fails as its part did, which is counted itself.
    let requests = kinds_of_operation.filter(|kind| kind.operation != Operation::ReadModifyWrite);
    for (&outcome, &number) in requests.flat_map(|kind| &kind.outcomes) {
        if outcome != Outcome::Ok {
            *kinds.entry(outcome).or_default() += number;
        }
    }
    let named = kinds.iter().map(|(outcome, number)| format!("{} {}", count(*number), outcome.name()));
    let named = named.collect::<Vec<_>>().join(", ");
    if named.is_empty() { NONE.to_owned() } else { named }
}
