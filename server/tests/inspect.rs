//! Promise: `helenus inspect` shows what files hold, beside whoever uses them; of a damaged file it shows the rest, names
//! file and offset, and ends with status 1; a reader that goes away is no error.

use std::{
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use helenus_cluster::partitioning::{Partitioner, storage_key};
use helenus_storage::{
    Engine, Mutation, Options, Record, Step, StepOutcome, TableId, Timestamp, disk::OsDisk,
};
use serde_json::Value;
use tempfile::TempDir;

const TABLE: TableId = TableId(1024);

/// A data directory that an engine has open, with one SSTable.
struct Stored {
    directory: TempDir,
    engine: Engine,
    table: PathBuf,
}

fn stored(keys: &[&[u8]]) -> Stored {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let options = Options { segment_bytes: 1 << 20, block_bytes: 256, ..Options::default() };
    let engine = Engine::open(Arc::new(OsDisk), directory.path(), options).expect("an engine");
    engine.create_table(TABLE).expect("a table");
    let mut tickets = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let timestamp = Timestamp(1_700_000_000_000_000 + number as u64);
        let record = match number % 3 {
            0 => Record::tombstone(timestamp, timestamp),
            // As a client puts it, with nothing said of it.
            _ => Record::plain(timestamp, [b"\0value of ", *key].concat()),
        };
        let ticket = engine
            .apply(TABLE, Mutation::single(storage_key(Partitioner::Murmur3.token(key), key), record))
            .expect("room");
        tickets.push(ticket);
    }
    while engine.step(Step::Commit).expect("a sound disk") == StepOutcome::Worked {}
    for ticket in tickets {
        ticket.wait().expect("a sound disk");
    }
    engine.switch_memtables().expect("a sound disk");
    while engine.step(Step::Flush).expect("a sound disk") == StepOutcome::Worked {}
    let files =
        fs::read_dir(directory.path()).expect("a directory").map(|entry| entry.expect("an entry").path());
    let table = files.into_iter().find(|path| path.extension().is_some_and(|e| e == "sst")).expect("a table");
    Stored { directory, engine, table }
}

fn command(arguments: &[&str], path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_helenus"));
    command.arg("inspect").args(arguments).arg(path).env_clear().stdin(Stdio::null());
    command
}

