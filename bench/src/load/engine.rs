//! Carrying out a plan.

use std::{
    io,
    sync::{Arc, atomic::Ordering, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use super::{
    plan::{Plan, Shared},
    target::Target,
    worker::Worker,
};
use crate::{
    measurement::{Collector, Generator, Host, Interval, ProcessorTime, RESULT_FORMAT, RunResult, Settings},
    workload::{Phase, UpdateMode},
};

/// How often threads hand on what they measured.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time to open connections before the first operation is due.
pub const HEAD_START: Duration = Duration::from_millis(100);

/// What an observer sees after each interval.
#[derive(Debug)]
pub struct Progress<'a> {
    /// Since the measurement began, at the end of the interval.
    pub elapsed: Duration,
    /// The interval's length, seconds.
    pub interval_s: f64,
    /// What ended in the interval.
    pub interval: &'a Interval,
    /// Everything so far.
    pub total: &'a Interval,
}

/// Carries out a plan; `observe` is called every second.
///
/// # Errors
/// If threads, timers or sockets cannot be had. Failures of servers are results.
pub fn run(
    plan: &Plan,
    target: &Target,
    settings: Settings,
    mut observe: impl FnMut(&Progress<'_>),
) -> io::Result<RunResult> {
    let threads = plan.threads.min(plan.clients);
    let plan = Plan { threads, ..plan.clone() };
    let (sender, receiver) = mpsc::sync_channel(64 * threads);
    let started = SystemTime::now();
    let shared = Arc::new(Shared::new(&plan, Instant::now() + HEAD_START));
    let before = ProcessorTime::now();
    let mut workers = Vec::new();
    for number in 0..threads {
        let (plan, shared, parcels) = (plan.clone(), Arc::clone(&shared), sender.clone());
        let worker = Worker { plan, shared, number, interval: INTERVAL, parcels };
        workers.push(thread::Builder::new().name(format!("clients {number}")).spawn(move || worker.run())?);
    }
    drop(sender);
    let mut collector = Collector::new(threads, INTERVAL);
    collector.collect(&receiver, |index, interval, total| {
        let elapsed = INTERVAL * u32::try_from(index + 1).unwrap_or(u32::MAX);
        observe(&Progress { elapsed, interval_s: INTERVAL.as_secs_f64(), interval, total });
    });
    let end = Instant::now();
    let after = ProcessorTime::now();
    let mut busiest = Duration::ZERO;
    for worker in workers {
        let used = worker.join().map_err(|_| io::Error::other("a thread of clients failed"))??;
        busiest = busiest.max(used);
    }
    let (succeeded, failed) = collector.counts();
    let (operations, intervals, warmup_operations) = collector.finish(plan.target.is_some());
    let cpu = after.process.saturating_sub(before.process);
    let measured = succeeded + failed;
    let per_operation =
        |cpu: Duration| cpu.as_secs_f64() * 1e6 / ((measured + warmup_operations).max(1) as f64);
    let mut generator = Generator {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cpu_s: cpu.as_secs_f64(),
        cpu_us_per_operation: per_operation(cpu),
        others_cpu_us_per_operation: after.others_since(&before).map(per_operation),
        busiest_thread: busiest.as_secs_f64() / end.duration_since(shared.start).as_secs_f64().max(1e-9),
        machine_busy: after.machine_busy_since(&before),
        late: shared.late.load(Ordering::Relaxed),
        held_up: shared.held_up.load(Ordering::Relaxed),
        unsent: shared.unsent.load(Ordering::Relaxed),
        warnings: Vec::new(),
    };
    generator.warnings = warnings(&generator, measured);
    Ok(RunResult {
        format: RESULT_FORMAT.to_owned(),
        started: humantime::format_rfc3339_millis(started).to_string(),
        settings: Settings { threads, ..settings },
        host: Host::here(),
        server: target.server.clone(),
        seconds: end.saturating_duration_since(shared.measured_from).as_secs_f64(),
        succeeded,
        failed,
        warmup_operations,
        generator,
        operations,
        intervals,
        events: Vec::new(),
    })
}

/// Above this share of a processor, a thread has no time left to be on time.
const SATURATED: f64 = 0.9;

/// Above this share of late sends, percentiles show the generator.
const LATE_SHARE: f64 = 0.01;

fn warnings(generator: &Generator, measured: u64) -> Vec<String> {
    let mut warnings = Vec::new();
    if generator.busiest_thread > SATURATED {
        warnings.push(format!(
            "the load generator was the bottleneck: a thread used {:.0} % of a processor; try more --workers",
            generator.busiest_thread * 100.0
        ));
    }
    let late = generator.late as f64 / (measured.max(1) as f64);
    if late > LATE_SHARE {
        warnings.push(format!(
            "the load generator was late: {:.1} % of the operations were sent over 1 ms late by idle clients",
            late * 100.0
        ));
    }
    if generator.unsent > 0 {
        warnings.push(format!(
            "{} operations were due but never sent, as their clients waited for answers until the end: the target was \
             not reached, and percentiles lack them",
            generator.unsent
        ));
    }
    if generator.machine_busy.is_some_and(|busy| busy > 0.95) {
        warnings.push(
            "all processors of this machine were busy: servers on it competed with the generator".to_owned(),
        );
    }
    warnings
}

impl Plan {
    /// The plan as results tell it.
    #[must_use]
    pub fn settings(&self, table: &str) -> Settings {
        use crate::client::Protocol;
        let (protocol, consistency) = match &*self.protocol {
            Protocol::Helenus { consistency, .. } => ("helenus", consistency.clone()),
            Protocol::Etcd => ("etcd", None),
        };
        Settings {
            phase: if self.phase == Phase::Load { "load" } else { "run" }.to_owned(),
            label: None,
            properties: Default::default(),
            endpoints: self
                .endpoints
                .iter()
                .map(|endpoint| format!("http://{}", endpoint.authority))
                .collect(),
            routing: if self.routes.is_some() { "token-aware" } else { "round-robin" }.to_owned(),
            protocol: protocol.to_owned(),
            table: table.to_owned(),
            consistency,
            clients: self.clients,
            threads: self.threads,
            target: self.target,
            duration_s: self.duration.map(|duration| duration.as_secs_f64()),
            warmup_s: self.warmup.as_secs_f64(),
            timeout_s: self.timeout.as_secs_f64(),
            update: if self.workload.update == UpdateMode::Merge { "merge" } else { "overwrite" }.to_owned(),
            seed: self.seed,
        }
    }
}
