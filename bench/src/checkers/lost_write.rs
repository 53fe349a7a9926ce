//! No acknowledged write is lost: with W + R > N, a read that begins after the acknowledgement of a write sees
//! that version or a newer one.
//!
//! *Source:* the quorum intersection of Gifford, *Weighted Voting for Replicated Data* (1979), §3.

use std::collections::BTreeMap;

use super::{Checker, Violation, by_key::by_key, version::Version};
use crate::history::{Action, History, Moment, Need, Operation};

/// Checks the promise; one violation for each lost write, naming the first read that missed it.
pub fn check(history: &History) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (key, operations) in by_key(history) {
        let mut lost: BTreeMap<u64, Lost<'_>> = BTreeMap::new();
        for (read, write) in misses(history, &operations, |_| true, |_| true) {
            lost.entry(write.id).and_modify(|lost| lost.reads += 1).or_insert(Lost { write, read, reads: 1 });
        }
        violations.extend(lost.values().map(|lost| Violation {
            checker: Checker::LostWrite,
            key: Some(key.to_owned()),
            operations: vec![lost.write.id, lost.read.id],
            what: lost.sentence(),
        }));
    }
    violations
}

struct Lost<'a> {
    write: &'a Operation,
    read: &'a Operation,
    reads: usize,
}

impl Lost<'_> {
    fn sentence(&self) -> String {
        let Self { write, read, reads } = self;
        let seen = Version::seen(read).map_or_else(String::new, |seen| seen.describe());
        let written = Version::acknowledged(write).map_or_else(String::new, |written| written.describe());
        let more = if *reads > 1 { format!(" ({reads} reads in all miss it)") } else { String::new() };
        format!(
            "{written} was acknowledged at {} ({} ms), and a read at {} through n{} that began later ({} ms) saw \
             {seen}{more}",
            write.level, write.returned, read.level, read.coordinator, read.invoked
        )
    }
}

/// Pairs of an answered read and the newest acknowledged write that it had to see and missed.
///
/// Per need of the reads, of the writes that share a replica with it, the newest write of each prefix in the order of
/// acknowledgement: n log n for n operations.
pub(super) fn misses<'a>(
    history: &History,
    operations: &[&'a Operation],
    of_writes: impl Fn(&Operation) -> bool,
    of_reads: impl Fn(&Operation) -> bool,
) -> Vec<(&'a Operation, &'a Operation)> {
    let header = &history.header;
    let mut writes: Vec<(&Operation, Version)> = operations
        .iter()
        .filter(|operation| of_writes(operation))
        .filter_map(|&operation| Some((operation, Version::acknowledged(operation)?)))
        .collect();
    writes.sort_by_key(|(write, _)| write.returned);

    let mut newest_by_need: BTreeMap<Need, Newest<'_>> = BTreeMap::new();
    let mut misses = Vec::new();
    for &read in operations.iter().filter(|read| of_reads(read)) {
        let Some(seen) = Version::seen(read) else { continue };
        let newest = newest_by_need.entry(header.need(read)).or_insert_with_key(|need| {
            Newest::of(writes.iter().filter(|(write, _)| header.overlap(&header.need(write), need)))
        });
        if let Some((write, version)) = newest.before(read.invoked)
            && seen.must_lose_to(&version)
            && !is_forgotten(history, read, write, seen)
        {
            misses.push((read, write));
        }
    }
    misses
}

/// Whether a deletion or expiry is so old that its tombstone may be gone.
fn is_forgotten(history: &History, read: &Operation, write: &Operation, seen: Version) -> bool {
    let ttl_us = match write.action {
        Action::Delete { .. } => 0,
        Action::Write { ttl_s: Some(ttl_s), .. } => u64::from(ttl_s) * 1_000_000,
        Action::Write { ttl_s: None, .. } | Action::Read => return false,
    };
    let end = write.invoked.0.saturating_add(ttl_us).saturating_add(history.header.tombstone_grace_us);
    seen == Version::ABSENT && read.returned.0 >= end
}

/// The newest version of each prefix of the acknowledgements.
pub(super) struct Newest<'a>(Vec<(Moment, &'a Operation, Version)>);

impl<'a> Newest<'a> {
    pub(super) fn of<'b>(writes: impl Iterator<Item = &'b (&'a Operation, Version)>) -> Self
    where
        'a: 'b,
    {
        let mut prefixes: Vec<(Moment, &Operation, Version)> = Vec::new();
        for &(write, version) in writes {
            let (newest, newest_version) = match prefixes.last() {
                Some(&(_, newest, newest_version)) if newest_version >= version => (newest, newest_version),
                _ => (write, version),
            };
            prefixes.push((write.returned, newest, newest_version));
        }
        Self(prefixes)
    }

    /// The newest of those acknowledged before `moment`. At the same microsecond they may have been concurrent.
    pub(super) fn before(&self, moment: Moment) -> Option<(&'a Operation, Version)> {
        let count = self.0.partition_point(|&(returned, ..)| returned < moment);
        self.0[..count].last().map(|&(_, write, version)| (write, version))
    }
}
