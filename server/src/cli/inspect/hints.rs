//! `helenus inspect hints`.
//!
//! What is saved about the runs comes first, then the hints of each: those of the SSTables, and those that are in the
//! commit log only. Nothing is held in memory but one line for each run.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use helenus_cluster::{
    handoff::RepairMark,
    node::{StoredHints, StoredRun},
    time::Timestamp,
};
use helenus_storage::{
    Error, Mutation, Record, TableId,
    disk::OsDisk,
    inspect::{InspectedLog, InspectedManifest, InspectedSegment, InspectedTable, TableInspection},
    sstable::TableReader,
};
use serde_json::{Value, json};

use super::Findings;
use crate::cli::output::{self, Format, FormatArgs};

/// `helenus inspect hints`.
#[derive(Debug, clap::Args)]
pub struct Hints {
    /// The data directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    output: FormatArgs,
}

impl Hints {
    /// Runs it. What a running node delivers meanwhile may be shown or not.
    ///
    /// # Errors
    /// When a file is damaged or gone, after the rest was shown.
    pub fn run(self) -> anyhow::Result<()> {
        let manifest = InspectedManifest::read(&OsDisk, &self.directory)?;
        let mut findings = Findings::default();
        let mut hints = StoredHints::default();
        self.records(&manifest, &[StoredHints::SAVED], &mut findings, |_, key, record| {
            hints.take_saved(key.clone(), record.clone());
        })?;
        let runs = hints.begin()?;
        self.records(&manifest, &runs, &mut findings, |tree, key, record| {
            hints.take_hint(tree, key, record);
        })?;
        match self.output.format {
            Format::Json => output::answer_json(&as_json(&hints))?,
            Format::Table => output::answer(&as_text(&hints))?,
        }
        let damaged: u64 = hints.runs().map(|(_, run)| run.damaged).sum();
        if damaged > 0 {
            findings.note(&Error::Corrupt {
                path: self.directory,
                offset: 0,
                what: format!("{} cannot be decoded", output::counted(damaged, "hint")),
            });
        }
        findings.outcome()
    }

    /// Shows the records of some tables, each version once: of SSTables, and of the log from where they end.
    fn records(
        &self,
        manifest: &InspectedManifest,
        tables: &[TableId],
        findings: &mut Findings,
        mut show: impl FnMut(TableId, &Bytes, &Record),
    ) -> anyhow::Result<()> {
        let flushed = |id: TableId| {
            let known = manifest.tables.iter().find(|table| table.id == id);
            known.map_or((0, 0), |table| table.flushed)
        };
        for table in manifest.tables.iter().filter(|table| tables.contains(&table.id)) {
            self.of_sstables(table, findings, &mut show);
        }
        let log = InspectedLog::read(&OsDisk, &self.directory)?;
        findings.note_missing(&log.missing, &self.directory);
        for &id in log.segments.range(manifest.log_first..) {
            let path = self.directory.join(InspectedSegment::file_name(id));
            let read = InspectedSegment::read(&OsDisk, &path, |offset, batch: &[(TableId, Mutation)]| {
                let wanted = batch.iter().filter(|(table, _)| tables.contains(table));
                for (table, mutation) in wanted.filter(|(table, _)| (id, offset) >= flushed(*table)) {
                    mutation.rows.iter().for_each(|(_, record)| show(*table, &mutation.key, record));
                }
                Ok::<_, Error>(())
            });
            match read {
                Ok(segment) => segment.damages.iter().for_each(|damage| findings.note_once(damage)),
                Err(damage) => findings.note_once(&damage),
            }
        }
        Ok(())
    }

    fn of_sstables(
        &self,
        table: &InspectedTable,
        findings: &mut Findings,
        show: &mut impl FnMut(TableId, &Bytes, &Record),
    ) {
        for file in &table.files {
            let path = self.directory.join(TableReader::file_name(file.id));
            let opened = match TableInspection::open(&OsDisk, &path) {
                Ok(opened) => opened,
                Err(damage) => {
                    findings.note_once(&damage);
                    continue;
                }
            };
            for block in opened.blocks() {
                match block.records {
                    Ok(records) => records.iter().for_each(|(key, record)| show(table.id, key, record)),
                    Err(damage) => findings.note_once(&damage),
                }
            }
        }
    }
}

fn as_text(hints: &StoredHints) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let row = |(tree, run): (TableId, &StoredRun)| {
        [
            tree.0.to_string(),
            run.target.to_string(),
            run.hints.to_string(),
            run.bytes.to_string(),
            age(run.oldest.unwrap_or(run.opened_at), now),
            run.cursor.to_string(),
        ]
    };
    let rows: Vec<_> = hints.runs().map(row).collect();
    let mark = |mark: &RepairMark| {
        [
            mark.target.to_string(),
            mark.table.map_or("any".to_owned(), |table| table.to_string()),
            mark.hints.to_string(),
            age(Timestamp(mark.since_us), now),
            age(Timestamp(mark.until_us), now),
        ]
    };
    let marks: Vec<_> = hints.marks().iter().map(mark).collect();
    [
        output::table(["RUN", "TARGET", "HINTS", "BYTES", "AGE", "CURSOR"], &rows),
        output::table(["TO REPAIR", "TABLE", "HINTS", "SINCE", "UNTIL"], &marks),
    ]
    .join("\n\n")
}

/// How long ago, in seconds or larger.
fn age(at: Timestamp, now: Duration) -> String {
    let passed = now.saturating_sub(Duration::from_micros(at.0));
    humantime::format_duration(Duration::from_secs(passed.as_secs())).to_string()
}

fn as_json(hints: &StoredHints) -> Value {
    let run = |(tree, run): (TableId, &StoredRun)| {
        json!({
            "run": tree.0, "target": run.target.to_string(), "hints": run.hints, "bytes": run.bytes,
            "opened_at_us": run.opened_at.0, "oldest_us": run.oldest.map(|oldest| oldest.0),
            "cursor": run.cursor, "damaged": run.damaged,
        })
    };
    let mark = |mark: &RepairMark| {
        json!({
            "target": mark.target.to_string(), "table": mark.table, "hints": mark.hints,
            "since_us": mark.since_us, "until_us": mark.until_us,
        })
    };
    json!({
        "runs": hints.runs().map(run).collect::<Vec<_>>(),
        "marks": hints.marks().iter().map(mark).collect::<Vec<_>>(),
    })
}
