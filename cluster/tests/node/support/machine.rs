//! A machine: a disk and a clock that outlive the processes that run on it.

use std::{
    path::Path,
    sync::Arc,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use helenus_storage::{
    Engine, Options, Step, StepOutcome,
    disk::{Disk, SimulatedDisk},
};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};

use super::clock::TestClock;

/// Steps of the engine in the order of their urgency.
const STEPS: [Step; Step::ALL.len()] = Step::ALL;

/// How soon a step that failed is tried again.
const RETRY: Duration = Duration::from_millis(10);

#[derive(Debug)]
pub struct Machine {
    pub disk: SimulatedDisk,
    pub clock: Arc<TestClock>,
    pub seed: u64,
}

/// An open engine and the task that drives its steps.
#[derive(Debug)]
pub struct Storage {
    pub engine: Arc<Engine>,
    driver: JoinHandle<()>,
}

impl Machine {
    pub fn open_storage(&self) -> Storage {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        // Small segments and memtables: a test's engine must not preallocate 32 MiB of memory.
        let options = Options {
            segment_bytes: 256 << 10,
            memtable_bytes: 256 << 10,
            memtable_total_bytes: 4 << 20,
            commit_log_bytes: 4 << 20,
            ..Options::default()
        };
        let engine = Arc::new(Engine::open(disk, Path::new("/data"), options).expect("the disk is sound"));
        Storage { driver: tokio::spawn(drive(Arc::clone(&engine))), engine }
    }
}

impl Storage {
    /// From now on no step is done, as if each waited for the disk.
    pub fn stall(&self) {
        self.driver.abort();
    }

    /// Ends the driver as the death of the process does: nothing more is written.
    pub fn die(self) {
        self.driver.abort();
    }
}

async fn drive(engine: Arc<Engine>) {
    let waiting: Arc<[AtomicBool; STEPS.len()]> = Arc::default();
    let bell = Arc::new(Notify::new());
    let (flags, ring) = (Arc::clone(&waiting), Arc::clone(&bell));
    engine.set_work_listener(Arc::new(move |step| {
        let place = STEPS.iter().position(|s| *s == step).expect("STEPS lists all");
        flags[place].store(true, Ordering::SeqCst);
        ring.notify_one();
    }));
    let mut has_failed = false;
    loop {
        if std::mem::take(&mut has_failed) {
            // Whichever comes first.
            let _: Result<(), _> = timeout(RETRY, bell.notified()).await;
        } else {
            bell.notified().await;
        }
        for (step, waits) in STEPS.iter().zip(waiting.iter()) {
            while waits.swap(false, Ordering::SeqCst) {
                loop {
                    match engine.step(*step) {
                        Ok(StepOutcome::Worked) => {}
                        Ok(_) => break,
                        // It shows in the tickets that it should have served; others may wait still.
                        Err(_) => {
                            waits.store(true, Ordering::SeqCst);
                            has_failed = true;
                            break;
                        }
                    }
                }
                if has_failed {
                    break;
                }
            }
        }
    }
}
