//! The end of a run: what only a calm cluster can be asked, since in bad weather anything may look dead.

use std::time::Duration;

use helenus_storage::disk::Damage;
use rand::RngExt;
use tokio::time::{Instant, sleep};

use super::cluster::SimulatedCluster;
use crate::{node::Readiness, node_id::HostId};

/// How soon what is to happen must have happened.
const PATIENCE: Duration = Duration::from_secs(60);

impl SimulatedCluster {
    /// Cuts a link for a while: nobody may be taken for dead. Then kills a node for good and removes it: all must let
    /// go of it, and it must not come back, however often it and others restart. Accuses who breaks this.
    pub async fn farewell(&self) {
        let nodes = self.shape().nodes;
        if nodes < 3 {
            return;
        }
        let mut random = self.stream("farewell");
        let victim = random.random_range(1..=nodes);
        let others: Vec<u32> = (1..=nodes).filter(|node| *node != victim).collect();
        self.cut_a_link(victim, others[random.random_range(0..others.len())]).await;
        self.remove_a_member(victim, &others, others[random.random_range(0..others.len())]).await;
    }

    async fn cut_a_link(&self, a: u32, b: u32) {
        let before = self.convictions();
        let cut = |change: fn(u32) -> u32| {
            self.network.change(a, b, |link| link.broken = change(link.broken));
            self.network.change(b, a, |link| link.broken = change(link.broken));
        };
        cut(|broken| broken + 1);
        sleep(self.shape().settings.gossip_interval * 10).await;
        cut(|broken| broken - 1);
        if self.convictions() != before {
            self.trace()
                .accuse(format!("a live node was taken for dead: n{a} and n{b} could not reach each other"));
        }
        if !self.settles(PATIENCE).await {
            self.trace().accuse(format!("n{a} and n{b} do not meet again"));
        }
    }

    async fn remove_a_member(&self, victim: u32, others: &[u32], remover: u32) {
        let Some(host_id) = self.status(victim).map(|status| status.host_id) else { return };
        let machine = self.machine(victim);
        machine.hold();
        machine.die(Damage::ProcessOnly);
        let removed = within(PATIENCE, async || match self.machine(remover).process() {
            Some((node, _)) => node.assassinate(host_id, false).await.is_ok(),
            None => false,
        });
        if !removed.await {
            self.trace().accuse(format!("n{remover} does not remove n{victim}, which is dead"));
            return;
        }
        if !within(PATIENCE, async || others.iter().all(|node| self.has_let_go(*node, host_id))).await {
            self.trace().accuse(format!("the removal of n{victim} did not reach all"));
            return;
        }
        machine.release();
        let is_told = || match machine.process() {
            Some((node, _)) => {
                matches!(node.readiness(), Readiness::Starting(why) if why.contains("removed"))
            }
            None => false,
        };
        if !within(PATIENCE, async || is_told()).await {
            self.trace().accuse(format!("n{victim} was removed, and is not told"));
        }
        self.machine(remover).stop().await;
        self.serves(remover).await;
        sleep(self.shape().settings.gossip_interval * 10).await;
        if let Some(node) = others.iter().find(|node| !self.has_let_go(**node, host_id)) {
            self.trace().accuse(format!("a removed member is back: n{node} lists n{victim}"));
        }
        self.trace().count("members removed");
    }

    fn has_let_go(&self, node: u32, host_id: HostId) -> bool {
        let status = self.status(node);
        status.is_none_or(|status| status.members.iter().all(|member| member.host_id != host_id))
    }

    /// How often any node took another for dead since it started.
    fn convictions(&self) -> u64 {
        let nodes = (1..=self.shape().nodes).filter_map(|node| self.machine(node).process());
        nodes.map(|(node, _)| node.gossip_status().convictions).sum()
    }
}

async fn within(time: Duration, holds: impl AsyncFn() -> bool) -> bool {
    let deadline = Instant::now() + time;
    while !holds().await {
        if Instant::now() >= deadline {
            return false;
        }
        sleep(Duration::from_millis(50)).await;
    }
    true
}
