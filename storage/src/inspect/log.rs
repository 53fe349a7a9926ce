//! Which segments a commit log has, and which it should have.

use std::{collections::BTreeSet, ops::RangeInclusive, path::Path};

use super::LOOKS;
use crate::{
    disk::Disk,
    error::{Error, Result},
    inspect::{InspectedManifest, InspectedSegment},
};

/// The commit log of a data directory.
#[derive(Debug)]
pub struct InspectedLog {
    /// The numbers of its segments.
    pub segments: BTreeSet<u64>,
    /// The first one that a replay needs; what the manifest says is of no use if it cannot be read.
    pub first: Result<u64>,
    /// Ranges of numbers that a replay would miss.
    pub missing: Vec<RangeInclusive<u64>>,
}

impl InspectedLog {
    /// Looks for the segments of a data directory. A snapshot needs none.
    ///
    /// # Errors
    /// [`Error::Io`] if the directory cannot be listed; why the manifest cannot be read if there are no segments either.
    pub fn read(disk: &dyn Disk, directory: &Path) -> Result<Self> {
        let mut log = Self::look(disk, directory)?;
        for _ in 1..LOOKS {
            // A running engine may have begun one, or done with some, between the two looks.
            if log.missing.is_empty() {
                break;
            }
            log = Self::look(disk, directory)?;
        }
        Ok(log)
    }

    fn look(disk: &dyn Disk, directory: &Path) -> Result<Self> {
        let names = disk.list(directory).map_err(|e| Error::io("list", directory, e))?;
        let segments: BTreeSet<u64> =
            names.iter().filter_map(|name| InspectedSegment::parse_file_name(name)).collect();
        let manifest = match InspectedManifest::read(disk, directory) {
            Err(error) if segments.is_empty() => return Err(error),
            manifest => manifest,
        };
        let missing = match &manifest {
            // As recovery counts.
            Ok(manifest) => {
                let last = segments.last().map_or(0, |&id| id).max(manifest.log_newest);
                missing(&segments, manifest.log_first..=last)
            }
            Err(_) => Vec::new(),
        };
        Ok(Self { segments, first: manifest.map(|manifest| manifest.log_first), missing })
    }
}

/// The gaps of a range, however wide they are.
fn missing(segments: &BTreeSet<u64>, needed: RangeInclusive<u64>) -> Vec<RangeInclusive<u64>> {
    let (mut gaps, mut expected) = (Vec::new(), *needed.start());
    for &id in segments.iter().filter(|id| needed.contains(id)) {
        if id > expected {
            gaps.push(expected..=id - 1);
        }
        expected = id.saturating_add(1);
    }
    if expected <= *needed.end() {
        gaps.push(expected..=*needed.end());
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_found_before_between_and_behind() {
        let segments = BTreeSet::from([1, 4, 5, 8]);
        assert_eq!(missing(&segments, 3..=9), [3..=3, 6..=7, 9..=9]);
        assert_eq!(missing(&segments, 4..=5), []);
        assert_eq!(missing(&BTreeSet::new(), 2..=u64::MAX), [2..=u64::MAX]);
        #[expect(clippy::reversed_empty_ranges, reason = "a log that is not needed")]
        let unneeded = 9..=8;
        assert_eq!(missing(&segments, unneeded), []);
    }
}
