//! Promise: a setting means the same wherever it is written, the nearest source wins, and whoever gets one wrong is
//! shown the place and what to write instead, everything at once.

use std::{ffi::OsString, fs, path::Path};

use helenus_server::config::{Config, Effective, Origin, Sources};
use tempfile::TempDir;

/// Loads settings; the file is `node.toml` of a directory made for it, by whose name it is not called in reports.
fn load(file: Option<&str>, environment: &[(&str, &str)], overrides: &[&str]) -> Result<Effective, String> {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("node.toml");
    if let Some(text) = file {
        fs::write(&path, text).expect("a file");
    }
    let sources = Sources {
        file: file.map(|_| path),
        environment: environment
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect(),
        overrides: overrides.iter().map(|&text| text.to_owned()).collect(),
    };
    let prefix = format!("{}/", directory.path().display());
    Effective::load(&sources).map_err(|report| report.render(false).replace(&prefix, ""))
}

fn origin(effective: &Effective, name: &str) -> String {
    let setting = effective.settings().find(|(setting, _, _)| setting == name);
    let (_, _, origin) = setting.expect("a known setting");
    match origin {
        Origin::File(path, line) => format!("{}:{line}", path.file_name().expect("a name").display()),
        other => other.to_string(),
    }
}

fn report(file: &str) -> String {
    load(Some(file), &[], &[]).expect_err("something is wrong with it")
}

#[test]
fn without_any_source_every_setting_has_its_default() {
    let effective = load(None, &[], &[]).expect("defaults are right");
    assert_eq!(effective.config, Config::default());
    assert!(effective.settings().all(|(_, _, origin)| origin == Origin::Default));
}

#[test]
fn a_log_filter_is_made_of_levels_and_of_targets_with_levels() {
    let filter = |text: &str| load(None, &[], &[&format!("log.filter={text}")]);
    for fine in ["off", "trace", "info,helenus_cluster::node=debug", "helenus_server=off"] {
        assert_eq!(filter(fine).expect("a filter").config.log.filter, fine);
    }
    let levels = "off, error, warn, info, debug, trace";
    for (text, named) in [
        ("", "must not be empty"),
        ("inof", "`inof` is no level"),
        ("banana", "`banana` is no level"),
        ("info,helenus_cluster=banana", "`banana` is no level"),
        ("info,helenus_cluster", "`helenus_cluster` is no level"),
        ("info,", "`` is no level"),
    ] {
        let why = filter(text).expect_err("it silences the log");
        assert!(why.contains(named) && why.contains(levels), "{text}: {why}");
    }
    for (text, named) in [("info, a=warn", "` a` is no target"), ("=info", "`` is no target")] {
        let why = filter(text).expect_err("a target has another form");
        assert!(why.contains(named), "{text}: {why}");
    }
}

#[test]
fn the_command_line_wins_over_the_environment_and_that_over_the_file() {
    let file = "[http]\nlisten = \"127.0.0.1:1\"\nmax_value = \"1KiB\"\nidle_timeout = \"1s\"\n";
    let environment = [("HELENUS_HTTP__LISTEN", "127.0.0.1:2"), ("HELENUS_HTTP__MAX_VALUE", "2KiB")];
    let effective = load(Some(file), &environment, &["http.listen=127.0.0.1:3"]).expect("all right");

    assert_eq!(effective.config.http.listen.port(), 3);
    assert_eq!(effective.config.http.max_value.bytes(), 2048);
    assert_eq!(effective.config.http.idle_timeout.get().as_secs(), 1);
    assert_eq!(origin(&effective, "http.listen"), "--set");
    assert_eq!(origin(&effective, "http.max_value"), "environment HELENUS_HTTP__MAX_VALUE");
    assert_eq!(origin(&effective, "http.idle_timeout"), "node.toml:4");
    assert_eq!(origin(&effective, "http.header_timeout"), "default");
}

