//! Who carries out a schedule: each disturbance in a task of its own, done at its time and undone at its end.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    cluster::SimulatedCluster,
    fault::{Disturbance, Fault, Silence},
    weather::Link,
};

/// A disturbance as it was, in moments of the trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Disturbed {
    /// What.
    pub fault: Fault,
    /// Just before it was done.
    pub from_us: u64,
    /// Just after it was undone: nodes serve, links carry.
    pub until_us: u64,
}

/// Carries out a schedule, which starts now; returns when the last of it is undone.
pub async fn disturb(cluster: &Arc<SimulatedCluster>, schedule: &[Disturbance]) -> Vec<Disturbed> {
    let begun = Instant::now();
    let tasks: Vec<_> = schedule
        .iter()
        .cloned()
        .map(|Disturbance { fault, from, lasts }| {
            let cluster = Arc::clone(cluster);
            tokio::spawn(async move {
                sleep_until(begun + from).await;
                let from_us = cluster.trace().moment_us();
                cluster.trace().note(0, "fault begins", &[]);
                cluster.trace().count(fault.name());
                let nemesis = Nemesis { cluster: &cluster, lasts };
                nemesis.carry_out(&fault).await;
                cluster.trace().note(0, "fault ends", &[]);
                Disturbed { fault, from_us, until_us: cluster.trace().moment_us() }
            })
        })
        .collect();
    let mut disturbed = Vec::new();
    for task in tasks {
        disturbed.push(task.await.expect("a nemesis does not panic"));
    }
    disturbed
}

struct Nemesis<'a> {
    cluster: &'a SimulatedCluster,
    lasts: Duration,
}

