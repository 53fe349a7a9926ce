//! A disk in memory that forgets, tears and fails.

/// [`Disk`](super::Disk) in memory.
#[derive(Debug, Clone, Default)]
pub struct SimulatedDisk {}
