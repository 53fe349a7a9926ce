//! The operating system's file system.

/// [`Disk`](super::Disk) on the operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsDisk;
