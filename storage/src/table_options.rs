//! What one table asks of the engine: how its SSTables are merged, and how long its tombstones stay.

use std::{fmt, str::FromStr, time::Duration};

/// Options of one table. Those of a table that was given none are [`Options::table`](crate::Options::table).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableOptions {
    /// Which SSTables are merged.
    pub strategy: Strategy,
    /// Time for which a tombstone stays at least. Within it every replica must have heard of the deletion, by a
    /// hint or by anti-entropy: one that has not gives the value back to the others afterwards.
    pub gc_grace: Duration,
}

/// Which SSTables are merged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Strategy {
    /// Levels by density; from tiered to levelled, as its scaling says.
    Unified(Unified),
    /// One SSTable per window of time, for records that expire.
    TimeWindow(TimeWindow),
}

/// Options of [`Strategy::Unified`]. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unified {
    /// Fanout and trigger of each level.
    pub scaling: Scaling,
    /// Size at which the output of a merge is split, roughly.
    pub target_bytes: u64,
    /// Below this an output is not split.
    pub min_bytes: u64,
    /// Parts of the key space in which large outputs are split at least; rounded up to a power of two.
    pub base_shards: u32,
}

/// Options of [`Strategy::TimeWindow`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    /// Length of a window; an SSTable belongs to that of its newest write timestamp.
    pub window: Duration,
    /// SSTables of the newest window that make a merge worthwhile.
    pub min_tables: u32,
}

/// The scaling parameter w of each level, the last one of all further levels too. Fanout is 2 + |w|. Above zero a
/// level is tiered (merged when it has as many SSTables over each other as the fanout is), below levelled (merged
/// when it has two).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scaling(Vec<i32>);

/// Levels that a scaling can name.
const MOST_LEVELS: usize = 32;
/// Largest fanout.
const MOST_FANOUT: i32 = 1024;

impl Default for TableOptions {
    fn default() -> Self {
        Self {
            strategy: Strategy::Unified(Unified::default()),
            gc_grace: Duration::from_secs(10 * 24 * 60 * 60),
        }
    }
}

impl Default for Unified {
    fn default() -> Self {
        Self { scaling: Scaling::default(), target_bytes: 1 << 30, min_bytes: 100 << 20, base_shards: 4 }
    }
}

impl Default for TimeWindow {
    fn default() -> Self {
        Self { window: Duration::from_secs(24 * 60 * 60), min_tables: 4 }
    }
}

impl TableOptions {
    /// Unified with all levels tiered, `fanout` between 2 and 1024.
    pub fn tiered(fanout: u32) -> Self {
        let unified = Unified { scaling: Scaling::tiered(fanout), ..Unified::default() };
        Self { strategy: Strategy::Unified(unified), ..Self::default() }
    }
}

impl Default for Scaling {
    /// `T6, T4`: a memtable is larger than the SSTable it becomes, so that the lowest level can afford more of them
    /// than the others, and a table of a few memtables is not written once more.
    fn default() -> Self {
        Self(vec![4, 2])
    }
}

impl Scaling {
    /// Every level tiered. A fanout beyond 2 to 1024 is taken for the nearest.
    pub fn tiered(fanout: u32) -> Self {
        Self(vec![i32::try_from(fanout).unwrap_or(MOST_FANOUT).clamp(2, MOST_FANOUT) - 2])
    }

    /// The parameters; `None` for none, more than 32, or a fanout above 1024.
    pub fn new(parameters: Vec<i32>) -> Option<Self> {
        let is_fine = |w: &i32| w.unsigned_abs() <= (MOST_FANOUT - 2).unsigned_abs();
        let lengths = 1..=MOST_LEVELS;
        (lengths.contains(&parameters.len()) && parameters.iter().all(is_fine)).then_some(Self(parameters))
    }

    /// The parameter of each level, lowest first.
    pub fn parameters(&self) -> &[i32] {
        &self.0
    }

    /// How much denser a level is than the one below it.
    pub(crate) fn fanout(&self, level: i32) -> u32 {
        2 + self.parameter(level).unsigned_abs()
    }

    /// SSTables over each other that a level may not have.
    pub(crate) fn trigger(&self, level: i32) -> usize {
        2 + self.parameter(level).max(0).unsigned_abs() as usize
    }

    /// Levels below zero are like the lowest.
    fn parameter(&self, level: i32) -> i32 {
        let level = usize::try_from(level).unwrap_or(0);
        self.0.get(level).or(self.0.last()).copied().unwrap_or_default()
    }
}

impl fmt::Display for Scaling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (level, &w) in self.0.iter().enumerate() {
            let comma = if level == 0 { "" } else { ", " };
            match w {
                0 => write!(f, "{comma}N")?,
                1.. => write!(f, "{comma}T{}", w + 2)?,
                _ => write!(f, "{comma}L{}", 2 - w)?,
            }
        }
        Ok(())
    }
}

/// Why a text is no scaling.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("scaling parameters are a list like `T4, N, L10`, of fanouts from 2 to 1024; not `{0}`")]
pub struct BadScaling(String);

impl FromStr for Scaling {
    type Err = BadScaling;

    /// As [`fmt::Display`] writes it; numbers stand for themselves.
    fn from_str(text: &str) -> Result<Self, BadScaling> {
        let fanout = |digits: &str| digits.parse().ok().filter(|fanout| (2..=MOST_FANOUT).contains(fanout));
        let parameter = |word: &str| match word.as_bytes().first()? {
            b'T' | b't' => fanout(&word[1..]).map(|fanout| fanout - 2),
            b'L' | b'l' => fanout(&word[1..]).map(|fanout| 2 - fanout),
            b'N' | b'n' if word.len() == 1 => Some(0),
            _ => word.parse().ok(),
        };
        let parameters = text.split(',').map(|word| parameter(word.trim())).collect::<Option<_>>();
        parameters.and_then(Self::new).ok_or_else(|| BadScaling(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalings_are_read_as_they_are_written() {
        for (text, parameters) in [
            ("T4", vec![2]),
            ("T4, T8, N, L10", vec![2, 6, 0, -8]),
            ("L2", vec![0]),
            ("-8, 2,0", vec![-8, 2, 0]),
        ] {
            let scaling: Scaling = text.parse().unwrap();
            assert_eq!(scaling.parameters(), parameters, "{text}");
            assert_eq!(scaling.to_string().parse(), Ok(scaling));
        }
        assert_eq!(Scaling::default().to_string(), "T6, T4");
        for text in ["", "T", "T1", "T1025", "L-4", "X4", "T4;L4", "N4", "T4,", "1023", "-1023", "T٤"] {
            assert_eq!(text.parse::<Scaling>(), Err(BadScaling(text.into())));
        }
        assert_eq!(Scaling::new(vec![0; 33]), None);
    }

    #[test]
    fn the_last_parameter_counts_for_all_further_levels_and_the_first_for_those_below() {
        let scaling: Scaling = "T8, T4, L10".parse().unwrap();
        let of = |level| (scaling.fanout(level), scaling.trigger(level));
        assert_eq!([of(-3), of(0), of(1), of(2), of(9)], [(8, 8), (8, 8), (4, 4), (10, 2), (10, 2)]);
    }
}