impl Nemesis<'_> {
    async fn carry_out(&self, fault: &Fault) {
        match fault {
            Fault::Crash { .. }
            | Fault::CrashWithin { .. }
            | Fault::CrashLoop { .. }
            | Fault::CrashAll { .. }
            | Fault::Restart { .. }
            | Fault::RollingRestart
            | Fault::Join { .. }
            | Fault::Pause { .. } => self.to_processes(fault).await,
            Fault::Partition { .. }
            | Fault::OneWay { .. }
            | Fault::Bridge { .. }
            | Fault::Flap { .. }
            | Fault::Slow { .. }
            | Fault::Noise { .. } => self.to_links(fault).await,
            Fault::ClockJump { .. }
            | Fault::DiskFull { .. }
            | Fault::DiskSlow { .. }
            | Fault::DiskFails { .. }
            | Fault::Flush { .. } => self.to_machines(fault).await,
        }
    }

    async fn to_processes(&self, fault: &Fault) {
        match *fault {
            Fault::Crash { node, damage } => {
                let machine = self.cluster.machine(node);
                machine.hold();
                machine.die(damage);
                sleep(self.lasts).await;
                machine.release();
                self.cluster.serves(node).await;
            }
            Fault::CrashWithin { node, operations, damage } => {
                self.cluster.machine(node).cut_power_in(operations, damage);
                sleep(self.lasts).await;
                self.spare(node).await;
            }
            Fault::CrashLoop { node, damage, operations } => {
                let end = Instant::now() + self.lasts;
                while Instant::now() < end {
                    self.cluster.machine(node).cut_power_in(operations, damage);
                    sleep(Duration::from_millis(100 + operations * 10)).await;
                }
                self.spare(node).await;
            }
            Fault::CrashAll { damage } => {
                for node in self.nodes() {
                    self.cluster.machine(node).hold();
                    self.cluster.machine(node).die(damage);
                }
                sleep(self.lasts).await;
                self.nodes().for_each(|node| self.cluster.machine(node).release());
                for node in self.nodes() {
                    self.cluster.serves(node).await;
                }
            }
            Fault::Restart { node } => self.restart(node).await,
            Fault::RollingRestart => {
                for node in self.nodes() {
                    self.restart(node).await;
                }
            }
            Fault::Join { node } => {
                self.cluster.machine(node).release();
                self.cluster.serves(node).await;
                // Until all have heard of it.
                sleep(self.lasts).await;
            }
            Fault::Pause { node } => {
                self.cluster.machine(node).awake.pause();
                sleep(self.lasts).await;
                self.cluster.machine(node).awake.resume();
            }
            _ => {}
        }
    }

    async fn restart(&self, node: u32) {
        let machine = self.cluster.machine(node);
        machine.hold();
        machine.stop().await;
        sleep(self.lasts).await;
        machine.release();
        self.cluster.serves(node).await;
    }

    /// Calls off what is still to come, and waits for the node.
    async fn spare(&self, node: u32) {
        self.cluster.machine(node).disarm();
        self.cluster.serves(node).await;
    }

    async fn to_links(&self, fault: &Fault) {
        match *fault {
            Fault::Partition { ref side, silence } => {
                let crosses = |a: u32, b: u32| side.contains(&a) != side.contains(&b);
                self.during(crosses, |link| cut(link, silence), |link| mend(link, silence)).await;
            }
            Fault::OneWay { ref side, silence } => {
                let crosses = |a: u32, b: u32| side.contains(&a) && !side.contains(&b);
                self.during(crosses, |link| cut(link, silence), |link| mend(link, silence)).await;
            }
            Fault::Bridge { node, silence } => {
                let half = self.cluster.shape().nodes / 2;
                let crosses = |a: u32, b: u32| a != node && b != node && (a <= half) != (b <= half);
                self.during(crosses, |link| cut(link, silence), |link| mend(link, silence)).await;
            }
            Fault::Flap { a, b, period } => {
                let crosses = |from: u32, to: u32| (from, to) == (a, b) || (from, to) == (b, a);
                let end = Instant::now() + self.lasts;
                while Instant::now() < end {
                    self.change(crosses, |link| cut(link, Silence::Broken));
                    sleep(period).await;
                    self.change(crosses, |link| mend(link, Silence::Broken));
                    sleep(period).await;
                }
            }
            Fault::Slow { node, delay } => {
                let concerns = |a: u32, b: u32| a == node || b == node;
                self.during(concerns, |link| link.delay += delay, |link| link.delay -= delay).await;
            }
            Fault::Noise { node, loss, corruption } => {
                let concerns = |a: u32, b: u32| a == node || b == node;
                let begin = |link: &mut Link| (link.loss, link.corruption) = (loss, corruption);
                self.during(concerns, begin, |link| (link.loss, link.corruption) = (0.0, 0.0)).await;
            }
            _ => {}
        }
    }

    async fn to_machines(&self, fault: &Fault) {
        match *fault {
            Fault::ClockJump { node, by, forward } => {
                let by = i64::try_from(by.as_micros()).unwrap_or(0) * if forward { 1 } else { -1 };
                let clock = self.cluster.clock(node);
                let drift = i64::try_from(self.cluster.shape().settings.allowed_drift.as_micros());
                let bound = drift.unwrap_or(i64::MAX) * 2 / 5;
                // Jumps add up; the clocks of any two nodes stay within the drift all the same, unless wild.
                if !self.cluster.shape().has_wild_clocks() && (clock.error_us() + by).abs() > bound {
                    return;
                }
                clock.jump(by);
                sleep(self.lasts).await;
                clock.jump(-by);
            }
            Fault::DiskFull { node } => {
                self.cluster.machine(node).fill_disk();
                sleep(self.lasts).await;
                self.cluster.machine(node).free_disk();
                // A process that fails for lack of space is noticed after the fact.
                sleep(Duration::from_secs(1)).await;
                self.cluster.serves(node).await;
            }
            Fault::DiskSlow { node, times } => {
                self.cluster.machine(node).slow_disk(times);
                sleep(self.lasts).await;
                self.cluster.machine(node).slow_disk(1);
            }
            Fault::DiskFails { node, how, operations } => {
                self.cluster.machine(node).fail_in(operations, how);
                sleep(self.lasts).await;
                self.spare(node).await;
            }
            Fault::Flush { node } => self.cluster.machine(node).flush(),
            _ => {}
        }
    }

    fn nodes(&self) -> std::ops::RangeInclusive<u32> {
        1..=self.cluster.shape().nodes
    }

    /// Changes links now, and back at the end.
    async fn during(
        &self,
        concerns: impl Fn(u32, u32) -> bool,
        begin: impl Fn(&mut Link),
        end: impl Fn(&mut Link),
    ) {
        self.change(&concerns, begin);
        sleep(self.lasts).await;
        self.change(&concerns, end);
    }

    fn change(&self, concerns: impl Fn(u32, u32) -> bool, change: impl Fn(&mut Link)) {
        for from in self.nodes() {
            for to in self.nodes().filter(|to| *to != from && concerns(from, *to)) {
                self.cluster.network.change(from, to, &change);
            }
        }
    }
}

fn cut(link: &mut Link, silence: Silence) {
    *cuts(link, silence) += 1;
}

fn mend(link: &mut Link, silence: Silence) {
    let cuts = cuts(link, silence);
    *cuts = cuts.saturating_sub(1);
}

fn cuts(link: &mut Link, silence: Silence) -> &mut u32 {
    match silence {
        Silence::Broken => &mut link.broken,
        Silence::Held => &mut link.held,
        Silence::Swallowed => &mut link.swallowed,
    }
}
