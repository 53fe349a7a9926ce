//! Pages of a range: how much one read of it may return, and where the next one goes on.

use std::ops::Bound;

use bytes::Bytes;

use crate::{
    error::Result,
    record::{Record, Timestamp},
};

/// Places that a page reserves at once.
const RESERVED_ITEMS: usize = 128;

/// Bounds of one page. At least one record is returned all the same, so that a scan makes progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Most records, tombstones included.
    pub items: usize,
    /// Most records that are not gone: neither tombstones nor expired at `now`.
    pub live: usize,
    /// Most bytes of keys and values.
    pub bytes: usize,
    /// Most tombstones, records that are expired at `now` included. They are what makes a scan of few live records
    /// long.
    pub tombstones: usize,
    /// The time of the read.
    pub now: Timestamp,
}

impl ScanLimits {
    /// Everything, in one page.
    pub const NONE: Self = Self {
        items: usize::MAX,
        live: usize::MAX,
        bytes: usize::MAX,
        tombstones: usize::MAX,
        now: Timestamp(0),
    };
}

/// Why a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanEnd {
    /// Nothing more is in the range.
    Finished,
    /// By [`ScanLimits::items`].
    Items,
    /// By [`ScanLimits::live`].
    Live,
    /// By [`ScanLimits::bytes`].
    Bytes,
    /// By [`ScanLimits::tombstones`].
    Tombstones,
}

/// A part of a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPage {
    /// The newest record of each key, ascending.
    pub records: Vec<(Bytes, Record)>,
    /// Why there are no more of them. After another reason than [`ScanEnd::Finished`] there may be, and need not.
    pub end: ScanEnd,
}

impl ScanPage {
    /// A page of nothing, since nothing is in the range.
    pub const EMPTY: Self = Self { records: Vec::new(), end: ScanEnd::Finished };

    /// The lower bound of the next page; `None` when there is none.
    pub fn resume_after(&self) -> Option<Bound<&[u8]>> {
        match (self.end, self.records.last()) {
            (ScanEnd::Finished, _) => None,
            (_, Some((last, _))) => Some(Bound::Excluded(last)),
            // A page of at most no records.
            (_, None) => None,
        }
    }

    /// Fills a page from records in key order.
    pub(crate) fn fill(
        entries: impl Iterator<Item = Result<(Bytes, Record)>>,
        limits: &ScanLimits,
    ) -> Result<Self> {
        let mut page = Self { records: Vec::with_capacity(limits.items.min(RESERVED_ITEMS)), ..Self::EMPTY };
        let (mut bytes, mut tombstones) = (0_usize, 0_usize);
        for entry in entries {
            let (key, record) = entry?;
            bytes = bytes.saturating_add(key.len() + record.value().map_or(0, Bytes::len));
            if bytes > limits.bytes && !page.records.is_empty() {
                page.end = ScanEnd::Bytes;
                break;
            }
            tombstones += usize::from(record.is_gone(limits.now));
            page.records.push((key, record));
            // Before the next entry is looked for: that may be far, and on the disk.
            if page.records.len() >= limits.items {
                page.end = ScanEnd::Items;
                break;
            }
            if page.records.len() - tombstones >= limits.live {
                page.end = ScanEnd::Live;
                break;
            }
            if bytes >= limits.bytes {
                page.end = ScanEnd::Bytes;
                break;
            }
            if tombstones >= limits.tombstones {
                page.end = ScanEnd::Tombstones;
                break;
            }
        }
        Ok(page)
    }
}
