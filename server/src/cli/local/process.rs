//! Starting, finding and signalling processes.

use std::{
    fs::{self, File},
    net::TcpListener,
    num::NonZero,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};

use super::directory::Directory;

/// A process, told from later ones of the same id by when it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Recorded {
    pub(super) pid: i32,
    /// Clock ticks from boot to its start.
    pub(super) started: u64,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Paused,
    Stopped,
}

impl Recorded {
    /// What it does now.
    pub(super) fn state(self) -> State {
        match read_stat(self.pid) {
            Some(stat) if stat.started == self.started => match stat.letter {
                'T' | 't' => State::Paused,
                // Dead, but nobody has asked for its exit status yet. The first thread may be dead before the others, which
                // hold the sockets as long as there is one.
                'Z' | 'X' | 'x' if stat.threads <= 1 => State::Stopped,
                _ => State::Running,
            },
            _ => State::Stopped,
        }
    }

    /// Sends it a signal. One that has ended meanwhile is fine.
    pub(super) fn send(self, signal: Signal) -> anyhow::Result<()> {
        let Some(pid) = Pid::from_raw(self.pid) else { return Ok(()) };
        if self.state() == State::Stopped {
            return Ok(());
        }
        match kill_process(pid, signal) {
            Err(error) if error != rustix::io::Errno::SRCH => {
                Err(error).with_context(|| format!("cannot signal process {}", self.pid))
            }
            _ => Ok(()),
        }
    }

    /// Waits until it is in a state; says whether it got there.
    pub(super) fn wait_for(self, wanted: State, patience: Duration) -> bool {
        let start = Instant::now();
        loop {
            if self.state() == wanted {
                return true;
            }
            if start.elapsed() >= patience {
                return false;
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// What `/proc/PID/stat` says of a process.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    letter: char,
    threads: u32,
    /// As of [`Recorded`].
    started: u64,
}

fn read_stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name of the program is in parentheses and may hold anything, parentheses and blanks too.
fn parse_stat(stat: &str) -> Option<Stat> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let letter = fields.next()?.chars().next()?;
    // Fields are counted from 1 in proc(5): the state is the 3rd, the number of threads the 20th, the start time the 22nd.
    let threads = fields.nth(20 - 4)?.parse().ok()?;
    let started = fields.nth(22 - 21)?.parse().ok()?;
    Some(Stat { letter, threads, started })
}

/// A node that was just started.
#[derive(Debug)]
pub(super) struct Started {
    pub(super) node: u32,
    /// Where the log of this start begins.
    pub(super) log_offset: u64,
    child: Child,
}

impl Started {
    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(Some(status)) => Some(status.to_string()),
            Ok(None) => None,
            Err(error) => Some(error.to_string()),
        }
    }
}

/// Starts a node, detached from this process and its terminal.
pub(super) fn start(directory: &Directory, node: u32) -> anyhow::Result<Started> {
    let own = directory.make_node(node)?;
    let log_path = directory.log(node);
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log_path)
        .with_context(|| format!("cannot write {}", log_path.display()))?;
    let log_offset = log.metadata()?.len();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["serve", "--new-session"]);
    for setting in settings(directory, node)? {
        command.args(["--set", &setting]);
    }
    command.current_dir(own).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command.spawn().context("cannot start a process")?;
    let pid = i32::try_from(child.id())?;
    // It cannot be gone: even if it has ended, it is remembered until `ended` asks for its exit status.
    let Stat { started, .. } =
        read_stat(pid).with_context(|| format!("/proc/{pid}/stat tells no start time: is this Linux?"))?;
    directory.record(node, Recorded { pid, started })?;
    Ok(Started { node, log_offset, child })
}

/// The settings of a node, the user's last.
fn settings(directory: &Directory, node: u32) -> anyhow::Result<Vec<String>> {
    let cluster = &directory.cluster;
    let spot = cluster.topology.spot(node);
    let data = directory.data(node);
    let data = data.to_str().with_context(|| format!("{} is not UTF-8", data.display()))?;
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let mut settings = vec![
        format!("cluster.seeds={}", cluster.topology.spot(1).peer),
        format!("cluster.default_replication_factor={}", cluster.default_replication_factor),
        format!("node.data_directory={data}"),
        format!("http.listen={}", spot.http),
        format!("peer.listen={}", spot.peer),
        format!("peer.advertise={}", spot.peer),
        format!("node.request_threads={}", cluster.topology.request_threads(processors)),
    ];
    if cluster.topology.has_own_addresses() {
        // Who is added later does not change what the cluster was formed with.
        let factors = cluster.default_replication.iter().map(|(name, factor)| format!("{name}={factor}"));
        let factors: Vec<String> = factors.collect();
        settings.push("snitch.kind=rack-inferring".to_owned());
        settings.push(format!("cluster.default_replication={}", factors.join(",")));
    }
    settings.extend(cluster.set.iter().cloned());
    Ok(settings)
}

