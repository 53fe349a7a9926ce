//! One self-contained page: no scripts, nothing fetched, light or dark as the reader's system is.

use std::fmt::Write;

use super::{
    chart::{Axis, Form, Series, chart},
    units::{count, duration, percent, rate},
};
use crate::{
    client::Outcome,
    measurement::{IntervalResult, Latencies, OperationResult, OperationRow, PERCENTILES, RunResult},
    workload::Operation,
};

/// A number of a row.
type Figure = fn(&OperationRow) -> u64;

/// Points of a line; more than a screen has columns show nothing more.
const MOST_POINTS: usize = 600;

/// Bars of a distribution.
const BARS: u32 = 60;

/// The page of one run or several.
#[must_use]
pub fn html(runs: &[RunResult]) -> String {
    let title = match runs {
        [run] => format!("helenus-bench {} · {}", name(run), escape(&run.started)),
        _ => "helenus-bench".to_owned(),
    };
    let mut page = format!(
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>{title}</title><style>{}</style><body>",
        include_str!("html.css")
    );
    let _ = write!(page, "<h1>{title}</h1>");
    for run in runs {
        if runs.len() > 1 {
            let _ = write!(page, "<h2>{} · {}</h2>", name(run), escape(&run.started));
        }
        section(run, &mut page);
    }
    page.push_str("</body></html>\n");
    page
}

fn name(run: &RunResult) -> String {
    escape(run.settings.label.as_deref().unwrap_or(&run.settings.phase))
}

fn section(run: &RunResult, page: &mut String) {
    let pacing = run.settings.target.map_or_else(
        || "Closed loop: a client sends when its last operation is answered.".to_owned(),
        |target| {
            format!("Open loop at {} op/s: latency counts from when an operation was due.", rate(target))
        },
    );
    let _ = write!(page, "<p>{pacing}</p>");
    for warning in &run.generator.warnings {
        let _ = write!(page, "<p class=warn>{}</p>", escape(warning));
    }
    figures(run, page);
    page.push_str("<div class=charts>");
    page.push_str(&throughput(run));
    for operation in shown(run) {
        page.push_str(&over_time(run, operation.operation));
    }
    for operation in shown(run) {
        page.push_str(&distribution(operation));
    }
    page.push_str("</div>");
    percentiles(run, page);
    failures(run, page);
    facts(run, page);
}

fn shown(run: &RunResult) -> impl Iterator<Item = &OperationResult> {
    run.operations
        .iter()
        .filter(|operation| operation.honest().count > 0 && operation.operation != Operation::Verify)
}

fn figures(run: &RunResult, page: &mut String) {
    page.push_str("<div class=figures>");
    let mut figure = |value: String, what: &str| {
        let _ = write!(page, "<div><b>{value}</b><span>{what}</span></div>");
    };
    figure(rate(run.throughput()), "successes per second");
    figure(count(run.succeeded), "succeeded");
    figure(count(run.failed), "failed");
    for operation in shown(run) {
        let p99 = operation.honest().percentiles_us.get("99").copied().unwrap_or(0);
        figure(duration(p99 as f64), &format!("{} p99", operation.operation.name()));
    }
    page.push_str("</div>");
}

/// All rows, without a last one of which less than half lies within the run: the few answers that ended in it are no rate.
fn drawn(run: &RunResult) -> &[IntervalResult] {
    match run.intervals.split_last() {
        Some((last, others)) if !others.is_empty() && run.seconds - last.start_s < last.length_s / 2.0 => {
            others
        }
        _ => &run.intervals,
    }
}

/// Rows joined so that at most [`MOST_POINTS`] are left, with the middle of each group.
fn grouped(run: &RunResult) -> Vec<(f64, &[IntervalResult])> {
    let size = run.intervals.len().div_ceil(MOST_POINTS).max(1);
    drawn(run)
        .chunks(size)
        .map(|rows| (rows[0].start_s + rows[0].length_s * rows.len() as f64 / 2.0, rows))
        .collect()
}

fn seconds(run: &RunResult) -> Axis {
    Axis::linear(drawn(run).last().map_or(1.0, |row| row.start_s + row.length_s), |s| format!("{s} s"))
}

