//! `helenus inspect sstable`.

use std::{
    ffi::OsString,
    io::{self, BufWriter, Write},
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use helenus_cluster::partitioning::{Partitioner, storage_key};
use helenus_storage::{
    Record,
    disk::OsDisk,
    inspect::TableInspection,
    sstable::{FORMAT_VERSION, InspectedBlock, Stats, TableFile, TableMemory},
};
use serde_json::{Map, Value, json};

use super::{Findings, key};
use crate::cli::output::{Format, FormatArgs, counted, is_or_are};

/// Longest bar of a histogram.
const BAR: u64 = 30;

/// `helenus inspect sstable`.
#[derive(Debug, clap::Args)]
pub struct Sstable {
    /// The files; without an option below, a summary of each
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    what: What,
    /// Only this key, any bytes; with --keys or --dump (the default with it)
    #[arg(long, conflicts_with_all = ["blocks", "verify"], value_parser = clap::builder::ValueParser::os_string())]
    key: Option<OsString>,
    #[command(flatten)]
    output: FormatArgs,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct What {
    /// Every record, one a line
    #[arg(long)]
    dump: bool,
    /// Every key, one a line
    #[arg(long)]
    keys: bool,
    /// Every block: where it is, and its first key
    #[arg(long)]
    blocks: bool,
    /// Read everything and check every checksum; status 1 names file and offset of damage
    #[arg(long)]
    verify: bool,
}

impl Sstable {
    /// Runs it: one file after the other, as a stream.
    ///
    /// # Errors
    /// When something is damaged, after all the rest was shown.
    pub fn run(self) -> anyhow::Result<()> {
        let mut out = BufWriter::new(io::stdout().lock());
        let mut findings = Findings::default();
        for (number, path) in self.files.iter().enumerate() {
            match TableInspection::open(&OsDisk, path) {
                Ok(table) => self.show(&mut out, &mut findings, path, &table, number > 0)?,
                Err(error) => {
                    self.show_stats(&mut out, path)?;
                    findings.note(&error);
                }
            }
        }
        out.flush()?;
        findings.outcome()
    }

    /// Of a file that cannot be opened, its statistics may still be sound.
    fn show_stats(&self, out: &mut impl Write, path: &Path) -> io::Result<()> {
        let is_summary = !self.what.dump && !self.what.keys && !self.what.blocks && !self.what.verify;
        let Ok((file, stats)) = TableInspection::stats_of(&OsDisk, path) else { return Ok(()) };
        match self.output.format {
            _ if !is_summary || self.key.is_some() => Ok(()),
            Format::Json => writeln!(out, "{}", key::printable(&summary_json(path, &file, &stats, None))),
            Format::Table => summary(out, path, &file, &stats, None),
        }
    }

    fn show(
        &self,
        out: &mut impl Write,
        findings: &mut Findings,
        path: &Path,
        table: &TableInspection,
        is_next: bool,
    ) -> io::Result<()> {
        if self.what.verify {
            return self.verify(out, findings, path, table);
        }
        if self.what.blocks {
            return self.each_block(out, findings, table);
        }
        if self.what.keys || self.what.dump || self.key.is_some() {
            return self.each_record(out, findings, table);
        }
        match self.output.format {
            Format::Json => {
                let memory = Some(table.memory());
                writeln!(out, "{}", key::printable(&summary_json(path, table.file(), table.stats(), memory)))
            }
            Format::Table => {
                if is_next {
                    writeln!(out)?;
                }
                summary(out, path, table.file(), table.stats(), Some(table.memory()))
            }
        }
    }

    fn verify(
        &self,
        out: &mut impl Write,
        findings: &mut Findings,
        path: &Path,
        table: &TableInspection,
    ) -> io::Result<()> {
        let (mut blocks, mut records, before) = (0_u64, 0_u64, findings.failed);
        for block in table.blocks() {
            blocks += 1;
            match block.records {
                Ok(found) => records += found.len() as u64,
                Err(damage) => findings.note(&damage),
            }
        }
        let damaged = findings.failed - before;
        match self.output.format {
            Format::Json => {
                let file = path.display().to_string();
                let line =
                    json!({"file": file, "blocks": blocks, "records": records, "damaged_blocks": damaged});
                writeln!(out, "{line}")
            }
            Format::Table if damaged == 0 => {
                writeln!(
                    out,
                    "{}: sound, {}, {}",
                    path.display(),
                    counted(blocks, "block"),
                    counted(records, "record")
                )
            }
            Format::Table => {
                writeln!(
                    out,
                    "{}: {damaged} of {} {} damaged",
                    path.display(),
                    counted(blocks, "block"),
                    is_or_are(damaged)
                )
            }
        }
    }

    fn each_block(
        &self,
        out: &mut impl Write,
        findings: &mut Findings,
        table: &TableInspection,
    ) -> io::Result<()> {
        if self.output.format == Format::Table {
            writeln!(out, "{:>12} {:>8} {:>8}  FIRST KEY", "OFFSET", "BYTES", "RECORDS")?;
        }
        for InspectedBlock { offset, length_bytes, records } in table.blocks() {
            let records = match records {
                Ok(records) => records,
                Err(damage) => {
                    findings.note(&damage);
                    continue;
                }
            };
            let first = records.first().map(|(key, _)| key.clone()).unwrap_or_default();
            match self.output.format {
                Format::Table => {
                    let (count, first) = (records.len(), key::text(&key::take_apart(&first).1));
                    writeln!(out, "{offset:>12} {length_bytes:>8} {count:>8}  {first}")?;
                }
                Format::Json => {
                    let mut line = Map::new();
                    line.insert("offset".into(), offset.into());
                    line.insert("bytes".into(), length_bytes.into());
                    line.insert("records".into(), records.len().into());
                    key::insert_key(&mut line, "first_key", &first);
                    writeln!(out, "{}", key::printable(&line.into()))?;
                }
            }
        }
        Ok(())
    }

    fn each_record(
        &self,
        out: &mut impl Write,
        findings: &mut Findings,
        table: &TableInspection,
    ) -> io::Result<()> {
        let wanted = self.key.as_ref().map(|key| {
            let key = key.as_bytes();
            storage_key(Partitioner::Murmur3.token(key), key)
        });
        let blocks: Box<dyn Iterator<Item = InspectedBlock>> = match &wanted {
            // A block that cannot hold it is not read: neither those before nor those behind.
            Some(wanted) => Box::new(table.blocks_from(wanted).take(1)),
            None => Box::new(table.blocks()),
        };
        for block in blocks {
            match block.records {
                Err(damage) => findings.note(&damage),
                Ok(records) => {
                    for (key, record) in &records {
                        if wanted.as_ref().is_none_or(|wanted| wanted == key) {
                            self.record(out, key, record)?;
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn record(&self, out: &mut impl Write, storage_key: &Bytes, record: &Record) -> io::Result<()> {
        let (token, key) = key::take_apart(storage_key);
        match (self.output.format, self.what.keys) {
            (Format::Table, true) => writeln!(out, "{}", key::text(&key)),
            (Format::Json, true) => {
                let mut line = Map::new();
                key::insert_key(&mut line, "key", storage_key);
                writeln!(out, "{}", key::printable(&line.into()))
            }
            (Format::Json, false) => writeln!(out, "{}", key::printable(&key::record(storage_key, record))),
            (Format::Table, false) => {
                let (kind, end) = key::kind(record);
                writeln!(out, "{}", key::text(&key))?;
                if let Some(token) = token {
                    writeln!(out, "    {:<12} {token}", "token")?;
                }
                writeln!(out, "    {:<12} {}", "timestamp", key::time(record.timestamp))?;
                writeln!(out, "    {:<12} {kind}", "kind")?;
                if let Some((name, end)) = end {
                    writeln!(out, "    {:<12} {}", name.trim_end(), key::time(end))?;
                }
                let Some((said, value)) = key::value(storage_key, record) else { return Ok(()) };
                for (name, text) in said {
                    writeln!(out, "    {name:<12} {text}")?;
                }
                writeln!(out, "    {:<12} {value}", "value")
            }
        }
    }
}

/// Without what index and filter take in memory where one of them is damaged.
fn summary(
    out: &mut impl Write,
    path: &Path,
    file: &TableFile,
    stats: &Stats,
    memory: Option<TableMemory>,
) -> io::Result<()> {
    let mut line = |name: &str, value: String| writeln!(out, "{name:<15} {value}");
    line("File", path.display().to_string())?;
    line("Version", FORMAT_VERSION.to_string())?;
    line("Size", format!("{} bytes", file.length_bytes))?;
    let (records, plain) = (stats.records(), stats.plain);
    line(
        "Records",
        format!(
            "{records}: {plain} plain, {} expiring, {}",
            stats.expiring,
            counted(stats.tombstones, "tombstone")
        ),
    )?;
    for (name, storage_key) in [("First key", &stats.first_key), ("Last key", &stats.last_key)] {
        let (token, key) = key::take_apart(storage_key);
        line(name, key::text(&key))?;
        if let Some(token) = token {
            line("  token", token.to_string())?;
        }
    }
    line("Oldest write", key::time(stats.min_timestamp))?;
    line("Newest write", key::time(stats.max_timestamp))?;
    for (name, span) in [("expiry", stats.expiry), ("deletion", stats.deletion)] {
        if let Some(span) = span {
            line(&format!("First {name}"), key::time(span.min))?;
            line(&format!("Last {name}"), key::time(span.max))?;
        }
    }
    line(
        "Compression",
        format!(
            "{:.3} ({} of {} bytes)",
            stats.compression_ratio(),
            stats.blocks_bytes,
            stats.contents_bytes
        ),
    )?;
    if let Some(TableMemory { index, filter }) = memory {
        line("In memory", format!("index {index} bytes, bloom filter {filter} bytes"))?;
    }
    histograms(out, stats)
}

fn histograms(out: &mut impl Write, stats: &Stats) -> io::Result<()> {
    let most = stats.sizes.classes().map(|(_, records)| records).max().unwrap_or(0);
    writeln!(out, "Record sizes, from bytes")?;
    for (from, records) in stats.sizes.classes() {
        writeln!(out, "  {from:>27} {records:>10} {}", bar(records, most))?;
    }
    let bins = stats.drop_times.bins();
    if !bins.is_empty() {
        writeln!(out, "Ends of life of tombstones and expiring records, until")?;
    }
    let most = bins.iter().map(|bin| bin.records).max().unwrap_or(0);
    for bin in bins {
        let until = key::rfc_3339(bin.until);
        writeln!(out, "  {until:>27} {:>10} {}", bin.records, bar(bin.records, most))?;
    }
    Ok(())
}

/// At least one mark for what is there at all.
fn bar(count: u64, most: u64) -> String {
    let share = u128::from(count) * u128::from(BAR) / u128::from(most.max(1));
    "#".repeat(usize::try_from(share).unwrap_or(0).max(usize::from(count > 0)))
}

fn summary_json(path: &Path, file: &TableFile, stats: &Stats, memory: Option<TableMemory>) -> Value {
    let mut object = Map::new();
    object.insert("file".into(), path.display().to_string().into());
    object.insert("version".into(), FORMAT_VERSION.into());
    object.insert("id".into(), file.id.0.into());
    object.insert("bytes".into(), file.length_bytes.into());
    key::insert_key(&mut object, "first_key", &stats.first_key);
    key::insert_key(&mut object, "last_key", &stats.last_key);
    let span = |span: Option<helenus_storage::sstable::TimeSpan>| {
        span.map(|span| json!({"min": span.min.0, "max": span.max.0}))
    };
    let sizes: Vec<_> = stats
        .sizes
        .classes()
        .map(|(from, records)| json!({"from_bytes": from, "records": records}))
        .collect();
    let bins = stats.drop_times.bins().iter();
    let drops: Vec<_> =
        bins.map(|bin| json!({"from": bin.from.0, "until": bin.until.0, "records": bin.records})).collect();
    let rest = json!({
        "min_timestamp": stats.min_timestamp.0, "max_timestamp": stats.max_timestamp.0,
        "plain": stats.plain, "expiring": stats.expiring, "tombstones": stats.tombstones,
        "expiry": span(stats.expiry), "deletion": span(stats.deletion),
        "contents_bytes": stats.contents_bytes, "blocks_bytes": stats.blocks_bytes,
        "compression_ratio": stats.compression_ratio(),
        "index_memory_bytes": memory.map(|memory| memory.index),
        "filter_memory_bytes": memory.map(|memory| memory.filter),
        "sizes": sizes, "drop_times": drops,
    });
    if let Value::Object(rest) = rest {
        object.extend(rest);
    }
    object.into()
}
