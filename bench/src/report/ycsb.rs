//! The lines and the JSON that YCSB prints.

use std::{fmt::Write, time::SystemTime};

use hdrhistogram::Histogram;
use serde_json::{Value as Json, json};

use crate::{
    load::Progress,
    measurement::{Latencies, RunResult},
};

/// Which latencies are told (`measurement.interval`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Intervals {
    /// From sending.
    Operation,
    /// From when an operation was due, under its plain name.
    Intended,
    /// Both, the latter as `Intended-…`.
    Both,
}

/// YCSB's exporters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exporter {
    /// `[METRIC], measurement, value`
    Text,
    /// An object for each line.
    Json,
    /// An array of objects.
    JsonArray,
}

impl Exporter {
    /// By the class that YCSB's property `exporter` names.
    #[must_use]
    pub fn of_class(class: &str) -> Option<Self> {
        match class.rsplit('.').next()? {
            "TextMeasurementsExporter" => Some(Self::Text),
            "JSONMeasurementsExporter" => Some(Self::Json),
            "JSONArrayMeasurementsExporter" => Some(Self::JsonArray),
            _ => None,
        }
    }
}

/// A report in YCSB's manner.
#[derive(Debug)]
pub struct YcsbReport<'a> {
    /// The run.
    pub run: &'a RunResult,
    /// Which latencies.
    pub intervals: Intervals,
    /// Which percentiles (`hdrhistogram.percentiles`).
    pub percentiles: &'a [f64],
}

struct Line {
    metric: String,
    measurement: String,
    value: Json,
}

impl YcsbReport<'_> {
    /// The report.
    #[must_use]
    pub fn write(&self, exporter: Exporter) -> String {
        let lines = self.lines();
        let object = |line: &Line| json!({ "metric": line.metric, "measurement": line.measurement, "value": line.value });
        let mut text = String::new();
        match exporter {
            Exporter::JsonArray => text = format!("{:#}\n", Json::Array(lines.iter().map(object).collect())),
            Exporter::Json => lines.iter().for_each(|line| {
                let _ = writeln!(text, "{}", object(line));
            }),
            Exporter::Text => lines.iter().for_each(|line| {
                let _ = writeln!(text, "[{}], {}, {}", line.metric, line.measurement, line.value);
            }),
        }
        text
    }

    fn lines(&self) -> Vec<Line> {
        let run = self.run;
        let runtime_ms = (run.seconds * 1e3).round() as u64;
        // YCSB counts what was done, well or badly; the Return lines tell which.
        let throughput = (run.succeeded + run.failed) as f64 / run.seconds.max(1e-9);
        let mut lines = vec![
            line("OVERALL", "RunTime(ms)", runtime_ms.into()),
            line("OVERALL", "Throughput(ops/sec)", throughput.into()),
        ];
        for operation in &run.operations {
            let name = operation.operation.name();
            let returns = || {
                let statuses = operation.statuses.iter();
                statuses.map(|(status, &count)| line(name, &format!("Return={status}"), count.into()))
            };
            let due = (operation.intended.as_ref(), operation.failed_intended.as_ref());
            let plain = (&operation.latency, &operation.failed);
            // Without due times, an operation is due when it is sent.
            let intended = (due.0.unwrap_or(plain.0), due.1.unwrap_or(plain.1));
            let (first, second) = match self.intervals {
                Intervals::Operation => (plain, None),
                Intervals::Intended => (intended, None),
                Intervals::Both => (plain, Some(intended)),
            };
            for (prefix, (latency, failed)) in [("", Some(first)), ("Intended-", second)]
                .into_iter()
                .filter_map(|(prefix, latencies)| Some((prefix, latencies?)))
            {
                self.describe(&format!("{prefix}{name}"), latency, &mut lines);
                if prefix.is_empty() {
                    lines.extend(returns());
                }
                if failed.count > 0 {
                    self.describe(&format!("{prefix}{name}-FAILED"), failed, &mut lines);
                }
            }
        }
        lines
    }

    fn describe(&self, metric: &str, latencies: &Latencies, lines: &mut Vec<Line>) {
        let histogram = latencies.histogram();
        lines.push(line(metric, "Operations", latencies.count.into()));
        lines.push(line(metric, "AverageLatency(us)", latencies.mean_us.into()));
        lines.push(line(metric, "MinLatency(us)", latencies.min_us.into()));
        lines.push(line(metric, "MaxLatency(us)", latencies.max_us.into()));
        for &percentile in self.percentiles {
            let name = format!("{}PercentileLatency(us)", ordinal(percentile));
            lines.push(line(metric, &name, histogram.value_at_percentile(percentile).into()));
        }
    }
}

fn line(metric: &str, measurement: &str, value: Json) -> Line {
    Line { metric: metric.to_owned(), measurement: measurement.to_owned(), value }
}

/// `50th`, `99.9`, `1st`, as YCSB forms them.
fn ordinal(percentile: f64) -> String {
    let text = percentile.to_string();
    let suffix = match (percentile.fract() == 0.0).then_some(percentile as u64) {
        None => "",
        Some(11..=13) => "th",
        Some(whole) => match whole % 10 {
            1 => "st",
            2 => "nd",
            3 => "rd",
            _ => "th",
        },
    };
    text + suffix
}

/// YCSB's status line: totals, the rate of the last interval, if there was one, and latencies of each kind in it.
#[must_use]
pub fn status_line(now: SystemTime, progress: &Progress<'_>, left: Option<u64>) -> String {
    let stamp = humantime::format_rfc3339_millis(now).to_string();
    let stamp = stamp.trim_end_matches('Z').replacen('T', " ", 1).replacen('.', ":", 1);
    let done = progress.total.succeeded + progress.total.failed;
    let current = (progress.interval.succeeded + progress.interval.failed) as f64 / progress.interval_s;
    let seconds = progress.elapsed.as_secs();
    let mut text = format!("{stamp} {seconds} sec: {done} operations; ");
    if progress.interval_s > 0.0 {
        let _ = write!(text, "{current:.2} current ops/sec; ");
    }
    if let Some(left) = left.filter(|&left| left > 0 && done > 0) {
        let estimate = (left as f64 * progress.elapsed.as_secs_f64() / done as f64).ceil();
        let _ = write!(text, "est completion in {estimate:.0} second ");
    }
    for (operation, tally) in &progress.interval.operations {
        let named = [("", &tally.latency), ("-FAILED", &tally.failed)];
        for (suffix, histogram) in named.into_iter().filter(|(_, histogram)| !histogram.is_empty()) {
            let _ = write!(text, "[{}{suffix}: {}] ", operation.name(), summary(histogram));
        }
    }
    text.trim_end().to_owned()
}

fn summary(histogram: &Histogram<u64>) -> String {
    let at = |percentile| histogram.value_at_percentile(percentile);
    format!(
        "Count={}, Max={}, Min={}, Avg={:.2}, 50={}, 90={}, 99={}, 99.9={}, 99.99={}",
        histogram.len(),
        histogram.max(),
        histogram.min(),
        histogram.mean(),
        at(50.0),
        at(90.0),
        at(99.0),
        at(99.9),
        at(99.99)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinals_are_those_of_ycsb() {
        assert_eq!(
            [1.0, 2.0, 3.0, 11.0, 50.0, 99.0, 99.9].map(ordinal),
            ["1st", "2nd", "3rd", "11th", "50th", "99th", "99.9"]
        );
    }
}