fn throughput(run: &RunResult) -> String {
    let line = |of: fn(&IntervalResult) -> u64| -> Vec<(f64, f64)> {
        let groups = grouped(run).into_iter();
        groups
            .map(|(at, rows)| {
                // The last row ends with the run.
                let length: f64 =
                    rows.iter().map(|row| row.length_s.min(run.seconds - row.start_s).max(0.05)).sum();
                (at, rows.iter().map(of).sum::<u64>() as f64 / length)
            })
            .collect()
    };
    let mut series = vec![Series {
        name: "succeeded".to_owned(),
        colour: 0,
        form: Form::Area,
        points: line(|row| row.succeeded),
    }];
    if run.failed > 0 {
        let points = line(|row| row.failed);
        series.push(Series { name: "failed".to_owned(), colour: 3, form: Form::Line, points });
    }
    let highest =
        series.iter().flat_map(|series| &series.points).fold(0.0_f64, |high, point| high.max(point.1));
    series.extend(run.events.iter().map(|event| Series {
        name: escape(&event.command),
        colour: 2,
        form: Form::Line,
        points: vec![(event.at_s, 0.0), (event.at_s, highest)],
    }));
    chart("Throughput, op/s", &seconds(run), &Axis::linear(highest * 1.08, rate), &series)
}

fn over_time(run: &RunResult, operation: Operation) -> String {
    let figures: [(&str, Figure); 4] = [
        ("p50", |row| row.p50_us),
        ("p90", |row| row.p90_us),
        ("p99", |row| row.p99_us),
        ("p99.9", |row| row.p999_us),
    ];
    let rows =
        || run.intervals.iter().filter_map(|row| row.operations.get(&operation)).filter(|row| row.count > 0);
    let low = rows().map(|row| row.p50_us).min().unwrap_or(1) as f64;
    let high = rows().map(|row| row.p999_us).max().unwrap_or(1) as f64;
    let series: Vec<Series> = figures
        .into_iter()
        .enumerate()
        .map(|(colour, (name, figure))| {
            let points = grouped(run).into_iter().map(|(at, rows)| {
                let present =
                    rows.iter().filter_map(|row| row.operations.get(&operation)).filter(|row| row.count > 0);
                (at, present.map(figure).max().map_or(f64::NAN, |us| us as f64))
            });
            Series { name: name.to_owned(), colour, form: Form::Line, points: points.collect() }
        })
        .collect();
    let latency = Axis::logarithmic(low / 1.3, high * 1.2, duration);
    chart(&format!("{} latency over time", operation.name()), &seconds(run), &latency, &series)
}

fn distribution(operation: &OperationResult) -> String {
    let honest = operation.honest().histogram();
    let plain = operation.latency.histogram();
    let (low, high) =
        (honest.min().min(plain.min()).max(1) as f64, honest.max().max(plain.max()).max(2) as f64);
    let (low, high) = (low * 0.95, high * 1.05);
    let step = (high / low).powf(1.0 / f64::from(BARS));
    let shares = |histogram: &hdrhistogram::Histogram<u64>| -> Vec<(f64, f64)> {
        let total = histogram.len().max(1) as f64;
        let mut below = 0.0;
        (0..=BARS)
            .map(|bar| {
                let upper = low * step.powf(f64::from(bar));
                let count = histogram.count_between(0, upper as u64) as f64;
                let share = (count - below).max(0.0) / total;
                below = count;
                (upper, share)
            })
            .collect()
    };
    let is_paced = operation.intended.is_some();
    let name = if is_paced { "from when it was due" } else { "from sending" };
    let mut series =
        vec![Series { name: name.to_owned(), colour: 0, form: Form::Bars, points: shares(&honest) }];
    if is_paced {
        let points = shares(&plain);
        series.push(Series { name: "from sending".to_owned(), colour: 2, form: Form::Line, points });
    }
    let highest =
        series.iter().flat_map(|series| &series.points).fold(0.0_f64, |high, point| high.max(point.1));
    let x = Axis::logarithmic(low, high, duration);
    chart(
        &format!("{} latency distribution", operation.operation.name()),
        &x,
        &Axis::linear(highest * 1.05, percent),
        &series,
    )
}