fn inspect(arguments: &[&str], path: &Path) -> Output {
    command(arguments, path).output().expect("the binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text(&output.stdout).lines().map(line).collect()
}

#[test]
fn keys_are_shown_decoded_and_times_as_dates() {
    let stored = stored(&[b"plain text", b"a\0zero", b"\xff\xfe", b"another"]);

    let keys = lines(&inspect(&["sstable", "--keys", "-o", "json"], &stored.table));
    let dump = inspect(&["sstable", "--dump"], &stored.table);
    let one = lines(&inspect(&["sstable", "--dump", "--key", "another", "-o", "json"], &stored.table));
    let absent = inspect(&["sstable", "--key", "absent"], &stored.table);

    let mut texts: Vec<_> = keys.iter().filter_map(|line| line["key"].as_str()).collect();
    texts.sort_unstable();
    assert_eq!(texts, ["a\0zero", "another", "plain text"]);
    assert!(keys.iter().any(|line| line["key_base64"] == "//4="), "{keys:?}");
    assert!(keys.iter().all(|line| line["token"].is_i64()), "{keys:?}");
    let dump = text(&dump.stdout);
    assert!(dump.contains("1700000000000001 2023-11-14T22:13:20.000001Z"), "{dump}");
    assert!(dump.contains("a\\x00zero") && dump.contains("\\xff\\xfe"), "{dump}");
    assert_eq!(one.len(), 1, "{one:?}");
    assert_eq!((&one[0]["key"], &one[0]["kind"]), (&"another".into(), &"tombstone".into()));
    assert!(absent.status.success() && absent.stdout.is_empty(), "{absent:?}");
}

#[test]
fn a_summary_fits_eighty_columns_and_a_directory_adds_up() {
    let stored = stored(&[b"one", b"two", b"three", b"four"]);

    let summary = inspect(&["sstable"], &stored.table);
    let json = lines(&inspect(&["sstable", "-o", "json"], &stored.table));
    let manifest = inspect(&["manifest", "-o", "json"], stored.directory.path());
    let overview = inspect(&["data-dir", "-o", "json"], stored.directory.path());

    let summary = text(&summary.stdout);
    for line in summary.lines().filter(|line| !line.starts_with("File")) {
        assert!(line.chars().count() <= 80, "{line}");
    }
    assert!(summary.contains("4: 2 plain, 0 expiring, 2 tombstones"), "{summary}");
    assert_eq!((&json[0]["plain"], &json[0]["tombstones"]), (&2.into(), &2.into()));
    let manifest: Value = serde_json::from_slice(&manifest.stdout).expect("JSON");
    assert_eq!(manifest["tables"][0]["id"], TABLE.0, "{manifest}");
    assert_eq!(manifest["tables"][0]["files"][0]["bytes"], json[0]["bytes"]);
    let overview: Value = serde_json::from_slice(&overview.stdout).expect("JSON");
    assert_eq!((&overview["totals"]["records"], &overview["totals"]["tombstones"]), (&4.into(), &2.into()));
    let level = &overview["tables"][0]["levels"][0];
    assert_eq!((&level["level"], &level["tables"], &level["overlap"]), (&0.into(), &1.into(), &1.into()));
    assert_eq!(level["bytes"], json[0]["bytes"]);
    assert_eq!((&overview["commit_log"]["files"], &overview["orphans"]), (&1.into(), &serde_json::json!([])));

    fs::write(stored.directory.path().join("00000000000000ff.sst"), "left over").expect("room");
    let again = inspect(&["data-dir", "-o", "json"], stored.directory.path());
    let again: Value = serde_json::from_slice(&again.stdout).expect("JSON");
    assert_eq!(again["orphans"], serde_json::json!(["00000000000000ff.sst"]));
    let shown = text(&inspect(&["data-dir"], stored.directory.path()).stdout);
    assert!(shown.contains("LEVEL") && shown.contains("orphans"), "{shown}");
}

#[test]
fn damage_is_named_with_file_and_offset_and_the_rest_is_shown() {
    let keys: Vec<Vec<u8>> = (0..60).map(|number| format!("key number {number}").into_bytes()).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let stored = stored(&keys);
    let sound = inspect(&["sstable", "--verify"], &stored.table);
    assert!(sound.status.success() && text(&sound.stdout).contains("60 records"), "{sound:?}");
    let mut bytes = fs::read(&stored.table).expect("a file");
    bytes[20] ^= 1;
    // A copy: what a node has open never changes.
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let copy = elsewhere.path().join(stored.table.file_name().expect("a name"));
    fs::write(&copy, &bytes).expect("a file");

    let verified = inspect(&["sstable", "--verify"], &copy);
    let listed = inspect(&["sstable", "--keys"], &copy);
    bytes.truncate(bytes.len() - 1);
    fs::write(&copy, &bytes).expect("a file");
    let cut = inspect(&["sstable"], &copy);

    assert_eq!(verified.status.code(), Some(1));
    let place = format!("{} is damaged at offset 0", copy.display());
    assert!(text(&verified.stderr).contains(&place), "{}", text(&verified.stderr));
    assert_eq!(listed.status.code(), Some(1));
    assert!((30..60).contains(&text(&listed.stdout).lines().count()), "{}", text(&listed.stdout));
    assert_eq!(cut.status.code(), Some(1));
    assert!(text(&cut.stderr).contains("at offset"), "{}", text(&cut.stderr));
}

#[test]
fn a_missing_file_is_told_from_a_damaged_one_and_wrong_usage_is_2() {
    let stored = stored(&[b"one"]);
    let gone = inspect(&["sstable"], &stored.directory.path().join("00000000000000ff.sst"));
    assert_eq!(gone.status.code(), Some(1));
    assert!(text(&gone.stderr).contains("no such file"), "{}", text(&gone.stderr));
    for arguments in
        [&["sstable", "--keys", "--dump"][..], &["sstable", "--verify", "--key", "k"], &["nothing"]]
    {
        assert_eq!(inspect(arguments, &stored.table).status.code(), Some(2), "{arguments:?}");
    }
    let no_directory = inspect(&["data-dir"], &stored.directory.path().join("none"));
    assert_eq!(no_directory.status.code(), Some(1));
}

#[test]
fn what_is_none_of_ours_is_called_that_and_a_renamed_file_is_known() {
    let stored = stored(&[b"one"]);
    let place = tempfile::tempdir().expect("a temporary directory");
    let at = |name: &str| place.path().join(name);
    fs::write(at("empty"), "").expect("room");
    fs::write(at("text"), "hello, this is no file of a node at all; ".repeat(10)).expect("room");
    fs::create_dir(at("directory")).expect("room");
    fs::copy(&stored.table, at("copy")).expect("room");
    let segment = segments(stored.directory.path()).pop().expect("a segment");
    fs::copy(segment, at("segment")).expect("room");
    for (command, name, said) in [
        ("sstable", "none", "no such file"),
        ("sstable", "directory", "not a regular file"),
        ("sstable", "empty", "is no SSTable"),
        ("sstable", "text", "is no SSTable"),
        ("sstable", "segment", "is no SSTable"),
        ("sstable", "copy", "its checksums count on its name, 0000000000000"),
        ("commit-log", "none", "no such file"),
        ("commit-log", "directory", "is no data directory, nor a snapshot: there is no manifest"),
        ("commit-log", "empty", "is no segment of a commit log"),
        ("commit-log", "text", "is no segment of a commit log"),
        ("commit-log", "segment", "is a segment of a commit log that was renamed"),
        ("manifest", "none", "No such file or directory"),
        ("manifest", "directory", "is no data directory, nor a snapshot: there is no manifest"),
        ("manifest", "text", "Not a directory"),
        ("data-dir", "directory", "is no data directory, nor a snapshot: there is no manifest"),
        ("hints", "directory", "is no data directory, nor a snapshot: there is no manifest"),
    ] {
        let shown = inspect(&[command], &at(name));
        assert_eq!(shown.status.code(), Some(1), "{command} {name}: {shown:?}");
        let error = text(&shown.stderr);
        assert!(error.contains(said) && !error.contains("damaged"), "{command} {name}: {error}");
        assert!(shown.stdout.is_empty(), "{command} {name}: {shown:?}");
    }
}

#[test]
fn a_segment_that_is_missing_at_the_end_is_missed_and_a_torn_edit_is_shown() {
    let Stored { directory, engine, .. } = stored(&[b"one"]);
    // As if it had died.
    drop(engine);
    let directory = directory.path();
    for command in ["commit-log", "hints", "data-dir"] {
        let sound = inspect(&[command], directory);
        assert!(sound.status.success(), "{command}: {}", text(&sound.stderr));
    }
    let manifest = || {
        let shown = inspect(&["manifest", "-o", "json"], directory);
        serde_json::from_slice::<Value>(&shown.stdout).expect("JSON")
    };
    assert_eq!(manifest()["torn_at"], Value::Null);
    let path = directory.join(format!("manifest-{:016x}", manifest()["number"].as_u64().expect("a number")));
    let mut bytes = fs::read(&path).expect("a manifest");
    let end = bytes.iter().rposition(|&byte| byte != 0).expect("something") + 1;
    bytes[end + 8..end + 16].fill(7);
    fs::write(&path, bytes).expect("room");
    let torn_at = manifest()["torn_at"].as_u64().expect("it is shown");
    assert!(torn_at.abs_diff(end as u64) < 8, "{torn_at} {end}");
    assert!(text(&inspect(&["manifest"], directory).stdout).contains(&format!("Torn at offset {torn_at}")));

    for path in segments(directory) {
        fs::remove_file(path).expect("it is there");
    }
    for command in ["commit-log", "hints", "data-dir"] {
        let shown = inspect(&[command], directory);
        assert_eq!(shown.status.code(), Some(1), "{command}");
        assert!(text(&shown.stderr).contains("of the commit log is missing"), "{}", text(&shown.stderr));
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let keys: Vec<Vec<u8>> = (0..4000).map(|number| format!("key number {number}").into_bytes()).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let stored = stored(&keys);
    let mut child = command(&["sstable", "--dump", "-o", "json"], &stored.table)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    // More than a pipe holds is still to come when the reading end is closed.
    let mut first = [0; 10];
    child.stdout.take().expect("piped").read_exact(&mut first).expect("ten bytes");
    let output = child.wait_with_output().expect("its end");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

/// The segments of a data directory, in the order of the log.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let mut segments: Vec<_> = entries.filter(|path| path.extension().is_some_and(|e| e == "log")).collect();
    segments.sort();
    segments
}

#[test]
fn the_commit_log_is_shown_with_its_segments_tables_and_end() {
    let stored = stored(&[b"one", b"a\0zero", b"\xff\xfe"]);
    let directory = stored.directory.path();

    let told = inspect(&["commit-log", "-o", "json"], directory);
    let lines_of_it = lines(&told);
    let overview = text(&inspect(&["commit-log"], directory).stdout);
    let dump = lines(&inspect(&["commit-log", "--dump", "-o", "json"], directory));
    let file = inspect(&["commit-log", "--dump"], &segments(directory)[0]);

    assert!(told.status.success(), "{}", text(&told.stderr));
    let first = &lines_of_it[0]["segments"][0];
    assert_eq!((&first["ends"], &first["tables"][0]["mutations"]), (&"open".into(), &3.into()), "{first}");
    assert!(overview.contains("SEGMENT") && overview.contains("1024"), "{overview}");
    assert_eq!(dump.len(), 3);
    assert!(dump.iter().all(|line| line["table"] == 1024 && line["offset"].is_u64()), "{dump:?}");
    assert!(
        dump.iter().any(|line| line["key"] == "one") && dump.iter().any(|line| line["key_base64"] == "//4=")
    );
    assert_eq!(text(&file.stdout).lines().count(), 3);
}

#[test]
fn damage_in_the_commit_log_is_named_with_file_and_offset_and_the_rest_is_shown() {
    let stored = stored(&[b"one"]);
    let directory = stored.directory.path();
    for (number, key) in (1..).zip([&b"two"[..], b"three"]) {
        let record = Record::plain(Timestamp(1_700_000_000_000_000 + number), [b"value of ", key].concat());
        let mutation = Mutation::single(storage_key(Partitioner::Murmur3.token(key), key), record);
        stored.engine.apply_and_wait(TABLE, mutation).expect("a sound disk");
    }
    // Seals the log: all of it is known to be durable.
    stored.engine.close().expect("a sound disk");
    let path = &segments(directory)[0];
    let mut bytes = fs::read(path).expect("a segment");
    let place = bytes.windows(12).position(|window| window == b"value of two").expect("it is not compressed");
    bytes[place] ^= 1;
    fs::write(path, bytes).expect("it can be written");

    let told = inspect(&["commit-log", "--dump", "-o", "json"], directory);
    assert_eq!(told.status.code(), Some(1));
    let shown = lines(&told);
    let keys: Vec<_> = shown.iter().map(|line| line["key"].as_str()).collect();
    assert_eq!(keys, [Some("one"), Some("three")], "{shown:?}");
    let stderr = text(&told.stderr);
    assert!(stderr.contains(&path.display().to_string()) && stderr.contains("offset"), "{stderr}");

    // A segment that the manifest needs, and that is not there.
    let other = directory.join(format!("commit-{:016x}.log", 9));
    fs::copy(path, &other).expect("room");
    let told = inspect(&["commit-log"], directory);
    let stderr = text(&told.stderr);
    assert!(stderr.contains(" of the commit log are missing in "), "{stderr}");
    assert!(text(&told.stdout).ends_with('\n'));
}

#[test]
fn a_value_is_shown_with_what_was_said_of_it_and_without_its_envelope() {
    let stored = stored(&[b"none"]);
    let described = [&b"\x01\x0a\0text/plain\0\0\x01\0\x05\0owner\x02\0me"[..], b"said"].concat();
    for (number, (key, value)) in
        (1..).zip([("described", &described[..]), ("bare", b"\0plain"), ("strange", b"\x09?")])
    {
        let record = Record::plain(Timestamp(1_700_000_000_000_000 + number), value.to_vec());
        let key = storage_key(Partitioner::Murmur3.token(key.as_bytes()), key.as_bytes());
        stored.engine.apply_and_wait(TABLE, Mutation::single(key, record)).expect("a sound disk");
    }
    stored.engine.switch_memtables().expect("a sound disk");
    while stored.engine.step(Step::Flush).expect("a sound disk") == StepOutcome::Worked {}
    let files = fs::read_dir(stored.directory.path()).expect("a directory");
    let table = files
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "sst"))
        .max()
        .expect("two");

    let one = |key: &str| lines(&inspect(&["sstable", "--key", key, "-o", "json"], &table)).remove(0);
    let (described, bare, strange) = (one("described"), one("bare"), one("strange"));
    let shown = text(&inspect(&["sstable", "--key", "described"], &table).stdout);

    assert_eq!(
        (&described["content_type"], &described["value_base64"]),
        (&"text/plain".into(), &"c2FpZA==".into())
    );
    assert_eq!(described["helenus_meta_owner"], "me", "{described}");
    assert_eq!(bare["value_base64"], "cGxhaW4=", "{bare}");
    assert_eq!(
        (&strange["stored_base64"], &strange["value_base64"]),
        (&"CT8=".into(), &Value::Null),
        "an envelope of another build"
    );
    assert!(
        shown.contains("    content-type text/plain\n") && shown.contains("    value        said\n"),
        "{shown}"
    );
}

