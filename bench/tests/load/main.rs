//! The command line against a server that stands in for a cluster: workloads, failures, reports.

mod misuse;
mod reports;
mod stall;
mod stand_in;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead, BufReader},
    process::{Command, Output, Stdio},
};

use axum::body::Bytes;
use helenus_bench::{client::Outcome, compare::Figures, measurement::RunResult};
use rustix::process::{Pid, Signal, kill_process};
use stand_in::StandIn;

fn workload_file(letter: char) -> String {
    format!("{}/../config/workloads/workload{letter}", env!("CARGO_MANIFEST_DIR"))
}

fn bench(server: &StandIn, line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_helenus-bench"));
    command.args(line.split_whitespace()).args(["--endpoints", &server.url()]);
    command.output().expect("helenus-bench runs")
}

fn output(server: &StandIn, line: &str) -> String {
    let output = bench(server, line);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
    String::from_utf8(output.stdout).expect("text")
}

fn result(server: &StandIn, line: &str) -> RunResult {
    serde_json::from_str(&output(server, &format!("{line} --format json"))).expect("a result")
}

/// A parser for the lines of YCSB: `[METRIC], measurement, value`. Anything else fails.
fn parse_ycsb(text: &str) -> BTreeMap<(String, String), f64> {
    let mut values = BTreeMap::new();
    for line in text.lines() {
        let (metric, rest) = line.strip_prefix('[').and_then(|line| line.split_once("], ")).expect(line);
        let (measurement, value) = rest.split_once(", ").expect(line);
        values.insert((metric.to_owned(), measurement.to_owned()), value.parse().expect(line));
    }
    values
}

#[test]
fn a_load_creates_the_table_with_the_default_factor_and_inserts_every_record_once() {
    let server = StandIn::start();
    let run = result(&server, &format!("load -P {} -p recordcount=200", workload_file('a')));
    let contents = server.contents();
    assert_eq!(contents.tables["usertable"]["replication"]["factor"], 3);
    let expected: BTreeSet<&String> = contents.records.keys().collect();
    assert_eq!((contents.written.len(), expected.len()), (200, 200));
    assert!(contents.records.contains_key("user6284781860667377211"));
    // Ten fields of a hundred bytes, each with its name, `=` and a line end.
    assert!(contents.records.values().all(|value| value.len() == 10 * (6 + 1 + 100 + 1)));
    assert_eq!((run.succeeded, run.failed, run.server.factor.as_deref()), (200, 0, Some("3")));
}

#[test]
fn every_workload_runs_all_its_operations_and_finds_what_it_reads() {
    let server = StandIn::start();
    output(&server, &format!("load -P {}", workload_file('a')));
    for letter in 'a'..='f' {
        let run = result(&server, &format!("run -P {} -threads 4 -t", workload_file(letter)));
        assert_eq!((run.succeeded, run.failed), (1_000, 0), "workload {letter}: {:?}", run.operations);
    }
    let contents = server.contents();
    assert!(contents.scans.iter().all(|limit| (1..=100).contains(limit)) && contents.scans.len() > 900);
    assert!(contents.records.len() > 1_000, "D and E insert");
}

#[test]
fn lines_of_ycsb_parse_and_add_up() {
    let server = StandIn::start();
    output(&server, &format!("load -P {}", workload_file('a')));
    let lines = parse_ycsb(&output(&server, &format!("run -P {} --format ycsb", workload_file('f'))));
    let value = |metric: &str, measurement: &str| lines[&(metric.to_owned(), measurement.to_owned())];
    assert!(value("OVERALL", "RunTime(ms)") > 0.0 && value("OVERALL", "Throughput(ops/sec)") > 0.0);
    let (reads, changes) = (value("READ", "Operations"), value("READ-MODIFY-WRITE", "Operations"));
    assert_eq!((reads, value("UPDATE", "Operations")), (1_000.0, changes));
    assert_eq!(value("READ", "Return=OK"), reads);
    let ordered = [
        "MinLatency(us)",
        "50thPercentileLatency(us)",
        "95thPercentileLatency(us)",
        "99thPercentileLatency(us)",
        "MaxLatency(us)",
    ]
    .map(|measurement| value("READ", measurement));
    assert!(ordered.is_sorted(), "{ordered:?}");
}

#[test]
fn both_intervals_have_their_names() {
    let server = StandIn::start();
    output(&server, &format!("load -P {}", workload_file('c')));
    let line = format!(
        "run -P {} -p operationcount=100 -target 2000 --interval both --format ycsb",
        workload_file('c')
    );
    let lines = parse_ycsb(&output(&server, &line));
    let metrics: BTreeSet<&str> = lines.keys().map(|(metric, _)| metric.as_str()).collect();
    assert_eq!(metrics, BTreeSet::from(["Intended-READ", "OVERALL", "READ"]));
}

