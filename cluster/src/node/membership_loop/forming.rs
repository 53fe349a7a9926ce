//! How a node finds its cluster: it asks its seeds for theirs, chooses its tokens, and shows itself; or forms one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use tokio::time::Instant;

use super::MembershipLoop;
use crate::{
    membership::{Formation, FormationVerdict, formation::default_replication},
    node::{
        calls::{self, Answerer},
        randomness::{Stream, random_uuid, stream},
        token_choice::Wish,
        transport::{CallError, Destination},
    },
    node_id::ClusterId,
    settings::Settings,
    table::Replication,
};

/// How long a node waits for its seeds before that is worth a warning, and how often it is.
const PATIENCE: Duration = Duration::from_secs(10);
const REMINDER: Duration = Duration::from_secs(30);

/// What a node without a cluster has heard and done to belong to one.
pub(super) struct Forming {
    formation: Formation,
    configured_replication: Option<Replication>,
    wish: Wish,
    /// Whether a seed is being asked for the members, to choose tokens among them.
    is_choosing: bool,
    /// Seeds that were asked so in vain, and are not again before a round of gossip.
    silent: BTreeSet<String>,
    /// What was last wrong with such a seed, as was logged.
    faults: BTreeMap<String, String>,
    /// Why it joins no cluster, as was logged.
    refused: Option<String>,
    begun: Instant,
    /// When it is time to say for whom it waits.
    next_reminder: Instant,
    /// Draws the id of a cluster.
    random: Stream,
}

impl Forming {
    pub(super) fn new(settings: &Settings, seed: u64) -> Self {
        let begun = Instant::now();
        Self {
            formation: Formation::new(&settings.advertise, &settings.seeds),
            configured_replication: settings.configured_replication(),
            wish: Wish::of(settings, seed),
            is_choosing: false,
            silent: BTreeSet::new(),
            faults: BTreeMap::new(),
            refused: None,
            begun,
            next_reminder: begun + PATIENCE,
            random: stream(seed, "cluster id"),
        }
    }
}

impl MembershipLoop {
    pub(super) async fn form_if_due(&mut self) {
        if self.cluster.picture().view().cluster_id().is_some() {
            return;
        }
        if let Some(why) = self.cluster.unwanted() {
            return self.cluster.wait_for(why);
        }
        match self.forming.formation.verdict(self.peers.identity.chosen_cluster()) {
            FormationVerdict::Wait { why } => {
                self.remind(&why);
                self.cluster.wait_for(why);
            }
            FormationVerdict::Refuse { why } => {
                if self.forming.refused.as_ref() != Some(&why) {
                    tracing::error!(why, "this node joins no cluster");
                    self.forming.refused = Some(why.clone());
                }
                self.cluster.wait_for(why);
            }
            FormationVerdict::Join { cluster_id, seeds } if self.peers.identity.tokens().is_empty() => {
                self.choose_tokens(cluster_id, &seeds);
            }
            FormationVerdict::Join { cluster_id, seeds } => self.join(cluster_id, &seeds),
            FormationVerdict::Form => self.form().await,
        }
    }

    /// Tells the operator again and again for whom the node waits: without that seed it never serves.
    fn remind(&mut self, why: &str) {
        let now = Instant::now();
        if now >= self.forming.next_reminder {
            self.forming.next_reminder = now + REMINDER;
            let waited_s = now.duration_since(self.forming.begun).as_secs();
            tracing::warn!(why, waited_s, "this node belongs to no cluster yet");
        }
    }

    async fn form(&mut self) {
        let has_seeds = !self.seeds.is_empty();
        let configured = self.forming.configured_replication.clone();
        if !has_seeds && configured.is_none() {
            tracing::warn!("no seeds are set: one copy of everything (replication factor 1)");
        }
        let cluster_id = ClusterId(random_uuid(&mut self.forming.random));
        let wish = self.forming.wish.clone();
        let formed = async {
            self.cluster.choose_tokens(move || wish.alone()).await?;
            self.cluster.form(cluster_id, default_replication(configured, has_seeds)).await
        };
        if let Err(error) = formed.await {
            self.cluster.wait_for(format!("the cluster could not be saved: {error}"));
        }
    }

