//! One write for one replica that missed it.
//!
//! ```text
//! hint   format u8 = 1 │ table u32 LE │ made_at u64 LE │ grace_seconds u32 LE │ mutation
//! ```

use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use helenus_storage::{Mutation, TableId};

use crate::{node_id::HostId, placement::Placement, table::Table, time::Timestamp};

const FORMAT: u8 = 1;

/// A write that its target has yet to apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hint {
    /// The table.
    pub table: TableId,
    /// When it was made, by the clock of ages of the node that keeps it. Stays the same when it is moved.
    pub made_at: Timestamp,
    /// The grace of the table's tombstones then.
    pub grace_seconds: u32,
    /// The mutation, with its final timestamps.
    pub mutation: Mutation,
}

/// What is to become of a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Its target is to apply it.
    Deliver,
    /// These are to apply it instead.
    Move(Vec<HostId>),
    /// Its table is gone.
    Superseded,
    /// It is too old.
    Expired,
}

/// How old a hint may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Life {
    /// By the settings.
    pub window: Duration,
    /// How long before the end of its table's grace it ends: clocks differ, and that of the replica that purges a
    /// tombstone may be ahead of the one that stamped it.
    pub margin: Duration,
}

/// Bytes that are no hint of this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a hint does not decode: {0}")]
pub struct HintError(String);

impl Hint {
    /// The encoding of the cover page.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(17 + self.mutation.encoded_len());
        out.put_u8(FORMAT);
        out.put_u32_le(self.table.0);
        out.put_u64_le(self.made_at.0);
        out.put_u32_le(self.grace_seconds);
        self.mutation.encode(&mut out);
        out.freeze()
    }

    /// Decodes a hint, whose keys and values are slices of `input`.
    ///
    /// # Errors
    /// [`HintError`].
    pub fn decode(mut input: Bytes) -> Result<Self, HintError> {
        let truncated = |_| HintError("it ends too early".to_owned());
        let format = input.try_get_u8().map_err(truncated)?;
        if format != FORMAT {
            return Err(HintError(format!("it has format {format}, this build reads {FORMAT}")));
        }
        let table = TableId(input.try_get_u32_le().map_err(truncated)?);
        let made_at = Timestamp(input.try_get_u64_le().map_err(truncated)?);
        let grace_seconds = input.try_get_u32_le().map_err(truncated)?;
        let mutation = Mutation::decode(input).map_err(|error| HintError(error.to_string()))?;
        Ok(Self { table, made_at, grace_seconds, mutation })
    }

    /// What is to become of it at `now`. `table` is its table as it is now, `None` if it is gone; `placement` says where
    /// the replicas of the key are.
    pub fn fate(
        &self,
        target: HostId,
        life: Life,
        now: Timestamp,
        table: Option<&Table>,
        placement: impl FnOnce(&Table) -> Placement,
    ) -> Fate {
        let Some(table) = table else { return Fate::Superseded };
        let grace = self.grace_seconds.min(table.definition.tombstone_grace_seconds);
        let grace = Duration::from_secs(u64::from(grace)).saturating_sub(life.margin);
        if !is_within(self.made_at, life.window.min(grace), now) {
            return Fate::Expired;
        }
        let placement = placement(table);
        if placement.contains(target) { Fate::Deliver } else { Fate::Move(placement.all().collect()) }
    }
}

/// Whether `now` is less than `life` after `from`.
pub(crate) fn is_within(from: Timestamp, life: Duration, now: Timestamp) -> bool {
    u128::from(now.0.saturating_sub(from.0)) < life.as_micros()
}

#[cfg(test)]
mod tests {
    use helenus_storage::Record;

    use super::*;
    use crate::table::Replication;

    const SECOND: u64 = 1_000_000;
    const NEVER: Life = Life { window: Duration::from_secs(1 << 40), margin: Duration::ZERO };

    fn hint() -> Hint {
        let mutation = Mutation::single("key", Record::plain(Timestamp(5), "value"));
        Hint { table: TableId(1024), made_at: Timestamp(1000 * SECOND), grace_seconds: 60, mutation }
    }

    fn table(grace_seconds: u32) -> Table {
        let mut table = Table::default_replicated(Replication::Simple { factor: 2 });
        table.definition.tombstone_grace_seconds = grace_seconds;
        table
    }

    fn host(number: u128) -> HostId {
        HostId(uuid::Uuid::from_u128(number))
    }

    fn owners(natural: &[u128], pending: &[u128]) -> Placement {
        let hosts = |numbers: &[u128]| numbers.iter().copied().map(host).collect();
        Placement { natural: hosts(natural), pending: hosts(pending) }
    }

    #[test]
    fn a_hint_survives_its_encoding_and_no_part_of_one_passes_for_a_whole() {
        let encoded = hint().encode();
        assert_eq!(Hint::decode(encoded.clone()), Ok(hint()));
        for end in 0..encoded.len() {
            assert!(Hint::decode(encoded.slice(..end)).is_err(), "cut at {end}");
        }
        let mut later = encoded.to_vec();
        later[0] = FORMAT + 1;
        assert!(Hint::decode(later.into()).is_err());
    }

    #[test]
    fn the_shortest_of_window_grace_then_and_grace_now_ends_a_hint() {
        let at = |seconds| Timestamp((1000 + seconds) * SECOND);
        // (window, margin, grace now, last second of its life)
        for (window, margin, grace_now, last) in [
            (3600, 0, 600, 59),
            (3600, 0, 10, 9),
            (30, 0, 600, 29),
            (0, 0, 600, -1),
            (3600, 0, 0, -1),
            (3600, 20, 600, 39),
            (30, 20, 600, 29),
            (3600, 20, 10, -1),
        ] {
            let [window, margin] = [window, margin].map(Duration::from_secs);
            let life = Life { window, margin };
            let fate =
                |now| hint().fate(host(1), life, now, Some(&table(grace_now)), |_| owners(&[1, 2], &[]));
            let (window, grace_now) = (window.as_secs(), u64::from(grace_now));
            if let Ok(last) = u64::try_from(last) {
                assert_eq!(fate(at(last)), Fate::Deliver, "{window} {grace_now}");
                assert_eq!(fate(at(last + 1)), Fate::Expired, "{window} {grace_now}");
            } else {
                assert_eq!(fate(at(0)), Fate::Expired, "{window} {grace_now}");
            }
        }
    }

    #[test]
    fn who_owns_the_key_now_gets_the_hint() {
        let fate = |placement: Placement| {
            hint().fate(host(1), NEVER, hint().made_at, Some(&table(60)), |_| placement)
        };
        assert_eq!(fate(owners(&[1, 2], &[])), Fate::Deliver);
        assert_eq!(fate(owners(&[2, 3], &[1])), Fate::Deliver);
        assert_eq!(fate(owners(&[2, 3], &[4])), Fate::Move(vec![host(2), host(3), host(4)]));
    }

    #[test]
    fn a_hint_for_a_table_that_is_gone_is_superseded_however_old() {
        let fate = hint().fate(host(1), NEVER, Timestamp(u64::MAX), None, |_| unreachable!());
        assert_eq!(fate, Fate::Superseded);
    }
}