#[test]
fn a_value_is_written_bare_or_as_in_the_file() {
    let host = "5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d";
    for overrides in [
        ["cluster.name=a b", "cluster.seeds=n1:1, n2:2", "peer.listen=[::1]:5", "http.max_value=4096"],
        [
            "cluster.name=\"a b\"",
            "cluster.seeds=[\"n1:1\", \"n2:2\"]",
            "peer.listen=\"[::1]:5\"",
            "http.max_value=\"4KiB\"",
        ],
    ] {
        let effective = load(None, &[], &overrides).expect("all right");
        assert_eq!(effective.config.cluster.name, "a b");
        let settings = effective.config.cluster_settings(effective.config.peer.listen);
        assert_eq!(settings.seeds, ["n1:1", "n2:2"]);
        assert_eq!(settings.advertise, "[::1]:5");
        assert_eq!(effective.config.request_limits().max_value_bytes, 4096);
    }
    for route in [
        format!("peer.route={host}=127.0.0.1:9"),
        format!("peer.route.{host}=127.0.0.1:9"),
        format!("peer.route={{\"{host}\" = \"127.0.0.1:9\"}}"),
    ] {
        let effective = load(None, &[], &[&route]).expect("all right");
        let routes = effective.config.peer_settings(1).route;
        assert_eq!(
            routes.into_iter().map(|(id, to)| format!("{id} {to}")).collect::<Vec<_>>(),
            [format!("{host} 127.0.0.1:9")]
        );
    }
}

#[test]
fn foreign_variables_are_none_of_our_business() {
    let environment = [("HELENUS_ENDPOINT", "http://x"), ("PATH", "/bin"), ("HELENUS", "")];
    assert!(load(None, &environment, &[]).is_ok());
}

#[test]
fn an_advertised_address_takes_the_bound_port() {
    let bound = "10.0.0.1:40123".parse().expect("an address");
    let advertised = |overrides: &[&str]| {
        load(None, &[], overrides).expect("all right").config.cluster_settings(bound).advertise
    };
    assert_eq!(advertised(&["peer.listen=10.0.0.1:0"]), "10.0.0.1:40123");
    assert_eq!(
        advertised(&["peer.listen=0.0.0.0:0", "peer.advertise=node7.example:0"]),
        "node7.example:40123"
    );
    assert_eq!(advertised(&["peer.advertise=node7.example:99"]), "node7.example:99");
}

#[test]
fn an_unknown_setting_is_shown_with_the_one_that_was_meant() {
    let text = report("[http]\nlisten = \"127.0.0.1:1\"\nidle_timout = \"1s\"\n");
    assert_eq!(
        text,
        "\
error: unknown setting `http.idle_timout`
 --> node.toml:3:1
  |
3 | idle_timout = \"1s\"
  | ^^^^^^^^^^^ [http] has no such setting
  |
  = help: did you mean `idle_timeout`?"
    );
}

#[test]
fn all_errors_are_reported_at_once() {
    let text = report(
        "\
[htp]
listen = \"127.0.0.1:1\"

[http]
header_timeout = 5
max_value = \"1 MiBi\"
max_connections = 0

[storage]
memtable_size = \"300MiB\"
bloom_fp_rate = 1.5
",
    );
    assert_eq!(
        text,
        "\
error: unknown section `htp`
 --> node.toml:1:2
  |
1 | [htp]
  |  ^^^ no such section
  |
  = help: did you mean `http`?

error: wrong value for `http.header_timeout`
 --> node.toml:5:18
  |
5 | header_timeout = 5
  |                  ^ expected a duration with its unit, such as \"500ms\", \"5s\" or \"2m\", found an integer

error: wrong value for `http.max_value`
 --> node.toml:6:13
  |
6 | max_value = \"1 MiBi\"
  |             ^^^^^^^^ expected a size with its unit, such as \"512KiB\" or \"32MiB\", found `1 MiBi`

error: wrong value for `http.max_connections`
 --> node.toml:7:19
  |
7 | max_connections = 0
  |                   ^ must be between 1 and 1000000, is 0

error: one memtable (300MiB) must fit into the total of all (256MiB)
  --> node.toml:10:17
   |
10 | memtable_size = \"300MiB\"
   |                 ^^^^^^^^ `storage.memtable_size` is set here
   |
   = help: `storage.memtable_total` has its default

error: wrong value for `storage.bloom_fp_rate`
  --> node.toml:11:17
   |
11 | bloom_fp_rate = 1.5
   |                 ^^^ must be between 0.00001 and 0.5, is 1.5"
    );
}