#[test]
fn failures_are_told_by_kind_and_are_no_successes() {
    let server = StandIn::start();
    output(&server, &format!("load -P {}", workload_file('c')));
    for (status, name, kind) in [
        (503, "unavailable", "unavailable"),
        (504, "read-timeout", "timeout"),
        (503, "overloaded", "overloaded"),
        (500, "read-failure", "other"),
    ] {
        server.contents().refuses = Some((status, name));
        let run =
            bench(&server, &format!("run -P {} -p operationcount=50 --format json", workload_file('c')));
        assert!(!run.status.success(), "nothing succeeded");
        let run: RunResult = serde_json::from_slice(&run.stdout).expect("a result");
        assert_eq!((run.succeeded, run.failed, run.throughput()), (0, 50, 0.0));
        let [read] = run.operations.as_slice() else { panic!("{:?}", run.operations) };
        let outcomes: Vec<_> =
            read.outcomes.iter().map(|(outcome, &count)| (outcome.name(), count)).collect();
        assert_eq!(outcomes, [(kind, 50)]);
        assert_eq!((read.latency.count, read.failed.count), (0, 50));
        assert_eq!(read.details[&format!("{status} {name}")], 50);
    }
}

#[test]
fn a_read_modify_write_fails_as_its_part_did() {
    let server = StandIn::start();
    server.contents().refuses = Some((503, "unavailable"));
    let only = "-p readproportion=0 -p updateproportion=0 -p readmodifywriteproportion=1";
    let run = bench(&server, &format!("run {only} -p recordcount=10 -p operationcount=20 --format json"));
    let run: RunResult = serde_json::from_slice(&run.stdout).expect("a result");
    let kinds: Vec<_> =
        run.operations.iter().map(|kind| (kind.operation.name(), kind.outcomes.clone())).collect();
    let unavailable = [(Outcome::Unavailable, 20)].into();
    assert_eq!(kinds, [("READ", BTreeMap::clone(&unavailable)), ("READ-MODIFY-WRITE", unavailable)]);
    assert_eq!(run.failed, 20);
}

#[test]
fn a_load_ends_at_a_record_that_cannot_be_inserted_unless_told_to_go_on() {
    let server = StandIn::start();
    server.contents().refuses = Some((503, "unavailable"));
    let failures = |properties: &str| {
        let run = bench(&server, &format!("load -p recordcount=500 --threads 2 --format json {properties}"));
        assert!(!run.status.success(), "a load that lacks records has failed");
        serde_json::from_slice::<RunResult>(&run.stdout).expect("a result").failed
    };
    assert!((1..=2).contains(&failures("")));
    assert_eq!(failures("-p core_workload_insertion_keep_going_on_error=true"), 500);
}

#[test]
fn a_failed_insert_is_tried_again_as_often_as_asked() {
    let server = StandIn::start();
    server.contents().refuses = Some((503, "unavailable"));
    let retries = "-p core_workload_insertion_retry_limit=2 -p core_workload_insertion_retry_interval=0";
    let run = bench(&server, &format!("load -p recordcount=500 --threads 1 --format ycsb {retries}"));
    let lines = parse_ycsb(&String::from_utf8(run.stdout).expect("text"));
    assert_eq!(lines[&("INSERT".to_owned(), "Return=SERVICE_UNAVAILABLE".to_owned())], 3.0);
}

#[test]
fn a_dead_endpoint_leaves_its_clients_to_the_others() {
    let server = StandIn::start();
    let dead = "http://127.0.0.1:1";
    let run = result(&server, &format!("load -p recordcount=100 --endpoints {dead}"));
    assert_eq!((run.succeeded, run.failed), (100, 0));
}

#[test]
fn where_the_ring_is_not_to_be_had_clients_keep_to_their_endpoints() {
    let server = StandIn::start();
    let line = "load -p recordcount=100 --routing token-aware --format json";
    let output = bench(&server, line);
    let notes = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        notes.contains("clients keep to their endpoints") && notes.contains("/admin/v1/status"),
        "{notes}"
    );
    let run: RunResult = serde_json::from_slice(&output.stdout).expect("a result");
    assert_eq!((run.succeeded, run.settings.routing.as_str()), (100, "round-robin"));
}

