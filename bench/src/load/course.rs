//! One client's course.

use std::{
    cell::RefCell,
    io,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rand::RngExt;

use super::plan::{Plan, Shared};
use crate::{
    client::{Client, Judgement, Outcome, Request},
    measurement::{Measured, Recorder},
    pacing::{Schedule, Timer},
    workload::{Operation, Phase, Session, Task, UpdateMode, Verdict, Workload},
};

/// A send so much after its due time counts as late.
const LATE: Duration = Duration::from_millis(1);

/// A client, its draws and its schedule.
pub(super) struct Course {
    phase: Phase,
    workload: Arc<Workload>,
    shared: Arc<Shared>,
    session: Session,
    client: Client,
    schedule: Option<Schedule>,
    timer: Timer,
    recorder: Rc<RefCell<Recorder>>,
    value: Vec<u8>,
}

impl Course {
    pub(super) fn new(
        plan: &Plan,
        shared: Arc<Shared>,
        number: usize,
        recorder: Rc<RefCell<Recorder>>,
    ) -> io::Result<Self> {
        let (protocol, endpoints) = (Arc::clone(&plan.protocol), Arc::clone(&plan.endpoints));
        let schedule = plan.target.map(|rate| Schedule::new(shared.start, rate, number, plan.clients));
        Ok(Self {
            phase: plan.phase,
            workload: Arc::clone(&plan.workload),
            shared,
            session: Session::new(Arc::clone(&plan.workload), plan.seed, number as u64),
            client: Client::new(protocol, endpoints, plan.routes.clone(), number, plan.timeout),
            schedule,
            timer: Timer::new()?,
            recorder,
            value: Vec::new(),
        })
    }

    /// From the start to the end of the run.
    pub(super) async fn run(mut self) -> io::Result<()> {
        // A refusal is told by the first operation.
        let _ = self.client.connect().await;
        self.timer.wait_until(self.shared.start).await?;
        while !self.shared.is_stopped() {
            let Some(due) = self.next_due().await? else { break };
            if due >= self.shared.measured_from && !self.shared.take() {
                break;
            }
            let Some(task) = self.session.next(self.phase) else { break };
            let is_success = self.perform(&task, due).await;
            self.recorder.borrow_mut().finish(due, is_success);
            if self.phase == Phase::Load && !is_success && !self.workload.retries.keep_going {
                self.shared.stop();
            }
        }
        Ok(())
    }

    /// Waits for the next operation's due time; none if the run is over.
    async fn next_due(&mut self) -> io::Result<Option<Instant>> {
        let now = Instant::now();
        let is_over = |moment| self.shared.end.is_some_and(|end| moment >= end);
        let Some(schedule) = &mut self.schedule else {
            return Ok(Some(now).filter(|&now| !is_over(now)));
        };
        let due = schedule.next_due();
        if is_over(due) {
            return Ok(None);
        }
        self.timer.wait_until(due).await?;
        let sent = Instant::now();
        if let Some(end) = self.shared.end
            && sent >= end
        {
            self.shared.unsent.fetch_add(1 + schedule.left_before(end), Ordering::Relaxed);
            return Ok(None);
        }
        if sent.saturating_duration_since(due) > LATE && due >= self.shared.measured_from {
            let counter = if now <= due { &self.shared.late } else { &self.shared.held_up };
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Some(due))
    }

    async fn perform(&mut self, task: &Task, due: Instant) -> bool {
        match task.operation {
            Operation::Read | Operation::Verify => self.read(task, due).await.is_ok(),
            Operation::Update => self.update(task, due, self.workload.update).await,
            Operation::Insert => self.insert(task, due).await,
            Operation::Scan => {
                let request = Request::Scan { start: &task.key, limit: task.scan_length };
                let sent = Instant::now();
                let judgement = self.client.perform(request).await;
                self.record(Operation::Scan, due, sent, &judgement)
            }
            Operation::ReadModifyWrite => {
                let sent = Instant::now();
                let mut judgement = self.read(task, due).await;
                // What could not be read cannot be modified.
                if judgement.is_ok() {
                    judgement = self.modify(task, due).await;
                }
                self.record(Operation::ReadModifyWrite, due, sent, &judgement)
            }
        }
    }

    async fn read(&mut self, task: &Task, due: Instant) -> Judgement {
        let sent = Instant::now();
        let judgement = self.client.perform(Request::Get { key: &task.key }).await;
        self.record(Operation::Read, due, sent, &judgement);
        if self.workload.verifies && judgement.is_ok() { self.verify(task, due) } else { judgement }
    }

    fn verify(&mut self, task: &Task, due: Instant) -> Judgement {
        let sent = Instant::now();
        let verdict = self.workload.fields.verify(&task.key, &self.client.value(), &mut self.session.random);
        let wrong =
            |status, detail: &str| Judgement { outcome: Outcome::Other, status, detail: Some(detail.into()) };
        let judgement = match verdict {
            Verdict::Right => Judgement::OK,
            Verdict::Wrong => wrong("UNEXPECTED_STATE", "the value is not the one that was written"),
            Verdict::Nothing => wrong("ERROR", "the value is empty"),
        };
        // Due now: verification is the client's work, and no wait of the server's is in it.
        let due = if due < self.shared.measured_from { due } else { sent };
        self.record(Operation::Verify, due, sent, &judgement);
        judgement
    }

    /// The write of a read-modify-write, measured as an update; the value read is the last reply.
    async fn modify(&mut self, task: &Task, due: Instant) -> Judgement {
        let sent = Instant::now();
        self.fill(task, self.workload.update);
        let judgement = self.client.perform(Request::Put { key: &task.key, value: &self.value }).await;
        self.record(Operation::Update, due, sent, &judgement);
        judgement
    }

    async fn update(&mut self, task: &Task, due: Instant, mode: UpdateMode) -> bool {
        let sent = Instant::now();
        let mut judgement = Judgement::OK;
        if mode == UpdateMode::Merge {
            judgement = self.client.perform(Request::Get { key: &task.key }).await;
        }
        if judgement.is_ok() {
            self.fill(task, mode);
            judgement = self.client.perform(Request::Put { key: &task.key, value: &self.value }).await;
        }
        self.record(Operation::Update, due, sent, &judgement)
    }

    async fn insert(&mut self, task: &Task, due: Instant) -> bool {
        self.fill(task, UpdateMode::Overwrite);
        let retries = self.workload.retries;
        let mut attempt = 0;
        let is_success = loop {
            let sent = Instant::now();
            let judgement = self.client.perform(Request::Put { key: &task.key, value: &self.value }).await;
            if self.record(Operation::Insert, due, sent, &judgement) {
                break true;
            }
            attempt += 1;
            if attempt > retries.limit {
                break false;
            }
            tokio::time::sleep(retries.interval.mul_f64(self.session.random.random_range(0.8..1.2))).await;
        };
        if self.phase == Phase::Run {
            self.session.inserted(task.record);
        }
        is_success
    }

    fn fill(&mut self, task: &Task, mode: UpdateMode) {
        let (fields, random) = (&self.workload.fields, &mut self.session.random);
        match mode {
            UpdateMode::Overwrite => fields.write(&task.key, random, &mut self.value),
            UpdateMode::Merge => fields.merge(&task.key, &self.client.value(), random, &mut self.value),
        }
    }

    fn record(&self, operation: Operation, due: Instant, sent: Instant, judgement: &Judgement) -> bool {
        let ended = Instant::now();
        self.recorder.borrow_mut().record(&Measured { operation, due, sent, ended, judgement });
        judgement.is_ok()
    }
}
