//! Promise: each checker finds what contradicts its promise, and nothing in a history that does not.

mod after_the_heal_everything_works;
mod durability_survives_the_death_of_all_nodes;
mod enough_healthy_replicas_mean_success;
mod inserts_are_there_in_the_end;
mod later_writes_are_newer;
mod levels_of_two_datacenters;
mod monotonic_quorum_reads;
mod no_acknowledged_write_is_lost;
mod nothing_is_invented;
mod replies_keep_to_the_interface;
mod sessions;
#[path = "../support/mod.rs"]
mod support;
mod the_last_write_wins_in_the_end;
mod values_expire_on_time;

use std::{collections::BTreeMap, time::Duration};

use helenus_bench::{
    checkers::{self, Checker, Checks, Violation},
    history::{Fault, History, Level, MemberView, Moment, Phase, Seen, Silence, Timestamp, View},
};
use support::{Story, Told};

/// The checkers that object, and the operations they name.
fn objections(history: &History) -> Vec<(Checker, Vec<u64>)> {
    let checks = Checks::default();
    checkers::check(history, &checks).into_iter().map(|found| (found.checker, found.operations)).collect()
}

fn no_objection(story: Story) {
    let history = story.history();
    let found: Vec<Violation> = checkers::check(&history, &Checks::default());
    assert_eq!(found, []);
}

#[track_caller]
fn objection(story: Story, checker: Checker, operations: &[u64]) {
    assert_eq!(objections(&story.history()), [(checker, operations.to_vec())]);
}
