//! Promise: a property file may change, break or vanish while a node runs: the node says so once, and stays where it stands.

mod processes;

use std::fs;

use processes::{TestCluster, wait_until};

fn lines(cluster: &TestCluster, text: &str) -> usize {
    cluster.log(1).lines().filter(|line| line.contains(text)).count()
}

#[test]
fn a_property_file_that_changes_breaks_or_vanishes_moves_no_running_node() {
    let cluster = TestCluster::stopped(1);
    let file = cluster.data_directory(1).with_extension("properties");
    let address = cluster.peer_address(1).replace(":7171", "");
    let right = format!("{address}=east:r1\n");
    let say = |text: &[u8]| {
        // As an editor does it: never half written.
        let draft = file.with_extension("draft");
        fs::write(&draft, text).expect("a file");
        fs::rename(&draft, &file).expect("a file");
    };
    let stands = || {
        let member = cluster.members(1).expect("a status").remove(0);
        (member["datacenter"].clone(), member["rack"].clone())
    };
    let snitch = format!("snitch.file={:?}", file.display().to_string());
    let settings = ["snitch.kind=property-file", &snitch, "snitch.poll_interval=10ms"];
    say(right.as_bytes());
    cluster.spawn_with(1, &settings);
    cluster.wait_until_ready(1);
    assert_eq!(stands(), ("east".into(), "r1".into()));

    let elsewhere = format!("{address}=west:r2\n");
    let long = "x".repeat(5 << 20);
    let changes: [(&[u8], &str); 5] = [
        (
            elsewhere.as_bytes(),
            "this node stands in datacenter `west`, rack `r2`; it stays in datacenter `east`, rack `r1`",
        ),
        (b"# all right\nnonsense\n", ".properties:2: `nonsense`"),
        (b"\xff\xfe\0\0", "stream did not contain valid UTF-8"),
        (long.as_bytes(), "is longer than 4194304 bytes"),
        (b"10.9.9.9=east:r1\n", "this node stands in nowhere"),
    ];
    for (text, said) in changes {
        say(text);
        wait_until(&format!("it says `{said}`"), || lines(&cluster, said) == 1);
        assert_eq!(stands(), ("east".into(), "r1".into()));
        assert_eq!(cluster.request("PUT", 1, "/v1/kv/default/k", Some(b"v")).status, 200);
    }
    fs::remove_file(&file).expect("it is there");
    wait_until("it misses the file", || lines(&cluster, "No such file") == 1);
    say(format!("{address}=north:r3\n").as_bytes());
    let north = "stands in datacenter `north`, rack `r3`";
    wait_until("it has read the file again", || lines(&cluster, north) == 1);

    // What keeps a node from nothing while it runs keeps it from starting.
    for (text, said) in [
        (&b"nonsense\n"[..], ".properties:1: `nonsense`"),
        (elsewhere.as_bytes(), "a node that moves must join anew"),
    ] {
        assert_eq!(cluster.terminate(1), Some(0));
        say(text);
        cluster.spawn_with(1, &settings);
        let log = cluster.wait_for_failure(1);
        assert!(log.contains(said), "{log}");
        say(right.as_bytes());
        cluster.spawn_with(1, &settings);
        cluster.wait_until_ready(1);
    }
    assert_eq!(stands(), ("east".into(), "r1".into()));
}
