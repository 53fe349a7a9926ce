//! What the clients of a seed do: a random subset of the kinds of keys, levels and habits.

use std::time::Duration;

use helenus_bench::history::{Action, Level, Timestamp, ValueId};
use helenus_cluster::{simulation::Shape, time::WallClock as _};
use rand::RngExt;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The clients and what they may do.
#[derive(Debug, Clone)]
pub struct Workload {
    pub clients: u32,
    /// Mean time between two operations of a client.
    pub think: Duration,
    pub keys: Vec<Keys>,
    pub levels: Vec<Level>,
    /// Bytes of a value beyond its name, at most.
    pub padding: usize,
    /// How long a client waits.
    pub patience: Duration,
    /// Share of the operations that their client gives up early.
    pub hang_ups: f64,
    /// Share of the operations that are scans of the whole table.
    pub scans: f64,
    /// Share of the writes and reads that are made together with others.
    pub batches: f64,
    /// Share of the writes with a timestamp of the client.
    pub own_timestamps: f64,
    /// So many clients, from the first on, have a session each.
    pub sessions: u32,
    /// How often a session forgets its keys, so that only its floor is left.
    pub foldings: f64,
}

const ALL_LEVELS: [Level; 9] = [
    Level::Any,
    Level::One,
    Level::Two,
    Level::Three,
    Level::Quorum,
    Level::All,
    Level::LocalOne,
    Level::LocalQuorum,
    Level::EachQuorum,
];

/// A kind of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Some keys that are overwritten and read.
    Registers,
    /// One key that everybody uses.
    Hot,
    /// Each is written once.
    Set,
    /// Keys that are deleted and written again.
    Churn,
    /// Values that expire.
    Expiring,
}

/// Most writes of one batch.
const MOST_TOGETHER: usize = 12;

/// One thing to do.
#[derive(Debug, Clone)]
pub struct Wish {
    pub key: String,
    pub action: Action,
    pub level: Level,
    pub coordinator: u32,
    pub patience: Duration,
}

impl Workload {
    /// Draws the workload of a seed.
    pub fn draw(
        random: &mut Xoshiro256PlusPlus,
        [later, latest, last]: [&mut Xoshiro256PlusPlus; 3],
        shape: &Shape,
    ) -> Self {
        let all = [Keys::Registers, Keys::Hot, Keys::Set, Keys::Churn, Keys::Expiring];
        let mut keys: Vec<Keys> = all.into_iter().filter(|_| random.random_bool(0.5)).collect();
        if keys.is_empty() {
            keys.push(Keys::Registers);
        }
        let mut levels = match random.random_range(0..3) {
            0 => vec![Level::Quorum],
            1 => vec![Level::Quorum, Level::Quorum, Level::One, Level::All],
            _ => vec![Level::One, Level::Two, Level::Three, Level::Quorum, Level::All, Level::Count(1)],
        };
        // These came later, and are drawn apart: known seeds keep the rest of their workloads.
        match later.random_range(0..if shape.datacenters.is_empty() { 6 } else { 3 }) {
            0 => levels = ALL_LEVELS.to_vec(),
            1 => levels = vec![Level::LocalQuorum, Level::EachQuorum, Level::Quorum],
            _ => {}
        }
        levels.retain(|level| level.required(shape.factor) <= shape.factor);
        let longest = shape.settings.write_timeout.max(shape.settings.read_timeout);
        Self {
            clients: random.random_range(1..=8),
            think: Duration::from_millis([30, 100, 300, 1000][random.random_range(0..4)]),
            keys,
            levels,
            padding: [0, 30, 300, 1500][random.random_range(0..4)],
            patience: longest + Duration::from_millis(500),
            hang_ups: if random.random_bool(0.3) { 0.05 } else { 0.0 },
            scans: if later.random_bool(0.3) { 0.05 } else { 0.0 },
            batches: [0.0, 0.0, 0.1, 0.5][last.random_range(0..4)],
            own_timestamps: if random.random_bool(0.3) { 0.1 } else { 0.0 },
            sessions: latest.random_range(0..=4),
            foldings: [0.0, 0.1, 0.5][latest.random_range(0..3)],
        }
    }

    /// A level for a read.
    pub fn level_of_reads(&self, random: &mut Xoshiro256PlusPlus) -> Level {
        match self.levels[random.random_range(0..self.levels.len())] {
            Level::Any => Level::One,
            level => level,
        }
    }

