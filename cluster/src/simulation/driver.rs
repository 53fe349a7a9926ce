//! What production's threads do for an engine: a task per kind of step, and each step takes its time.

use std::{sync::Arc, time::Duration};

use helenus_storage::{Engine, Step, StepOutcome};
use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use super::machine::{Machine, Process};
use crate::node::randomness::{Stream, stream};

/// Wait after a flush or merge that failed.
const RETRY: Duration = Duration::from_millis(100);

/// Drives the engine of a process for as long as it lives.
pub(super) fn start(machine: &Arc<Machine>, process: &Process) {
    let bells: Arc<[Notify; Step::ALL.len()]> = Arc::default();
    let rung = Arc::clone(&bells);
    process.engine.set_work_listener(Arc::new(move |step| rung[step as usize].notify_one()));
    for step in Step::ALL {
        let driver = Driver {
            step,
            machine: Arc::clone(machine),
            engine: Arc::clone(&process.engine),
            bells: Arc::clone(&bells),
            random: stream(machine.parts.seed, &format!("steps {step:?}")),
        };
        let life: CancellationToken = process.life.clone();
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = life.cancelled() => {}
                () = driver.run() => {}
            }
        });
    }
}

struct Driver {
    step: Step,
    machine: Arc<Machine>,
    engine: Arc<Engine>,
    bells: Arc<[Notify; Step::ALL.len()]>,
    random: Stream,
}

impl Driver {
    async fn run(mut self) {
        loop {
            self.bells[self.step as usize].notified().await;
            if self.step == Step::Sync {
                sleep(self.engine.options().sync_interval).await;
            }
            while self.work().await {}
        }
    }

    /// Does one step; whether there may be more.
    async fn work(&mut self) -> bool {
        let takes = self.machine.step_time(&mut self.random);
        sleep(takes).await;
        self.machine.awake.awake().await;
        let outcome = self.engine.step(self.step);
        let number = match &outcome {
            Ok(StepOutcome::Idle) => 0,
            Ok(StepOutcome::Worked) => 1,
            Err(_) => 2,
        };
        self.machine.parts.trace.note(self.machine.parts.number, "step", &[self.step as u64, number]);
        match outcome {
            // What is written meanwhile may wait for the next sync.
            Ok(StepOutcome::Worked) => self.step != Step::Sync,
            Ok(StepOutcome::Idle) => false,
            Err(_) if self.machine.survives(&self.engine) => {
                sleep(RETRY).await;
                true
            }
            // It is dead; this task ends with it.
            Err(_) => false,
        }
    }
}
