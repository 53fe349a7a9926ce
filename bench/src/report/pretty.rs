//! The summary for people at a terminal: sections under rules, numbers in columns with their units.

use std::fmt::Write;

use hdrhistogram::Histogram;

use super::{
    baseline::Baseline,
    statistics::Sample,
    units::{count, duration, percent, rate},
};
use crate::{
    client::Outcome,
    measurement::{OperationResult, PERCENTILES, RunResult},
};

const WIDTH: usize = 78;

/// The summary of a run, and how it compares with a baseline.
#[must_use]
pub fn pretty(run: &RunResult, baseline: Option<&Baseline>) -> String {
    let mut text = String::new();
    configuration(run, &mut text);
    summary(run, &mut text);
    latencies(run, &mut text);
    for operation in run.operations.iter().filter(|operation| operation.honest().count > 0) {
        distribution(operation, &mut text);
    }
    errors(run, &mut text);
    if let Some(baseline) = baseline {
        compared(baseline, &mut text);
    }
    for warning in &run.generator.warnings {
        let _ = writeln!(text, "\nWARNING: {warning}");
    }
    text
}

fn section(text: &mut String, title: &str) {
    let gap = if text.is_empty() { "" } else { "\n" };
    let _ = writeln!(text, "{gap}{title} {}", "═".repeat(WIDTH.saturating_sub(title.chars().count() + 1)));
}

fn row(text: &mut String, name: &str, value: &str, unit: &str) {
    let _ = writeln!(text, "{name:>24}  {value:>14} {unit}");
}

fn fact(text: &mut String, name: &str, value: &str) {
    let _ = writeln!(text, "{name:>24}  {value}");
}

fn configuration(run: &RunResult, text: &mut String) {
    let (settings, host) = (&run.settings, &run.host);
    section(text, "CONFIG");
    fact(text, "started", &run.started);
    if let Some(label) = &settings.label {
        fact(text, "label", label);
    }
    let memory_gib = host.memory_bytes as f64 / (1u64 << 30) as f64;
    fact(
        text,
        "from",
        &format!(
            "{}, {} × {}, {memory_gib:.0} GiB, {}",
            host.name, host.processors, host.processor, host.system
        ),
    );
    fact(text, "to", &settings.endpoints.join(" "));
    let or_unknown = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_owned());
    fact(text, "server", &or_unknown(&run.server.version));
    let level = settings.consistency.clone().unwrap_or_else(|| "the table's".to_owned());
    fact(
        text,
        "table",
        &format!(
            "{} · factor {} · level {level} · sync mode {}",
            settings.table,
            or_unknown(&run.server.factor),
            or_unknown(&run.server.sync_mode)
        ),
    );
    fact(
        text,
        "clients",
        &format!("{} on {} threads, one operation at a time each", settings.clients, settings.threads),
    );
    let pacing = settings.target.map_or_else(
        || "closed loop: the next operation when the last is answered".to_owned(),
        |target| format!("open loop: {} op/s, latency from when an operation was due", rate(target)),
    );
    fact(text, "pacing", &pacing);
    if run.warmup_operations > 0 {
        fact(
            text,
            "warm-up",
            &format!("{:.0} s, {} operations, left out", settings.warmup_s, count(run.warmup_operations)),
        );
    }
    fact(
        text,
        "update",
        if settings.update == "merge" {
            "reads the value, replaces one field, writes it (not atomic)"
        } else {
            "writes the whole value anew"
        },
    );
}

fn summary(run: &RunResult, text: &mut String) {
    section(text, "SUMMARY");
    row(text, "elapsed", &format!("{:.2}", run.seconds), "s");
    row(text, "succeeded", &count(run.succeeded), "op");
    let all = (run.succeeded + run.failed).max(1) as f64;
    row(text, "failed", &count(run.failed), &format!("op  ({})", percent(run.failed as f64 / all)));
    let per_second: Vec<f64> = run
        .intervals
        .iter()
        .filter(|row| row.start_s + row.length_s <= run.seconds)
        .map(|row| row.succeeded as f64 / row.length_s)
        .collect();
    let spread =
        Sample::new(&per_second).map_or_else(String::new, |sample| format!(" ± {}", rate(sample.error)));
    row(text, "throughput", &rate(run.throughput()), &format!("op/s{spread}"));
    let generator = &run.generator;
    row(
        text,
        "generator CPU",
        &format!("{:.2}", generator.cpu_s),
        &format!(
            "s   ({:.1} µs/op, busiest thread {})",
            generator.cpu_us_per_operation,
            percent(generator.busiest_thread)
        ),
    );
    if let Some(others) = generator.others_cpu_us_per_operation {
        row(text, "CPU of all else here", &format!("{others:.1}"), "µs/op");
    }
    if let Some(busy) = generator.machine_busy {
        row(text, "this machine", &percent(busy), "busy");
    }
    if run.is_open_loop() {
        row(text, "sent late by generator", &count(generator.late), "op");
        row(text, "held up by server", &count(generator.held_up), "op");
        row(text, "due but never sent", &count(generator.unsent), "op");
    }
}

