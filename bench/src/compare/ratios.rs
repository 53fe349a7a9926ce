//! The table.

use comfy_table::{CellAlignment, Table, presets};

use super::figures::Figures;

/// A row for each target: medians, and throughput as a multiple of the first target's.
#[must_use]
pub fn ratios(targets: &[(String, Vec<Figures>)]) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["target", "op/s", "ratio", "p50", "p99", "p99 ratio", "failed", "rounds"]);
    let first = targets.first().and_then(|(_, rounds)| Figures::median(rounds));
    for (name, rounds) in targets {
        let Some(figures) = Figures::median(rounds) else {
            table.add_row([name.as_str(), "–", "–", "–", "–", "–", "–", "0"]);
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
        let millis = |us: f64| if us > 0.0 { format!("{:.2} ms", us / 1e3) } else { "–".to_owned() };
        table.add_row([
            name.clone(),
            format!("{:.0}", figures.throughput),
            ratio(|figures| figures.throughput),
            millis(figures.p50_us),
            millis(figures.p99_us),
            ratio(|figures| figures.p99_us),
            figures.failed.to_string(),
            rounds.len().to_string(),
        ]);
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table.to_string()
}
