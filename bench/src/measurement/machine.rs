//! The machine the load comes from.

use std::{fs, thread, time::Duration};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// What a reader must know of the machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// System and kernel.
    pub system: String,
    /// Model of the processors.
    pub processor: String,
    /// How many of them.
    pub processors: usize,
    /// Memory.
    pub memory_bytes: u64,
}

impl Host {
    /// This machine.
    #[must_use]
    pub fn here() -> Self {
        let names = rustix::system::uname();
        let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
        let field = |file: &str, name: &str| {
            let content = fs::read_to_string(file).unwrap_or_default();
            let line = content.lines().find(|line| line.starts_with(name)).unwrap_or_default();
            line.split_once(':').map_or_else(String::new, |(_, value)| value.trim().to_owned())
        };
        let kibibytes = field("/proc/meminfo", "MemTotal");
        let kibibytes = kibibytes.split(' ').next().and_then(|number| number.parse::<u64>().ok());
        Self {
            name: text(names.nodename()),
            system: format!("{} {} {}", text(names.sysname()), text(names.release()), text(names.machine())),
            processor: field("/proc/cpuinfo", "model name"),
            processors: thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kibibytes.unwrap_or(0) * 1024,
        }
    }
}

/// Processor time used so far.
#[derive(Debug, Clone, Copy)]
pub struct ProcessorTime {
    /// By this process.
    pub process: Duration,
    /// Ticks of all processors: busy, and all.
    machine: Option<(u64, u64)>,
}

impl ProcessorTime {
    /// So far.
    #[must_use]
    pub fn now() -> Self {
        let machine = fs::read_to_string("/proc/stat").ok().and_then(|text| machine_ticks(&text));
        Self { process: clock(ClockId::ProcessCPUTime), machine }
    }

    /// By the calling thread.
    #[must_use]
    pub fn of_thread() -> Duration {
        clock(ClockId::ThreadCPUTime)
    }

    /// Share of the machine's processors that was busy since `earlier`.
    #[must_use]
    pub fn machine_busy_since(&self, earlier: &Self) -> Option<f64> {
        let ((busy, all), (busy_before, all_before)) = (self.machine?, earlier.machine?);
        let all = all.checked_sub(all_before).filter(|&all| all > 0)?;
        Some(busy.saturating_sub(busy_before) as f64 / all as f64)
    }
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
fn machine_ticks(text: &str) -> Option<(u64, u64)> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|tick| tick.parse().ok()).collect();
    let all: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((all - idle, all))
}