fn latencies(run: &RunResult, text: &mut String) {
    section(text, "LATENCY of successes");
    let mut columns = vec!["".to_owned(), "count".to_owned(), "mean".to_owned(), "min".to_owned()];
    columns.extend(PERCENTILES.iter().map(|percentile| format!("p{percentile}")));
    columns.push("max".to_owned());
    let mut rows = vec![columns];
    for operation in &run.operations {
        let name = operation.operation.name();
        let both = [
            (name.to_owned(), Some(&operation.latency)),
            (format!("{name} from due"), operation.intended.as_ref()),
        ];
        for (name, latencies) in both {
            let Some(latencies) = latencies.filter(|latencies| latencies.count > 0) else { continue };
            let mut cells = vec![
                name,
                count(latencies.count),
                duration(latencies.mean_us),
                duration(latencies.min_us as f64),
            ];
            cells.extend(PERCENTILES.iter().map(|percentile| {
                latencies
                    .percentiles_us
                    .get(&percentile.to_string())
                    .map_or_else(String::new, |&us| duration(us as f64))
            }));
            cells.push(duration(latencies.max_us as f64));
            rows.push(cells);
        }
    }
    // Wide tables wrap at terminals; percentiles go down, operations across.
    let across = rows.len();
    for line in 0..rows[0].len() {
        for (column, cells) in rows.iter().enumerate().take(across) {
            let width = if column == 0 {
                8
            } else {
                cells.iter().map(|cell| cell.chars().count()).max().unwrap_or(0).max(10)
            };
            let _ = write!(text, "{:>width$}  ", cells[line]);
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
}

/// Lines of the small histogram.
const BARS: usize = 10;

/// Columns of its longest bar.
const BAR: usize = 44;

fn distribution(operation: &OperationResult, text: &mut String) {
    let from = if operation.intended.is_some() { ", from when it was due" } else { "" };
    section(text, &format!("DISTRIBUTION of {}{from}", operation.operation.name()));
    let histogram = operation.honest().histogram();
    let classes = classes(&histogram);
    let most = classes.iter().map(|&(_, count)| count).max().unwrap_or(1).max(1);
    for (upper_us, number) in classes {
        let length = (number as f64 / most as f64 * BAR as f64 * 8.0).round() as usize;
        let mut bar = "█".repeat(length / 8);
        if let Some(part) = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"].get(length % 8) {
            bar.push_str(part);
        }
        let share = percent(number as f64 / histogram.len().max(1) as f64);
        let _ = writeln!(text, "{:>10}  {share:>8} {bar}", format!("≤ {}", duration(upper_us)));
    }
}

/// Counts between bounds that grow by an equal factor, from the smallest value to the largest.
pub(super) fn classes(histogram: &Histogram<u64>) -> Vec<(f64, u64)> {
    let (low, high) = (histogram.min().max(1) as f64, histogram.max().max(2) as f64);
    let step = (high / low).max(1.001).powf(1.0 / BARS as f64);
    let mut lower = 0;
    (1..=BARS)
        .map(|class| {
            let upper = if class == BARS { high } else { low * step.powi(i32::try_from(class).unwrap_or(0)) };
            let bound = upper as u64;
            let number = if bound > lower || class == 1 {
                histogram.count_between(lower + 1, bound.max(lower + 1))
            } else {
                0
            };
            lower = lower.max(bound);
            (upper, number)
        })
        .collect()
}

fn errors(run: &RunResult, text: &mut String) {
    let failed =
        |operation: &&OperationResult| operation.outcomes.keys().any(|&outcome| outcome != Outcome::Ok);
    for operation in run.operations.iter().filter(failed) {
        section(text, &format!("FAILURES of {}", operation.operation.name()));
        for (outcome, number) in operation.outcomes.iter().filter(|(outcome, _)| **outcome != Outcome::Ok) {
            row(text, outcome.name(), &count(*number), "op");
        }
        for (detail, number) in &operation.details {
            let _ = writeln!(text, "{:>24}  └─ {} × {detail}", "", count(*number));
        }
        row(
            text,
            "median until failure",
            &operation.failed.percentiles_us.get("50").map_or_else(String::new, |&us| duration(us as f64)),
            "",
        );
    }
}

fn compared(baseline: &Baseline, text: &mut String) {
    section(text, "BESIDE THE BASELINE");
    for difference in &baseline.differences {
        fact(text, "not the same", difference);
    }
    let _ = writeln!(text, "{:>24}  {:>12} {:>12} {:>10}  {:>8}", "", "before", "now", "change", "chance");
    for change in &baseline.changes {
        let show = |value: f64| {
            if change.more_is_better { format!("{} op/s", rate(value)) } else { duration(value) }
        };
        let chance = change.chance.map_or_else(|| "–".to_owned(), |chance| format!("{chance:.5}"));
        let is_better = (change.relative() > 0.0) == change.more_is_better;
        let verdict = match (change.is_significant(), is_better) {
            (false, _) => "",
            (true, true) => " * better",
            (true, false) => " * worse",
        };
        let _ = writeln!(
            text,
            "{:>24}  {:>12} {:>12} {:>9.1}%  {chance:>8}{verdict}",
            change.name,
            show(change.before),
            show(change.after),
            change.relative() * 100.0
        );
    }
    let _ = writeln!(text, "{:>24}  * : below 0.01 that chance alone would show so large a difference", "");
}