#[test]
fn targets_are_compared_in_one_table() {
    let server = StandIn::start();
    let directory = tempfile::tempdir().expect("a directory");
    let lineup = directory.path().join("lineup.toml");
    let text = format!(
        "[[target]]\nname = 'ours'\nkind = 'helenus'\nendpoints = ['{}']\nstart = 'echo {{fieldcount}} >> {1}'\nstop = 'echo >> {1}'\n\
         [[target]]\nname = 'theirs'\nkind = 'command'\n\
         command = 'echo op rate : {{threads}}{{seconds}}{{fieldlength}}; echo latency 99.9th percentile : 5; echo cpu per op : 12.5'\n",
        server.url(),
        directory.path().join("calls").display()
    );
    fs::write(&lineup, text).expect("written");
    let output = Command::new(env!("CARGO_BIN_EXE_helenus-bench"))
        .arg("compare")
        .arg(&lineup)
        .args(["-P", &workload_file('a'), "--duration", "1s", "--rounds", "1", "-threads", "8"])
        .output()
        .expect("helenus-bench runs");
    let table = String::from_utf8(output.stdout).expect("text");
    let rounds = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{table}{rounds}");
    let row = |name: &str| table.lines().find(|line| line.contains(name)).expect(name).to_owned();
    assert!(row("ours").contains("1.00") && row("theirs").contains(" 81100 "), "{table}");
    assert!(row("ours").matches(" ms").count() == 3 && row("ours").contains(" µs"), "{table}");
    assert!(row("theirs").contains(" 5.00 ms") && row("theirs").contains(" 12.5 µs"), "{table}");
    let theirs = "round 1, theirs: 81100 op/s, p50 –, p99 –, p99.9 5.00 ms, CPU/op 12.5 µs, 0 failed";
    assert!(rounds.contains(theirs), "{rounds}");
    let calls = fs::read_to_string(directory.path().join("calls")).expect("started and stopped");
    assert_eq!(calls, "10\n\n");
}

#[test]
fn the_figures_of_a_run_are_those_of_its_worst_kind_of_operation() {
    let server = StandIn::start();
    output(&server, &format!("load -P {}", workload_file('a')));
    let mut run = result(&server, &format!("run -P {}", workload_file('a')));
    let [read, update] = run.operations.as_mut_slice() else { panic!("{:?}", run.operations) };
    read.latency.percentiles_us.extend([("99".to_owned(), 3_000), ("99.9".to_owned(), 5_000)]);
    update.latency.percentiles_us.extend([("99".to_owned(), 2_000), ("99.9".to_owned(), 7_000)]);
    run.generator.others_cpu_us_per_operation = Some(81.5);
    let figures = Figures::of_run(&run);
    assert_eq!((figures.p99_us, figures.p999_us, figures.cpu_us), (3_000.0, 7_000.0, Some(81.5)));
}

#[test]
fn what_was_never_written_is_not_found() {
    let server = StandIn::start();
    let run = bench(&server, &format!("run -P {} --format ycsb", workload_file('c')));
    let lines = parse_ycsb(&String::from_utf8(run.stdout).expect("text"));
    assert_eq!(lines[&("READ".to_owned(), "Return=NOT_FOUND".to_owned())], 1_000.0);
    assert_eq!(lines[&("READ-FAILED".to_owned(), "Operations".to_owned())], 1_000.0);
}

#[test]
fn a_changed_value_is_noticed_by_the_integrity_check() {
    let server = StandIn::start();
    let integrity = "-p dataintegrity=true -p fieldcount=2";
    output(&server, &format!("load -P {} {integrity}", workload_file('c')));
    let line = format!("run -P {} {integrity}", workload_file('a'));
    assert_eq!(result(&server, &line).failed, 0, "updates write what reads expect");
    for value in server.contents().records.values_mut() {
        *value = value.iter().rev().copied().collect();
    }
    let run = bench(&server, &format!("run -P {} {integrity} --format ycsb", workload_file('c')));
    let complaint = String::from_utf8_lossy(&run.stderr);
    assert_eq!(run.status.code(), Some(1), "{complaint}");
    assert!(complaint.contains("WARNING: 1000 of the values that were read"), "{complaint}");
    let lines = parse_ycsb(&String::from_utf8(run.stdout).expect("text"));
    assert_eq!(lines[&("VERIFY".to_owned(), "Return=UNEXPECTED_STATE".to_owned())], 1_000.0);
}

#[test]
fn status_lines_begin_with_nothing_and_end_with_all() {
    let server = StandIn::start();
    let output = bench(&server, &format!("load -P {} -s", workload_file('c')));
    let errors = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = errors.lines().filter(|line| line.contains(" sec: ")).collect();
    let [first, .., last] = lines.as_slice() else { panic!("{errors}") };
    assert!(first.ends_with(" 0 sec: 0 operations;"), "{first}");
    assert!(last.contains(": 1000 operations; ") && last.contains("[INSERT: Count="), "{last}");
}

