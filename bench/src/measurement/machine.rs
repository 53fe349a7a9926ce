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
    machine: Option<Ticks>,
}

/// What the machine's processors did so far, in ticks of `sysconf(_SC_CLK_TCK)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    /// Work of processes, kernel and interrupts.
    spent: u64,
    /// That, and what the hypervisor gave to other machines.
    busy: u64,
    /// Busy and idle.
    all: u64,
}

impl ProcessorTime {
    /// So far.
    #[must_use]
    pub fn now() -> Self {
        let machine = fs::read_to_string("/proc/stat").ok().and_then(|text| Ticks::parse(&text));
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
        let (now, before) = (self.machine?, earlier.machine?);
        let all = now.all.checked_sub(before.all).filter(|&all| all > 0)?;
        Some(now.busy.saturating_sub(before.busy) as f64 / all as f64)
    }

    /// Processor time that the machine spent since `earlier` on anything but this process: on other processes, on the
    /// kernel and on interrupts. Exact to a tick of each processor, usually a hundredth of a second.
    #[must_use]
    pub fn others_since(&self, earlier: &Self) -> Option<Duration> {
        let spent = self.machine?.spent.checked_sub(earlier.machine?.spent)?;
        let per_second = rustix::param::clock_ticks_per_second().max(1);
        let spent = Duration::from_secs_f64(spent as f64 / per_second as f64);
        Some(spent.saturating_sub(self.process.saturating_sub(earlier.process)))
    }
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

impl Ticks {
    /// Of the first line of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
    fn parse(text: &str) -> Option<Self> {
        let line = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().take(8).map_while(|tick| tick.parse().ok()).collect();
        let all: u64 = ticks.iter().sum();
        let busy = all - (ticks.get(3)? + ticks.get(4)?);
        let stolen = ticks.get(7).copied().unwrap_or(0);
        Some(Self { spent: busy - stolen, busy, all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_processors_idled_or_worked_for_other_machines_is_not_spent() {
        let text = "cpu  100 20 30 4000 500 6 7 80 90 10\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        let expected = Ticks { spent: 163, busy: 243, all: 4_743 };
        assert_eq!(Ticks::parse(text), Some(expected));
        assert_eq!(Ticks::parse("cpu  1 2 3"), None);
    }

    #[test]
    fn others_have_what_the_machine_spent_and_this_process_did_not() {
        let per_second = rustix::param::clock_ticks_per_second();
        let at = |process, spent| {
            let ticks = Ticks { spent, busy: 2 * spent, all: 10 * spent };
            ProcessorTime { process: Duration::from_millis(process), machine: Some(ticks) }
        };
        let earlier = at(500, 7 * per_second);
        let later = at(2_000, 10 * per_second);
        assert_eq!(later.others_since(&earlier), Some(Duration::from_millis(1_500)));
        assert_eq!(at(9_000, 10 * per_second).others_since(&earlier), Some(Duration::ZERO));
        let unknown = ProcessorTime { machine: None, ..later };
        assert_eq!(unknown.others_since(&earlier), None);
    }
}