    /// Asks the first of the seeds that belong to the cluster for its members; the next one if that does not answer. If none
    /// does, it waits for the next round: a call may fail at once, and be the only thing that this task ever does.
    fn choose_tokens(&mut self, cluster_id: ClusterId, seeds: &[String]) {
        let forming = &mut self.forming;
        if forming.is_choosing {
            return;
        }
        let Some(address) = seeds.iter().find(|seed| !forming.silent.contains(*seed)).cloned() else {
            return;
        };
        forming.is_choosing = true;
        self.cluster.wait_for(format!("it asks for the members, to choose its tokens: {}", seeds.join(", ")));
        let choice = calls::choose_tokens(self.peers.clone(), forming.wish.clone(), cluster_id, address);
        self.calls.under_way.push(Box::pin(choice));
    }

    /// A round of gossip begins. If no seed is being asked for the members, all were in vain.
    pub(super) fn ask_silent_again(&mut self) {
        if !self.forming.is_choosing {
            self.forming.silent.clear();
        }
    }

    /// The choice of tokens has ended.
    pub(super) fn on_tokens(&mut self, address: &str, result: Result<(), CallError>) {
        self.forming.is_choosing = false;
        let Err(error) = result else { return };
        self.forming.silent.insert(address.to_owned());
        let fault = error.to_string();
        if self.forming.faults.insert(address.to_owned(), fault.clone()) != Some(fault) {
            self.log_error(address, &error);
        }
    }

    /// Shows itself to the cluster that it joins: at once when it has chosen it, and then in each round.
    fn join(&mut self, cluster_id: ClusterId, seeds: &[String]) {
        self.cluster.wait_for(format!("waiting to be listed by cluster {cluster_id}: {}", seeds.join(", ")));
        if self.peers.identity.chosen_cluster().is_none() {
            self.peers.identity.choose_cluster(cluster_id);
            self.show_itself(seeds);
        }
    }

    /// As [`MembershipLoop::show_itself`], if it has chosen a cluster.
    pub(super) fn show_itself_again(&mut self) {
        let chosen = self.peers.identity.chosen_cluster();
        if chosen.is_some()
            && let FormationVerdict::Join { seeds, .. } = self.forming.formation.verdict(chosen)
        {
            self.show_itself(&seeds);
        }
    }

    /// To the very hosts that have said that they belong to the cluster.
    fn show_itself(&mut self, seeds: &[String]) {
        for seed in seeds {
            let Some(host_id) = self.met.get(seed).copied() else { continue };
            let destination = Destination { host_id: Some(host_id), address: seed.clone() };
            self.calls.exchange(&self.peers, destination);
        }
    }

    /// Asks who is at an address. Only a node that belongs to a cluster says who it is itself.
    pub(super) fn meet(&mut self, address: String) {
        if self.cluster.picture().view().cluster_id().is_none() {
            self.calls.shadow(&self.peers, address);
        } else {
            self.calls.exchange(&self.peers, Destination { host_id: None, address });
        }
    }

    /// It was asked who is at an address.
    pub(super) fn on_met(&mut self, address: &str, result: Result<Answerer, CallError>) {
        match result {
            Ok(answerer) => {
                self.met.insert(address.to_owned(), answerer.host_id);
                let identity = &self.peers.identity;
                if answerer.host_id != identity.host_id() {
                    self.forming.formation.on_answer(address, answerer.cluster_id);
                } else if answerer.generation > identity.generation() {
                    self.cluster.supersede(address);
                } else if answerer.generation == identity.generation() {
                    self.take_for_own(address);
                }
            }
            Err(error) => {
                // Who answers may belong to a cluster, whatever is wrong with the answer.
                if !matches!(error, CallError::Malformed { .. }) {
                    self.forming.formation.on_failure(address);
                }
                self.log_error(address, &error);
            }
        }
    }

    /// A seed turned out to be this node under another name. What the other seeds said is asked again.
    fn take_for_own(&mut self, address: &str) {
        let own = |seed: &String| if seed == address { self.advertise.clone() } else { seed.clone() };
        self.seeds = self.seeds.iter().map(own).collect();
        self.forming.formation = Formation::new(&self.advertise, &self.seeds);
    }
}
