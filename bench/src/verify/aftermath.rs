//! What is asked of a cluster that was healed: that it works, and what it has kept.

use helenus_bench::history::{Action, Level, Phase, ValueId};

use super::{client::Request, workload::Names};

/// What is made of an operation's name, and the level.
type Step = (fn(u64) -> Action, Level);

/// Writes, reads and deletes through each node, in order: all of it must succeed now.
pub(super) fn operations(nodes: u32, names: &Names) -> Vec<Request> {
    let write = |id| Action::Write { value: ValueId(id), ttl_s: None, client_timestamp: None };
    let read = |_| Action::Read;
    let delete = |_| Action::Delete { client_timestamp: None };
    let steps: [Step; 6] = [
        (write, Level::All),
        (read, Level::Quorum),
        (delete, Level::Quorum),
        (read, Level::All),
        (write, Level::Quorum),
        (read, Level::One),
    ];
    let mut requests = Vec::new();
    for coordinator in 1..=nodes {
        for number in 0..10 {
            requests.extend(steps.iter().map(|(action, level)| {
                let id = names.next();
                let key = format!("healed/{coordinator}-{number}");
                Request { id, key, action: action(id), level: *level, coordinator, phase: Phase::Healed }
            }));
        }
    }
    requests
}

/// Reads of each shared key at ALL and QUORUM through each node, and of each insert at both through two nodes.
pub(super) fn final_reads(nodes: u32, names: &Names, shared: &[String], inserted: &[String]) -> Vec<Request> {
    let read = |key: &str, level, coordinator| {
        let (id, key, action) = (names.next(), key.to_owned(), Action::Read);
        Request { id, key, action, level, coordinator, phase: Phase::Final }
    };
    let mut requests = Vec::new();
    for key in shared {
        for coordinator in 1..=nodes {
            requests.push(read(key, Level::All, coordinator));
            requests.push(read(key, Level::Quorum, coordinator));
        }
    }
    for (key, coordinator) in inserted.iter().zip((1..=nodes).cycle()) {
        requests.push(read(key, Level::All, coordinator));
        requests.push(read(key, Level::Quorum, coordinator % nodes + 1));
    }
    requests
}
