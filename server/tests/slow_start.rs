//! Promise: a process whose storage takes long to open says that it lives and is starting, and can be stopped.

mod processes;

use std::{
    fs::{self, File},
    io,
    net::TcpStream,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

use processes::{TestCluster, wait_until};

/// Holds a write lease (fcntl(2), F_SETLEASE) on every SSTable of a stopped node: its next start waits in open(2), for as
/// long as /proc/sys/fs/lease-break-time says (45 s unless changed), or until the files are dropped.
fn stall_storage(directory: &Path) -> io::Result<Vec<File>> {
    let leased = |path: PathBuf| {
        let file = File::options().write(true).open(path)?;
        lease(&file)?;
        Ok(file)
    };
    sstables(directory).into_iter().map(leased).collect()
}

#[expect(unsafe_code, reason = "no safe wrapper has leases")]
fn lease(file: &File) -> io::Result<()> {
    // SAFETY: both calls take integers only, and the descriptor is open. Who breaks the lease is announced by SIGIO,
    // which would end this process.
    let leased = unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
        libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
    };
    if leased == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn sstables(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "sst")).collect()
}

#[test]
fn a_process_that_is_starting_says_so_and_stops_when_told() {
    let settings = ["storage.memtable_size=1MiB", "storage.memtable_total=2MiB", "http.max_value=512KiB"];
    let cluster = TestCluster::stopped(1);
    cluster.spawn_with(1, &settings);
    cluster.wait_until_ready(1);
    let value = vec![7; 400 << 10];
    let mut keys = 0;
    wait_until("there is an SSTable", || {
        keys += 1;
        let reply = cluster.request("PUT", 1, &format!("/v1/kv/default/k{keys}"), Some(&value));
        assert!([200, 503].contains(&reply.status), "{reply:?}");
        !sstables(&cluster.data_directory(1)).is_empty()
    });
    assert_eq!(cluster.terminate(1), Some(0));
    let stalled = match stall_storage(&cluster.data_directory(1)) {
        Ok(stalled) => stalled,
        Err(error) => return println!("skipped: this file system has no leases: {error}"),
    };
    assert!(!stalled.is_empty());

    cluster.spawn_with(1, &settings);

    wait_until("the process lives", || {
        cluster.try_request("GET", 1, "/livez", &[], None).is_ok_and(|reply| reply.status == 200)
    });
    for (method, path, body, outcome) in [
        ("GET", "/readyz", None, serde_json::Value::Null),
        ("GET", "/v1/kv/default/k", None, "none".into()),
        ("PUT", "/v1/kv/default/k", Some(&b"v"[..]), "not-applied".into()),
    ] {
        let reply = cluster.request(method, 1, path, body);
        assert_eq!(reply.status, 503, "{method} {path}");
        assert_eq!(reply.json()["type"], "/problems/starting", "{method} {path}");
        assert_eq!(reply.json()["outcome"], outcome, "{method} {path}");
        assert!(reply.header("retry-after").is_some());
    }
    assert!(TcpStream::connect(cluster.peer_address(1)).is_err(), "other nodes are refused at once");
    assert_eq!(cluster.terminate(1), Some(0));
}
