//! The node's random streams: one seed, split by name.
//!
//! Every random choice of a node is drawn from a stream named after its purpose, so that a new choice in one
//! place does not shift those of another, and a simulated cluster repeats itself from its seed.

use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A stream of random numbers whose output is the same in every version and on every machine.
pub(crate) type Stream = Xoshiro256PlusPlus;

/// The stream of a purpose, from the node's seed.
pub(crate) fn stream(seed: u64, purpose: &str) -> Stream {
    Stream::seed_from_u64(xxh3_64_with_seed(purpose.as_bytes(), seed))
}

/// A random (version 4) UUID.
pub(crate) fn random_uuid(stream: &mut impl rand::Rng) -> Uuid {
    let mut bytes = [0; 16];
    stream.fill_bytes(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn streams_of_different_purposes_differ_and_repeat() {
        assert_ne!(stream(7, "tokens").next_u64(), stream(7, "host id").next_u64());
        assert_ne!(stream(7, "tokens").next_u64(), stream(8, "tokens").next_u64());
        assert_eq!(stream(7, "tokens").next_u64(), stream(7, "tokens").next_u64());
    }
}
