//! A workload from its properties.

use std::{fs, sync::Arc, time::Duration};

use super::{Fields, KeyNames, Operation, fields::Length, records::Records};
use crate::{
    generators::{
        AcknowledgedCounter, Counter, Discrete, Exponential, Histogram, Hotspot, ScrambledZipfian,
        Sequential, SkewedLatest, Uniform, Zipfian,
    },
    properties::{Properties, PropertyError},
};

/// Loading, or running.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Inserts all records.
    Load,
    /// Does the workload's operations on them.
    Run,
}

/// What an update writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateMode {
    /// The whole value, blindly.
    Overwrite,
    /// The value that was read first, with one field replaced.
    Merge,
}

/// What happens after a failed insert.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// Attempts after the first.
    pub limit: u64,
    /// Time between two, ±20 %.
    pub interval: Duration,
    /// A load goes on although a record could not be inserted.
    pub keep_going: bool,
}

#[derive(Debug)]
pub(super) enum ScanLength {
    Uniform(Uniform),
    Zipfian(Box<Zipfian>),
}

/// YCSB's core workload.
#[derive(Debug)]
pub struct Workload {
    /// The table.
    pub table: String,
    /// Names of keys.
    pub keys: KeyNames,
    /// Names and contents of fields.
    pub fields: Fields,
    /// What an update writes.
    pub update: UpdateMode,
    /// `dataintegrity`: what is read is compared.
    pub verifies: bool,
    /// After a failed insert.
    pub retries: Retries,
    /// `operationcount`, if it is set.
    pub operation_count: Option<u64>,
    /// Records that a load inserts.
    pub insert_count: u64,
    pub(super) operations: Discrete<Operation>,
    pub(super) records: Records,
    pub(super) scan_length: ScanLength,
    pub(super) to_load: Counter,
    pub(super) load_end: u64,
    pub(super) inserted: Arc<AcknowledgedCounter>,
}

/// Fields are names and bounded memory, not a way to ask for all of it.
const MOST_VALUE_BYTES: u64 = 64 << 20;

impl Workload {
    /// Reads a workload's properties.
    ///
    /// # Errors
    /// If one does not say what it may, or they contradict each other.
    pub fn new(properties: &Properties) -> Result<Self, PropertyError> {
        if properties
            .text("workload")
            .is_some_and(|class| !class.ends_with(".CoreWorkload") && class != "core")
        {
            return Err(
                properties.refuse("workload", "site.ycsb.workloads.CoreWorkload, the only one there is here")
            );
        }
        let record_count = match properties.count("recordcount", 0)? {
            0 => i32::MAX.unsigned_abs().into(),
            count => count,
        };
        let insert_start = properties.count("insertstart", 0)?;
        let insert_count = properties.count("insertcount", record_count.saturating_sub(insert_start))?;
        let last = insert_start
            .checked_add(insert_count)
            .filter(|&end| end <= record_count && insert_count > 0)
            .map(|end| end - 1)
            .ok_or_else(|| {
                let name =
                    if properties.text("insertcount").is_some() { "insertcount" } else { "insertstart" };
                properties
                    .refuse(name, &format!("insertstart + insertcount within recordcount ({record_count})"))
            })?;
        let operation_count =
            properties.optional("operationcount", "a whole number")?.filter(|&count| count > 0);
        let inserted = Arc::new(AcknowledgedCounter::new(record_count));
        let range = Range { low: insert_start, last, record_count, operation_count };
        Ok(Self {
            table: table(properties)?,
            keys: KeyNames {
                is_ordered: properties.choice(
                    "insertorder",
                    false,
                    &[("hashed", false), ("ordered", true)],
                )?,
                zero_padding: padding(properties)?,
            },
            fields: fields(properties)?,
            update: update_mode(properties)?,
            verifies: properties.switch("dataintegrity", false)?,
            retries: retries(properties)?,
            operation_count,
            insert_count,
            operations: operations(properties)?,
            records: records(properties, &range, &inserted)?,
            scan_length: scan_length(properties)?,
            to_load: Counter::new(insert_start),
            load_end: last + 1,
            inserted,
        })
    }
}

