//! The commands that change something, and `logs`: up, down, logs, kill, start, pause, resume, add.

use std::{
    env,
    fs::File,
    io,
    io::Write,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::Signal;

use super::{
    Up,
    directory::Directory,
    process::{self, Recorded, Started, State},
    shell,
    status::{self, state},
    topology::Topology,
    watch::{self, Goal},
};
use crate::{
    cli::{
        Usage,
        output::{self, counted, is_or_are},
    },
    config::{Effective, Report, Sources},
};

/// How long `up` waits for the cluster.
const UP_PATIENCE: Duration = Duration::from_secs(60);

/// How long `start` and `add` wait for their node.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// How long nodes may take to stop on SIGTERM.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// How long the operating system may take to do what cannot be refused.
const SIGNAL_PATIENCE: Duration = Duration::from_secs(5);

/// Starts what is not running of a cluster, which is made if there is none, and waits until it is whole.
///
/// # Errors
/// When the cluster is of another shape, an address is taken, or a node fails.
pub fn up(path: &Path, up: &Up) -> anyhow::Result<()> {
    check_settings(up)?;
    let made = Directory::open_if_made(path)?;
    let topology = made.as_ref().map_or_else(|| Topology::asked(up), |made| made.cluster.topology.clone());
    if let Some(what) = topology.without_effect(up) {
        return Err(Usage(what).into());
    }
    if made.is_none() {
        // What cannot be made leaves no trace.
        topology.check().map_err(Usage)?;
    }
    let lock = Directory::lock(path)?;
    let made = Directory::open_if_made(path)?;
    let is_new = made.is_none();
    let mut directory = made.unwrap_or_else(|| Directory::planned(path, Topology::asked(up), up.set.clone()));
    if let Some(what) = directory.cluster.topology.contradiction(up) {
        anyhow::bail!(
            "the cluster in {} was made otherwise ({what}); leave the option out, or begin anew after `{} down --wipe`",
            path.display(),
            shell::local(path)
        );
    }
    let stopped: Vec<u32> =
        directory.nodes().filter(|node| state(&directory, *node).1 == State::Stopped).collect();
    adopt_settings(&mut directory, up, &stopped)?;
    let paused: Vec<u32> =
        directory.nodes().filter(|node| state(&directory, *node).1 == State::Paused).collect();
    for node in &stopped {
        process::check_addresses(&directory, *node)?;
    }
    if is_new {
        directory.save()?;
    }
    for node in &paused {
        if let (Some(process), _) = state(&directory, *node) {
            process.send(Signal::CONT)?;
            output::note(&format!("node {node} was paused and goes on"));
        }
    }
    if stopped.is_empty() && paused.is_empty() {
        output::note(&format!("the cluster in {} is up already", path.display()));
    } else {
        let count = directory.nodes().count();
        let (nodes, be) = (counted(count, "node"), is_or_are(count));
        output::note(&format!("waiting until {nodes} {be} ready and see each other …"));
    }
    bring_up(&directory, &stopped, lock).map_err(|error| take_back(&directory, &stopped, &error))?;
    output::answer(&format!("{}\n\n{}", status::table(&directory), status::banner(&directory)))?;
    Ok(())
}

/// Starts nodes, and waits until the cluster is whole.
fn bring_up(directory: &Directory, stopped: &[u32], lock: File) -> anyhow::Result<()> {
    let mut started = Vec::new();
    for node in stopped {
        started.push(process::start(directory, *node)?);
    }
    drop(lock);
    let nodes: Vec<u32> = directory.nodes().collect();
    watch::wait(directory, &nodes, &mut started, Goal::Whole(nodes.len()), UP_PATIENCE)
}

/// An `up` that failed leaves no process of its own behind.
fn take_back(directory: &Directory, stopped: &[u32], error: &anyhow::Error) -> anyhow::Error {
    let taken_back =
        Directory::lock(directory.path()).and_then(|_lock| stop(directory, stopped.iter().copied()));
    let what = match taken_back {
        Ok(0) => "no node was left running by it".to_owned(),
        Ok(count) => {
            format!("the {} that it had started {} stopped again", counted(count, "node"), is_or_are(count))
        }
        Err(why) => format!("nodes that it had started may be running still ({why:#})"),
    };
    anyhow::anyhow!("{error:#}\n\n{what}; the logs are {}/node*/log", directory.path().display())
}

/// A wrong setting is better said here than in the log of each node.
fn check_settings(up: &Up) -> Result<(), Report> {
    let environment = env::vars_os().collect();
    Effective::load(&Sources { file: None, environment, overrides: up.set.clone() }).map(drop)
}

/// Settings of a later `up` replace those of an earlier one, as long as no node runs with them.
fn adopt_settings(directory: &mut Directory, up: &Up, stopped: &[u32]) -> anyhow::Result<()> {
    if up.set.is_empty() || up.set == directory.cluster.set {
        return Ok(());
    }
    if stopped.len() < directory.nodes().count() {
        anyhow::bail!(
            "nodes are running with other settings; `{} down` comes before another --set",
            shell::local(directory.path())
        );
    }
    directory.cluster.set.clone_from(&up.set);
    directory.save()
}

/// Stops all nodes, paused ones too, and removes the directory if told to.
///
/// # Errors
/// When there is no cluster, or a process cannot be stopped.
pub fn down(path: &Path, wipe: bool) -> anyhow::Result<()> {
    Directory::open(path)?;
    let _lock = Directory::lock(path)?;
    let directory = Directory::open(path)?;
    let mut text = match stop(&directory, directory.nodes())? {
        0 => "no node was running".to_owned(),
        count => format!("stopped {}", counted(count, "node")),
    };
    if wipe {
        text += &if directory.wipe()? {
            format!("; removed {}", path.display())
        } else {
            format!("; removed all data, but {} holds other files too", path.display())
        };
    }
    output::answer(&text)?;
    Ok(())
}

/// Stops those of the nodes that have a process, and says how many.
fn stop(directory: &Directory, nodes: impl Iterator<Item = u32> + Clone) -> anyhow::Result<usize> {
    let process = |node| Some((node, state(directory, node).0?));
    let alive: Vec<(u32, Recorded)> = nodes.clone().filter_map(process).collect();
    for (_, process) in &alive {
        process.send(Signal::TERM)?;
        // A paused process would take its SIGTERM only when it goes on.
        process.send(Signal::CONT)?;
    }
    let start = Instant::now();
    for (node, process) in &alive {
        if !process.wait_for(State::Stopped, STOP_PATIENCE.saturating_sub(start.elapsed())) {
            output::note(&format!("node {node} does not stop; killing it"));
            process.send(Signal::KILL)?;
        }
    }
    for (node, process) in &alive {
        if !process.wait_for(State::Stopped, SIGNAL_PATIENCE) {
            anyhow::bail!("process {} of node {node} cannot be killed", process.pid);
        }
    }
    for node in nodes {
        directory.forget(node)?;
    }
    Ok(alive.len())
}

/// Prints the log of a node.
///
/// # Errors
/// When there is none.
pub fn logs(path: &Path, node: u32, follow: bool) -> anyhow::Result<()> {
    let directory = open_node(path, node)?;
    let log = directory.log(node);
    let mut file = match File::open(&log) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => anyhow::bail!("node {node} has no log yet"),
        other => other.with_context(|| format!("cannot read {}", log.display()))?,
    };
    let mut out = io::stdout().lock();
    loop {
        io::copy(&mut file, &mut out)?;
        out.flush()?;
        if !follow {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(200));
    }
}

