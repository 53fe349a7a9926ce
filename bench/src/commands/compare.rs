//! `helenus-bench compare`.

use std::{
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, value_parser};
use helenus_bench::{
    client::{Endpoint, Protocol},
    compare::{Figures, Kind, Lineup, TargetSpec, ratios},
    properties::Properties,
    workload::Phase,
};

use super::{
    interrupt::Interrupt,
    load::{Load, Servers},
    misused, output,
    progress::Observer,
};

/// Arguments of `compare`.
#[derive(Args)]
#[command(
    before_help = "Example: helenus-bench compare config/compare.toml -P config/workloads/workloada \
                   -p recordcount=10000 --duration 20s --warmup 5s --rounds 3",
    after_help = "CPU/op is the processor time that this whole machine spent during the run, warm-up included and \
                  the load generator left out, over the operations: that of the servers only where they run on \
                  this machine and little else does. Of a command it is what the command prints."
)]
pub(crate) struct Arguments {
    /// Names the targets; config/compare.toml is an example
    lineup: PathBuf,

    /// How often each target has its turn; the table shows medians
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u32).range(1..=100))]
    rounds: u32,

    #[command(flatten)]
    load: Load,
}

/// How long a target may take to listen.
const START_TIME: Duration = Duration::from_secs(60);

/// Loads each target in turn; true if each showed figures in each round.
pub(crate) fn execute(arguments: &Arguments) -> anyhow::Result<bool> {
    let text = fs::read_to_string(&arguments.lineup)
        .with_context(|| format!("cannot read {}", arguments.lineup.display()));
    let text = misused(text)?;
    let lineup = misused(Lineup::parse(arguments.lineup.clone(), &text).map_err(Into::into))?;
    if arguments.load.duration.is_none() {
        return misused(Err(anyhow!("a comparison needs --duration")));
    }
    misused(arguments.load.check())?;
    let mut results: Vec<(String, Vec<Figures>)> =
        lineup.targets.iter().map(|target| (target.name.clone(), Vec::new())).collect();
    let interrupt = Interrupt::listen().context("signals")?;
    let mut is_complete = true;
    'rounds: for round in 1..=arguments.rounds {
        for (target, (name, figures)) in lineup.targets.iter().zip(&mut results) {
            match turn(arguments, target, &interrupt) {
                Ok(turn) => {
                    eprintln!("round {round}, {name}: {turn}");
                    figures.push(turn);
                }
                Err(error) => {
                    eprintln!("round {round}, {name}: {error:#}");
                    is_complete = false;
                }
            }
            if interrupt.is_set() {
                is_complete = false;
                break 'rounds;
            }
        }
    }
    output::print(&(ratios(&results) + "\n"))?;
    Ok(is_complete)
}

fn turn(arguments: &Arguments, target: &TargetSpec, interrupt: &Interrupt) -> anyhow::Result<Figures> {
    let properties = arguments.load.properties()?;
    let start = || {
        let Some(command) = &target.start else { return Ok(()) };
        shell(&filled(command, &arguments.load, &properties)?).map(drop)
    };
    let figures = start().context("start").and_then(|()| measure(arguments, target, &properties, interrupt));
    let stopped = target.stop.as_deref().map_or(Ok(()), |command| shell(command).map(drop)).context("stop");
    let figures = figures?;
    stopped?;
    Ok(figures)
}

/// A command, with the load in the place of what stands for it.
fn filled(command: &str, load: &Load, properties: &Properties) -> anyhow::Result<String> {
    Ok(command
        .replace("{threads}", &load.threads.unwrap_or(16).to_string())
        .replace("{seconds}", &load.duration.unwrap_or_default().as_secs().to_string())
        .replace("{fieldcount}", &properties.count("fieldcount", 10)?.to_string())
        .replace("{fieldlength}", &properties.count("fieldlength", 100)?.to_string()))
}

fn measure(
    arguments: &Arguments,
    target: &TargetSpec,
    properties: &Properties,
    interrupt: &Interrupt,
) -> anyhow::Result<Figures> {
    let load = &arguments.load;
    if target.kind == Kind::Command {
        let command = target.command.as_deref().unwrap_or_default();
        let output = shell(&filled(command, load, properties)?)?;
        return Figures::of_output(&output).context("the command printed no `op rate : number`");
    }
    await_listening(&target.endpoints)?;
    let table = properties.text("table").unwrap_or("usertable").to_owned();
    let servers = || Servers {
        endpoints: target.endpoints.clone(),
        protocol: match target.kind {
            Kind::Etcd => Protocol::Etcd,
            _ => Protocol::Helenus { table: table.clone(), consistency: target.consistency.clone() },
        },
        sync_mode: target.sync_mode.clone(),
        label: Some(target.name.clone()),
        halfway: None,
    };
    let mut observer = Observer::new(None, None, &target.name);
    let loaded =
        load.without_pace().carry_out(properties, Phase::Load, servers(), &mut observer, interrupt)?;
    ensure!(loaded.failed == 0, "{} records could not be inserted", loaded.failed);
    let run = load.carry_out(properties, Phase::Run, servers(), &mut observer, interrupt)?;
    ensure!(!interrupt.is_set(), "interrupted");
    observer.finish()?;
    Ok(Figures::of_run(&run))
}

/// Runs a command to its end; its standard output. What it leaves in the background must not hold that open.
fn shell(command: &str) -> anyhow::Result<String> {
    let output =
        Command::new("sh").args(["-c", command]).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    ensure!(output.status.success(), "{command:?} failed: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn await_listening(endpoints: &[String]) -> anyhow::Result<()> {
    let deadline = Instant::now() + START_TIME;
    for endpoint in endpoints {
        let address = Endpoint::resolve(endpoint)?.address;
        while let Err(error) = TcpStream::connect_timeout(&address, Duration::from_secs(1)) {
            if Instant::now() > deadline {
                bail!("{endpoint} does not listen after {} s: {error}", START_TIME.as_secs());
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}
