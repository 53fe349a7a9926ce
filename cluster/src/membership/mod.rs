//! skeleton of membership: who is in the ring, and what each node is told of the others.

pub mod handshake;
pub mod member;

pub use member::{Exchange, Flaw, Member, MemberState};