/// Sends a signal to a node and, if that ends it, waits for its end.
///
/// # Errors
/// When the node is not running.
pub fn kill(path: &Path, node: u32, signal: Signal) -> anyhow::Result<()> {
    let directory = open_node(path, node)?;
    let (process, before) = alive(&directory, node)?;
    process.send(signal)?;
    if !process::is_deadly(signal) {
        output::answer(&format!("node {node} got the signal"))?;
        return Ok(());
    }
    if before == State::Paused && signal != Signal::KILL {
        output::answer(&format!("node {node} is paused and gets the signal when it goes on"))?;
        return Ok(());
    }
    let patience = if signal == Signal::KILL { SIGNAL_PATIENCE } else { STOP_PATIENCE };
    if !process.wait_for(State::Stopped, patience) {
        anyhow::bail!("node {node} got the signal, but is still running after {} s", patience.as_secs());
    }
    output::answer(&format!("node {node} is stopped"))?;
    Ok(())
}

/// Starts a stopped node and waits until it is ready.
///
/// # Errors
/// When it is paused, or does not become ready.
pub fn start(path: &Path, node: u32) -> anyhow::Result<()> {
    open_node(path, node)?;
    let lock = Directory::lock(path)?;
    let directory = open_node(path, node)?;
    let mut started = Vec::new();
    let local = shell::local(path);
    let address = directory.cluster.topology.spot(node).http;
    match settled(&directory, node) {
        State::Running if watch::is_draining(address) => anyhow::bail!(
            "node {node} is drained and takes no more requests; `{local} kill {node} --signal TERM` ends it, and \
             `{local} start {node}` starts it again"
        ),
        State::Running => output::note(&format!("node {node} is running already")),
        State::Paused => anyhow::bail!("node {node} is paused; `{local} resume {node}` lets it go on"),
        State::Stopped => {
            process::check_addresses(&directory, node)?;
            started.push(process::start(&directory, node)?);
        }
    }
    drop(lock);
    wait_until_ready(&directory, node, &mut started)
}

