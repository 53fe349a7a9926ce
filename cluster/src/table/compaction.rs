//! Which SSTables of a table are merged: what can be chosen, in the words of the storage engine.

use std::time::Duration;

use helenus_storage::table_options::{Scaling, Strategy, TimeWindow, Unified};
use serde::{Deserialize, Serialize};

/// A compaction strategy with its parameters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Compaction {
    /// Levels by density, from tiered to levelled.
    Unified {
        /// Fanout of each level: `T4, N, L10`.
        scaling_parameters: String,
        /// Bytes at which outputs are split, roughly.
        target_sstable_bytes: u64,
    },
    /// One SSTable per window of time, for values that expire.
    TimeWindow {
        /// Length of a window.
        window_seconds: u32,
    },
}

/// Smallest size at which outputs are split.
const MIN_TARGET_BYTES: u64 = 1 << 20;

impl Default for Compaction {
    fn default() -> Self {
        let Unified { scaling, target_bytes, .. } = Unified::default();
        Self::Unified { scaling_parameters: scaling.to_string(), target_sstable_bytes: target_bytes }
    }
}

impl Compaction {
    /// As the storage engine takes it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn strategy(&self) -> Result<Strategy, String> {
        match self {
            Self::Unified { target_sstable_bytes, .. } if *target_sstable_bytes < MIN_TARGET_BYTES => {
                Err(format!("target_sstable_size must be at least {MIN_TARGET_BYTES} bytes"))
            }
            Self::Unified { scaling_parameters, target_sstable_bytes } => {
                let scaling: Scaling = scaling_parameters.parse().map_err(|error| format!("{error}"))?;
                let unified = Unified { scaling, target_bytes: *target_sstable_bytes, ..Unified::default() };
                Ok(Strategy::Unified(unified))
            }
            Self::TimeWindow { window_seconds: 0 } => Err("window must be at least a second".to_owned()),
            Self::TimeWindow { window_seconds } => Ok(Strategy::TimeWindow(TimeWindow {
                window: Duration::from_secs(u64::from(*window_seconds)),
                ..TimeWindow::default()
            })),
        }
    }
}
