//! The threads that loop on [`Engine::step`] in production.
//!
//! One thread per kind of work, and some for merges, asleep on a condition until the engine says that there is some; a
//! lone queued write costs one wake-up on the way in and one on the way out (a blocking one none at all), and no timer is
//! involved. The sync thread
//! (periodic mode only) waits one interval after it was told that something was written, so an idle engine
//! wakes nobody, except that an engine that knows the time looks now and then whether some of what it holds has
//! expired.

use std::{
    io,
    sync::Arc,
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use crate::{
    engine::{Engine, Step, StepOutcome},
    error::{Error, Result},
    options::SyncMode,
};

/// Wait after the first failure of a flush or merge; doubled with each further one.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// Time between two looks for what has expired.
const EXPIRY_CHECK: Duration = Duration::from_secs(10 * 60);
/// Longest wait between two attempts.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// Called with each failure of a step, on the thread that failed.
pub type FailureListener = Box<dyn Fn(Step, &Error) + Send + Sync>;

/// The threads, until [`Background::stop`].
///
/// Dropped without it, the threads end after the piece they are at, and nobody waits for them.
#[derive(Debug)]
pub struct Background {
    engine: Arc<Engine>,
    bells: Arc<Bells>,
    threads: Vec<JoinHandle<()>>,
}

impl Background {
    /// Starts the threads. Failures show in [`Engine::poisoned`] only.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start(engine: Arc<Engine>) -> io::Result<Self> {
        Self::start_reporting(engine, Box::new(|_, _| ()))
    }

    /// Starts the threads and reports failures. One that poisons the engine ends them all; a failed flush or
    /// merge is tried again, after a wait that doubles from 100 ms to 30 s. Commits that fail one after the other
    /// because the disk is full are reported once.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn start_reporting(engine: Arc<Engine>, on_failure: FailureListener) -> io::Result<Self> {
        let shared = Arc::new(Shared { engine, bells: Arc::default(), on_failure });
        let mut background = Self {
            engine: Arc::clone(&shared.engine),
            bells: Arc::clone(&shared.bells),
            threads: Vec::new(),
        };
        for step in Step::ALL {
            if step == Step::Sync && shared.engine.options().sync_mode != SyncMode::Periodic {
                continue;
            }
            let threads = if step == Step::Compact { shared.engine.options().compaction_threads } else { 1 };
            for _ in 0..threads.max(1) {
                let worker = Worker { step, shared: Arc::clone(&shared) };
                let thread = Builder::new().name(thread_name(step).into()).spawn(move || worker.run())?;
                background.threads.push(thread);
            }
        }
        if let Some(age) = shared.engine.options().memtable_age {
            let shared = Arc::clone(&shared);
            let thread = Builder::new().name("storage-age".into()).spawn(move || shared.watch_age(age))?;
            background.threads.push(thread);
        }
        let bells = Arc::clone(&shared.bells);
        shared.engine.set_work_listener(Arc::new(move |step| bells.of(step).ring()));
        Ok(background)
    }

    /// Lets each thread finish its piece, joins them. Does not close the engine.
    pub fn stop(mut self) {
        self.engine.hurry();
        self.bells.stop();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already, on standard error.
            let _ = thread.join();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.bells.stop();
    }
}

/// Linux shows the first 15 bytes.
fn thread_name(step: Step) -> &'static str {
    match step {
        Step::Commit => "storage-commit",
        Step::Sync => "storage-sync",
        Step::Flush => "storage-flush",
        Step::Compact => "storage-compact",
        Step::Prepare => "storage-prepare",
    }
}

/// What the threads have in common.
struct Shared {
    engine: Arc<Engine>,
    bells: Arc<Bells>,
    on_failure: FailureListener,
}

impl Shared {
    /// Has memtables switched that are older than this. Late by an eighth at most.
    fn watch_age(&self, age: Duration) {
        let began = Instant::now();
        while self.bells.of(Step::Flush).pause(age / 8) {
            if self.engine.switch_older(age, began.elapsed()).is_err() {
                return;
            }
        }
    }
}

/// One thread.
struct Worker {
    step: Step,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(self) {
        let Shared { engine, bells, on_failure } = &*self.shared;
        let bell = bells.of(self.step);
        let mut retry = FIRST_RETRY;
        let mut is_full = false;
        let glance = (self.step == Step::Compact && engine.options().clock.is_some()).then_some(EXPIRY_CHECK);
        while bell.wait(glance) {
            if self.step == Step::Sync && !bell.pause(engine.options().sync_interval) {
                return;
            }
            match self.work() {
                Ok(worked) => {
                    retry = FIRST_RETRY;
                    is_full &= !worked;
                }
                Err(Error::Closed) => return,
                // Those who waited were told, and those behind them should not wait to be told the same. Nor
                // should a full disk be filled with reports.
                Err(failure) if self.step == Step::Commit && failure.is_harmless() => {
                    if !is_full {
                        on_failure(self.step, &failure);
                    }
                    is_full = true;
                    bell.ring();
                }
                Err(failure) => {
                    // Whoever needs what could not be prepared tries again, and says so.
                    if self.step != Step::Prepare || !failure.is_harmless() {
                        on_failure(self.step, &failure);
                    }
                    if engine.poisoned().is_some() {
                        return bells.stop();
                    }
                    if !bell.pause(retry) {
                        return;
                    }
                    retry = (retry * 2).min(LAST_RETRY);
                    bell.ring();
                }
            }
        }
    }

    /// Works until there is nothing to do, or, since what is written meanwhile may wait an interval, syncs
    /// once. Answers whether there was anything.
    fn work(&self) -> Result<bool> {
        let mut worked = false;
        while self.shared.engine.step(self.step)? == StepOutcome::Worked {
            worked = true;
            if self.step == Step::Sync || self.shared.bells.of(self.step).is_stopped() {
                break;
            }
        }
        Ok(worked)
    }
}

/// What the threads sleep on.
#[derive(Debug, Default)]
struct Bells([Bell; Step::ALL.len()]);

impl Bells {
    fn of(&self, step: Step) -> &Bell {
        &self.0[step as usize]
    }

    fn stop(&self) {
        for bell in &self.0 {
            bell.stop();
        }
    }
}

/// Remembers that it rang until someone waits.
#[derive(Debug, Default)]
struct Bell {
    state: Mutex<BellState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BellState {
    rung: bool,
    stopped: bool,
}

impl Bell {
    fn ring(&self) {
        self.state.lock().rung = true;
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    fn is_stopped(&self) -> bool {
        self.state.lock().stopped
    }

    /// Waits for the bell, or for the time to pass; false when it is time to stop. One ring wakes one of many.
    fn wait(&self, most: Option<Duration>) -> bool {
        let deadline = most.map(|most| Instant::now() + most);
        let mut state = self.state.lock();
        while !state.rung && !state.stopped {
            match deadline {
                None => self.changed.wait(&mut state),
                Some(deadline) if self.changed.wait_until(&mut state, deadline).timed_out() => break,
                Some(_) => {}
            }
        }
        state.rung = false;
        !state.stopped
    }

    /// Waits for the time to pass, whether it rings or not; false when it is time to stop.
    fn pause(&self, duration: Duration) -> bool {
        let deadline = Instant::now() + duration;
        let mut state = self.state.lock();
        while !state.stopped {
            if self.changed.wait_until(&mut state, deadline).timed_out() {
                break;
            }
        }
        !state.stopped
    }
}
