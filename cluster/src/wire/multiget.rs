//! Several reads in one message, and their answers.

use bytes::{Bytes, BytesMut};
use helenus_storage::{Record, TableId};
use serde::{Deserialize, Serialize};

use super::{Parts, WireError};
use crate::{
    message::{Get, Got, ReplicaError},
    quorum::{Answer, AsOf, Digest, Wants},
    time::Timestamp,
};

/// Table, now, forgotten before, whether the digest is all that is wanted, length of the key.
pub(super) type WireGet = (u32, u64, u64, bool, u32);

#[derive(Serialize, Deserialize)]
pub(super) enum WireAnswer {
    /// Its length; 0 for none.
    Record(u32),
    Digest(Digest),
}

pub(super) fn encode_gets(gets: &[Get]) -> (Vec<WireGet>, Bytes) {
    let mut payload = BytesMut::with_capacity(gets.iter().map(|get| get.key.len()).sum());
    let fields = gets.iter().map(|Get { table, key, as_of, wants }| {
        payload.extend_from_slice(key);
        (table.0, as_of.now.0, as_of.forgotten_before.0, *wants == Wants::Digest, length(key.len()))
    });
    (fields.collect(), payload.freeze())
}

pub(super) fn encode_answers(answers: &[Got]) -> (Vec<Result<WireAnswer, &ReplicaError>>, Bytes) {
    let mut payload = BytesMut::new();
    let fields = answers.iter().map(|answer| {
        Ok(match answer.as_ref()? {
            Answer::Digest(digest) => WireAnswer::Digest(*digest),
            Answer::Record(None) => WireAnswer::Record(0),
            Answer::Record(Some(record)) => {
                record.encode(&mut payload);
                WireAnswer::Record(length(record.encoded_len()))
            }
        })
    });
    (fields.collect(), payload.freeze())
}

impl Parts {
    pub(super) fn gets(&self) -> Result<Vec<Get>, WireError> {
        let (fields, mut rest) = (self.fields::<Vec<WireGet>>()?, self.payload.clone());
        let get = |(table, now, forgotten_before, is_digest, key_bytes)| {
            Ok(Get {
                table: TableId(table),
                key: first(&mut rest, key_bytes)?,
                as_of: AsOf { now: Timestamp(now), forgotten_before: Timestamp(forgotten_before) },
                wants: if is_digest { Wants::Digest } else { Wants::Record },
            })
        };
        let gets = fields.into_iter().map(get).collect::<Result<_, WireError>>()?;
        all_read(&rest).map(|()| gets)
    }

    pub(super) fn answers(&self) -> Result<Vec<Got>, WireError> {
        let fields = self.fields::<Vec<Result<WireAnswer, ReplicaError>>>()?;
        let mut rest = self.payload.clone();
        let answer = |field| {
            Ok(match field {
                Ok(WireAnswer::Digest(digest)) => Ok(Answer::Digest(digest)),
                Ok(WireAnswer::Record(0)) => Ok(Answer::Record(None)),
                Ok(WireAnswer::Record(bytes)) => {
                    let record = Record::decode(first(&mut rest, bytes)?);
                    Ok(Answer::Record(Some(record.map_err(|error| self.storage(&error))?)))
                }
                Err(error) => Err(error),
            })
        };
        let answers = fields.into_iter().map(answer).collect::<Result<_, WireError>>()?;
        all_read(&rest).map(|()| answers)
    }
}

/// What is longer does not fit into a frame, whose own length has as many bits.
fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

fn first(rest: &mut Bytes, bytes: u32) -> Result<Bytes, WireError> {
    match usize::try_from(bytes) {
        Ok(bytes) if bytes <= rest.len() => Ok(rest.split_to(bytes)),
        _ => Err(WireError::Malformed("the payload ends too early".to_owned())),
    }
}

fn all_read(rest: &Bytes) -> Result<(), WireError> {
    if rest.is_empty() {
        Ok(())
    } else {
        Err(WireError::Malformed("bytes after the last element of the payload".to_owned()))
    }
}
