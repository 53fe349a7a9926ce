//! What is compared.

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
        Self { throughput: run.throughput(), p50_us: worst("50"), p99_us: worst("99"), failed: run.failed }
    }

    /// Of what cassandra-stress, in version 2.1 or later, or any command that prints lines like its, has printed: `op
    /// rate`, `latency median` and `latency 99th percentile` in milliseconds, `Total errors`. None without a rate.
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
            failed: number("total errors").unwrap_or(0.0) as u64,
        })
    }

    /// The middle of several rounds, figure by figure; none of none.
    #[must_use]
    pub fn median(rounds: &[Self]) -> Option<Self> {
        let middle = |of: fn(&Self) -> f64| {
            let mut values: Vec<f64> = rounds.iter().map(of).collect();
            values.sort_unstable_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        Some(Self {
            throughput: middle(|figures| figures.throughput)?,
            p50_us: middle(|figures| figures.p50_us)?,
            p99_us: middle(|figures| figures.p99_us)?,
            failed: rounds.iter().map(|figures| figures.failed).sum(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_cassandra_stress_are_read_in_both_its_spellings() {
        let old = "Results:\nop rate                   : 12345\nlatency median            : 0.8\n\
                   latency 99th percentile   : 4.5\nEND";
        let new = "Results:\nOp rate                   :   12,345 op/s  [WRITE: 12,345 op/s]\n\
                   Latency median            :    0.8 ms [WRITE: 0.8 ms]\n\
                   Latency 99th percentile   :    4.5 ms [WRITE: 4.5 ms]\nTotal errors : 3 [WRITE: 3]";
        let expected = Figures { throughput: 12_345.0, p50_us: 800.0, p99_us: 4_500.0, failed: 0 };
        assert_eq!(Figures::of_output(old), Some(expected));
        assert_eq!(Figures::of_output(new), Some(Figures { failed: 3, ..expected }));
        assert_eq!(Figures::of_output("nothing"), None);
    }
}
