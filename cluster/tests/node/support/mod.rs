//! Clusters of real nodes in one process: real coordinators, membership, engines and codec; only network, disks
//! and clocks are in memory. Time is tokio's, paused: waiting costs nothing.

#![allow(dead_code, reason = "each test file uses its own part")]

pub mod clock;
pub mod machine;
pub mod network;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use helenus_cluster::{
    consistency::Consistency,
    error::RequestError,
    membership::MemberState,
    message::{Header, TrafficClass},
    node::{
        Change, ClusterStatus, MemberStatus, Node, Parts, ReadOutcome, ReadRequest, RequestOptions, Spawners,
        StartError, WriteOutcome, WriteRequest, identity::LocalIdentity,
    },
    node_id::{Generation, HostId},
    settings::Settings,
    table::DEFAULT_TABLE,
    time::Timestamp,
};
use helenus_storage::{Record, RecordKind, disk::Damage};
use tokio::{runtime::Handle, time::Instant};

use self::{
    clock::TestClock,
    machine::{Machine, Storage},
    network::Network,
};

/// Nodes by their names, which are their addresses too.
pub struct Cluster {
    pub network: Network,
    pub machines: BTreeMap<String, Machine>,
    pub processes: BTreeMap<String, Process>,
    begun: Instant,
    settings: Settings,
}

/// A running node with what the operating system would take away with it.
pub struct Process {
    pub node: Arc<Node>,
    pub storage: Storage,
}

impl Cluster {
    /// No node yet; all will have n1 and n2 as seeds.
    pub fn empty() -> Self {
        let settings = Settings {
            cluster_name: "test".to_owned(),
            seeds: vec!["n1".to_owned(), "n2".to_owned()],
            gossip_interval: Duration::from_secs(1),
            // To choose them takes a while in a debug build.
            allocate_tokens_for: None,
            ..Settings::default()
        };
        Self {
            network: Network::default(),
            machines: BTreeMap::new(),
            processes: BTreeMap::new(),
            begun: Instant::now(),
            settings,
        }
    }

    /// A cluster of `n1` to `n<size>` in which every node knows every other as normal and up.
    pub async fn of(size: usize) -> Self {
        Self::with(size, |_| {}).await
    }

    /// As [`Cluster::of`], with other settings.
    pub async fn with(size: usize, change: impl FnOnce(&mut Settings)) -> Self {
        let mut cluster = Self::empty();
        change(&mut cluster.settings);
        for number in 1..=size {
            cluster.start(&format!("n{number}")).await;
        }
        cluster.until("all nodes are normal and up everywhere", |c| c.agrees_on(size)).await;
        cluster
    }

    pub async fn start(&mut self, name: &str) {
        self.start_with(name, |_| {}).await;
    }

    pub async fn start_with(&mut self, name: &str, change: impl FnOnce(&mut Settings)) {
        self.try_start_with(name, change).await.unwrap_or_else(|error| panic!("{name} starts: {error}"));
    }

    pub async fn try_start_with(
        &mut self,
        name: &str,
        change: impl FnOnce(&mut Settings),
    ) -> Result<(), StartError> {
        let seed = self.machines.len() as u64 + 1;
        let begun = self.begun;
        let machine = self.machines.entry(name.to_owned()).or_insert_with(|| Machine {
            disk: Default::default(),
            clock: Arc::new(TestClock::started_at(begun)),
            seed,
        });
        let mut settings = self.settings.clone();
        settings.advertise = name.to_owned();
        change(&mut settings);
        let storage = machine.open_storage();
        let identity =
            LocalIdentity::load_or_create(&storage.engine, &settings, &*machine.clock, machine.seed).await;
        let identity = match identity {
            Ok(identity) => Arc::new(identity),
            Err(error) => {
                storage.die();
                return Err(error);
            }
        };
        let address = settings.advertise.clone();
        let parts = Parts {
            settings,
            identity: Arc::clone(&identity),
            engine: Arc::clone(&storage.engine),
            transport: self.network.plug_in(&address, identity),
            clock: Arc::clone(&machine.clock) as _,
            seed: machine.seed,
            spawners: Spawners { requests: Handle::current(), membership: Handle::current() },
            inline_reads: true,
        };
        let node = Node::start(parts).await?;
        self.network.listen(&address, Arc::clone(&node));
        self.processes.insert(name.to_owned(), Process { node, storage });
        Ok(())
    }

    /// The process dies as by SIGKILL and power cut: what was not synced is gone.
    pub async fn kill(&mut self, name: &str) {
        let process = self.processes.remove(name).expect("it runs");
        self.network.unplug(name);
        process.storage.die();
        process.node.stop(Instant::now()).await;
        drop(process.node);
        let machine = &self.machines[name];
        machine.disk.restart(machine.seed, Damage::Forgotten);
    }

    /// A machine with a copy of the disk of another, which must not run.
    pub fn copy_machine(&mut self, from: &str, to: &str) {
        let Machine { disk, clock, seed } = &self.machines[from];
        let copy = Machine {
            disk: disk.crash(*seed, Damage::ProcessOnly),
            clock: Arc::clone(clock),
            seed: seed + 1000,
        };
        self.machines.insert(to.to_owned(), copy);
    }

    pub async fn restart(&mut self, name: &str) {
        if self.processes.contains_key(name) {
            self.kill(name).await;
        }
        self.start(name).await;
    }

    pub fn cut(&self, one: &str, other: &str) {
        self.network.cut(one, other);
        self.network.cut(other, one);
    }

