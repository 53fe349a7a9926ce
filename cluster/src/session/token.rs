//! Sessions as bytes.
//!
//! ```text
//! version u8 = 2 │ postcard of: cluster id?, clock µs, floor?, keys │ checksum u64 LE
//!
//! floor     how far its timestamp is below the clock, levels
//! key       hash, how far its timestamp is below the clock, kind with how far its end is above the clock, digest of the
//!           value, level; by hash, ascending
//! checksum  xxh3 of all before it
//! ```
//!
//! Nothing secret is in it and nobody but its owner can be hurt by a forged one, so it is not signed: the checksum finds
//! what was cut, mangled or made up.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::{
    held::Held,
    state::{Floor, Listed, Session},
    version::{Kind, ValueDigest, Version},
};
use crate::{node_id::ClusterId, time::Timestamp};

/// Longest token in bytes: as base64, 4 KiB of text.
pub const MAX_TOKEN_BYTES: usize = 3 << 10;

const VERSION: u8 = 2;
const CHECKSUM_BYTES: usize = 8;

/// Why bytes are no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than any token.
    #[error("it is longer than any token")]
    TooLong,
    /// Cut, mangled or made up.
    #[error("it is damaged")]
    Damaged,
    /// Of another build.
    #[error("it is of version {0}, which this build does not know")]
    UnknownVersion(u8),
}

#[derive(Serialize, Deserialize)]
struct Fields {
    cluster: Option<ClusterId>,
    clock: u64,
    floor: Option<(u64, BTreeSet<Held>)>,
    keys: Vec<Key>,
}

#[derive(Serialize, Deserialize)]
struct Key {
    /// Little-endian.
    hash: [u8; 8],
    below: u64,
    kind: Kind<i64>,
    value: ValueDigest,
    held: Held,
}

impl Key {
    fn of(hash: u64, &Listed { version, held }: &Listed, clock: u64) -> Self {
        let Version { timestamp, kind, value } = version;
        Self {
            hash: hash.to_le_bytes(),
            below: clock.saturating_sub(timestamp.0),
            kind: kind.map(|end| end.0.wrapping_sub(clock).cast_signed()),
            value,
            held,
        }
    }

    fn listed(self, clock: u64) -> Option<(u64, Listed)> {
        let Self { hash, below, kind, value, held } = self;
        let timestamp = Timestamp(clock.checked_sub(below)?);
        let kind = kind.map(|above| Timestamp(clock.wrapping_add_signed(above)));
        Some((u64::from_le_bytes(hash), Listed { version: Version { timestamp, kind, value }, held }))
    }
}

impl Session {
    /// The token, at most [`MAX_TOKEN_BYTES`] long. What it has no room for is folded.
    pub fn to_token(&mut self) -> Vec<u8> {
        loop {
            let token = self.encode();
            if token.len() <= MAX_TOKEN_BYTES || self.keys.is_empty() {
                return token;
            }
            self.fold_oldest();
        }
    }

    fn encode(&self) -> Vec<u8> {
        let below = |timestamp: Timestamp| self.clock.0.saturating_sub(timestamp.0);
        let fields = Fields {
            cluster: self.cluster,
            clock: self.clock.0,
            floor: self.floor.as_ref().map(|floor| (below(floor.timestamp), floor.held.clone())),
            keys: self.keys.iter().map(|(key, listed)| Key::of(*key, listed, self.clock.0)).collect(),
        };
        let mut token = postcard::to_extend(&fields, vec![VERSION])
            .expect("these types have no value that postcard refuses, and a Vec grows");
        let checksum = xxh3_64(&token);
        token.extend(checksum.to_le_bytes());
        token
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`TokenError`] for anything that [`Session::to_token`] does not give out.
    pub fn from_token(token: &[u8]) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let (sealed, checksum) = token.split_last_chunk::<CHECKSUM_BYTES>().ok_or(TokenError::Damaged)?;
        if xxh3_64(sealed) != u64::from_le_bytes(*checksum) {
            return Err(TokenError::Damaged);
        }
        let (version, fields) = sealed.split_first().ok_or(TokenError::Damaged)?;
        if *version != VERSION {
            return Err(TokenError::UnknownVersion(*version));
        }
        let Ok((Fields { cluster, clock, floor, keys }, [])) = postcard::take_from_bytes(fields) else {
            return Err(TokenError::Damaged);
        };
        let count = keys.len();
        let keys: BTreeMap<u64, Listed> = keys
            .into_iter()
            .map(|key| key.listed(clock))
            .collect::<Option<_>>()
            .ok_or(TokenError::Damaged)?;
        if keys.len() != count {
            return Err(TokenError::Damaged);
        }
        let floor = match floor {
            None => None,
            Some((below, held)) => {
                let timestamp = clock.checked_sub(below).map(Timestamp).ok_or(TokenError::Damaged)?;
                Some(Floor { timestamp, held })
            }
        };
        Ok(Self { cluster, clock: Timestamp(clock), floor, keys })
    }
}