struct Range {
    low: u64,
    last: u64,
    record_count: u64,
    operation_count: Option<u64>,
}

fn table(properties: &Properties) -> Result<String, PropertyError> {
    let table = properties.text("table").unwrap_or("usertable");
    let mut bytes = table.bytes();
    let is_valid = table.len() <= 48
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase())
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    if is_valid {
        Ok(table.to_owned())
    } else {
        Err(properties.refuse("table", "a name like [a-z][a-z0-9_]{0,47}"))
    }
}

fn padding(properties: &Properties) -> Result<usize, PropertyError> {
    let padding: usize = properties.get("zeropadding", 1, "a number of digits")?;
    if padding <= 1_000 { Ok(padding) } else { Err(properties.refuse("zeropadding", "at most 1000 digits")) }
}

fn update_mode(properties: &Properties) -> Result<UpdateMode, PropertyError> {
    let mode = properties.choice(
        "helenus.update",
        UpdateMode::Overwrite,
        &[("overwrite", UpdateMode::Overwrite), ("merge", UpdateMode::Merge)],
    )?;
    // All fields anew need nothing of the old ones.
    Ok(if properties.switch("writeallfields", false)? { UpdateMode::Overwrite } else { mode })
}

fn retries(properties: &Properties) -> Result<Retries, PropertyError> {
    let seconds: u32 = properties.get("core_workload_insertion_retry_interval", 3, "a number of seconds")?;
    Ok(Retries {
        limit: properties.count("core_workload_insertion_retry_limit", 0)?,
        interval: Duration::from_secs(seconds.into()),
        keep_going: properties.switch("core_workload_insertion_keep_going_on_error", false)?,
    })
}

fn fields(properties: &Properties) -> Result<Fields, PropertyError> {
    let count = properties.count("fieldcount", 10)?;
    let length = properties.count("fieldlength", 100)?;
    let shortest = properties.count("minfieldlength", 1)?.min(length);
    let prefix = properties.text("fieldnameprefix").unwrap_or("field");
    if prefix.contains(['=', '\n', '\r']) {
        return Err(properties.refuse("fieldnameprefix", "a prefix without = and line ends"));
    }
    let distribution = properties.text("fieldlengthdistribution").unwrap_or("constant");
    let lengths = match distribution {
        "constant" => Length::Constant(length),
        "uniform" => Length::Uniform(Uniform::new(shortest, length)),
        // Its cost grows with the range, so the bound on values comes first.
        "zipfian" if length <= MOST_VALUE_BYTES => Length::Zipfian(Box::new(Zipfian::new(shortest, length))),
        "histogram" => Length::Histogram(length_histogram(properties)?),
        "zipfian" => return Err(properties.refuse("fieldlength", "fields of at most 64 MiB")),
        _ => {
            return Err(properties.refuse("fieldlengthdistribution", "constant, uniform, zipfian, histogram"));
        }
    };
    let is_deterministic = properties.switch("dataintegrity", false)?;
    if is_deterministic && distribution != "constant" {
        return Err(properties.refuse("fieldlengthdistribution", "constant, which dataintegrity=true needs"));
    }
    let longest = if let Length::Histogram(histogram) = &lengths { histogram.largest() } else { length };
    let overhead = prefix.len() as u64 + 8;
    let is_bounded = longest
        .checked_add(overhead)
        .and_then(|bytes| bytes.checked_mul(count))
        .is_some_and(|bytes| bytes <= MOST_VALUE_BYTES);
    if count == 0 || !is_bounded {
        return Err(properties.refuse("fieldcount", "one field or more, and values of at most 64 MiB"));
    }
    let names = (0..count).map(|number| format!("{prefix}{number}")).collect();
    Ok(Fields { names, length: lengths, is_deterministic })
}

