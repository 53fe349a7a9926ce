//! Scrubbing: reading everything that is live and verifying every checksum, so that rot is found while another replica
//! still has what it destroyed.
//!
//! Files are read past the caches and not through maps, one block at a time. After each block the caller is told, and
//! decides: it sleeps as long as its rate asks for, shows progress, or ends the scrub. So the engine needs no clock.

use crate::error::Error;

/// What a scrub has found so far.
#[derive(Debug, Clone, Default)]
pub struct ScrubReport {
    /// Tables read to their end.
    pub tables: u64,
    /// Bytes of all blocks that were read.
    pub bytes: u64,
    /// Tables that were merged away before they were read.
    pub vanished: u64,
    /// Damaged places, each with its file and offset.
    pub damages: u64,
    /// The first of them.
    pub first_damages: Vec<Error>,
    /// Whether the caller ended it early.
    pub cancelled: bool,
}

impl ScrubReport {
    /// Damages that are kept with their places; a file without a sound block has millions.
    pub const KEPT_DAMAGES: usize = 100;

    pub(crate) fn note(&mut self, damage: Error) {
        self.damages += 1;
        if self.first_damages.len() < Self::KEPT_DAMAGES {
            self.first_damages.push(damage);
        }
    }
}
