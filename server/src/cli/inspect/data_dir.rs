//! `helenus inspect data-dir`.

use std::path::{Path, PathBuf};

use helenus_storage::{
    Options, Snapshot,
    disk::OsDisk,
    inspect::{
        FileSum, InspectedDirectory, InspectedLevel, InspectedLog, InspectedTable, TableInspection, levels,
    },
    sstable::TableReader,
};
use serde_json::{Value, json};

use super::Findings;
use crate::cli::output::{self, Format, FormatArgs};

/// `helenus inspect data-dir`.
#[derive(Debug, clap::Args)]
pub struct DataDir {
    /// The data directory, or a snapshot
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    output: FormatArgs,
}

impl DataDir {
    /// Runs it. Files that a running node has merged away meanwhile are said to be gone, and not counted.
    ///
    /// # Errors
    /// When a file is damaged or gone, after the rest was shown.
    pub fn run(self) -> anyhow::Result<()> {
        let directory = InspectedDirectory::read(&OsDisk, &self.directory)?;
        let mut findings = Findings::default();
        let log = InspectedLog::read(&OsDisk, &self.directory)?;
        findings.note_missing(&log.missing, &self.directory);
        let (mut total, mut tables) = (Totals::default(), Vec::new());
        for table in &directory.manifest.tables {
            let table = Picture::of(&self.directory, table, &mut findings);
            total.add(&table.totals);
            tables.push(table);
        }
        match self.output.format {
            Format::Json => output::answer_json(&as_json(&directory, &tables, &total))?,
            Format::Table => output::answer(&as_text(&directory, &tables, &total))?,
        }
        findings.outcome()
    }
}

/// What there is of one table.
#[derive(Debug)]
struct Picture {
    id: u32,
    totals: Totals,
    levels: Vec<InspectedLevel>,
}

/// Sums over SSTables.
#[derive(Debug, Default)]
struct Totals {
    files: u64,
    bytes: u64,
    records: u64,
    tombstones: u64,
}

impl Picture {
    fn of(directory: &Path, table: &InspectedTable, findings: &mut Findings) -> Self {
        let (mut totals, mut sound) = (Totals::default(), Vec::new());
        for file in &table.files {
            totals.files += 1;
            totals.bytes += file.length_bytes;
            match TableInspection::open(&OsDisk, &directory.join(TableReader::file_name(file.id))) {
                Ok(table) => {
                    totals.records += table.stats().records();
                    totals.tombstones += table.stats().tombstones;
                    sound.push((file.clone(), table.stats().clone()));
                }
                Err(error) => findings.note(&error),
            }
        }
        let options = table.options.clone().unwrap_or(Options::default().table);
        Self { id: table.id.0, totals, levels: levels(&sound, &options) }
    }
}

impl Totals {
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

/// Everything but what is in live SSTables.
fn others(directory: &InspectedDirectory) -> [(&'static str, FileSum); 4] {
    let of_snapshots = |sum: FileSum, snapshot: &Snapshot| FileSum {
        files: sum.files + snapshot.tables,
        bytes: sum.bytes + snapshot.bytes,
    };
    [
        ("commit log", directory.segments),
        ("spare segments", directory.spares),
        ("snapshots", directory.snapshots.iter().fold(FileSum::default(), of_snapshots)),
        ("orphans", directory.orphaned),
    ]
}

fn as_text(directory: &InspectedDirectory, tables: &[Picture], total: &Totals) -> String {
    let mut of_tables: Vec<_> = tables.iter().map(|table| table.totals.row(&table.id.to_string())).collect();
    of_tables.push(total.row("total"));
    let of_levels = tables.iter().flat_map(|table| {
        table.levels.iter().map(|level| {
            [
                table.id.to_string(),
                level.level.map_or("-".to_owned(), |level| level.to_string()),
                level.tables.to_string(),
                level.bytes.to_string(),
                level.overlap.to_string(),
            ]
        })
    });
    let others =
        others(directory).map(|(what, sum)| [what.to_owned(), sum.files.to_string(), sum.bytes.to_string()]);
    [
        output::table(["TABLE", "SSTABLES", "BYTES", "RECORDS", "TOMBSTONES"], &of_tables),
        output::table(["TABLE", "LEVEL", "SSTABLES", "BYTES", "OVERLAP"], &of_levels.collect::<Vec<_>>()),
        output::table(["OTHERS", "FILES", "BYTES"], &others),
    ]
    .join("\n\n")
}

fn as_json(directory: &InspectedDirectory, tables: &[Picture], total: &Totals) -> Value {
    let level = |level: &InspectedLevel| {
        json!({
            "level": level.level, "tables": level.tables, "bytes": level.bytes, "overlap": level.overlap,
        })
    };
    let table = |table: &Picture| {
        let levels: Vec<_> = table.levels.iter().map(level).collect();
        json!({"id": table.id, "totals": table.totals.json(), "levels": levels})
    };
    let sum = |sum: FileSum| json!({"files": sum.files, "bytes": sum.bytes});
    let snapshot = |snapshot: &Snapshot| json!({"name": snapshot.name, "tables": snapshot.tables, "bytes": snapshot.bytes});
    json!({
        "tables": tables.iter().map(table).collect::<Vec<_>>(),
        "totals": total.json(),
        "commit_log": sum(directory.segments),
        "spares": sum(directory.spares),
        "snapshots": directory.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        "orphans": directory.orphans,
    })
}
