//! `helenus admin histograms`: the shapes of Cassandra's `nodetool proxyhistograms` and `tablehistograms`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::super::output;

/// The percentiles that are shown, and how they are called.
const SHOWN: [(&str, &str); 7] = [
    ("50", "50%"),
    ("75", "75%"),
    ("95", "95%"),
    ("98", "98%"),
    ("99", "99%"),
    ("min", "Min"),
    ("max", "Max"),
];

/// The answer of `/admin/v1/histograms`.
#[derive(Debug, Deserialize)]
pub(super) struct Coordinated {
    operations: BTreeMap<String, Operation>,
}

#[derive(Debug, Deserialize)]
struct Operation {
    percentiles_us: BTreeMap<String, Option<u64>>,
}

/// The answer of `/admin/v1/histograms/{table}`.
#[derive(Debug, Deserialize)]
pub(super) struct Local {
    table: String,
    percentiles: BTreeMap<String, Percentile>,
}

#[derive(Debug, Deserialize)]
struct Percentile {
    sstables: Option<u64>,
    write_us: Option<u64>,
    read_us: Option<u64>,
    record_bytes: Option<u64>,
}

/// What requests of clients took.
pub(super) fn render(histograms: &Coordinated) -> String {
    let rows = SHOWN.map(|(key, name)| {
        let latency = |operation: &str| {
            let of_operation = histograms.operations.get(operation);
            number(of_operation.and_then(|found| *found.percentiles_us.get(key)?))
        };
        [name.to_owned(), latency("get"), latency("put"), latency("delete")]
    });
    let header = ["Percentile", "Read Latency", "Write Latency", "Delete Latency"];
    let units = ["", "(micros)", "(micros)", "(micros)"].map(str::to_owned);
    format!("proxy histograms\n{}", output::table(header, &[&[units][..], &rows].concat()))
}

/// What the node's own reads and writes of a table took.
pub(super) fn render_table(histograms: &Local) -> String {
    let rows = SHOWN.map(|(key, name)| {
        let of =
            |what: fn(&Percentile) -> Option<u64>| number(histograms.percentiles.get(key).and_then(what));
        [
            name.to_owned(),
            of(|found| found.read_us),
            of(|found| found.write_us),
            of(|found| found.sstables),
            of(|found| found.record_bytes),
        ]
    });
    let header = ["Percentile", "Read Latency", "Write Latency", "SSTables", "Record Size"];
    let units = ["", "(micros)", "(micros)", "", "(bytes)"].map(str::to_owned);
    let table = output::table(header, &[&[units][..], &rows].concat());
    format!("{} histograms\n{table}", histograms.table)
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