/// Looks at a copy of a file with one byte after the other flipped, a sample of them; answers how many were told.
fn flipped(arguments: &[&str], file: &Path, shown_of: fn(&Output) -> Vec<Value>) -> usize {
    let directory = file.parent().expect("a file");
    let is_of_directory = arguments[0] == "manifest";
    let place = if is_of_directory { directory } else { file };
    let truth = shown_of(&inspect(arguments, place));
    let sound = fs::read(file).expect("a file");
    let used = sound.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut told = 0;
    // More of the beginning and of the end, where headers and footers are.
    for at in
        (0..used).filter(|at| ((*at < 64 || at + 60 > used) && at % 3 == 0) || at % (used / 40 + 1) == 0)
    {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x10;
        fs::write(file, damaged).expect("room");
        let output = inspect(arguments, place);
        let (shown, stderr) = (shown_of(&output), text(&output.stderr));
        let name = file.file_name().expect("a name").to_string_lossy();
        match output.status.code() {
            Some(0) => assert_eq!(shown, truth, "byte {at} of {name}"),
            Some(1) => {
                told += 1;
                assert!(stderr.contains(&*name) && stderr.contains("at offset"), "byte {at}: {stderr}");
                assert!(shown.iter().all(|line| truth.contains(line)), "byte {at} of {name}: {shown:?}");
            }
            _ => panic!("byte {at} of {name}: {stderr}"),
        }
    }
    fs::write(file, sound).expect("room");
    told
}