fn length_histogram(properties: &Properties) -> Result<Histogram, PropertyError> {
    let path = properties.text("fieldlengthhistogram").unwrap_or("hist.txt");
    let text =
        fs::read_to_string(path).map_err(|error| PropertyError::Unreadable { path: path.into(), error })?;
    Histogram::parse(&text).map_err(|error| PropertyError::Syntax {
        path: path.into(),
        line: error.line,
        why: error.why.to_owned(),
    })
}

fn operations(properties: &Properties) -> Result<Discrete<Operation>, PropertyError> {
    let weights = [
        (Operation::Read, "readproportion", 0.95),
        (Operation::Update, "updateproportion", 0.05),
        (Operation::Insert, "insertproportion", 0.0),
        (Operation::Scan, "scanproportion", 0.0),
        (Operation::ReadModifyWrite, "readmodifywriteproportion", 0.0),
    ];
    let mut chosen = Vec::new();
    for (operation, name, default) in weights {
        chosen.push((operation, properties.share(name, default)?));
    }
    Discrete::new(&chosen)
        .ok_or_else(|| properties.refuse("readproportion", "one of the proportions above 0"))
}

fn records(
    properties: &Properties,
    range: &Range,
    inserted: &Arc<AcknowledgedCounter>,
) -> Result<Records, PropertyError> {
    let Range { low, last, record_count, operation_count } = *range;
    Ok(match properties.text("requestdistribution").unwrap_or("uniform") {
        "uniform" => Records::Uniform(Uniform::new(low, last)),
        "zipfian" => {
            // The range is enlarged by twice the inserts to come, so that they do not move what is popular.
            let inserts = properties.share("insertproportion", 0.0)?;
            let expected_new = (operation_count.unwrap_or(0) as f64 * inserts * 2.0) as u64;
            Records::Zipfian(Box::new(ScrambledZipfian::new(low, last + 1 + expected_new)))
        }
        "latest" => Records::Latest(Box::new(SkewedLatest::new(Arc::clone(inserted)))),
        "sequential" => Records::Sequential(Sequential::new(low, last)),
        "hotspot" => {
            let data = properties.share("hotspotdatafraction", 0.2)?;
            Records::Hotspot(Hotspot::new(low, last, data, properties.share("hotspotopnfraction", 0.8)?))
        }
        "exponential" => {
            let percentile = properties.get("exponential.percentile", 95.0, "a percentile")?;
            if !(percentile > 0.0 && percentile < 100.0) {
                return Err(properties.refuse("exponential.percentile", "a number between 0 and 100"));
            }
            let fraction = properties.share("exponential.frac", 0.857_142_857_1)?;
            if fraction <= 0.0 {
                return Err(properties.refuse("exponential.frac", "a number above 0"));
            }
            Records::Exponential(Exponential::new(percentile, record_count as f64 * fraction))
        }
        _ => {
            let known = "uniform, zipfian, latest, hotspot, exponential, sequential";
            return Err(properties.refuse("requestdistribution", known));
        }
    })
}

fn scan_length(properties: &Properties) -> Result<ScanLength, PropertyError> {
    let shortest = properties.count("minscanlength", 1)?;
    let longest = properties.count("maxscanlength", 1000)?;
    if shortest == 0 || longest < shortest || longest > 1_000_000 {
        return Err(properties.refuse("maxscanlength", "minscanlength or more, at most 1000000"));
    }
    properties.choice("scanlengthdistribution", (), &[("uniform", ()), ("zipfian", ())])?;
    Ok(match properties.text("scanlengthdistribution") {
        Some("zipfian") => ScanLength::Zipfian(Box::new(Zipfian::new(shortest, longest))),
        _ => ScanLength::Uniform(Uniform::new(shortest, longest)),
    })
}
