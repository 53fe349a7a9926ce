//! What the operating system says of this process.

use std::{fmt, path::Path};

use prometheus_client::{encoding::DescriptorEncoder, metrics::MetricType, registry::Unit};

/// Bytes of memory that are resident; `None` where the system does not say, which is everywhere but on Linux.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

/// Room in a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// All of it.
    pub size_bytes: u64,
    /// What is left for the process.
    pub available_bytes: u64,
}

impl DiskSpace {
    /// Of the file system that a directory is in; `None` if it does not say.
    pub fn of(directory: &Path) -> Option<Self> {
        let stat = rustix::fs::statvfs(directory).ok()?;
        Some(Self {
            size_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

/// Writes the numbers of the process.
pub(super) fn encode(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    if let Some(bytes) = resident_bytes() {
        let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
        let help = "Memory of the process that is resident";
        encoder
            .encode_descriptor("resident_memory", help, Some(&Unit::Bytes), MetricType::Gauge)?
            .encode_gauge(&bytes)?;
    }
    Ok(())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_some_memory_and_not_all_of_it() {
        let bytes = resident_bytes().expect("Linux says it");
        assert!((100 << 10..1 << 40).contains(&bytes), "{bytes}");
    }
}