#[test]
fn one_value_of_a_few_that_is_another_fails_the_run() {
    let server = StandIn::start();
    let integrity = "-p dataintegrity=true -p fieldcount=2 -p requestdistribution=sequential";
    output(&server, &format!("load -P {} {integrity}", workload_file('c')));
    let run = format!("run -P {} {integrity}", workload_file('c'));
    assert!(bench(&server, &run).status.success());
    let changed = |value: &mut Bytes| *value = value.iter().rev().copied().collect();
    server.contents().records.values_mut().take(1).for_each(changed);
    let output = bench(&server, &run);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("1 of the values that were read are not those that were written"), "{told}");
}

#[test]
fn a_kind_of_measurement_that_there_is_not_is_said_to_be_ignored() {
    let server = StandIn::start();
    for (kind, is_told) in [("histogram", true), ("timeseries", true), ("hdrhistogram", false)] {
        let output = bench(&server, &format!("load -p recordcount=1 -p measurementtype={kind}"));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}");
        assert_eq!(errors.contains(&format!("measurementtype={kind} is ignored")), is_told, "{errors}");
    }
}

#[test]
fn a_merged_update_changes_one_field() {
    let server = StandIn::start();
    let only = "-p recordcount=1 -p readproportion=0 -p updateproportion=1 -p operationcount=1";
    output(&server, &format!("load {only}"));
    let before = server.contents().records.values().next().expect("a record").clone();
    output(&server, &format!("run {only} -p helenus.update=merge"));
    let after = server.contents().records.values().next().expect("a record").clone();
    let lines = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
    let changed = lines(&before).lines().zip(lines(&after).lines()).filter(|(old, new)| old != new).count();
    assert_eq!(changed, 1);
}

#[test]
fn warm_up_operations_do_not_come_out_of_the_operation_count() {
    let server = StandIn::start();
    output(&server, &format!("load -P {}", workload_file('c')));
    let run = result(&server, &format!("run -P {} --warmup 200ms -p operationcount=500", workload_file('c')));
    assert_eq!(run.succeeded, 500);
    assert!(run.warmup_operations > 0);
    let shared_out_us = run.generator.cpu_us_per_operation * (500 + run.warmup_operations) as f64;
    assert!((shared_out_us / 1e6 - run.generator.cpu_s).abs() < 1e-6, "{:?}", run.generator);
}

#[test]
fn a_command_is_run_half_way_and_told() {
    let server = StandIn::start();
    output(&server, &format!("load -P {}", workload_file('c')));
    for (command, succeeded) in [("true", true), ("false", false)] {
        let line = format!("run -P {} --duration 1s --halfway {command}", workload_file('c'));
        let run = result(&server, &line);
        let [event] = run.events.as_slice() else { panic!("{:?}", run.events) };
        assert_eq!((event.command.as_str(), event.succeeded), (command, succeeded));
        assert!(event.at_s >= 0.5, "{}", event.at_s);
    }
}

#[test]
fn an_interrupted_run_tells_what_it_has() {
    let server = StandIn::start();
    output(&server, &format!("load -P {}", workload_file('c')));
    let line = format!("run -P {} --duration 1h --format json -s -p status.interval=1", workload_file('c'));
    let mut run = Command::new(env!("CARGO_BIN_EXE_helenus-bench"))
        .args(line.split_whitespace())
        .args(["--endpoints", &server.url()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("helenus-bench runs");
    let mut lines = BufReader::new(run.stderr.take().expect("piped")).lines().map_while(Result::ok);
    lines.find(|line| line.contains(" current ops/sec; ")).expect("it measures");
    kill_process(Pid::from_child(&run), Signal::INT).expect("it lives");
    let output = run.wait_with_output().expect("it ends");
    assert!(!output.status.success());
    let run: RunResult = serde_json::from_slice(&output.stdout).expect("a result");
    assert!(run.succeeded > 0 && run.failed == 0);
    assert_eq!(run.generator.warnings[0], "the run was interrupted");
}

#[test]
fn a_bad_property_names_its_line_and_unknown_ones_are_listed() {
    let server = StandIn::start();
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("w");
    fs::write(&file, "recordcount=10\noperationcount=ten\n").expect("written");
    let errors = |line: &str| String::from_utf8(bench(&server, line).stderr).expect("text");
    let refused = errors(&format!("load -P {}", file.display()));
    assert!(refused.contains(&format!("{}:2: operationcount=ten", file.display())), "{refused}");
    let refused = errors("run -p recordcount=1 -p operationcount=1 --consistency quorom");
    assert!(refused.contains("`quorom`") && refused.contains("local_quorum"), "{refused}");
    let missing = directory.path().join("missing/x.json").display().to_string();
    let refused = errors(&format!("run -p recordcount=1 -p operationcount=1 --json {missing}"));
    assert!(refused.contains(&format!("cannot write {missing}")), "{refused}");
    let listed = errors("load -p recordcount=1 -p cassandra.username=me");
    assert!(listed.contains("cassandra.username (command line)"), "{listed}");
}