#[test]
fn two_settings_that_contradict_each_other_are_both_shown() {
    let file = "[storage]\nmemtable_total = \"8MiB\"\n";
    let text = load(Some(file), &[], &["storage.memtable_size=16MiB"]).expect_err("it does not fit");
    assert_eq!(
        text,
        "\
error: one memtable (16MiB) must fit into the total of all (8MiB)
 --> command line:1:29
  |
1 | --set storage.memtable_size=16MiB
  |                             ^^^^^ `storage.memtable_size` is set here
  |
 ::: node.toml:2:18
  |
2 | memtable_total = \"8MiB\"
  |                  ------ `storage.memtable_total` is set here"
    );
}

#[test]
fn the_largest_write_must_fit_everywhere_on_its_way() {
    let text = load(Some("[http]\nmax_value = \"1MiB\"\n"), &[], &["peer.max_frame=1087KiB"]);
    assert_eq!(
        text.expect_err("a frame holds more than the value"),
        "\
error: a frame between nodes (1087KiB) must be at least 1088KiB: the largest value (1MiB) with its key and metadata \
(64KiB)
 --> node.toml:2:13
  |
2 | max_value = \"1MiB\"
  |             ^^^^^^ `http.max_value` is set here
  |
 ::: command line:1:22
  |
1 | --set peer.max_frame=1087KiB
  |                      ------- `peer.max_frame` is set here"
    );
    for (too_little, what) in [
        ("storage.segment_size=2175KiB", "a segment (2175KiB) must be at least 2176KiB"),
        ("storage.commit_queue=1087KiB", "the commit queue (1087KiB) must be at least 1088KiB"),
        ("http.max_value=2MiB", "must fit into the memory of bodies (1MiB)"),
    ] {
        let given = ["http.max_value=1MiB", "http.max_body_memory=1MiB", too_little];
        let text = load(None, &[], &given).expect_err(too_little);
        assert!(text.contains(what), "{text}");
    }
    let just_enough = [
        "http.max_value=1MiB",
        "peer.max_frame=1088KiB",
        "storage.segment_size=2176KiB",
        "storage.commit_queue=1088KiB",
        "http.max_body_memory=1MiB",
    ];
    assert!(load(None, &[], &just_enough).is_ok());
}

#[test]
fn merges_have_no_limit_or_one_at_which_they_get_somewhere() {
    for limit in ["0", "0B", "64KiB", "64GiB"] {
        let setting = format!("storage.compaction_throughput={limit}");
        let loaded = load(None, &[], &[&setting]);
        assert!(loaded.is_ok(), "{limit}: {}", loaded.err().unwrap_or_default());
    }
    for limit in ["1B", "65535", "65GiB"] {
        let setting = format!("storage.compaction_throughput={limit}");
        let text = load(None, &[], &[&setting]).expect_err(limit);
        assert!(
            text.contains("must be between 64KiB and 64GiB, is ") && text.contains("; 0 for no limit"),
            "{text}"
        );
    }
}