fn percentiles(run: &RunResult, page: &mut String) {
    page.push_str("<div class=table><table><tr><th>latency of successes<th>count<th>mean<th>min");
    for percentile in PERCENTILES {
        let _ = write!(page, "<th>p{percentile}");
    }
    page.push_str("<th>max");
    let mut row = |name: String, latencies: &Latencies| {
        let cell = |us: f64| format!("<td>{}", duration(us));
        let _ = write!(
            page,
            "<tr><td>{name}<td>{}{}{}",
            count(latencies.count),
            cell(latencies.mean_us),
            cell(latencies.min_us as f64)
        );
        for percentile in PERCENTILES {
            let us = latencies.percentiles_us.get(&percentile.to_string()).copied().unwrap_or(0);
            page.push_str(&cell(us as f64));
        }
        page.push_str(&cell(latencies.max_us as f64));
    };
    for operation in run.operations.iter().filter(|operation| operation.latency.count > 0) {
        let name = operation.operation.name();
        row(name.to_owned(), &operation.latency);
        if let Some(intended) = &operation.intended {
            row(format!("{name}, from due"), intended);
        }
    }
    page.push_str("</table></div>");
}

fn failures(run: &RunResult, page: &mut String) {
    if run.operations.iter().all(|operation| operation.failed.count == 0) {
        return;
    }
    page.push_str("<div class=table><table><tr><th>failures");
    let kinds = Outcome::ALL.into_iter().filter(|&outcome| outcome != Outcome::Ok);
    for outcome in kinds.clone() {
        let _ = write!(page, "<th>{}", outcome.name());
    }
    for operation in run.operations.iter().filter(|operation| operation.failed.count > 0) {
        let _ = write!(page, "<tr><td>{}", operation.operation.name());
        for outcome in kinds.clone() {
            let _ = write!(page, "<td>{}", count(operation.outcomes.get(&outcome).copied().unwrap_or(0)));
        }
    }
    page.push_str("</table></div><div class=\"table facts\"><table>");
    for operation in &run.operations {
        for (detail, number) in &operation.details {
            let _ = write!(
                page,
                "<tr><td>{} × {}<td>{}",
                operation.operation.name(),
                count(*number),
                escape(detail)
            );
        }
    }
    page.push_str("</table></div>");
}

fn facts(run: &RunResult, page: &mut String) {
    let (settings, host, generator) = (&run.settings, &run.host, &run.generator);
    let or_unknown = |value: &Option<String>| escape(value.as_deref().unwrap_or("unknown"));
    page.push_str("<div class=\"table facts\"><table>");
    let mut fact = |name: &str, value: String| {
        let _ = write!(page, "<tr><td>{name}<td>{value}");
    };
    fact("server", or_unknown(&run.server.version));
    fact("endpoints", escape(&settings.endpoints.join(" ")));
    fact("routing", escape(&settings.routing));
    fact("table", escape(&settings.table));
    fact("factor", or_unknown(&run.server.factor));
    fact("level", escape(settings.consistency.as_deref().unwrap_or("the table's")));
    fact("sync mode", or_unknown(&run.server.sync_mode));
    let plural = if settings.threads == 1 { "" } else { "s" };
    fact("clients", format!("{} on {} thread{plural}", settings.clients, settings.threads));
    fact(
        "update",
        if settings.update == "merge" { "read, replace a field, write" } else { "whole value" }.to_owned(),
    );
    fact("warm-up", format!("{} s, {} operations left out", settings.warmup_s, count(run.warmup_operations)));
    for event in &run.events {
        let outcome = if event.succeeded { "" } else { ", which failed" };
        fact("meanwhile", format!("{} at {:.1} s{outcome}", escape(&event.command), event.at_s));
    }
    let properties = settings.properties.iter().map(|(name, value)| format!("{name}={value}"));
    fact("properties", escape(&properties.collect::<Vec<_>>().join("  ")));
    fact(
        "machine",
        escape(&format!("{}, {} × {}, {}", host.name, host.processors, host.processor, host.system)),
    );
    fact(
        "generator",
        format!(
            "helenus-bench {}, {:.1} µs of processor time per operation, busiest thread {}, late {}, held up {}, unsent {}",
            escape(&generator.version),
            generator.cpu_us_per_operation,
            percent(generator.busiest_thread),
            count(generator.late),
            count(generator.held_up),
            count(generator.unsent)
        ),
    );
    if let Some(others) = generator.others_cpu_us_per_operation {
        fact("all else on the machine", format!("{others:.1} µs of processor time per operation"));
    }
    page.push_str("</table></div>");
}

pub(super) fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            other => safe.push(other),
        }
    }
    safe
}
