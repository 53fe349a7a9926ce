//! How much of the ring a page reads at once, and when it is full.

use crate::quorum::{PageLimits, Reconciled};

/// Most segments that are read at once.
const MOST_AT_ONCE: usize = 32;

/// Least bytes that one of several segments may answer, if the page has room for as many.
const LEAST_SHARE_BYTES: usize = 64 << 10;

/// The room that a page has left, and what its segments have held so far.
#[derive(Debug, Clone)]
pub struct Pace {
    items: usize,
    bytes: usize,
    tombstones: usize,
    segments: usize,
    found: usize,
    at_once: usize,
}

impl Pace {
    /// Of a page that is empty so far.
    pub fn new(limits: PageLimits) -> Self {
        let PageLimits { items, bytes, tombstones } = limits;
        Self {
            items: items as usize,
            bytes: bytes as usize,
            tombstones: tombstones as usize,
            segments: 0,
            found: 0,
            at_once: 1,
        }
    }

    /// Whether the page ends here.
    pub fn is_full(&self) -> bool {
        self.items == 0 || self.bytes == 0 || self.tombstones == 0
    }

    /// Segments to read at once now.
    pub fn at_once(&self) -> usize {
        self.at_once
    }

    /// What each of them may answer: together they hold no more bytes than a page, or 64 KiB each.
    pub fn share(&self) -> PageLimits {
        let bytes = (self.bytes / self.at_once).max(LEAST_SHARE_BYTES).min(self.bytes);
        PageLimits { items: small(self.items), bytes: small(bytes), tombstones: small(self.tombstones) }
    }

    /// Takes what was read of a segment, as far as there is room: what others that were read at once have left. False if
    /// there is none, and the page ends before it.
    pub fn take(&mut self, read: &mut Reconciled) -> bool {
        let found_any = !read.live.is_empty();
        // The first segment was read by what the whole page has room for; one record is taken in any case.
        if self.segments > 0 {
            read.shorten(self.items, self.bytes);
        }
        if found_any && read.live.is_empty() {
            return false;
        }
        self.items = self.items.saturating_sub(read.live.len());
        self.bytes = self.bytes.saturating_sub(read.bytes);
        self.tombstones = self.tombstones.saturating_sub(read.tombstones);
        self.segments += 1;
        self.found += read.live.len();
        true
    }

    /// All that was to be read at once is: the next time as many as the page should take by what was found, and no more
    /// than twice as many as this time.
    pub fn on_round(&mut self) {
        let likely = match self.found {
            0 => usize::MAX,
            found => self.items.saturating_mul(self.segments).div_ceil(found),
        };
        self.at_once = likely.clamp(1, MOST_AT_ONCE.min(2 * self.at_once));
    }
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
