//! From what the simulation did to what the checkers know.

use std::time::Duration;

use helenus_bench::{
    checkers::{self, Violation},
    history::{Datacenter, Fault as Known, FaultEvent, History, Moment, Silence as KnownSilence},
};
use helenus_cluster::simulation::{Disturbed, Fault, Shape, Silence};

use super::plan::Plan;

/// As many calls and requests under way as clients do not make at once.
const ENOUGH_ROOM: usize = 64;

/// Everything in the history that contradicts what the store promises today.
pub fn judge(plan: &Plan, history: &History) -> Vec<Violation> {
    let mut violations = checkers::replies::check(history);
    violations.extend(checkers::lost_write::check(history));
    violations.extend(checkers::succession::check(history));
    violations.extend(checkers::invention::check(history));
    violations.extend(checkers::last_write_wins::check(history));
    violations.extend(checkers::inserts::check(history));
    violations.extend(checkers::durability::check(history));
    // The first of the faults that a history is given: until then some nodes hear of the joins of others.
    let formed = history.faults.iter().find(|event| event.from == Moment(0)).map(|event| event.until);
    violations.extend(checkers::monotonic::check(history, formed.unwrap_or_default()));
    violations.extend(checkers::sessions::check(history, formed.unwrap_or_default()));
    // A node that stores what is further ahead than accepted writes nothing until its clock has caught up with it; and
    // where few calls or requests may be under way, the reads of some batches and scans refuse each other.
    let asks_for_much = plan.workload.batches > 0.0 || plan.workload.scans > 0.0;
    if !plan.shape.has_wild_clocks() && (has_room(&plan.shape) || !asks_for_much) {
        violations.extend(checkers::liveness::check(history));
    }
    violations.extend(checkers::expiry::check(history, plan.clock_skew()));
    violations.extend(checkers::membership::check(history));
    if must_be_available(plan) {
        let transition = 2 * plan.shape.settings.gossip_interval + Duration::from_secs(3);
        violations.extend(checkers::availability::check(history, transition));
    }
    violations
}

/// Whether clients do not fill what may be under way at once.
fn has_room(Shape { most_calls, settings, .. }: &Shape) -> bool {
    *most_calls >= ENOUGH_ROOM && settings.max_requests >= ENOUGH_ROOM
}

/// Whether requests can fail only by disturbances that a history knows: not by the weather, by bounds so small that
/// clients hit them, or by a client's own haste.
fn must_be_available(plan: &Plan) -> bool {
    let Shape { weather, options, step_time, .. } = &plan.shape;
    let least = least_timeout(&plan.shape);
    !plan.shape.has_wild_clocks()
        && weather.is_fair()
        && weather.slow_path == 0.0
        && (weather.mean_jitter + weather.least_delay + *step_time) * 20 < least
        && options.memtable_total_bytes > 1 << 20
        && options.commit_queue_bytes > 1 << 20
        && has_room(&plan.shape)
        && plan.workload.hang_ups == 0.0
}

/// Who stands where, if it matters to levels.
pub fn datacenters(shape: &Shape) -> Vec<Datacenter> {
    let mut first = 1;
    let datacenter = |&(count, factor): &(u32, u32)| {
        let nodes = (first..first + count).collect();
        first += count;
        Datacenter { nodes, factor }
    };
    shape.datacenters.iter().map(datacenter).collect()
}

/// Clients work before each node has heard that the others have joined: until then requests may lack replicas.
pub fn beginning(plan: &Plan, formed: Moment) -> Vec<FaultEvent> {
    let restarted = |node| FaultEvent { fault: Known::Restart { node }, from: Moment(0), until: formed };
    (1..=plan.shape.nodes).map(restarted).collect()
}

/// The disturbances in the words of a history. Where it has no word, one that makes the checkers expect at most as
/// much: a clock that is wrong or a disk that is slow may make a node useless, noise may make links useless.
pub fn as_history(plan: &Plan, disturbed: &[Disturbed]) -> Vec<FaultEvent> {
    let nodes = 1..=plan.shape.nodes;
    let mut events = Vec::new();
    for Disturbed { fault, from_us, until_us } in disturbed {
        let mut add =
            |fault| events.push(FaultEvent { fault, from: Moment(*from_us), until: Moment(*until_us) });
        let pairs = || nodes.clone().flat_map(|a| (a + 1..=plan.shape.nodes).map(move |b| (a, b)));
        let of = |node: u32| pairs().filter(move |(a, b)| *a == node || *b == node);
        match fault {
            Fault::Crash { node, .. }
            | Fault::CrashWithin { node, .. }
            | Fault::CrashLoop { node, .. }
            | Fault::DiskFull { node }
            | Fault::DiskFails { node, .. } => add(Known::Kill { node: *node }),
            Fault::CrashAll { .. } => add(Known::KillAll),
            Fault::Restart { node } => add(Known::Restart { node: *node }),
            // Until all know of it, writes may lack an acknowledgement.
            Fault::RollingRestart | Fault::Join { .. } => {
                nodes.clone().for_each(|node| add(Known::Restart { node }));
            }
            Fault::Pause { node } | Fault::ClockJump { node, .. } | Fault::DiskSlow { node, .. } => {
                add(Known::Pause { node: *node });
            }
            Fault::Partition { side, silence } => {
                let crosses = |&(a, b): &(u32, u32)| side.contains(&a) != side.contains(&b);
                pairs().filter(crosses).for_each(|(a, b)| add(cut(a, b, *silence)));
            }
            Fault::OneWay { side, .. } => {
                for from in side {
                    let others = nodes.clone().filter(|to| !side.contains(to));
                    others.for_each(|to| add(Known::CutOneWay { from: *from, to }));
                }
            }
            Fault::Bridge { node, silence } => {
                let half = plan.shape.nodes / 2;
                let crosses = |&(a, b): &(u32, u32)| a != *node && b != *node && (a <= half) != (b <= half);
                pairs().filter(crosses).for_each(|(a, b)| add(cut(a, b, *silence)));
            }
            Fault::Flap { a, b, .. } => add(cut(*a, *b, Silence::Broken)),
            Fault::Slow { node, delay } => {
                let delay_ms = delay.as_millis() as u32;
                let is_hopeless = *delay * 20 > least_timeout(&plan.shape);
                of(*node).for_each(|(a, b)| {
                    add(if is_hopeless { cut(a, b, Silence::Held) } else { Known::Slow { a, b, delay_ms } });
                });
            }
            Fault::Noise { node, .. } => of(*node).for_each(|(a, b)| add(cut(a, b, Silence::Held))),
            Fault::Flush { .. } => {}
        }
    }
    events
}

/// The coordinators' own deadline is earlier than the clients'.
fn least_timeout(shape: &Shape) -> Duration {
    shape.settings.write_timeout.min(shape.settings.read_timeout)
}

fn cut(a: u32, b: u32, silence: Silence) -> Known {
    let silence = match silence {
        Silence::Broken => KnownSilence::Broken,
        Silence::Held | Silence::Swallowed => KnownSilence::Held,
    };
    Known::Cut { a, b, silence }
}