#[test]
fn operators_need_a_listener_of_their_own_where_clients_come_from_other_machines() {
    let text = report("[http]\nlisten = \"0.0.0.0:7071\"\n");
    assert_eq!(
        text,
        "\
error: clients of other machines (0.0.0.0:7071) must not reach /admin/v1, which has no authentication: set admin.listen to \
an address for operators, such as \"127.0.0.1:7070\"
 --> node.toml:2:10
  |
2 | listen = \"0.0.0.0:7071\"
  |          ^^^^^^^^^^^^^^ `http.listen` is set here
  |
  = help: `admin.listen` has its default"
    );
    let text = load(Some("[admin]\nlisten = \"\"\n"), &[], &["http.listen=[2001:db8::1]:1"]);
    assert!(text.expect_err("still none").contains("`admin.listen` is set here"));

    let right: [&[&str]; 5] = [
        &["http.listen=0.0.0.0:7071", "admin.listen=127.0.0.1:7070"],
        &["http.listen=10.0.0.1:0", "admin.listen=10.0.0.1:0"],
        &["http.listen=127.3.2.1:7071", "admin.listen="],
        &["http.listen=[::1]:7071"],
        &["http.listen=[::ffff:127.0.0.1]:7071"],
    ];
    for overrides in right {
        let loaded = load(None, &[], overrides);
        assert!(loaded.is_ok(), "{overrides:?}: {}", loaded.err().unwrap_or_default());
    }
    for (taken, what) in [
        ("admin.listen=127.0.0.1:7071", "for one that serves both"),
        (
            "admin.listen=127.0.0.1:7171",
            "peers and operators cannot be served on one address (127.0.0.1:7171)",
        ),
        ("admin.listen=localhost", "expected an IP address and a port"),
    ] {
        let text = load(None, &[], &[taken]).expect_err(taken);
        assert!(text.contains(what), "{text}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_shown_with_line_and_caret() {
    let text = report("[http\nlisten = \"127.0.0.1:1\"\n[log]\nformat = text\n");
    assert!(text.contains("error: this is not TOML: "), "{text}");
    assert!(text.contains("node.toml:1:"), "{text}");
    assert!(text.contains("node.toml:4:"), "the second error is there too: {text}");
}

#[test]
fn a_wrong_variable_is_shown_by_its_name() {
    let environment = [("HELENUS_HTTP__LISTEN", "localhost"), ("HELENUS_STORAGE__SYNCMODE", "group")];
    let text = load(None, &environment, &[]).expect_err("both are wrong");
    assert_eq!(
        text,
        "\
error: wrong value for `http.listen`
 --> environment:1:22
  |
1 | HELENUS_HTTP__LISTEN=localhost
  |                      ^^^^^^^^^ expected an IP address and a port, such as \"127.0.0.1:7071\", found `localhost`

error: unknown setting `storage.syncmode`
 --> environment:1:1
  |
1 | HELENUS_STORAGE__SYNCMODE=group
  | ^^^^^^^^^^^^^^^^^^^^^^^^^ [storage] has no such setting
  |
  = help: did you mean `sync_mode`?"
    );
    let text = load(None, &[("HELENUS_HTTP_LISTEN", "127.0.0.1:1")], &[]).expect_err("one underscore");
    assert!(text.contains("did you mean `HELENUS_HTTP__LISTEN`?"), "{text}");
}

#[test]
fn a_wrong_argument_is_shown_as_it_was_written() {
    let text = load(None, &[], &["peer.listen=0.0.0.0:7171"]).expect_err("nothing to advertise");
    assert_eq!(
        text,
        "\
error: a node that listens on every address (0.0.0.0) must be told which of them the other nodes reach: set peer.advertise
 --> command line:1:19
  |
1 | --set peer.listen=0.0.0.0:7171
  |                   ^^^^^^^^^^^^ `peer.listen` is set here
  |
  = help: `peer.advertise` has its default"
    );
    let text = load(None, &[], &["peer.advertise=0.0.0.0:7171"]).expect_err("unreachable");
    assert!(text.contains("0.0.0.0 means \"every address of this machine\""), "{text}");
    let text = load(None, &[], &["cluster.seeds=a:1,b"]).expect_err("no port");
    assert!(text.contains("--> command line:1:25"), "the second seed is pointed at: {text}");
}

#[test]
fn no_text_makes_the_reader_of_settings_panic() {
    let pieces =
        ["[http]\n", "listen", "=", "\"", "é", "[", "]", "{", "}", ".", "\n", "1e999", "0x", "\u{0}", ","];
    for seed in 0..5_000_usize {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        let mut text = String::new();
        for _ in 0..8 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(pieces[(state >> 33) % pieces.len()]);
        }
        let overrides = [format!("http.listen={text}"), text.clone()];
        let sources = Sources {
            file: None,
            environment: vec![("HELENUS_PEER__ROUTE".into(), text.clone().into())],
            overrides: overrides.to_vec(),
        };
        if let Err(report) = Effective::load(&sources) {
            assert!(!report.render(false).is_empty(), "seed {seed}");
        }
        if seed % 10 == 0 {
            let _ = load(Some(&text), &[], &[]);
        }
    }
}

#[test]
fn node_toml_lists_every_setting_with_its_default() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/node.toml");
    let sources = Sources { file: Some(path), ..Sources::default() };
    let effective = Effective::load(&sources).unwrap_or_else(|report| panic!("{report}"));
    assert_eq!(effective.config, Config::default());
    let missing: Vec<String> = effective
        .settings()
        .filter(|(_, _, origin)| !matches!(origin, Origin::File(..)))
        .map(|(name, _, _)| name)
        .collect();
    assert!(missing.is_empty(), "not in config/node.toml: {missing:?}");
}
