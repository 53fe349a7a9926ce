//! Results that were kept are read again, compared, drawn and put side by side.

use std::{fs, path::Path, process::Command};

use helenus_bench::measurement::RunResult;

use crate::{output, stand_in::StandIn, workload_file};

#[test]
fn results_can_be_read_again_compared_and_drawn() {
    let server = StandIn::start();
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    output(&server, &format!("load -P {}", workload_file('a')));
    let files = format!("--json {} --report {} --hdr-log {}", path("a.json"), path("a.html"), path("log-"));
    output(&server, &format!("run -P {} -label <first> {files}", workload_file('a')));
    let text = output(&server, &format!("run -P {} --baseline {}", workload_file('a'), path("a.json")));
    assert!(text.contains("BESIDE THE BASELINE") && text.contains("READ p99"), "{text}");
    let page = fs::read_to_string(path("a.html")).expect("a page");
    assert!(page.contains("<svg") && page.contains("prefers-color-scheme:dark"));
    assert!(page.contains("&lt;first&gt;") && !page.contains("<first>"), "texts are escaped");
    assert!(!page.contains("<script") && !page.contains("src="), "nothing is fetched");
    check_hdr_log(&directory.path().join("log-READ.hdr"), &path("a.json"));
}

#[test]
fn results_from_before_other_processes_were_measured_are_read_and_say_nothing_of_them() {
    let server = StandIn::start();
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    output(&server, &format!("load -P {} --json {}", workload_file('a'), path("new.json")));
    let text = fs::read_to_string(path("new.json")).expect("a file");
    let mut old: serde_json::Value = serde_json::from_str(&text).expect("a result");
    let generator = old["generator"].as_object_mut().expect("the generator");
    let others = generator.remove("others_cpu_us_per_operation").and_then(|value| value.as_f64());
    assert!(others.is_some_and(|others| others > 0.0), "this process answers: {text}");
    fs::write(path("old.json"), old.to_string()).expect("written");
    for (name, is_told) in [("new", true), ("old", false)] {
        let mut report = Command::new(env!("CARGO_BIN_EXE_helenus-bench"));
        report.args(["report", &path(&format!("{name}.json")), "--html", &path(&format!("{name}.html"))]);
        let report = report.output().expect("helenus-bench runs");
        assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
        let text = String::from_utf8_lossy(&report.stdout);
        assert_eq!(text.contains("CPU of all else here"), is_told, "{text}");
        let page = fs::read_to_string(path(&format!("{name}.html"))).expect("a page");
        assert_eq!(page.contains("all else on the machine"), is_told, "{name}");
    }
}

fn check_hdr_log(log: &Path, result: &str) {
    use hdrhistogram::serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    };
    let text = fs::read(log).expect("a log");
    let mut logged = 0;
    for entry in IntervalLogIterator::new(&text) {
        if let LogEntry::Interval(interval) = entry.expect("a line of a log") {
            use base64::Engine;
            let bytes = base64::engine::general_purpose::STANDARD
                .decode(interval.encoded_histogram())
                .expect("base64");
            let histogram: hdrhistogram::Histogram<u64> =
                Deserializer::new().deserialize(&mut bytes.as_slice()).expect("a histogram");
            logged += histogram.len();
        }
    }
    let run: RunResult = serde_json::from_slice(&fs::read(result).expect("a file")).expect("a result");
    let read = run.operations.iter().find(|operation| operation.operation.name() == "READ").expect("reads");
    assert_eq!(logged, read.latency.count);
}

#[test]
fn runs_are_put_side_by_side_by_level() {
    let server = StandIn::start();
    let directory = tempfile::tempdir().expect("a directory");
    let path = |name: &str| directory.path().join(name).display().to_string();
    output(&server, &format!("load -P {}", workload_file('a')));
    let mut files = Vec::new();
    for (letter, level, more) in [
        ('a', "one", ""),
        ('a', "quorum", ""),
        ('b', "quorum", ""),
        ('c', "one", "--duration 1s --halfway true"),
        ('c', "quorum", "--duration 1s --halfway true"),
    ] {
        files.push(path(&format!("{letter}-{level}.json")));
        let json = files.last().expect("one");
        let line = format!("run -P {} --consistency {level} --json {json} {more}", workload_file(letter));
        let label = if more.is_empty() { format!("{letter}&, small") } else { "a while".to_owned() };
        let mut command = Command::new(env!("CARGO_BIN_EXE_helenus-bench"));
        command.args(line.split_whitespace()).args(["--endpoints", &server.url(), "--label", &label]);
        assert!(command.output().expect("helenus-bench runs").status.success());
    }
    let mut report = Command::new(env!("CARGO_BIN_EXE_helenus-bench"));
    report.arg("report").args(&files).args(["--levels", &path("out")]);
    assert!(report.output().expect("helenus-bench runs").status.success());
    let table = fs::read_to_string(path("out.md")).expect("a table");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(|line| line.split('|').map(str::trim).collect())
        .collect();
    assert_eq!(rows[0][1..6], ["workload", "ONE op/s", "QUORUM op/s", "ONE p99", "QUORUM p99"]);
    assert!(rows[2][1] == "a&" && rows[2][2..6].iter().all(|cell| *cell != "–"), "{table}");
    assert!(rows[3][1] == "b&" && rows[3][2] == "–" && rows[3][3] != "–", "{table}");
    assert!(table.contains("**A while**, half-way: `true`"), "{table}");
    let picture = fs::read_to_string(path("out.svg")).expect("a picture");
    assert_eq!(picture.matches("op/s</title>").count(), 3, "a bar for each run");
    assert_eq!(picture.matches("class=\"mark\"").count(), 1);
    assert!(picture.contains("a&amp;") && picture.contains("prefers-color-scheme:dark"));
    assert!(!picture.contains("<script") && !picture.contains("href"), "nothing is fetched");
}
