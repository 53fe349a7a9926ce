//! Where a scan goes on, as an opaque token.
//!
//! ```text
//! version u8 │ order u8 │ table u32 LE │ upper bound u64 LE │ place │ checksum u64 LE
//! place      0 │ the last key of the page before       1 │ the first token, 8 bytes
//! ```
//!
//! The upper bound is a hash of where the scan ends, the checksum xxh3 of all before it, seeded with the cluster's id. So a
//! token is refused that was cut or changed by accident, or that is of another cluster, table, order or upper bound. It is
//! no secret and grants nothing: whoever makes one up names a place that any scan may begin at. A token of one build is
//! understood by the next, or refused by its version.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use helenus_storage::TableId;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::{
    node_id::ClusterId,
    partitioning::{KeyRange, Partitioner, Token, key_range, storage_key},
};

const VERSION: u8 = 1;
const BEHIND_KEY: u8 = 0;
const AT_TOKEN: u8 = 1;
const CHECKSUM_BYTES: usize = 8;

/// Where a scan goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Behind a client's key.
    Behind(Bytes),
    /// With the first key of a token.
    At(Token),
}

impl Place {
    /// The first storage key that may be there.
    pub fn from(&self, partitioner: Partitioner) -> Bytes {
        match self {
            Self::Behind(key) => key_range::behind_key(&storage_key(partitioner.token(key), key)),
            Self::At(token) => key_range::start_of_token(*token),
        }
    }
}

/// What a token is tied to.
#[derive(Debug, Clone, Copy)]
pub struct PageToken<'a> {
    /// The cluster, once it is known.
    pub cluster: Option<ClusterId>,
    /// The table; a dropped one's id never comes back.
    pub table: TableId,
    /// The order of keys.
    pub partitioner: Partitioner,
    /// What the first page scanned: its upper bound counts, not its lower one.
    pub range: &'a KeyRange,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageTokenError {
    /// Its bytes are not what any node of this cluster has given out.
    #[error("the page token is damaged, or of another cluster")]
    Damaged,
    /// It is of another build.
    #[error("the page token is of version {0}, which this build does not know")]
    Version(u8),
    /// It is of another table, or of one that was dropped meanwhile.
    #[error("the page token is of another table")]
    Table,
    /// It is of a cluster that orders keys differently.
    #[error("the page token is of another order of keys")]
    Order,
    /// It is of a scan with another `prefix` or `end`.
    #[error("the page token is of a scan with another `prefix` or `end`")]
    Bounds,
}

impl PageToken<'_> {
    /// The token of a place: at most 32 bytes and a key.
    pub fn encode(&self, place: &Place) -> Bytes {
        let mut token = BytesMut::new();
        token.put_u8(VERSION);
        token.put_u8(self.order());
        token.put_u32_le(self.table.0);
        token.put_u64_le(self.upper_bound());
        match place {
            Place::Behind(key) => {
                token.put_u8(BEHIND_KEY);
                token.put_slice(key);
            }
            Place::At(first) => {
                token.put_u8(AT_TOKEN);
                token.put_slice(&first.to_ordered_bytes());
            }
        }
        token.put_u64_le(self.checksum(&token));
        token.freeze()
    }

    /// The place of a token.
    ///
    /// # Errors
    /// [`PageTokenError`].
    pub fn decode(&self, mut token: Bytes) -> Result<Place, PageTokenError> {
        use PageTokenError::Damaged;
        let length = token.len().checked_sub(CHECKSUM_BYTES).ok_or(Damaged)?;
        let mut checksum = token.split_off(length);
        if checksum.get_u64_le() != self.checksum(&token) {
            return Err(Damaged);
        }
        match token.try_get_u8().map_err(|_| Damaged)? {
            VERSION => {}
            other => return Err(PageTokenError::Version(other)),
        }
        let order = token.try_get_u8().map_err(|_| Damaged)?;
        let table = token.try_get_u32_le().map_err(|_| Damaged)?;
        let upper_bound = token.try_get_u64_le().map_err(|_| Damaged)?;
        if order != self.order() {
            return Err(PageTokenError::Order);
        }
        if table != self.table.0 {
            return Err(PageTokenError::Table);
        }
        if upper_bound != self.upper_bound() {
            return Err(PageTokenError::Bounds);
        }
        match token.try_get_u8().map_err(|_| Damaged)? {
            BEHIND_KEY => Ok(Place::Behind(token)),
            AT_TOKEN => {
                let bytes = <[u8; 8]>::try_from(&token[..]).map_err(|_| Damaged)?;
                Ok(Place::At(Token::from_ordered_bytes(bytes)))
            }
            _ => Err(Damaged),
        }
    }

    fn order(&self) -> u8 {
        match self.partitioner {
            Partitioner::Murmur3 => 0,
            Partitioner::ByteOrdered => 1,
        }
    }

    fn upper_bound(&self) -> u64 {
        self.range.until.as_deref().map_or(0, xxh3_64)
    }

    fn checksum(&self, token: &[u8]) -> u64 {
        let seed = self.cluster.map_or(0, |cluster| xxh3_64(cluster.0.as_bytes()));
        xxh3_64_with_seed(token, seed)
    }
}