    pub fn heal(&self, one: &str, other: &str) {
        self.network.heal(one, other);
        self.network.heal(other, one);
    }

    pub fn pause(&self, name: &str) {
        self.network.set_paused(name, true);
    }

    pub fn resume(&self, name: &str) {
        self.network.set_paused(name, false);
    }

    /// Every later read and write of the replica at `name` is answered with an error.
    pub fn close_storage(&self, name: &str) {
        self.processes[name].storage.engine.close().expect("the disk is sound");
    }

    pub fn node(&self, name: &str) -> &Arc<Node> {
        &self.processes[name].node
    }

    pub fn status(&self, name: &str) -> ClusterStatus {
        self.node(name).status()
    }

    /// How `observer` sees the member at address `name`.
    pub fn seen(&self, observer: &str, name: &str) -> Option<MemberStatus> {
        self.status(observer).members.into_iter().find(|member| member.address == name)
    }

    pub fn sees_down(&self, observer: &str, name: &str) -> bool {
        self.seen(observer, name).is_some_and(|member| member.up == Some(false))
    }

    pub fn sees_up(&self, observer: &str, name: &str) -> bool {
        self.seen(observer, name).is_some_and(|member| member.up == Some(true))
    }

    /// Whether every running node knows exactly `size` members, all normal and up.
    pub fn agrees_on(&self, size: usize) -> bool {
        self.processes.values().all(|process| {
            let members = process.node.status().members;
            members.len() == size
                && members.iter().all(|m| m.up == Some(true) && m.state == MemberState::Normal)
        })
    }

    /// As [`Cluster::agrees_on`], but for one member that is down.
    pub fn agrees_but(&self, size: usize, down: &str) -> bool {
        self.processes.values().all(|process| {
            let members = process.node.status().members;
            members.len() == size && members.iter().all(|m| m.up == Some(m.address != down))
        })
    }

    /// Does something again and again until it succeeds, for at most a virtual minute.
    pub async fn until_ok<'a, T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(
        &'a self,
        what: &str,
        attempt: impl Fn(&'a Self) -> F,
    ) -> T {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            match attempt(self).await {
                Ok(done) => return done,
                Err(error) if Instant::now() > deadline => panic!("not within a minute: {what}: {error:?}"),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }

    /// Waits, at most a virtual minute.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds(self) {
            if Instant::now() > deadline {
                let seen: Vec<_> = self.processes.values().map(|p| p.node.status()).collect();
                panic!("not within a minute: {what}\n{seen:#?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn put(
        &self,
        coordinator: &str,
        key: &str,
        value: &str,
        level: Consistency,
    ) -> Result<WriteOutcome, RequestError> {
        self.write(coordinator, write(key, put(value), level)).await
    }

    pub async fn delete(
        &self,
        coordinator: &str,
        key: &str,
        level: Consistency,
    ) -> Result<WriteOutcome, RequestError> {
        self.write(coordinator, write(key, Change::Delete, level)).await
    }

    pub async fn write(
        &self,
        coordinator: &str,
        request: WriteRequest,
    ) -> Result<WriteOutcome, RequestError> {
        self.node(coordinator).write(request).await.map_err(|failure| failure.error)
    }

    /// The value at the level, `None` if deleted, expired or never written.
    pub async fn get(
        &self,
        coordinator: &str,
        key: &str,
        level: Consistency,
    ) -> Result<Option<String>, RequestError> {
        self.read(coordinator, key, level).await.map(|outcome| value_of(&outcome))
    }

    pub async fn read(
        &self,
        coordinator: &str,
        key: &str,
        level: Consistency,
    ) -> Result<ReadOutcome, RequestError> {
        self.node(coordinator).read(read(key, level)).await.map_err(|failure| failure.error)
    }
}

/// What a node says of itself and of a request, to a node or, without a target, to whoever hears it.
pub fn header(sender: HostId, target: Option<HostId>, class: TrafficClass) -> Header {
    Header {
        sender,
        generation: Generation(1),
        target,
        ring_version: 0,
        schema_version: 0,
        class,
        remaining: Duration::from_secs(1),
        timestamp: Timestamp(1),
        client_request: None,
        steps: Vec::new(),
    }
}

pub fn put(value: &str) -> Change {
    Change::Put { value: Bytes::copy_from_slice(value.as_bytes()), ttl: None }
}

pub fn write(key: &str, change: Change, level: Consistency) -> WriteRequest {
    WriteRequest {
        table: DEFAULT_TABLE.to_owned(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        change,
        options: at(level),
        timestamp: None,
    }
}

pub fn write_at(key: &str, change: Change, level: Consistency, timestamp: Timestamp) -> WriteRequest {
    WriteRequest { timestamp: Some(timestamp), ..write(key, change, level) }
}

pub fn read(key: &str, level: Consistency) -> ReadRequest {
    ReadRequest {
        table: DEFAULT_TABLE.to_owned(),
        key: Bytes::copy_from_slice(key.as_bytes()),
        options: at(level),
    }
}

pub fn at(level: Consistency) -> RequestOptions {
    RequestOptions { consistency: Some(level), ..RequestOptions::default() }
}

pub fn value_of(outcome: &ReadOutcome) -> Option<String> {
    match &outcome.record.as_ref()?.kind {
        RecordKind::Plain { value } | RecordKind::Expiring { value, .. } => {
            Some(String::from_utf8(value.to_vec()).expect("tests write text"))
        }
        RecordKind::Tombstone { .. } | RecordKind::Expired { .. } => None,
    }
}

pub fn is_tombstone(record: &Record) -> bool {
    record.value().is_none()
}
