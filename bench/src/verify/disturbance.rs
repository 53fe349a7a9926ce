//! Carries out a schedule: begins and ends faults in time, starts what died, and records when it was whole again.

use std::time::Duration;

use anyhow::Context;
use helenus_bench::history::{Fault, FaultEvent, Moment};
use rustix::process::Signal;

use super::{
    client::{Clock, Observer},
    links::Links,
    nemesis::Planned,
    nodes::Nodes,
    record::Record,
};

/// How long a node that was asked to stop may take, before it is killed.
const STOP_PATIENCE: Duration = Duration::from_secs(15);

/// The hand on nodes and links.
pub(super) struct Disturbance<'a> {
    pub(super) nodes: &'a mut Nodes,
    pub(super) links: &'a Links,
    pub(super) observer: &'a Observer,
    pub(super) record: &'a Record,
    pub(super) clock: Clock,
    open: Vec<Open>,
}

/// A fault that has begun and is not over.
struct Open {
    fault: Fault,
    from: Moment,
    state: State,
}

enum State {
    /// It ends at that moment.
    Lasts(Moment),
    /// Its nodes were started, and these are not ready yet.
    Starting(Vec<u32>),
}

impl<'a> Disturbance<'a> {
    pub(super) fn new(
        nodes: &'a mut Nodes,
        links: &'a Links,
        observer: &'a Observer,
        record: &'a Record,
        clock: Clock,
    ) -> Self {
        Self { nodes, links, observer, record, clock, open: Vec::new() }
    }

    /// Begins a fault, which `start` of the schedule places on the clock.
    pub(super) fn begin(&mut self, planned: &Planned, start: Moment) -> anyhow::Result<()> {
        let fault = planned.fault;
        let from = self.clock.now();
        eprintln!("{from:>12} ms  {fault} for {:.1} s", planned.lasts.as_secs_f64());
        match fault {
            Fault::Kill { node } => {
                self.close_starts(from, |starting| starting == node)?;
                self.nodes.kill(std::iter::once(node))?;
            }
            Fault::KillAll => {
                self.close_starts(from, |_| true)?;
                let all = self.nodes.all();
                self.nodes.kill(all)?;
            }
            Fault::Restart { node } => {
                self.close_starts(from, |starting| starting == node)?;
                self.nodes.signal(node, Signal::TERM)?;
            }
            Fault::Pause { node } => self.nodes.signal(node, Signal::STOP)?,
            Fault::Cut { .. } | Fault::CutOneWay { .. } | Fault::Slow { .. } => self.links.begin(&fault),
            // Nobody plans it.
            Fault::Crash { .. } => {}
        }
        self.open.push(Open { fault, from, state: State::Lasts(start.plus(planned.end())) });
        Ok(())
    }

    /// Ends what is due, notices what is ready and who died by itself. Called again and again.
    pub(super) fn step(&mut self) -> anyhow::Result<()> {
        self.notice_crashes()?;
        let mut index = 0;
        while index < self.open.len() {
            if self.advance(index)? {
                let Open { fault, from, .. } = self.open.swap_remove(index);
                self.record.fault(&FaultEvent { fault, from, until: self.clock.now() })?;
            } else {
                index += 1;
            }
        }
        Ok(())
    }

    /// Ends everything now; [`Disturbance::is_quiet`] says when that is done.
    pub(super) fn end_all(&mut self) {
        let now = self.clock.now();
        for open in &mut self.open {
            if let State::Lasts(until) = &mut open.state {
                *until = now.min(*until);
            }
        }
    }

    /// Whether no fault is left.
    pub(super) fn is_quiet(&self) -> bool {
        self.open.is_empty()
    }

    /// Moves a fault on; true if it is over.
    fn advance(&mut self, index: usize) -> anyhow::Result<bool> {
        let Open { fault, state, .. } = &mut self.open[index];
        let fault = *fault;
        match state {
            State::Starting(nodes) => {
                nodes.retain(|&node| !self.observer.is_ready(node));
                return Ok(nodes.is_empty());
            }
            State::Lasts(until) if self.clock.now() < *until => return Ok(false),
            State::Lasts(_) => {}
        }
        let starts: Vec<u32> = match fault {
            Fault::Cut { .. } | Fault::CutOneWay { .. } | Fault::Slow { .. } => {
                self.links.end(&fault);
                return Ok(true);
            }
            Fault::Pause { node } => {
                self.nodes.signal(node, Signal::CONT)?;
                return Ok(true);
            }
            Fault::Restart { node } => {
                if !self.has_stopped(index, node)? {
                    return Ok(false);
                }
                vec![node]
            }
            Fault::Kill { node } | Fault::Crash { node } => vec![node],
            Fault::KillAll => self.nodes.all().collect(),
        };
        for &node in &starts {
            self.nodes.start(node)?;
        }
        self.open[index].state = State::Starting(starts);
        Ok(false)
    }

    /// Whether a node that was asked to stop has done so; it is killed when that takes too long.
    fn has_stopped(&mut self, index: usize, node: u32) -> anyhow::Result<bool> {
        if !self.nodes.runs(node) {
            return Ok(true);
        }
        if let Some(status) = self.nodes.ended(node)? {
            if !status.success() {
                self.crashed(node, &format!("it was asked to stop and ended with {status}"))?;
            }
            return Ok(true);
        }
        if self.clock.now().since(self.open[index].from) > STOP_PATIENCE {
            self.crashed(node, &format!("it was asked to stop and has not after {STOP_PATIENCE:?}"))?;
            self.nodes.kill(std::iter::once(node))?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Notices nodes that ended by themselves, and has them started again.
    fn notice_crashes(&mut self) -> anyhow::Result<()> {
        for node in self.nodes.all() {
            let is_stopping = self
                .open
                .iter()
                .any(|open| matches!(open.state, State::Lasts(_)) && open.fault == Fault::Restart { node });
            if is_stopping {
                continue;
            }
            if let Some(status) = self.nodes.ended(node)? {
                let now = self.clock.now();
                self.close_starts(now, |starting| starting == node)?;
                let restart = now.plus(Duration::from_secs(1));
                self.report_crash(node, &format!("it ended with {status}"));
                self.open.push(Open {
                    fault: Fault::Crash { node },
                    from: now,
                    state: State::Lasts(restart),
                });
            }
        }
        Ok(())
    }

    /// Records a crash of a node that something else starts again.
    fn crashed(&mut self, node: u32, how: &str) -> anyhow::Result<()> {
        self.report_crash(node, how);
        let now = self.clock.now();
        self.record.fault(&FaultEvent { fault: Fault::Crash { node }, from: now, until: now })
    }

    fn report_crash(&self, node: u32, how: &str) {
        eprintln!("n{node} ended by itself: {how}; the end of its log:\n{}", self.nodes.log_tail(node));
    }

    /// A node that dies again is done with its last start.
    fn close_starts(&mut self, now: Moment, of: impl Fn(u32) -> bool) -> anyhow::Result<()> {
        let mut index = 0;
        while index < self.open.len() {
            let State::Starting(nodes) = &mut self.open[index].state else {
                index += 1;
                continue;
            };
            nodes.retain(|&node| !of(node));
            if nodes.is_empty() {
                let Open { fault, from, .. } = self.open.swap_remove(index);
                self.record.fault(&FaultEvent { fault, from, until: now }).context("recording a fault")?;
            } else {
                index += 1;
            }
        }
        Ok(())
    }
}
