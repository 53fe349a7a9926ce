//! Where results go, and in which form.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use helenus_bench::{
    measurement::{RESULT_FORMAT, RunResult},
    properties::Properties,
    report::{Baseline, Exporter, HdrLogs, Intervals, YcsbReport, html, pretty},
    workload::Phase,
};

use super::{load::IntervalFlag, progress::Observer};

/// What to do with a result.
#[derive(Args, Clone)]
pub(super) struct Output {
    /// Which latencies YCSB's lines tell: from sending, from when an operation was due, or both [default: property
    /// measurement.interval, else op]
    #[arg(long, value_enum)]
    interval: Option<IntervalFlag>,

    /// Status lines in YCSB's manner, on standard error
    #[arg(short)]
    status: bool,

    /// How the result is told on standard output
    #[arg(long, value_enum, default_value_t = Format::Pretty)]
    format: Format,

    /// Also write the result as JSON, for report and --baseline
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// Also write a page with pictures
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    /// Compare with an earlier result
    #[arg(long, value_name = "JSON")]
    baseline: Option<PathBuf>,

    /// Write HdrHistogram logs, PREFIX<OPERATION>.hdr [default: properties hdrhistogram.fileoutput and .output.path]
    #[arg(long, value_name = "PREFIX")]
    hdr_log: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Pretty,
    Ycsb,
    Json,
}

/// An output that is known to be possible, before the load.
pub(super) struct Checked {
    output: Output,
    intervals: Intervals,
    percentiles: Vec<f64>,
    exporter: Exporter,
    export_file: Option<PathBuf>,
    baseline: Option<RunResult>,
    status: Option<Duration>,
    hdr_log: Option<String>,
}

impl Output {
    /// Reads what is needed later, so that a slip of the pen is known before the load and not after it.
    pub(super) fn check(&self, properties: &Properties) -> anyhow::Result<Checked> {
        ensure!(
            self.baseline.is_none() || self.format == Format::Pretty,
            "--baseline: only --format pretty tells a comparison"
        );
        let files = [&self.json, &self.report].into_iter().flatten().cloned();
        let logs = self.hdr_log.iter().map(PathBuf::from);
        for path in files.chain(logs).chain(properties.text("exportfile").map(PathBuf::from)) {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let is_there = directory.is_none_or(Path::is_dir);
            ensure!(is_there, "cannot write {}: there is no such directory", path.display());
        }
        let words =
            [("op", Intervals::Operation), ("intended", Intervals::Intended), ("both", Intervals::Both)];
        let configured = properties.choice("measurement.interval", Intervals::Operation, &words)?;
        let percentiles: Option<Vec<f64>> = properties
            .text("hdrhistogram.percentiles")
            .unwrap_or("50,95,99")
            .split(',')
            .map(|text| text.trim().parse().ok().filter(|percentile| (0.0..=100.0).contains(percentile)))
            .collect();
        let exporter = properties.text("exporter").map_or(Some(Exporter::Text), Exporter::of_class);
        let every: u64 = properties.count("status.interval", 10)?;
        let has_status = self.status || properties.switch("status", false)?;
        let has_logs = properties.switch("hdrhistogram.fileoutput", false)?;
        let log_path =
            has_logs.then(|| properties.text("hdrhistogram.output.path").unwrap_or_default().to_owned());
        Ok(Checked {
            output: self.clone(),
            intervals: self.interval.map_or(configured, Into::into),
            percentiles: percentiles
                .ok_or_else(|| properties.refuse("hdrhistogram.percentiles", "percentiles between commas"))?,
            exporter: exporter.ok_or_else(|| {
                properties.refuse(
                    "exporter",
                    "TextMeasurementsExporter, JSONMeasurementsExporter, JSONArrayMeasurementsExporter",
                )
            })?,
            export_file: properties.text("exportfile").map(PathBuf::from),
            baseline: self.baseline.as_deref().map(read).transpose()?,
            status: has_status.then(|| Duration::from_secs(every.max(1))),
            hdr_log: self.hdr_log.clone().or(log_path),
        })
    }
}

impl Checked {
    pub(super) fn observer(&self, phase: Phase) -> anyhow::Result<Observer> {
        let name = if phase == Phase::Load { "load" } else { "run" };
        Ok(Observer::new(self.status, self.hdr_log.as_deref().map(HdrLogs::new), name))
    }

    /// Tells a result.
    pub(super) fn tell(&self, run: &RunResult) -> anyhow::Result<()> {
        let json = || serde_json::to_string_pretty(run).context("the result");
        let baseline = self.baseline.as_ref().map(|earlier| Baseline::new(earlier, run));
        match self.output.format {
            Format::Pretty => print(&pretty(run, baseline.as_ref()))?,
            Format::Json => print(&(json()? + "\n"))?,
            Format::Ycsb => {
                let report = YcsbReport { run, intervals: self.intervals, percentiles: &self.percentiles };
                let text = report.write(self.exporter);
                match &self.export_file {
                    Some(path) => write(path, &text)?,
                    None => print(&text)?,
                }
                for warning in &run.generator.warnings {
                    eprintln!("WARNING: {warning}");
                }
            }
        }
        if let Some(path) = &self.output.json {
            write(path, &json()?)?;
        }
        if let Some(path) = &self.output.report {
            write(path, &html(std::slice::from_ref(run)))?;
        }
        Ok(())
    }
}

/// Reads a result.
pub(super) fn read(path: &Path) -> anyhow::Result<RunResult> {
    let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let run: RunResult =
        serde_json::from_slice(&text).with_context(|| format!("{} is no result", path.display()))?;
    ensure!(
        run.format == RESULT_FORMAT,
        "{}: format {:?}, expected {RESULT_FORMAT:?}",
        path.display(),
        run.format
    );
    Ok(run)
}

pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// To standard output, whose reader may have enough (`| head`): that is an error, no panic.
pub(super) fn print(text: &str) -> anyhow::Result<()> {
    io::stdout().write_all(text.as_bytes()).context("standard output")
}