    /// What a client does next.
    pub fn wish(
        &self,
        random: &mut Xoshiro256PlusPlus,
        values: &mut Values,
        seen: &Surroundings<'_>,
    ) -> Wish {
        let kind = self.keys[random.random_range(0..self.keys.len())];
        let reads = random.random_bool(0.5);
        let coordinator = random.random_range(1..=seen.shape.nodes);
        let key = match kind {
            Keys::Registers => format!("register/{}", random.random_range(0..8)),
            Keys::Hot => "hot".to_owned(),
            Keys::Churn => format!("churn/{}", random.random_range(0..6)),
            Keys::Expiring => format!("expiring/{}", random.random_range(0..6)),
            Keys::Set if reads => format!("set/{}", values.any(random)),
            Keys::Set => format!("set/{}", values.next_member()),
        };
        let client_timestamp = (kind != Keys::Set && random.random_bool(self.own_timestamps)).then(|| {
            let now = seen.cluster.clock(coordinator).now().0;
            let chosen = now.saturating_add_signed(random.random_range(-2_000_000..1_000_000));
            // Clients that count in seconds choose one timestamp for different versions.
            Timestamp(if random.random() { chosen } else { chosen - chosen % 1_000_000 })
        });
        let deletes = matches!(kind, Keys::Churn | Keys::Expiring) && random.random_bool(0.4);
        let ttl_s = (kind == Keys::Expiring && random.random_bool(0.8)).then(|| random.random_range(1..40));
        let action = match (reads, deletes) {
            (true, _) => Action::Read,
            (false, true) => Action::Delete { client_timestamp },
            (false, false) => Action::Write { value: values.next(), ttl_s, client_timestamp },
        };
        let patience = if random.random_bool(self.hang_ups) {
            Duration::from_millis(random.random_range(0..20))
        } else {
            self.patience
        };
        let level = match self.levels[random.random_range(0..self.levels.len())] {
            Level::Any if action == Action::Read => Level::One,
            level => level,
        };
        Wish { key, action, level, coordinator, patience }
    }

    /// What a client writes or reads together with `first`, through the same node: some keys more than once.
    pub fn batch(
        &self,
        first: Wish,
        random: &mut Xoshiro256PlusPlus,
        values: &mut Values,
        seen: &Surroundings<'_>,
    ) -> Vec<Wish> {
        let (coordinator, patience, level) = (first.coordinator, first.patience, first.level);
        let others = random.random_range(1..MOST_TOGETHER);
        let is_read = first.action == Action::Read;
        let mut wishes = vec![first];
        while wishes.len() <= others {
            let wish = Wish { coordinator, patience, level, ..self.wish(random, values, seen) };
            if (wish.action == Action::Read) == is_read {
                wishes.push(wish);
            }
        }
        wishes
    }
}

/// What a client knows of the cluster when it makes up its mind.
pub struct Surroundings<'a> {
    pub cluster: &'a helenus_cluster::simulation::SimulatedCluster,
    pub shape: &'a Shape,
}

/// Hands out the unique names of values and set members.
#[derive(Debug, Default)]
pub struct Values {
    last: u64,
    members: u64,
}

impl Values {
    fn next(&mut self) -> ValueId {
        self.last += 1;
        ValueId(self.last)
    }

    fn next_member(&mut self) -> u64 {
        self.members += 1;
        self.members
    }

    fn any(&self, random: &mut Xoshiro256PlusPlus) -> u64 {
        random.random_range(0..=self.members)
    }
}

/// A value's bytes: its name, big-endian so that the store orders values as their names, and padding.
pub fn bytes_of(value: ValueId, padding: usize) -> Vec<u8> {
    let mut bytes = value.0.to_be_bytes().to_vec();
    let length = if padding == 0 { 0 } else { (value.0 as usize * 7919) % padding };
    bytes.resize(8 + length, value.0 as u8);
    bytes
}

/// The name of a stored value, if it is one of ours.
pub fn value_of(bytes: &[u8]) -> Option<ValueId> {
    let (name, padding) = bytes.split_first_chunk::<8>()?;
    let value = u64::from_be_bytes(*name);
    padding.iter().all(|byte| *byte == value as u8).then_some(ValueId(value))
}