/// Checks that nobody else listens where a node is to listen.
pub(super) fn check_addresses(directory: &Directory, node: u32) -> anyhow::Result<()> {
    let topology = &directory.cluster.topology;
    let spot = topology.spot(node);
    for (address, whose, option) in
        [(spot.http, "clients", "--http-base"), (spot.peer, "other nodes", "--peer-base")]
    {
        if let Err(error) = TcpListener::bind(address) {
            let otherwise = if topology.has_own_addresses() {
                String::new()
            } else {
                format!(", or make another cluster with --dir and {option}")
            };
            anyhow::bail!(
                "node {node} cannot listen for {whose} on {address}: {error}; stop what listens there{otherwise}"
            );
        }
    }
    Ok(())
}

/// A signal by name (`KILL`, `SIGKILL`) or number.
pub(super) fn signal(text: &str) -> Result<Signal, String> {
    const NAMES: &[(&str, Signal)] = &[
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("ABRT", Signal::ABORT),
        ("KILL", Signal::KILL),
        ("USR1", Signal::USR1),
        ("SEGV", Signal::SEGV),
        ("USR2", Signal::USR2),
        ("TERM", Signal::TERM),
        ("CONT", Signal::CONT),
        ("STOP", Signal::STOP),
    ];
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|(_, signal)| *signal);
    named.or_else(|| text.parse().ok().and_then(Signal::from_named_raw)).ok_or_else(|| {
        let known: Vec<&str> = NAMES.iter().map(|(name, _)| *name).collect();
        format!("no such signal; there are {}", known.join(", "))
    })
}

/// Whether a signal ends a node, so that its end is worth waiting for.
pub(super) fn is_deadly(signal: Signal) -> bool {
    ![Signal::HUP, Signal::CONT, Signal::STOP].contains(&signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_a_later_one_of_the_same_id() {
        let pid = i32::try_from(std::process::id()).expect("a process id");
        let Stat { started, .. } = read_stat(pid).expect("Linux");
        assert_eq!(Recorded { pid, started }.state(), State::Running);
        let earlier = Recorded { pid, started: started - 1 };
        assert_eq!(earlier.state(), State::Stopped);
        earlier.send(Signal::KILL).expect("nothing is sent to the wrong one");
    }

    #[test]
    fn a_process_is_running_then_paused_then_stopped() {
        let mut child = Command::new("sleep").arg("60").spawn().expect("sleep");
        let pid = i32::try_from(child.id()).expect("a process id");
        let Stat { started, .. } = read_stat(pid).expect("Linux");
        let process = Recorded { pid, started };
        let patience = Duration::from_secs(20);
        process.send(Signal::STOP).expect("sent");
        assert!(process.wait_for(State::Paused, patience));
        process.send(Signal::CONT).expect("sent");
        assert!(process.wait_for(State::Running, patience));
        process.send(Signal::KILL).expect("sent");
        assert!(process.wait_for(State::Stopped, patience), "also before anybody asks for its exit status");
        child.wait().expect("an exit status");
        assert_eq!(process.state(), State::Stopped);
    }

    #[test]
    fn a_program_may_have_any_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 777 20";
        assert_eq!(
            parse_stat(&format!("12 (a) b (c) {rest}")),
            Some(Stat { letter: 'S', threads: 17, started: 777 })
        );
        for torn in ["", "12", "12 (a)", "12 (a) S 1 2"] {
            assert_eq!(parse_stat(torn), None, "{torn:?}");
        }
    }

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["TERM", "sigterm", "15"] {
            assert_eq!(signal(text), Ok(Signal::TERM));
        }
        assert!(signal("TREM").expect_err("unknown").contains("KILL"));
        assert!(signal("0").is_err());
    }
}
