//! The small world the tests talk about: hosts 1, 2, 3, … and members with tokens.

#![allow(dead_code, reason = "each test file uses its part")]

use helenus_cluster::{
    membership::{Member, MemberState},
    node_id::{Generation, HostId},
    time::Timestamp,
};
use uuid::Uuid;

/// 2026-01-01, in microseconds.
pub(crate) const NOW: Timestamp = Timestamp(1_767_225_600_000_000);

/// The host with a number.
pub(crate) fn host(number: u128) -> HostId {
    HostId(Uuid::from_u128(number))
}

/// A normal member.
pub(crate) fn normal(number: u128, tokens: &[i64]) -> Member {
    Member {
        host_id: host(number),
        generation: Generation(NOW.0),
        version: 1,
        address: format!("10.0.0.{number}:7171"),
        datacenter: "dc1".to_owned(),
        rack: "rack1".to_owned(),
        state: MemberState::Normal,
        tokens: tokens.to_vec(),
    }
}

/// A member that owns ranges, which others may not know yet.
#[allow(dead_code, reason = "not every test has one")]
pub(crate) fn settling(number: u128, tokens: &[i64]) -> Member {
    Member { state: MemberState::Settling, ..normal(number, tokens) }
}

/// A member that has not joined yet.
pub(crate) fn joining(number: u128, tokens: &[i64]) -> Member {
    Member { state: MemberState::Joining, ..normal(number, tokens) }
}
