//! Walks through a part of a memtable.

use std::ops::Bound;

use super::{Memtable, list::Found};
use crate::{
    error::{Error, Result},
    merge::Source,
    record::Record,
};

const NOWHERE: Error = Error::Malformed { what: "a walk through a memtable has not begun" };

/// Steps through a part of a memtable.
pub(crate) struct MemtableIter<'a> {
    entries: Box<dyn Iterator<Item = Found<'a>> + 'a>,
    key: Vec<u8>,
    record: Option<Record>,
}

impl Memtable {
    /// As [`Memtable::range`], one entry at a time.
    pub(crate) fn walk<'a>(&'a self, range: (Bound<&'a [u8]>, Bound<&'a [u8]>)) -> MemtableIter<'a> {
        MemtableIter { entries: Box::new(self.range(range)), key: Vec::new(), record: None }
    }
}

impl Source for MemtableIter<'_> {
    fn advance(&mut self) -> Result<bool> {
        for entry in &mut self.entries {
            self.record = entry.record();
            if self.record.is_some() {
                self.key.clear();
                entry.write_key(&mut self.key);
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn key(&self) -> &[u8] {
        &self.key
    }

    fn record(&self) -> Result<Record> {
        self.record.clone().ok_or(NOWHERE)
    }
}
