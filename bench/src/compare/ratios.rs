//! The table.

use comfy_table::{CellAlignment, Table, presets};

use super::figures::{Figures, micros, millis};

/// A row for each target: medians, and multiples of the first target's throughput and 99th percentile.
#[must_use]
pub fn ratios(targets: &[(String, Vec<Figures>)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header([
        "target",
        "op/s",
        "ratio",
        "p50",
        "p99",
        "p99.9",
        "p99 ratio",
        "CPU/op",
        "failed",
        "rounds",
    ]);
    let first = targets.first().and_then(|(_, rounds)| Figures::median(rounds));
    for (name, rounds) in targets {
        let Some(figures) = Figures::median(rounds) else {
            table.add_row([name.as_str(), "–", "–", "–", "–", "–", "–", "–", "–", "0"]);
            continue;
        };
        let ratio = |of: fn(&Figures) -> f64| {
            let base = first.as_ref().map_or(0.0, of);
            if base > 0.0 && of(&figures) > 0.0 {
                format!("{:.2}", of(&figures) / base)
            } else {
                "–".to_owned()
            }
        };
        table.add_row([
            name.clone(),
            format!("{:.0}", figures.throughput),
            ratio(|figures| figures.throughput),
            millis(figures.p50_us),
            millis(figures.p99_us),
            millis(figures.p999_us),
            ratio(|figures| figures.p99_us),
            micros(figures.cpu_us),
            figures.failed.to_string(),
            rounds.len().to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_figure_has_a_column_and_one_that_is_not_known_a_dash() {
        let figures = Figures {
            throughput: 5_000.0,
            p50_us: 1_000.0,
            p99_us: 2_000.0,
            p999_us: 30_000.0,
            cpu_us: Some(81.25),
            failed: 4,
        };
        let bare = Figures { throughput: 10_000.0, p999_us: 0.0, cpu_us: None, ..figures };
        let table = ratios(&[
            ("ours".to_owned(), vec![figures]),
            ("theirs".to_owned(), vec![bare]),
            ("absent".to_owned(), Vec::new()),
        ]);
        let rows: Vec<Vec<&str>> = table
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        let expected = [
            ["target", "op/s", "ratio", "p50", "p99", "p99.9", "p99 ratio", "CPU/op", "failed", "rounds"],
            ["ours", "5000", "1.00", "1.00 ms", "2.00 ms", "30.00 ms", "1.00", "81.2 µs", "4", "1"],
            ["theirs", "10000", "2.00", "1.00 ms", "2.00 ms", "–", "1.00", "–", "4", "1"],
            ["absent", "–", "–", "–", "–", "–", "–", "–", "–", "0"],
        ];
        assert_eq!(rows, expected, "{table}");
    }
}
