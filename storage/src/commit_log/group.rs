//! Groups: what was written with one call, and what their first bytes claim of durability.
//!
//! ```text
//! group   claim │ (table id varint │ mutation) × n      payload of a frame of kind 1
//! seal    claim                                         payload of a frame of kind 3
//! claim   since varint │ check u16 LE
//! since = the frame's own offset less the position that was durable when it was written; in a seal, zero
//! check = the low 16 bits of XXH3(since as u64 LE), seeded with salt XOR offset
//! ```
//!
//! The frame's checksum covers the claim like everything else. The check is for whoever looks for claims behind damage:
//! it spares them the checksum, over megabytes that a wrong length may ask for, of all places but one in 2¹⁶. And in a
//! segment that was used before there may be hundreds of thousands of old groups, of which a CRC32 alone would take
//! one in 2³² for its own; so both have to be wrong.

use bytes::{Buf, BufMut, Bytes};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::{
    frame::{self, Frame},
    segment::{GROUP, SEAL},
};
use crate::{
    error::{Error, Result},
    record::Mutation,
    table_id::TableId,
    varint,
};

/// Most bytes of a group besides its mutations.
pub(crate) const MOST_OVERHEAD_BYTES: usize = frame::MOST_HEAD_BYTES + varint::len(u64::MAX) + CHECK_BYTES;
/// Bytes of a seal.
pub(crate) const SEAL_BYTES: usize = frame::size(claim_bytes(0));

const CHECK_BYTES: usize = 2;

/// What happens together: all that was written with one call.
pub(crate) type Batch = Vec<(TableId, Mutation)>;

/// The mutations of a group that is to be written, encoded: of one that waits, nothing else is kept.
#[derive(Debug, Default)]
pub(crate) struct Contents {
    encoded: Vec<u8>,
    count: usize,
    /// Those of the mutations, each once.
    tables: Vec<TableId>,
}

impl Contents {
    /// Of these mutations.
    pub(crate) fn of<'a>(mutations: impl IntoIterator<Item = (TableId, &'a Mutation)>) -> Self {
        let mut contents = Self::default();
        mutations.into_iter().for_each(|(table, mutation)| contents.push(table, mutation));
        contents
    }

    /// Appends a mutation.
    pub(crate) fn push(&mut self, table: TableId, mutation: &Mutation) {
        varint::put(&mut self.encoded, u64::from(table.0));
        mutation.encode(&mut self.encoded);
        self.count += 1;
        if !self.tables.contains(&table) {
            self.tables.push(table);
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Bytes that they take.
    pub(crate) fn size_bytes(&self) -> usize {
        self.encoded.len()
    }

    /// Their tables, each once.
    pub(crate) fn tables(&self) -> &[TableId] {
        &self.tables
    }

    /// The mutations themselves, slices of one buffer.
    pub(crate) fn into_mutations(self) -> impl Iterator<Item = (TableId, Mutation)> {
        let mut encoded = Bytes::from(self.encoded);
        std::iter::from_fn(move || {
            let taken = (!encoded.is_empty()).then(|| take_mutation(&mut encoded))?;
            Some(taken.expect("what was encoded by `push` can be decoded"))
        })
    }
}

/// Appends a group to a buffer that will be written to a place of a file with this salt, in which everything before
/// `durable` is. What is at the place does not matter of a buffer that is not empty: its first byte goes there.
pub(crate) fn append(out: &mut Vec<u8>, (salt, place): (u64, u64), durable: u64, contents: &Contents) {
    let at = place + out.len() as u64;
    let since = at.saturating_sub(durable);
    let length = claim_bytes(since) + contents.size_bytes();
    frame::append(out, (salt, place), GROUP, length, |out| {
        put_claim(out, (salt, at), since);
        out.extend_from_slice(&contents.encoded);
    });
}

/// Appends a seal to an empty buffer, likewise: everything before it is durable.
pub(crate) fn append_seal(out: &mut Vec<u8>, (salt, place): (u64, u64)) {
    frame::append(out, (salt, place), SEAL, claim_bytes(0), |out| put_claim(out, (salt, place), 0));
}

/// Bytes of mutations in a group.
pub(crate) fn mutations_bytes<'a>(mutations: impl Iterator<Item = (TableId, &'a Mutation)>) -> usize {
    mutations.map(|(table, mutation)| varint::len(u64::from(table.0)) + mutation.encoded_len()).sum()
}

/// The position that a valid group or seal claims to have been durable.
///
/// # Errors
/// [`Error::Malformed`].
pub(crate) fn durable(frame: &Frame, (salt, place): (u64, u64)) -> Result<u64> {
    take_claim(&mut &frame.payload[..], (salt, place)).ok_or(BAD_GROUP)
}

/// The mutations of a valid group.
///
/// # Errors
/// [`Error::Malformed`], [`Error::UnknownRecordKind`].
pub(crate) fn mutations(frame: Frame, (salt, place): (u64, u64)) -> Result<Batch> {
    let mut payload = frame.payload;
    let mut rest = &payload[..];
    take_claim(&mut rest, (salt, place)).ok_or(BAD_GROUP)?;
    let rest = rest.len();
    payload.advance(payload.len() - rest);
    // Nearly always there is one.
    let mut batch = Vec::with_capacity(1);
    while !payload.is_empty() {
        batch.push(take_mutation(&mut payload)?);
    }
    Ok(batch)
}

/// Takes one off the front.
fn take_mutation(payload: &mut Bytes) -> Result<(TableId, Mutation)> {
    let mut rest = &payload[..];
    let table = TableId(varint::take_u32(&mut rest).ok_or(BAD_GROUP)?);
    let rest = rest.len();
    payload.advance(payload.len() - rest);
    Ok((table, Mutation::decode_first(payload)?))
}

/// Whether a place may be that of a group or seal which claims that `damaged` was durable: all but few that are not are
/// told without their checksum.
pub(crate) fn may_claim(contents: &[u8], (salt, place): (u64, u64), damaged: u64) -> bool {
    let Some(peeked) = usize::try_from(place).ok().and_then(|place| frame::peek(contents, place)) else {
        return false;
    };
    let mut payload = peeked.payload;
    matches!(peeked.kind, GROUP | SEAL)
        && take_claim(&mut payload, (salt, place)).is_some_and(|durable| durable > damaged)
}

const fn claim_bytes(since: u64) -> usize {
    varint::len(since) + CHECK_BYTES
}

fn put_claim(out: &mut Vec<u8>, (salt, place): (u64, u64), since: u64) {
    varint::put(out, since);
    out.put_u16_le(check(since, salt ^ place));
}

/// What was durable, `None` if the check does not fit.
fn take_claim(payload: &mut &[u8], (salt, place): (u64, u64)) -> Option<u64> {
    let since = varint::take(payload)?;
    let stored = payload.try_get_u16_le().ok()?;
    let durable = place.checked_sub(since)?;
    (stored == check(since, salt ^ place)).then_some(durable)
}

fn check(since: u64, seed: u64) -> u16 {
    xxh3_64_with_seed(&since.to_le_bytes(), seed) as u16
}

const BAD_GROUP: Error = Error::Malformed { what: "a group of the commit log is wrong" };
