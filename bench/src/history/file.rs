//! Histories as files: written line by line while they happen, read back strictly.

use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use super::{FORMAT, FaultEvent, Header, History, Operation, View};

#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Header(Header),
    Operation(Operation),
    Fault(FaultEvent),
    View(View),
    End(Totals),
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum LineRef<'a> {
    Header(&'a Header),
    Operation(&'a Operation),
    Fault(&'a FaultEvent),
    View(&'a View),
    End(Totals),
}

/// How many lines of each kind a complete history has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Totals {
    operations: u64,
    faults: u64,
    views: u64,
}

/// Why a history file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read the history: {0}")]
    Io(#[from] io::Error),
    /// A line is not what it should be.
    #[error("line {line} of the history: {what}")]
    Line {
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        what: String,
    },
    /// It stops early: operations may be missing, and nothing can be concluded.
    #[error("the history has no end line after its {lines} lines: it is not complete")]
    Incomplete {
        /// Lines that it has.
        lines: usize,
    },
}

/// Writes a history as it happens. Holds nothing but the writer.
#[derive(Debug)]
pub struct Recorder<W: Write> {
    out: W,
    totals: Totals,
}

impl<W: Write> Recorder<W> {
    /// Starts a history.
    ///
    /// # Errors
    /// Those of the writer, here and below. After one the file is not complete, and no end line must be written.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let mut recorder = Self { out, totals: Totals::default() };
        recorder.line(&LineRef::Header(header))?;
        Ok(recorder)
    }

    /// Records an operation that has ended.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn operation(&mut self, operation: &Operation) -> io::Result<()> {
        self.totals.operations += 1;
        self.line(&LineRef::Operation(operation))
    }

    /// Records a fault that has ended.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn fault(&mut self, event: &FaultEvent) -> io::Result<()> {
        self.totals.faults += 1;
        self.line(&LineRef::Fault(event))
    }

    /// Records what a node says of the cluster.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn view(&mut self, view: &View) -> io::Result<()> {
        self.totals.views += 1;
        self.line(&LineRef::View(view))
    }

    /// Says that this is all, and gives the writer back, flushed.
    ///
    /// # Errors
    /// As [`Recorder::new`].
    pub fn finish(mut self) -> io::Result<W> {
        self.line(&LineRef::End(self.totals))?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn line(&mut self, line: &LineRef<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, line)?;
        self.out.write_all(b"\n")
    }
}

impl History {
    /// Writes the whole history.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write<W: Write>(&self, out: W) -> io::Result<W> {
        let mut recorder = Recorder::new(out, &self.header)?;
        self.operations.iter().try_for_each(|operation| recorder.operation(operation))?;
        self.faults.iter().try_for_each(|event| recorder.fault(event))?;
        self.views.iter().try_for_each(|view| recorder.view(view))?;
        recorder.finish()
    }

    /// Reads a complete history and puts it into its order.
    ///
    /// # Errors
    /// [`FileError`]: any unknown field, line out of place, wrong total or missing end refuses the whole file.
    pub fn read(input: impl BufRead) -> Result<Self, FileError> {
        let mut history: Option<Self> = None;
        let mut end = None;
        let mut lines = 0;
        for (number, text) in (1..).zip(input.lines()) {
            let wrong = |what: String| FileError::Line { line: number, what };
            let line = serde_json::from_str(&text?).map_err(|error| wrong(error.to_string()))?;
            lines = number;
            if end.is_some() {
                return Err(wrong("it follows the end".to_owned()));
            }
            match (line, history.as_mut()) {
                (Line::Header(header), None) if header.format == FORMAT => history = Some(Self::new(header)),
                (Line::Header(header), None) => {
                    return Err(wrong(format!("format {} is not {FORMAT}", header.format)));
                }
                (Line::Header(_), Some(_)) => return Err(wrong("a second header".to_owned())),
                (_, None) => return Err(wrong("the header must come first".to_owned())),
                (Line::Operation(operation), Some(history)) => history.operations.push(operation),
                (Line::Fault(event), Some(history)) => history.faults.push(event),
                (Line::View(view), Some(history)) => history.views.push(view),
                (Line::End(totals), Some(history)) => {
                    if totals != history.totals() {
                        let found = history.totals();
                        return Err(wrong(format!("it announces {totals:?}, found {found:?}")));
                    }
                    end = Some(());
                }
            }
        }
        match (history, end) {
            (Some(mut history), Some(())) => {
                history.sort();
                Ok(history)
            }
            _ => Err(FileError::Incomplete { lines }),
        }
    }

    fn totals(&self) -> Totals {
        Totals {
            operations: self.operations.len() as u64,
            faults: self.faults.len() as u64,
            views: self.views.len() as u64,
        }
    }
}
