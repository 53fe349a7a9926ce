//! Which of the records is asked for.

use crate::generators::{
    AcknowledgedCounter, Exponential, Hotspot, Random, ScrambledZipfian, Sequential, SkewedLatest, Uniform,
};

/// A request distribution.
#[derive(Debug, Clone)]
pub(super) enum Records {
    Uniform(Uniform),
    Zipfian(Box<ScrambledZipfian>),
    Latest(Box<SkewedLatest>),
    Hotspot(Hotspot),
    Exponential(Exponential),
    Sequential(Sequential),
}

impl Records {
    /// The number of a record that has been inserted.
    pub(super) fn next(&mut self, inserted: &AcknowledgedCounter, random: &mut Random) -> u64 {
        loop {
            let last = inserted.last();
            let drawn = match self {
                Self::Uniform(numbers) => numbers.next(random),
                Self::Zipfian(numbers) => numbers.next(random),
                Self::Latest(numbers) => numbers.next(random),
                Self::Hotspot(numbers) => numbers.next(random),
                Self::Sequential(numbers) => numbers.next(),
                Self::Exponential(distances) => match last.checked_sub(distances.next(random)) {
                    Some(number) => number,
                    None => continue,
                },
            };
            if drawn <= last {
                return drawn;
            }
        }
    }
}
