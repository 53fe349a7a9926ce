//! One table: a row per figure, a column per engine, and the ratio that counts.

use std::collections::BTreeMap;

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use serde_json::json;

use crate::{engine::Kind, measure::Figure};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Table,
    Json,
}

/// The figures of one size of values.
pub struct Report {
    count: u64,
    value_bytes: usize,
    engines: Vec<Kind>,
    /// In the order in which they came.
    rows: Vec<String>,
    figures: BTreeMap<(String, Kind), Vec<Figure>>,
}

impl Report {
    pub fn new(count: u64, value_bytes: usize, engines: Vec<Kind>) -> Self {
        Self { count, value_bytes, engines, rows: Vec::new(), figures: BTreeMap::new() }
    }

    pub fn add(&mut self, kind: Kind, figure: Figure) {
        if !self.rows.contains(&figure.row) {
            self.rows.push(figure.row.clone());
        }
        self.figures.entry((figure.row.clone(), kind)).or_default().push(figure);
    }

    fn median(&self, row: &str, kind: Kind) -> Option<f64> {
        let mut values: Vec<f64> =
            self.figures.get(&(row.to_owned(), kind))?.iter().map(|figure| figure.value).collect();
        values.sort_by(f64::total_cmp);
        Some(values[values.len() / 2])
    }

    /// Half the distance between the largest and the smallest, as a share of the median.
    fn spread(&self, row: &str, kind: Kind) -> Option<f64> {
        let values =
            || self.figures.get(&(row.to_owned(), kind)).into_iter().flatten().map(|figure| figure.value);
        let median = self.median(row, kind)?;
        Some((values().fold(f64::MIN, f64::max) - values().fold(f64::MAX, f64::min)) / 2.0 / median.max(1e-9))
    }

    /// How much better Helenus is than the better of RocksDB and fjall; below 1 it is worse.
    fn ratio(&self, row: &str) -> Option<f64> {
        let own = self.median(row, Kind::Helenus)?;
        let peers = [Kind::Rocksdb, Kind::Fjall].into_iter().filter_map(|peer| self.median(row, peer));
        if row.ends_with("ops/s") {
            peers.reduce(f64::max).map(|best| own / best)
        } else {
            peers.reduce(f64::min).map(|best| best / own)
        }
    }

    fn foreign(&self, row: &str) -> f64 {
        let of_row = self.figures.iter().filter(|((name, _), _)| name == row);
        of_row.flat_map(|(_, figures)| figures).map(|figure| figure.foreign).fold(0.0, f64::max)
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        let mut header = vec!["ROW".to_owned()];
        header.extend(self.engines.iter().map(|kind| kind.name().to_uppercase()));
        header.extend(["RATIO".to_owned(), "FOREIGN".to_owned()]);
        table.set_header(header);
        for row in &self.rows {
            let mut cells = vec![row.clone()];
            cells.extend(self.engines.iter().map(|&kind| {
                match (self.median(row, kind), self.spread(row, kind)) {
                    (Some(median), Some(spread)) => format!("{} ±{:.0}%", number(median), spread * 100.0),
                    _ => "-".to_owned(),
                }
            }));
            cells.push(self.ratio(row).map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")));
            cells.push(format!("{:.2}", self.foreign(row)));
            table.add_row(cells);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        format!("{} entries of {} B\n{}\n", self.count, self.value_bytes, table.trim_fmt())
    }

    fn json(&self) -> serde_json::Value {
        let rows: Vec<_> = self
            .rows
            .iter()
            .map(|row| {
                let engines: serde_json::Map<_, _> = self
                    .engines
                    .iter()
                    .map(|&kind| {
                        let figures = self.figures.get(&(row.clone(), kind));
                        let values: Vec<f64> = figures.into_iter().flatten().map(|figure| figure.value).collect();
                        (kind.name().to_owned(), json!(values))
                    })
                    .collect();
                json!({ "row": row, "figures": engines, "ratio": self.ratio(row), "foreign": self.foreign(row) })
            })
            .collect();
        json!({ "count": self.count, "value_bytes": self.value_bytes, "rows": rows })
    }
}

pub fn print(reports: &[Report], format: Format) {
    match format {
        Format::Table => reports.iter().for_each(|report| println!("{}", report.table())),
        Format::Json => {
            let reports: Vec<_> = reports.iter().map(Report::json).collect();
            println!("{:#}", serde_json::Value::Array(reports));
        }
    }
}

/// Digits for people.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.2}");
    }
    let digits = format!("{value:.0}");
    let groups: Vec<_> =
        digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    groups.join(",")
}
