//! What is compared.

use std::fmt;

use crate::measurement::RunResult;

/// The figures of a target in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figures {
    /// Successes in a second.
    pub throughput: f64,
    /// Median latency, µs: of several kinds of operations the worst.
    pub p50_us: f64,
    /// 99th percentile, likewise.
    pub p99_us: f64,
    /// 99.9th percentile, likewise.
    pub p999_us: f64,
    /// Processor time of the servers for an operation, µs. Of a run, what the whole machine spent besides the generator:
    /// the servers' only where they run on it and little else does.
    pub cpu_us: Option<f64>,
    /// Failures.
    pub failed: u64,
}

impl Figures {
    /// Of a run.
    #[must_use]
    pub fn of_run(run: &RunResult) -> Self {
        let worst = |percentile: &str| {
            let all = run.operations.iter().map(|operation| operation.honest());
            all.filter_map(|latencies| latencies.percentiles_us.get(percentile)).copied().max().unwrap_or(0)
                as f64
        };
        Self {
            throughput: run.throughput(),
            p50_us: worst("50"),
            p99_us: worst("99"),
            p999_us: worst("99.9"),
            cpu_us: run.generator.others_cpu_us_per_operation,
            failed: run.failed,
        }
    }

    /// Of what cassandra-stress, in version 2.1 or later, or any command that prints lines like its, has printed: `op
    /// rate`, `latency median`, `latency 99th percentile` and `latency 99.9th percentile` in milliseconds, `Total
    /// errors`; and `cpu per op` in microseconds, which cassandra-stress does not print. None without a rate.
    #[must_use]
    pub fn of_output(output: &str) -> Option<Self> {
        let number = |name: &str| {
            let line = output.lines().rev().find(|line| {
                line.trim_start().get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
            })?;
            let (_, value) = line.split_once(':')?;
            let value: String =
                value.trim().chars().take_while(|c| c.is_ascii_digit() || matches!(c, '.' | ',')).collect();
            value.replace(',', "").parse::<f64>().ok()
        };
        Some(Self {
            throughput: number("op rate")?,
            p50_us: number("latency median").unwrap_or(0.0) * 1e3,
            p99_us: number("latency 99th percentile").unwrap_or(0.0) * 1e3,
            p999_us: number("latency 99.9th percentile").unwrap_or(0.0) * 1e3,
            cpu_us: number("cpu per op"),
            failed: number("total errors").unwrap_or(0.0) as u64,
        })
    }

    /// The middle of several rounds, figure by figure; none of none.
    #[must_use]
    pub fn median(rounds: &[Self]) -> Option<Self> {
        let middle = |of: fn(&Self) -> Option<f64>| {
            let mut values: Vec<f64> = rounds.iter().filter_map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some(Self {
            throughput: middle(|figures| Some(figures.throughput))?,
            p50_us: middle(|figures| Some(figures.p50_us))?,
            p99_us: middle(|figures| Some(figures.p99_us))?,
            p999_us: middle(|figures| Some(figures.p999_us))?,
            cpu_us: middle(|figures| figures.cpu_us),
            failed: rounds.iter().map(|figures| figures.failed).sum(),
        })
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:.0} op/s, p50 {}, p99 {}, p99.9 {}, CPU/op {}, {} failed",
            self.throughput,
            millis(self.p50_us),
            millis(self.p99_us),
            millis(self.p999_us),
            micros(self.cpu_us),
            self.failed
        )
    }
}

/// A latency in milliseconds; a dash if there is none.
pub(super) fn millis(us: f64) -> String {
    if us > 0.0 { format!("{:.2} ms", us / 1e3) } else { "–".to_owned() }
}

/// Processor time in microseconds; a dash if it is not known.
pub(super) fn micros(us: Option<f64>) -> String {
    us.map_or_else(|| "–".to_owned(), |us| format!("{us:.1} µs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_cassandra_stress_are_read_in_both_its_spellings() {
        let old = "Results:\nop rate                   : 12345\nlatency median            : 0.8\n\
                   latency 99th percentile   : 4.5\nlatency 99.9th percentile : 21.3\nEND\n\
                   cpu per op                : 456.7\n";
        let new = "Results:\nOp rate                   :   12,345 op/s  [WRITE: 12,345 op/s]\n\
                   Latency median            :    0.8 ms [WRITE: 0.8 ms]\n\
                   Latency 99th percentile   :    4.5 ms [WRITE: 4.5 ms]\n\
                   Latency 99.9th percentile :   21.3 ms [WRITE: 21.3 ms]\nTotal errors : 3 [WRITE: 3]";
        let expected = Figures {
            throughput: 12_345.0,
            p50_us: 800.0,
            p99_us: 4_500.0,
            p999_us: 21_300.0,
            cpu_us: Some(456.7),
            failed: 0,
        };
        assert_eq!(Figures::of_output(old), Some(expected));
        assert_eq!(Figures::of_output(new), Some(Figures { failed: 3, cpu_us: None, ..expected }));
        assert_eq!(Figures::of_output("nothing"), None);
    }

    #[test]
    fn the_middle_is_taken_figure_by_figure_of_the_rounds_that_have_it() {
        let round = |p999_us, cpu_us| Figures {
            p999_us,
            cpu_us,
            ..Figures::of_output("op rate : 7").expect("a rate")
        };
        let rounds =
            [round(3.0, Some(10.0)), round(1.0, None), round(2.0, Some(30.0)), round(9.0, Some(20.0))];
        let middle = Figures::median(&rounds[..3]).expect("three rounds");
        assert_eq!((middle.p999_us, middle.cpu_us), (2.0, Some(30.0)));
        let middle = Figures::median(&rounds[1..]).expect("three rounds");
        assert_eq!((middle.p999_us, middle.cpu_us), (2.0, Some(30.0)));
        assert_eq!(Figures::median(&rounds[1..2]).expect("a round").cpu_us, None);
    }
}
