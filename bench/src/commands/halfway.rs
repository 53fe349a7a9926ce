//! `--halfway`: something that is done to the servers in the middle of a run.

use std::{
    io,
    process::{Command, Stdio},
    sync::mpsc::{RecvTimeoutError, Sender, channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use helenus_bench::{load::HEAD_START, measurement::Event};

/// A command that waits for its time.
pub(super) struct Halfway {
    /// Dropped when the run is over: then it is too late.
    is_over: Sender<()>,
    thread: JoinHandle<Option<Event>>,
}

impl Halfway {
    /// To run when half of `duration` after `warmup` is over, of a load that starts now.
    pub(super) fn schedule(command: &str, warmup: Duration, duration: Duration) -> io::Result<Self> {
        let measured_from = Instant::now() + HEAD_START + warmup;
        let wait = HEAD_START + warmup + duration / 2;
        let (is_over, over) = channel::<()>();
        let command = command.to_owned();
        let thread = thread::Builder::new().name("halfway".to_owned()).spawn(move || {
            if over.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                return None;
            }
            let at_s = measured_from.elapsed().as_secs_f64();
            // Standard output belongs to the result.
            let mut shell = Command::new("sh");
            let status = shell.args(["-c", &command]).stdin(Stdio::null()).stdout(Stdio::null()).status();
            Some(Event { at_s, command, succeeded: status.is_ok_and(|status| status.success()) })
        })?;
        Ok(Self { is_over, thread })
    }

    /// The run is over; what was done, once the command has ended.
    pub(super) fn finish(self) -> Option<Event> {
        drop(self.is_over);
        self.thread.join().ok().flatten()
    }
}