/// What a node does. One that runs may have been told to stop, so if it is not ready it is given the time for that.
fn settled(directory: &Directory, node: u32) -> State {
    let address = directory.cluster.topology.spot(node).http;
    let agent = watch::agent();
    let begun = Instant::now();
    let mut is_told = false;
    loop {
        let now = state(directory, node).1;
        let is_over = now != State::Running || begun.elapsed() >= STOP_PATIENCE;
        if is_over || watch::observe(&agent, address).ready || watch::is_draining(address) {
            return now;
        }
        if !is_told {
            output::note(&format!("node {node} is running and not ready: waiting until it is, or has ended"));
            is_told = true;
        }
        thread::sleep(Duration::from_millis(50));
    }
}

/// Starts a further node and waits until it is ready.
///
/// # Errors
/// When there is no cluster or no place for the node, or it does not become ready.
pub fn add(path: &Path) -> anyhow::Result<()> {
    Directory::open(path)?;
    let lock = Directory::lock(path)?;
    let mut directory = Directory::open(path)?;
    directory.cluster.topology.nodes += 1;
    directory.cluster.topology.check().map_err(anyhow::Error::msg)?;
    let node = directory.cluster.topology.nodes;
    process::check_addresses(&directory, node)?;
    directory.save()?;
    let mut started = vec![process::start(&directory, node)?];
    drop(lock);
    wait_until_ready(&directory, node, &mut started)?;
    output::note(
        "It counts in writes from now on: each waits for one replica more where the node is to become one. Once the \
         cluster holds records of clients it stays joining, since nothing moves them to it yet. To be rid of it: \
         `helenus local kill N`; the others evict it after 30 s.",
    );
    Ok(())
}

fn wait_until_ready(directory: &Directory, node: u32, started: &mut [Started]) -> anyhow::Result<()> {
    let running = directory.nodes().filter(|node| state(directory, *node).1 == State::Running).count();
    watch::wait(directory, &[node], started, Goal::Ready(running), START_PATIENCE)?;
    let spot = directory.cluster.topology.spot(node);
    output::answer(&format!("node {node} is ready: http://{}", spot.http))?;
    Ok(())
}

/// Stops a node in its tracks.
///
/// # Errors
/// When it is not running.
pub fn pause(path: &Path, node: u32) -> anyhow::Result<()> {
    turn(path, node, Signal::STOP, State::Paused, "paused")
}

/// Lets a paused node go on.
///
/// # Errors
/// When it is not running.
pub fn resume(path: &Path, node: u32) -> anyhow::Result<()> {
    turn(path, node, Signal::CONT, State::Running, "running")
}

fn turn(path: &Path, node: u32, signal: Signal, wanted: State, name: &str) -> anyhow::Result<()> {
    let directory = open_node(path, node)?;
    let (process, _) = alive(&directory, node)?;
    process.send(signal)?;
    if !process.wait_for(wanted, SIGNAL_PATIENCE) {
        anyhow::bail!("node {node} got the signal, but is not {name}");
    }
    output::answer(&format!("node {node} is {name}"))?;
    Ok(())
}

fn open_node(path: &Path, node: u32) -> anyhow::Result<Directory> {
    let directory = Directory::open(path)?;
    directory.check_node(node)?;
    Ok(directory)
}

/// The process of a node that is not stopped.
fn alive(directory: &Directory, node: u32) -> anyhow::Result<(Recorded, State)> {
    match state(directory, node) {
        (Some(process), state) => Ok((process, state)),
        (None, _) => {
            let local = shell::local(directory.path());
            anyhow::bail!("node {node} is not running; `{local} start {node}` starts it")
        }
    }
}
