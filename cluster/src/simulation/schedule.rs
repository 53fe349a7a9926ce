//! Which disturbances a seed makes: a random subset of the kinds, at random times.
//!
//! Each seed leaves most kinds out (Groce et al., *Swarm Testing*, ISSTA 2012): a run in which everything happens at
//! once hides what only one thing going on for long would show.

use std::time::Duration;

use helenus_storage::disk::{Damage, Fault as DiskFault};
use rand::RngExt;

use super::{
    fault::{Disturbance, Fault, SLOWEST_DISK, Silence},
    shape::Shape,
};
use crate::node::randomness::{Stream, stream};

const KINDS: u32 = 19;

/// Draws the disturbances of a seed for a window of time.
pub fn draw(seed: u64, shape: &Shape, window: Duration) -> Vec<Disturbance> {
    let mut random = stream(seed, "schedule");
    let wanted = random.random_range(1..=8);
    let kinds: Vec<u32> = (0..wanted).map(|_| random.random_range(0..KINDS)).collect();
    let per_minute = [2.0, 6.0, 12.0, 30.0][random.random_range(0..4)];
    let count = (window.as_secs_f64() / 60.0 * per_minute) as usize;
    let mut schedule: Vec<Disturbance> = (0..count.max(1))
        .map(|_| {
            let kind = kinds[random.random_range(0..kinds.len())];
            let fault = fault(kind, shape, &mut random);
            let from = window.mul_f64(random.random::<f64>() * 0.9);
            let lasts = lasting(&fault, &mut random).min(window - from);
            Disturbance { fault, from, lasts }
        })
        .collect();
    schedule.extend(joins(seed, shape, window));
    schedule.sort_by_key(|disturbance| disturbance.from);
    schedule
}

/// Each late node joins at some time. From a stream of its own, as it came later.
fn joins(seed: u64, shape: &Shape, window: Duration) -> impl Iterator<Item = Disturbance> {
    let mut random = stream(seed, "late joins");
    shape.late_nodes().map(move |node| Disturbance {
        fault: Fault::Join { node },
        from: window.mul_f64(random.random_range(0.0..0.6)),
        lasts: Duration::from_secs(10),
    })
}

fn lasting(fault: &Fault, random: &mut Stream) -> Duration {
    let seconds = match fault {
        Fault::Pause { .. } => [0.01, 0.1, 1.0, 5.0, 60.0][random.random_range(0..5)],
        Fault::Crash { .. } | Fault::Restart { .. } => [0.05, 1.0, 10.0, 40.0][random.random_range(0..4)],
        Fault::CrashAll { .. } | Fault::RollingRestart => random.random_range(0.05..3.0),
        Fault::CrashWithin { .. } | Fault::DiskFails { .. } | Fault::Flush { .. } => 1.0,
        _ => [0.3, 3.0, 10.0, 30.0][random.random_range(0..4)],
    };
    Duration::from_secs_f64(seconds * (0.5 + random.random::<f64>()))
}

fn fault(kind: u32, shape: &Shape, random: &mut Stream) -> Fault {
    let nodes = shape.nodes;
    let node = random.random_range(1..=nodes);
    let damage = damage(shape, random);
    let operations = random.random_range(1..60);
    match kind {
        0 => Fault::Crash { node, damage: Damage::ProcessOnly },
        1 => Fault::Crash { node, damage },
        2 if shape.is_durable() => Fault::CrashWithin { node, operations, damage },
        3 if shape.is_durable() => Fault::CrashLoop { node, damage, operations: random.random_range(1..30) },
        4 => Fault::CrashAll { damage },
        2 | 3 | 5 => Fault::Restart { node },
        6 => Fault::RollingRestart,
        7 => Fault::Pause { node },
        8 => Fault::Partition { side: side(nodes, random), silence: silence(random) },
        9 => Fault::OneWay {
            side: side(nodes, random),
            silence: if random.random() { Silence::Held } else { Silence::Swallowed },
        },
        10 => Fault::Bridge { node, silence: silence(random) },
        11 => Fault::Flap {
            a: node,
            b: node % nodes + 1,
            period: Duration::from_millis(random.random_range(20..3000)),
        },
        12 => Fault::Slow { node, delay: Duration::from_millis(random.random_range(10..2000)) },
        13 => Fault::Noise {
            node,
            loss: random.random_range(0.0..0.3),
            corruption: random.random_range(0.0..0.1),
        },
        14 => Fault::ClockJump {
            node,
            by: shape.settings.allowed_drift.mul_f64(random.random_range(0.0..shape.clock_jumps)),
            forward: random.random(),
        },
        15 if shape.is_durable() => Fault::DiskFull { node },
        15 | 16 => Fault::DiskSlow { node, times: [5, 50, SLOWEST_DISK][random.random_range(0..3)] },
        17 if shape.is_durable() => {
            let how = [DiskFault::Io, DiskFault::Sync, DiskFault::NoSpace, DiskFault::Read];
            Fault::DiskFails { node, how: how[random.random_range(0..how.len())], operations }
        }
        _ => Fault::Flush { node },
    }
}

/// What a power cut leaves; where acknowledged is not synced, only the process may die.
fn damage(shape: &Shape, random: &mut Stream) -> Damage {
    if !shape.is_durable() {
        return Damage::ProcessOnly;
    }
    Damage::ALL[random.random_range(0..Damage::ALL.len())]
}

fn silence(random: &mut Stream) -> Silence {
    [Silence::Broken, Silence::Held, Silence::Swallowed][random.random_range(0..3)]
}

/// Some nodes, not all of them: one, half of them, or any.
fn side(nodes: u32, random: &mut Stream) -> Vec<u32> {
    let first = random.random_range(0..nodes);
    let count = match random.random_range(0..3) {
        0 => 1,
        1 => nodes / 2,
        _ => random.random_range(1..nodes),
    };
    let mut side: Vec<u32> = (0..count.max(1)).map(|step| (first + step) % nodes + 1).collect();
    side.sort_unstable();
    side
}
