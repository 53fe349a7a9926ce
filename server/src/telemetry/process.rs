//! What the operating system says of this process.

/// Bytes of memory that are resident; `None` where the system does not say, which is everywhere but on Linux.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
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
