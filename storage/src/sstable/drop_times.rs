//! From when on the tombstones and expiring records of a table can be dropped, as a histogram of few bins.
//!
//! After the streaming histogram of Ben-Haim and Tom-Tov, "A Streaming Parallel Decision Tree Algorithm" (JMLR 11,
//! 2010, §2.1), which Cassandra uses for the same: when there is a bin too many, the two closest become one. Theirs
//! are points, at weighted means, and a question between two points is answered by interpolation; here a bin is the
//! span of what is in it. So what [`DropTimes::droppable_before`] says is exact but for the one bin that the time
//! asked about lies in, and never too much: a merge that is undertaken because of it finds that much to drop.

use bytes::Buf;

use crate::{
    error::{Error, Result},
    record::Timestamp,
};

/// Bins that a histogram has at most.
const MAX_BINS: usize = 100;

/// Times are rounded up to whole seconds, so that more of them share a bin.
const RESOLUTION_MICROS: u64 = 1_000_000;

/// Ends of life of the tombstones (their deletion) and expiring records (their expiry) of a table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DropTimes {
    /// Ascending, without overlap.
    bins: Vec<DropBin>,
}

/// Records whose life ends within a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DropBin {
    /// The first end of life, rounded up to a second.
    pub from: Timestamp,
    /// The last one, likewise.
    pub until: Timestamp,
    /// Number of records.
    pub records: u64,
}

impl DropTimes {
    /// Counts a record whose life ends at `time`.
    pub fn count(&mut self, time: Timestamp) {
        let end = Timestamp(time.0.checked_next_multiple_of(RESOLUTION_MICROS).unwrap_or(u64::MAX));
        let place = self.bins.partition_point(|bin| bin.until < end);
        match self.bins.get_mut(place) {
            Some(bin) if bin.from <= end => bin.records += 1,
            _ => {
                self.bins.insert(place, DropBin { from: end, until: end, records: 1 });
                if self.bins.len() > MAX_BINS {
                    self.join_closest();
                }
            }
        }
    }

    /// The bins, ascending, without overlap.
    pub fn bins(&self) -> &[DropBin] {
        &self.bins
    }

    /// How many records certainly ended before `time`.
    pub fn droppable_before(&self, time: Timestamp) -> u64 {
        let ended = self.bins.partition_point(|bin| bin.until < time);
        self.bins[..ended].iter().fold(0, |sum, bin| sum.saturating_add(bin.records))
    }

    fn join_closest(&mut self) {
        let widths = self.bins.windows(2).map(|pair| pair[1].until.0 - pair[0].from.0);
        if let Some((closest, _)) = widths.enumerate().min_by_key(|(_, width)| *width) {
            let earlier = self.bins.remove(closest);
            let joined = &mut self.bins[closest];
            (joined.from, joined.records) = (earlier.from, joined.records + earlier.records);
        }
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&(self.bins.len() as u32).to_le_bytes());
        for bin in &self.bins {
            for number in [bin.from.0, bin.until.0, bin.records] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
    }

    pub(super) fn parse(input: &mut &[u8]) -> Result<Self> {
        let count = input.try_get_u32_le().map_err(|_| BAD_TIMES)? as usize;
        if count > MAX_BINS {
            return Err(BAD_TIMES);
        }
        let mut number = || input.try_get_u64_le().map_err(|_| BAD_TIMES);
        let mut bin =
            || Ok(DropBin { from: Timestamp(number()?), until: Timestamp(number()?), records: number()? });
        let bins = (0..count).map(|_| bin()).collect::<Result<Vec<_>>>()?;
        let in_order =
            bins.is_sorted_by(|a, b| a.until < b.from) && bins.iter().all(|bin| bin.from <= bin.until);
        if in_order { Ok(Self { bins }) } else { Err(BAD_TIMES) }
    }
}

const BAD_TIMES: Error = Error::Malformed { what: "the histogram of drop times is wrong" };

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = RESOLUTION_MICROS;

    #[test]
    fn few_times_are_counted_exactly_and_one_that_is_not_over_does_not_count() {
        let mut times = DropTimes::default();
        for second in [5, 3, 5, 9] {
            times.count(Timestamp(second * SECOND));
        }
        for (time, droppable) in [(0, 0), (3, 0), (4, 1), (5, 1), (6, 3), (9, 3), (10, 4)] {
            assert_eq!(times.droppable_before(Timestamp(time * SECOND)), droppable, "before {time}");
        }
    }

    #[test]
    fn with_many_times_it_never_says_too_much_and_little_too_few() {
        let mut times = DropTimes::default();
        let mut exact = Vec::new();
        let mut state = 7_u64;
        for _ in 0..20_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let time = (state >> 33) % (100_000 * SECOND);
            times.count(Timestamp(time));
            exact.push(time);
        }
        assert!(times.bins().len() <= MAX_BINS);
        for at in (0..110_000).step_by(1_000).map(|second| second * SECOND) {
            let truly = exact.iter().filter(|time| **time < at).count() as u64;
            let said = times.droppable_before(Timestamp(at));
            assert!(said <= truly && truly - said <= 20_000 / 20, "{said} of {truly} before {at}");
        }
        assert_eq!(times.droppable_before(Timestamp(u64::MAX)), 20_000);
    }

    #[test]
    fn the_end_of_time_is_a_time() {
        let mut times = DropTimes::default();
        times.count(Timestamp(u64::MAX));
        times.count(Timestamp(0));
        let bin = |end| DropBin { from: Timestamp(end), until: Timestamp(end), records: 1 };
        assert_eq!(times.bins(), [bin(0), bin(u64::MAX)]);
    }
}
