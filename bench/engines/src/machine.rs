//! What the kernel knows of this process and of the others.

use std::{fs, path::Path, time::Instant};

use rustix::time::{ClockId, clock_gettime};

/// What was used since a moment.
pub struct Usage {
    began: Instant,
    written: u64,
    written_by_calls: u64,
    own_ticks: u64,
    own_nanos: i64,
    busy_ticks: u64,
}

const TICKS_PER_SECOND: f64 = 100.0;

impl Usage {
    pub fn begin() -> Self {
        Self {
            began: Instant::now(),
            written: io_bytes("write_bytes: "),
            written_by_calls: io_bytes("wchar: "),
            own_ticks: own_ticks(),
            own_nanos: own_nanos(),
            busy_ticks: busy_ticks(),
        }
    }

    /// Bytes this process has had written to disk.
    pub fn written(&self) -> u64 {
        io_bytes("write_bytes: ") - self.written
    }

    /// Bytes it has given to write calls, whether or not they have gone to disk.
    pub fn written_by_calls(&self) -> u64 {
        io_bytes("wchar: ") - self.written_by_calls
    }

    /// Microseconds of CPU this process has used, all of its threads.
    pub fn cpu_micros(&self) -> f64 {
        (own_nanos() - self.own_nanos) as f64 / 1e3
    }

    /// Share of one CPU that others have used.
    pub fn foreign(&self) -> f64 {
        let others = (busy_ticks() - self.busy_ticks).saturating_sub(own_ticks() - self.own_ticks);
        others as f64 / TICKS_PER_SECOND / self.began.elapsed().as_secs_f64().max(0.01)
    }
}

fn io_bytes(name: &str) -> u64 {
    let io = fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.parse().unwrap()
}

fn own_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    // utime and stime are fields 14 and 15; the first two are cut off.
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn own_nanos() -> i64 {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    used.tv_sec * 1_000_000_000 + used.tv_nsec
}

fn busy_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/stat").unwrap();
    let fields: Vec<u64> =
        stat.lines().next().unwrap().split_whitespace().skip(1).map(|field| field.parse().unwrap()).collect();
    // user, nice, system, and not idle and iowait; irq, softirq, steal.
    fields[0] + fields[1] + fields[2] + fields[5] + fields[6] + fields[7]
}

pub fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").trim().parse::<u64>().unwrap() * 1024
}

/// Bytes that files take on disk.
pub fn disk_bytes(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| {
            let metadata = fs::symlink_metadata(&path).unwrap();
            if metadata.is_dir() { disk_bytes(&path) } else { metadata.blocks() * 512 }
        })
        .sum()
}
