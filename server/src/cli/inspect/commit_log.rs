//! `helenus inspect commit-log`.

use std::{
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use helenus_storage::{
    Error, Mutation, Record, TableId,
    disk::OsDisk,
    inspect::{InspectedLog, InspectedSegment},
};
use serde_json::{Value, json};

use super::{Findings, key};
use crate::cli::output::{self, Format, FormatArgs};

/// `helenus inspect commit-log`.
#[derive(Debug, clap::Args)]
pub struct CommitLog {
    /// A segment, or the data directory with all of them
    #[arg(value_name = "FILE|DIR")]
    place: PathBuf,
    /// Every record, one a line
    #[arg(long)]
    dump: bool,
    #[command(flatten)]
    output: FormatArgs,
}

impl CommitLog {
    /// Runs it: one segment after the other, in the order of the log. What a running node removes meanwhile is
    /// said to be gone.
    ///
    /// # Errors
    /// When something is damaged, missing or gone, after all the rest was shown.
    pub fn run(self) -> anyhow::Result<()> {
        let mut findings = Findings::default();
        let paths =
            if self.place.is_dir() { self.segments(&mut findings)? } else { vec![self.place.clone()] };
        let mut out = BufWriter::new(io::stdout().lock());
        let mut segments = Vec::new();
        for path in paths {
            match self.read(&mut out, &path) {
                Ok(segment) => {
                    segment.damages.iter().for_each(|damage| findings.note(damage));
                    segments.push(segment);
                }
                Err(Failure::Read(error)) => findings.note(&error),
                Err(Failure::Write(error)) => return Err(error.into()),
            }
        }
        match (self.dump, self.output.format) {
            (true, _) => {}
            // A table of nothing says nothing; why there is nothing was said.
            (false, Format::Table) if segments.is_empty() && !findings.is_empty() => {}
            (false, Format::Table) => writeln!(out, "{}", overview(&segments))?,
            (false, Format::Json) => {
                let segments: Vec<_> = segments.iter().map(as_json).collect();
                writeln!(out, "{}", json!({ "segments": segments }))?;
            }
        }
        out.flush()?;
        findings.outcome()
    }

    /// The segments of the directory, in the order of the log.
    fn segments(&self, findings: &mut Findings) -> anyhow::Result<Vec<PathBuf>> {
        let log = InspectedLog::read(&OsDisk, &self.place)?;
        if let Err(error) = &log.first {
            findings.note(error);
        }
        findings.note_missing(&log.missing, &self.place);
        let path = |&id: &u64| self.place.join(InspectedSegment::file_name(id));
        Ok(log.segments.iter().map(path).collect())
    }

    fn read(&self, out: &mut impl Write, path: &Path) -> Result<InspectedSegment, Failure> {
        let id = path.file_name().and_then(|name| InspectedSegment::parse_file_name(name.to_str()?));
        InspectedSegment::read(&OsDisk, path, |offset, batch: &[(TableId, Mutation)]| {
            if !self.dump {
                return Ok(());
            }
            let rows = batch.iter().flat_map(|(table, mutation)| {
                mutation.rows.iter().map(|(suffix, record)| (*table, &mutation.key, suffix, record))
            });
            for (table, key, suffix, record) in rows {
                let storage_key =
                    if suffix.is_empty() { key.clone() } else { [&key[..], suffix].concat().into() };
                self.line(out, (id.unwrap_or_default(), offset), table, &storage_key, record)?;
            }
            Ok(())
        })
    }

    fn line(
        &self,
        out: &mut impl Write,
        (segment, offset): (u64, u64),
        table: TableId,
        storage_key: &bytes::Bytes,
        record: &Record,
    ) -> io::Result<()> {
        match self.output.format {
            Format::Json => {
                let mut line = key::record(storage_key, record);
                line["segment"] = segment.into();
                line["offset"] = offset.into();
                line["table"] = table.0.into();
                writeln!(out, "{}", key::printable(&line))
            }
            Format::Table => {
                let (kind, _) = key::kind(record);
                let text = key::text(&key::take_apart(storage_key).1);
                let value = key::value(storage_key, record).map(|(_, value)| value).unwrap_or_default();
                let timestamp = record.timestamp.0;
                writeln!(
                    out,
                    "{segment:>8} {offset:>10} {:>10} {timestamp:>16} {kind:<9} {text}  {value}",
                    table.0
                )
            }
        }
    }
}

/// Why a segment was not shown.
#[derive(Debug)]
enum Failure {
    Read(Error),
    Write(io::Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Read(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Write(error)
    }
}

fn ends(segment: &InspectedSegment) -> &'static str {
    if segment.predecessor_ends.is_none() && segment.damages.is_empty() {
        return "unused";
    }
    segment.ends.name()
}

fn overview(segments: &[InspectedSegment]) -> String {
    let rows: Vec<_> = segments
        .iter()
        .map(|segment| {
            [
                segment.id.to_string(),
                segment.length_bytes.to_string(),
                segment.born.to_string(),
                segment.durable.to_string(),
                segment.end.to_string(),
                ends(segment).to_owned(),
                segment.groups.to_string(),
                segment.mutations.to_string(),
                segment.damages.len().to_string(),
            ]
        })
        .collect();
    let head = ["SEGMENT", "BYTES", "BORN", "DURABLE", "END", "ENDS", "GROUPS", "MUTATIONS", "DAMAGES"];
    let mut tables = std::collections::BTreeMap::<u32, [u64; 3]>::new();
    for (table, share) in segments.iter().flat_map(|segment| &segment.tables) {
        let total = tables.entry(table.0).or_default();
        for (sum, part) in total.iter_mut().zip([share.mutations, share.records, share.bytes]) {
            *sum += part;
        }
    }
    let of_tables: Vec<_> = tables
        .iter()
        .map(|(id, [m, r, b])| [id.to_string(), m.to_string(), r.to_string(), b.to_string()])
        .collect();
    format!(
        "{}\n{}",
        output::table(head, &rows),
        output::table(["TABLE", "MUTATIONS", "RECORDS", "BYTES"], &of_tables)
    )
}

fn as_json(segment: &InspectedSegment) -> Value {
    let tables: Vec<_> = segment
        .tables
        .iter()
        .map(|(table, share)| {
            json!({"id": table.0, "mutations": share.mutations, "records": share.records, "bytes": share.bytes})
        })
        .collect();
    json!({
        "id": segment.id, "file": segment.path.display().to_string(), "bytes": segment.length_bytes,
        "birth": {"end": segment.born, "salt": format!("{:016x}", segment.salt)},
        "predecessor_end": segment.predecessor_ends.map(|(end, _)| end),
        "before_end": segment.predecessor_ends.map(|(_, end)| end),
        "groups": segment.groups, "mutations": segment.mutations, "tables": tables,
        "durable": segment.durable, "end": segment.end, "ends": ends(segment),
        "damages": segment.damages.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}