#[test]
fn a_flipped_byte_of_any_file_is_told_or_harmless_and_nothing_wrong_is_shown() {
    let keys: Vec<Vec<u8>> = (0..40).map(|number| format!("key number {number}").into_bytes()).collect();
    let keys: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    let stored = stored(&keys);
    stored.engine.close().expect("a sound disk");
    let directory = stored.directory.path();
    let log = &segments(directory)[0];
    let files = fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path());
    let manifest = files.into_iter().find(|path| path.to_string_lossy().contains("manifest-")).expect("one");
    // What its last edit said may be missed: that one looks as if it was never finished.
    let tables = |output: &Output| {
        let shown: Result<Value, _> = serde_json::from_slice(&output.stdout);
        shown.map(|shown| vec![shown["tables"][0]["id"].clone()]).unwrap_or_default()
    };

    let of_table = flipped(&["sstable", "--dump", "-o", "json"], &stored.table, lines);
    let verified = flipped(&["sstable", "--verify", "-o", "json"], &stored.table, |_| Vec::new());
    let summaries = flipped(&["sstable", "-o", "json"], &stored.table, |output| {
        let mut lines = lines(output);
        for line in &mut lines {
            // Not shown where index or filter is damaged.
            line["index_memory_bytes"] = Value::Null;
            line["filter_memory_bytes"] = Value::Null;
        }
        lines
    });
    let of_log = flipped(&["commit-log", "--dump", "-o", "json"], log, lines);
    let of_manifest = flipped(&["manifest", "-o", "json"], &manifest, tables);

    assert!(of_table > 40 && verified >= of_table, "{of_table}, {verified} when verified");
    assert!(summaries > 20 && of_log > 20 && of_manifest > 20, "{summaries}, {of_log}, {of_manifest}");
}

#[test]
fn the_statistics_of_a_table_with_a_damaged_index_are_still_shown() {
    let stored = stored(&[b"one", b"two", b"three", b"four"]);
    let verified = text(&inspect(&["sstable", "--blocks", "-o", "json"], &stored.table).stdout);
    let block: Value = serde_json::from_str(verified.lines().last().expect("a block")).expect("JSON");
    let index = block["offset"].as_u64().expect("a number") + block["bytes"].as_u64().expect("a number");
    let mut bytes = fs::read(&stored.table).expect("a file");
    bytes[usize::try_from(index).expect("small")] ^= 1;
    fs::write(&stored.table, bytes).expect("room");

    let told = inspect(&["sstable"], &stored.table);

    assert_eq!(told.status.code(), Some(1));
    assert!(text(&told.stdout).contains("4: 2 plain, 0 expiring, 2 tombstones"), "{told:?}");
    let stderr = text(&told.stderr);
    assert!(stderr.contains(&format!("at offset {index}: the checksum of the index")), "{stderr}");
}
