//! SSTables whose files are removed, and which whoever reads them still keeps on the disk.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::sstable::TableReader;

/// Those of them that are still read, as far as anybody has looked.
#[derive(Debug, Default)]
pub(super) struct Leaving(Mutex<Vec<Weak<TableReader>>>);

impl Leaving {
    /// Notes tables whose files are removed.
    pub(super) fn add(&self, tables: &[Arc<TableReader>]) {
        let mut leaving = self.0.lock();
        leaving.retain(|table| table.strong_count() > 0);
        leaving.extend(tables.iter().map(Arc::downgrade));
    }

    /// The bytes that they take.
    pub(super) fn bytes(&self) -> u64 {
        let mut leaving = self.0.lock();
        leaving.retain(|table| table.strong_count() > 0);
        leaving.iter().filter_map(Weak::upgrade).map(|table| table.file().length_bytes).sum()
    }
}
