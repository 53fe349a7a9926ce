//! The name of a table inside an engine.

/// Identifies a table within an engine, for ever: a dropped id never comes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u32);
