//! Clients cannot take the open files that the node needs for itself.

mod processes;

use std::{io::Read, net::TcpStream, time::Duration};

use processes::TestCluster;

#[test]
fn connections_beyond_the_limit_of_open_files_are_told_so_and_the_node_works_on() {
    let cluster = TestCluster::stopped(1);
    cluster.spawn_with_open_files(1, 256, &["http.header_timeout=\"60s\""]);
    cluster.wait_until_ready(1);

    let connect = || TcpStream::connect(cluster.http_address(1)).expect("it listens");
    let connections: Vec<_> = (0..400).map(|_| connect()).collect();
    // While many are told so at the same time, further ones are closed without a word.
    processes::wait_until("one is told that there are too many", || {
        let mut answer = [0; 12];
        let mut next = connect();
        next.set_read_timeout(Some(Duration::from_secs(1))).expect("a socket");
        next.read_exact(&mut answer).is_ok() && answer == *b"HTTP/1.1 503"
    });

    drop(connections);
    processes::wait_until("there is room again", || {
        cluster
            .try_request("PUT", 1, "/v1/kv/default/key", &[], Some(b"value"))
            .is_ok_and(|r| r.status == 200)
    });
}
