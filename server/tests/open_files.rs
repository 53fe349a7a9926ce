//! Clients cannot take the open files that the node needs for itself.

mod processes;

use std::{net::TcpStream, time::Duration};

use processes::TestCluster;

#[test]
fn connections_beyond_the_limit_of_open_files_are_told_so_and_the_node_works_on() {
    let cluster = TestCluster::stopped(1);
    cluster.spawn_with_open_files(1, 256);
    cluster.wait_until_ready(1);

    let connect = || TcpStream::connect(cluster.http_address(1)).expect("it listens");
    let connections: Vec<_> = (0..400).map(|_| connect()).collect();
    let mut next = connect();
    next.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut next, &mut answer).expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 503");

    drop((connections, next));
    processes::wait_until("there is room again", || {
        cluster
            .try_request("PUT", 1, "/v1/kv/default/key", &[], Some(b"value"))
            .is_ok_and(|r| r.status == 200)
    });
}
