//! `helenus inspect manifest` and `helenus inspect data-dir`.

use std::path::{Path, PathBuf};

use helenus_storage::{
    disk::OsDisk,
    inspect::{InspectedManifest, TableInspection},
    sstable::{TableFile, TableReader},
};
use serde_json::{Value, json};

use super::Findings;
use crate::cli::output::{self, Format, FormatArgs};

/// `helenus inspect manifest`.
#[derive(Debug, clap::Args)]
pub struct Manifest {
    /// The data directory, or a snapshot
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    output: FormatArgs,
}

/// `helenus inspect data-dir`.
#[derive(Debug, clap::Args)]
pub struct DataDir {
    /// The data directory, or a snapshot
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    output: FormatArgs,
}

impl Manifest {
    /// Runs it.
    ///
    /// # Errors
    /// When there is no manifest or a damaged one.
    pub fn run(self) -> anyhow::Result<()> {
        let manifest = InspectedManifest::read(&OsDisk, &self.directory)?;
        if self.output.format == Format::Json {
            return Ok(output::answer_json(&as_json(&manifest))?);
        }
        let files = manifest.tables.iter().flat_map(|table| {
            table.files.iter().map(|file| {
                [table.id.0.to_string(), TableReader::file_name(file.id), file.length_bytes.to_string()]
            })
        });
        let rows: Vec<_> = files.collect();
        let head = format!(
            "Manifest {}: {} tables, {} dropped, {} SSTables, commit log from segment {} to {}",
            manifest.number,
            manifest.tables.len(),
            manifest.dropped_tables,
            rows.len(),
            manifest.log_first,
            manifest.log_newest
        );
        let table = output::table(["TABLE", "FILE", "BYTES"], &rows);
        Ok(output::answer(&format!("{head}\n{table}"))?)
    }
}

fn as_json(manifest: &InspectedManifest) -> Value {
    let tables: Vec<_> = manifest
        .tables
        .iter()
        .map(|table| {
            let file = |file: &TableFile| json!({"name": TableReader::file_name(file.id), "bytes": file.length_bytes});
            json!({
                "id": table.id.0,
                "flushed": {"segment": table.flushed.0, "offset": table.flushed.1},
                "files": table.files.iter().map(file).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "number": manifest.number, "log_first": manifest.log_first, "log_newest": manifest.log_newest,
        "file_ids_end": manifest.file_ids_end, "dropped_tables": manifest.dropped_tables, "tables": tables,
    })
}

/// Sums over the SSTables of one table.
#[derive(Debug, Default)]
struct Totals {
    files: u64,
    bytes: u64,
    records: u64,
    tombstones: u64,
}

impl Totals {
    fn of(directory: &Path, files: &[TableFile], findings: &mut Findings) -> Self {
        let mut totals = Self::default();
        for file in files {
            totals.files += 1;
            totals.bytes += file.length_bytes;
            match TableInspection::open(&OsDisk, &directory.join(TableReader::file_name(file.id))) {
                Ok(table) => {
                    totals.records += table.stats().records();
                    totals.tombstones += table.stats().tombstones;
                }
                Err(error) => findings.note(&error),
            }
        }
        totals
    }

    fn add(&mut self, other: &Self) {
        self.files += other.files;
        self.bytes += other.bytes;
        self.records += other.records;
        self.tombstones += other.tombstones;
    }

    fn row(&self, name: &str) -> [String; 5] {
        [
            name.to_owned(),
            self.files.to_string(),
            self.bytes.to_string(),
            self.records.to_string(),
            self.tombstones.to_string(),
        ]
    }

    fn json(&self) -> Value {
        json!({"files": self.files, "bytes": self.bytes, "records": self.records, "tombstones": self.tombstones})
    }
}

impl DataDir {
    /// Runs it. Files that a running node has merged away meanwhile are said to be gone, and not counted.
    ///
    /// # Errors
    /// When a file is damaged or gone, after the rest was shown.
    pub fn run(self) -> anyhow::Result<()> {
        let manifest = InspectedManifest::read(&OsDisk, &self.directory)?;
        let mut findings = Findings::default();
        let (mut total, mut tables) = (Totals::default(), Vec::new());
        for table in &manifest.tables {
            let totals = Totals::of(&self.directory, &table.files, &mut findings);
            total.add(&totals);
            tables.push((table.id.0, totals));
        }
        match self.output.format {
            Format::Json => {
                let tables: Vec<_> =
                    tables.iter().map(|(id, totals)| json!({"id": id, "totals": totals.json()})).collect();
                output::answer_json(&json!({"tables": tables, "totals": total.json()}))?;
            }
            Format::Table => {
                let mut rows: Vec<_> =
                    tables.iter().map(|(id, totals)| totals.row(&id.to_string())).collect();
                rows.push(total.row("total"));
                output::answer(&output::table(
                    ["TABLE", "SSTABLES", "BYTES", "RECORDS", "TOMBSTONES"],
                    &rows,
                ))?;
            }
        }
        findings.outcome()
    }
}
