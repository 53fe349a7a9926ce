//! The history file, shared by the clients.

use std::{
    fs::File,
    io::BufWriter,
    path::Path,
    sync::{Mutex, PoisonError},
};

use anyhow::Context;
use helenus_bench::history::{FaultEvent, Header, Operation, Recorder, View};

/// Writes what happened, as it ends, in the order in which it is told.
pub(super) struct Record(Mutex<Recorder<BufWriter<File>>>);

impl Record {
    pub(super) fn create(path: &Path, header: &Header) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(Mutex::new(Recorder::new(BufWriter::new(file), header)?)))
    }

    pub(super) fn operation(&self, operation: &Operation) -> anyhow::Result<()> {
        self.with(|recorder| recorder.operation(operation))
    }

    pub(super) fn fault(&self, event: &FaultEvent) -> anyhow::Result<()> {
        self.with(|recorder| recorder.fault(event))
    }

    pub(super) fn view(&self, view: &View) -> anyhow::Result<()> {
        self.with(|recorder| recorder.view(view))
    }

    /// Says that this is all.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).finish().context(FAILED)?;
        Ok(())
    }

    fn with(
        &self,
        write: impl FnOnce(&mut Recorder<BufWriter<File>>) -> std::io::Result<()>,
    ) -> anyhow::Result<()> {
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner)).context(FAILED)
    }
}

const FAILED: &str = "cannot write the history";
