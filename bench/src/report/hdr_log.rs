//! HdrHistogram log files, which its tools open.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer, V2DeflateSerializer},
};

use crate::{load::Progress, workload::Operation};

/// A log for each kind of operation: `<prefix><OPERATION>.hdr`, a line for each second, in microseconds.
#[derive(Debug)]
pub struct HdrLogs {
    prefix: String,
    started: SystemTime,
    files: BTreeMap<Operation, BufWriter<File>>,
}

impl HdrLogs {
    /// Creates files as kinds of operations appear.
    #[must_use]
    pub fn new(prefix: &str) -> Self {
        Self { prefix: prefix.to_owned(), started: SystemTime::now(), files: BTreeMap::new() }
    }

    /// Adds an interval: successes, from when they were due.
    ///
    /// # Errors
    /// If a file cannot be made or written.
    pub fn add(&mut self, progress: &Progress<'_>) -> io::Result<()> {
        let length_s = progress.interval_s;
        let start_s = progress.elapsed.saturating_sub(Duration::from_secs_f64(length_s)).as_secs_f64();
        for (&operation, tally) in &progress.interval.operations {
            let file = match self.files.entry(operation) {
                std::collections::btree_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::btree_map::Entry::Vacant(entry) => {
                    let file = File::create(format!("{}{}.hdr", self.prefix, operation.name()))?;
                    let mut file = BufWriter::new(file);
                    head(&mut file, self.started)?;
                    entry.insert(file)
                }
            };
            entry(file, start_s, length_s, &tally.intended)?;
        }
        Ok(())
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// If that fails.
    pub fn finish(self) -> io::Result<()> {
        self.files.into_values().try_for_each(|mut file| file.flush())
    }
}

fn head(file: &mut impl Write, started: SystemTime) -> io::Result<()> {
    let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    writeln!(file, "#[Histogram log format version 1.3]")?;
    writeln!(file, "#[StartTime: {since:.3} (seconds since epoch)]")?;
    writeln!(file, "#[BaseTime: {since:.3} (seconds since epoch)]")?;
    writeln!(file, r#""StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram""#)
}

/// The largest value stands in milliseconds, as HdrHistogram's own writer has it for nanoseconds; here of microseconds.
fn entry(file: &mut impl Write, start_s: f64, length_s: f64, histogram: &Histogram<u64>) -> io::Result<()> {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .map_err(|error| io::Error::other(error.to_string()))?;
    let max_ms = histogram.max() as f64 / 1e3;
    writeln!(file, "{start_s:.3},{length_s:.3},{max_ms:.3},{}", BASE64.encode(bytes))
}
