//! How much a receiver of hints takes, and from whom.
//!
//! A sender asks before it sends, and each answer grants the next message. At most [`Grants::SENDERS`] have a place;
//! whoever says nothing for [`Grants::PLACE`] has lost it, and the others are told when to ask again. So what all others
//! have kept for a node that returns reaches it little by little, however many they are.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::node_id::HostId;

/// What a sender of hints may do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Send so many bytes of hints, or one hint if that is longer; nothing if zero.
    pub bytes: u32,
    /// After so long.
    pub pause: Duration,
}

/// How much room the receiver's storage has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It keeps up.
    Plenty,
    /// Writers are slowed down by so much.
    Scarce(Duration),
    /// It takes nothing.
    None,
}

/// The senders that have a place.
#[derive(Debug, Default)]
pub struct Grants {
    heard: BTreeMap<HostId, Instant>,
}

impl Grants {
    /// Senders that have a place at once.
    pub const SENDERS: usize = 2;
    /// How long a place is kept for a silent sender.
    pub const PLACE: Duration = Duration::from_secs(1);
    /// Bytes of hints in a message.
    pub const BYTES: u32 = 256 << 10;
    /// Bytes of hints in a message when room is scarce.
    pub const FEW_BYTES: u32 = 16 << 10;
    /// When to ask again that who gets nothing.
    pub const PAUSE: Duration = Duration::from_secs(1);

    /// A sender asks, or has sent what it was granted.
    pub fn grant(&mut self, sender: HostId, now: Instant, room: Room) -> Grant {
        self.heard.retain(|_, at| now.saturating_duration_since(*at) < Self::PLACE);
        let nothing = Grant { bytes: 0, pause: Self::PAUSE };
        let has_place = self.heard.contains_key(&sender) || self.heard.len() < Self::SENDERS;
        if !has_place {
            return nothing;
        }
        match room {
            Room::Plenty => {
                self.heard.insert(sender, now);
                Grant { bytes: Self::BYTES, pause: Duration::ZERO }
            }
            Room::Scarce(delay) => {
                self.heard.insert(sender, now);
                Grant { bytes: Self::FEW_BYTES, pause: delay.min(Self::PAUSE) }
            }
            Room::None => nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(number: u128) -> HostId {
        HostId(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn a_few_senders_have_a_place_and_keep_it_while_they_send() {
        let (mut grants, began) = (Grants::default(), Instant::now());
        let mut at = |sender: u128, millis| {
            grants.grant(host(sender), began + Duration::from_millis(millis), Room::Plenty).bytes > 0
        };
        assert!(at(1, 0) && at(2, 0));
        assert!(!at(3, 0), "both places are taken");
        assert!(at(1, 800) && at(2, 800), "who has a place keeps it");
        assert!(!at(3, 1600), "they were heard since");
        assert!(at(1, 1600));
        assert!(at(3, 1800), "the second was silent for too long");
        assert!(!at(2, 1800));
    }

    #[test]
    fn storage_under_pressure_takes_little_and_then_nothing() {
        let (mut grants, now) = (Grants::default(), Instant::now());
        let scarce = grants.grant(host(1), now, Room::Scarce(Duration::from_millis(3)));
        assert_eq!(scarce, Grant { bytes: Grants::FEW_BYTES, pause: Duration::from_millis(3) });
        assert_eq!(grants.grant(host(1), now, Room::None).bytes, 0);
        // Nor does it keep a place for who cannot use it.
        let mut grants = Grants::default();
        for sender in 1..=2 {
            grants.grant(host(sender), now, Room::None);
        }
        assert_eq!(grants.grant(host(3), now, Room::Plenty).bytes, Grants::BYTES);
    }
}
