//! Changes the schema and brings the nodes to agree on it.
//!
//! ```text
//!   define, drop ──> the new fact ──> save ──> publish ──> swap schemas with every live member ──> agreed
//!   a table that is not known ──> swap schemas with whoever may know it ──> once more
//! ```
//!
//! Two nodes that swap schemas tell each other all the facts that they know, and both know the union afterwards. An
//! exchange of the membership carries them too, so whoever is not reached now hears of a change when it is met again.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::join_all,
    stream::{self, FuturesUnordered},
};
use helenus_storage::TableId;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, sleep_until, timeout_at},
};

use super::{
    calls,
    clock::NodeClock,
    known_cluster::KnownCluster,
    peers::Peers,
    transport::{CallError, Destination},
};
use crate::{
    counted::counted,
    membership::{View, digest::Tag},
    message::{Header, ReplicaError, Request, Response, TrafficClass},
    node_id::HostId,
    quorum::{BlockFor, Operation},
    table::{Definition, Refusal, Replication, Table},
};

/// How long one swap with one member may take.
const SWAP_TIMEOUT: Duration = Duration::from_secs(2);
/// Wait before a member that did not answer is told again.
const RETRY: Duration = Duration::from_millis(100);
/// Names that nobody knows cost the other nodes this little: they are asked once in this time, for all who wait for it.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// Members that are asked for a table.
const ASKED: usize = 3;
/// Members that are asked for their schema's version at a time, and how long all of them may take.
const ASKED_AT_ONCE: usize = 64;
const COMPARE_TIMEOUT: Duration = Duration::from_secs(1);

/// A change of the schema that was made, or was not needed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChange {
    /// The table as it is now, or was when it was dropped.
    pub table: Table,
    /// Whether there was no such table before.
    pub is_created: bool,
    /// Whether every live member knew of it before the deadline.
    pub is_agreed: bool,
    /// Members that were down, and so not waited for: they hear of it when they are back.
    pub down: usize,
}

/// Why the schema was not changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// The change makes no sense.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Another change of the table came at the same time, and holds.
    #[error("table `{0}` was changed by someone else at the same time, and that change holds")]
    Overtaken(String),
    /// The node does not serve yet.
    #[error("{0}")]
    NotServing(String),
    /// It serves no more: it would tell nobody before it is back, and then undo what the others have done meanwhile.
    #[error("the node is draining")]
    Draining,
    /// It could not be saved; whether it is there after a restart is unknown.
    #[error("the change could not be saved: {0}")]
    NotSaved(ReplicaError),
}

/// The schema of one node.
#[derive(Debug)]
pub(crate) struct SchemaKeeper {
    clock: Arc<NodeClock>,
    cluster: Arc<KnownCluster>,
    peers: Arc<Peers>,
    /// When members were last asked for names that this node does not know, if one has answered. Held while they are asked.
    asked_for_names: Mutex<Option<Instant>>,
    /// Which member was asked for what it knows, and when. Held while it is asked.
    asked: Mutex<Option<(HostId, Instant)>>,
}

impl SchemaKeeper {
    pub(crate) fn new(peers: Arc<Peers>) -> Self {
        let (clock, cluster) = (Arc::clone(&peers.clock), Arc::clone(&peers.cluster));
        Self { clock, cluster, peers, asked_for_names: Mutex::default(), asked: Mutex::default() }
    }

    /// Creates a table or changes its definition, and tells the live members until the deadline.
    pub(crate) async fn define(
        &self,
        name: &str,
        definition: Definition,
        deadline: Instant,
    ) -> Result<SchemaChange, SchemaError> {
        let mut is_created = false;
        let define = |view: &View, is_spent: &dyn Fn(TableId) -> bool| {
            check_datacenters(view, name, &definition)?;
            // Here, where no other change comes in between: of many creations one is told that it was it.
            is_created = view.tables().get(name).is_none();
            let fact = view.tables().define(name, definition.clone(), is_spent)?;
            // Of a replication that makes sense.
            check_levels(&definition)?;
            Ok(fact)
        };
        self.cluster.change_schema(define).await?;
        let change = self.agreed(name, is_created, deadline).await?;
        // Another node may have changed it at the same time: one change holds, and only its client is told so.
        match self.cluster.picture().table(name) {
            Some(table) if table.definition == definition => {
                Ok(SchemaChange { table: table.clone(), ..change })
            }
            _ => {
                helenus_storage::sometimes!("a change of a table was overtaken");
                Err(SchemaError::Overtaken(name.to_owned()))
            }
        }
    }

    /// What of a definition will not do what people expect, in sentences.
    pub(crate) fn warnings(&self, definition: &Definition) -> Vec<String> {
        let mut warnings = too_few_members(self.cluster.picture().view(), &definition.replication);
        let (grace, margin) = (definition.tombstone_grace(), self.clock.margin());
        if grace <= margin {
            warnings.push(format!(
                "its tombstone grace of {grace:?} is not longer than twice the allowed drift of clocks, {margin:?}: no hint \
                 is delivered, and a replica that misses a write has to be repaired"
            ));
        }
        warnings
    }

    /// Drops a table with all its records, and tells the live members until the deadline.
    pub(crate) async fn drop_table(
        &self,
        name: &str,
        deadline: Instant,
    ) -> Result<SchemaChange, SchemaError> {
        self.cluster.change_schema(|view, _| view.tables().drop_table(name).map(Some)).await?;
        self.agreed(name, false, deadline).await
    }

    /// The other side of a swap: takes what another node knows, and tells what this one does.
    pub(crate) async fn answer(&self, sender: HostId, theirs: &[Table]) -> Result<Vec<Table>, ReplicaError> {
        self.cluster.learn_schema(sender, theirs).await?;
        Ok(self.facts())
    }

    /// Asks a few live members for tables that a client named and this node does not know. Whether to go by the picture now:
    /// it has them all, one of those members has answered since the client named them, or there are no others.
    pub(crate) async fn look_for(&self, names: &BTreeSet<&str>, deadline: Instant) -> bool {
        let are_known = || {
            let picture = self.cluster.picture();
            names.iter().all(|name| picture.table(name).is_some())
        };
        // What came with another request's question will do.
        self.ask_for_names(are_known, deadline).await || are_known()
    }

    async fn ask_for_names(&self, are_known: impl Fn() -> bool, deadline: Instant) -> bool {
        let named = Instant::now();
        let Ok(mut asked) = timeout_at(deadline, self.asked_for_names.lock()).await else { return false };
        if are_known() || self.cluster.picture().view().others().next().is_none() {
            return true;
        }
        if let Some(at) = *asked {
            if at >= named {
                helenus_storage::sometimes!("one question was for several names");
                return true;
            }
            if self.live_members().is_empty()
                || timeout_at(deadline, sleep_until(at + ASK_AGAIN)).await.is_err()
            {
                return false;
            }
        }
        helenus_storage::sometimes!("a table was asked for that this node did not know");
        let began = Instant::now();
        // One that is silent holds up nobody for long.
        let deadline = deadline.min(began + COMPARE_TIMEOUT);
        let members: Vec<_> = self.live_members().into_iter().take(ASKED).collect();
        let mut answers: FuturesUnordered<_> =
            members.iter().map(|member| self.catch_up(member, deadline)).collect();
        let mut is_answered = false;
        while let Some(has_answered) = answers.next().await {
            is_answered |= has_answered;
            if are_known() {
                break;
            }
        }
        if is_answered {
            *asked = Some(began);
        }
        is_answered
    }

    /// Learns what a member knows of the schema; whether it has answered.
    async fn catch_up(&self, member: &Destination, deadline: Instant) -> bool {
        let version = calls::schema_version(&self.peers, member, deadline).await;
        match version {
            None => false,
            Some(version) if version == self.cluster.picture().schema_version() => true,
            Some(_) => self.swap(member, deadline).await.is_ok(),
        }
    }

    /// Asks the node that sent a request about tables of which this one does not know all, if the version of its schema
    /// differs.
    pub(crate) async fn learn_from<T: Iterator<Item = TableId>>(
        &self,
        header: &Header,
        tables: impl Fn() -> T,
        deadline: Instant,
    ) {
        let is_known = || {
            let picture = self.cluster.picture();
            picture.schema_version() == header.schema_version
                || tables().all(|table| picture.view().tables().by_id(table).is_some())
        };
        if !is_known() {
            helenus_storage::sometimes!("a request was about a table that its replica did not know");
            // If it fails, the request does: the table is still unknown.
            self.ask(header.sender, is_known, deadline).await;
        }
    }

    /// Asks a member what it knows, unless what others have asked meanwhile will do, or was asked of the same one.
    async fn ask(&self, host_id: HostId, will_do: impl Fn() -> bool, deadline: Instant) {
        let Some(member) = self.cluster.picture().destination(host_id) else { return };
        let called = Instant::now();
        let Ok(mut asked) = timeout_at(deadline, self.asked.lock()).await else { return };
        let is_asked = asked.is_some_and(|(whom, at)| whom == host_id && at >= called);
        if will_do() || is_asked {
            return;
        }
        let began = Instant::now();
        let swapped = self.swap(&member, deadline).await;
        // A swap that this asker's own time cut short answers nobody who has more of it.
        if swapped.is_ok() || began.elapsed() >= SWAP_TIMEOUT {
            *asked = Some((host_id, began));
        }
    }

    /// Whether a table is gone. Asks a member, who says that there is no such table, what it knows.
    pub(crate) async fn is_gone(&self, table: TableId, says_so: Option<HostId>, deadline: Instant) -> bool {
        let is_gone = || self.cluster.picture().view().tables().by_id(table).is_none();
        if is_gone() {
            return true;
        }
        let Some(member) = says_so else { return false };
        helenus_storage::sometimes!("a replica knew before its coordinator that a table is gone");
        // If it fails, nobody knows more than before.
        self.ask(member, is_gone, deadline).await;
        is_gone()
    }

    /// Which schemas live members know that are said to know another than this node does: what they say of themselves comes
    /// with gossip, and may be older than a change that they have agreed to. Of one that does not answer within a second
    /// nothing is said.
    pub(crate) async fn ask_versions(&self) -> BTreeMap<HostId, u64> {
        let deadline = Instant::now() + COMPARE_TIMEOUT;
        let own = self.cluster.picture().schema_version().to_le_bytes();
        let is_same = |member: &Destination| {
            let said = member.host_id.and_then(|host_id| self.cluster.hearsay.fact(host_id, Tag::SCHEMA));
            said.is_some_and(|said| said == own)
        };
        let others = self.live_members().into_iter().filter(|member| !is_same(member));
        let asked = stream::iter(others).map(|member| async move {
            Some((member.host_id?, calls::schema_version(&self.peers, &member, deadline).await?))
        });
        asked.buffer_unordered(ASKED_AT_ONCE).filter_map(std::future::ready).collect().await
    }

    /// Tells every live member what there is to know of a table.
    async fn agreed(
        &self,
        name: &str,
        is_created: bool,
        deadline: Instant,
    ) -> Result<SchemaChange, SchemaError> {
        let picture = self.cluster.picture();
        let table =
            picture.view().tables().fact(name).expect("it was just inserted, and no fact is forgotten");
        let told =
            join_all(self.live_members().iter().map(|member| self.tell(member, table, deadline))).await;
        let is_agreed = told.into_iter().all(|is_told| is_told);
        let down = picture.view().others().filter(|member| !self.cluster.is_up(member.host_id)).count();
        Ok(SchemaChange { table: table.clone(), is_created, is_agreed, down })
    }

    /// Swaps schemas with a member until it knows of the table, is down, or the deadline has passed; whether it knows,
    /// or is not to be waited for.
    async fn tell(&self, member: &Destination, table: &Table, deadline: Instant) -> bool {
        loop {
            match self.swap(member, deadline).await {
                Ok(facts) if facts.iter().any(|fact| fact.is_no_older_than(table)) => return true,
                _ if member.host_id.is_some_and(|host_id| !self.cluster.is_up(host_id)) => return true,
                _ if Instant::now() >= deadline => return false,
                _ => sleep(RETRY.min(deadline.saturating_duration_since(Instant::now()))).await,
            }
        }
    }

    /// Swaps schemas with another node; what it knows now.
    async fn swap(&self, with: &Destination, deadline: Instant) -> Result<Vec<Table>, CallError> {
        let deadline = deadline.min(Instant::now() + SWAP_TIMEOUT);
        let request = Request::Schema { facts: self.facts() };
        match self.peers.call(with, TrafficClass::Control, request, deadline, None).await? {
            Response::Schema { facts } => {
                if let Some(host_id) = with.host_id {
                    let learned = self.cluster.learn_schema(host_id, &facts).await;
                    learned.map_err(|error| CallError::Malformed { reason: error.to_string() })?;
                }
                Ok(facts)
            }
            Response::Failed(error) => Err(CallError::Malformed { reason: error.to_string() }),
            _ => Err(CallError::Malformed { reason: "it answered something else".to_owned() }),
        }
    }

    fn facts(&self) -> Vec<Table> {
        self.cluster.picture().view().tables().facts().cloned().collect()
    }

    fn live_members(&self) -> Vec<Destination> {
        let picture = self.cluster.picture();
        let others = picture.view().others().filter(|member| self.cluster.is_up(member.host_id));
        others.filter_map(|member| picture.destination(member.host_id)).collect()
    }
}

/// A default level that no request can have would only be found out by the first one without a level of its own.
fn check_levels(definition: &Definition) -> Result<(), Refusal> {
    let Definition { replication, default_read_consistency: read, default_write_consistency: write, .. } =
        definition;
    // A local level is one for coordinators in a datacenter that has replicas.
    let datacenter = match replication {
        Replication::Simple { .. } => "",
        Replication::NetworkTopology { factors } => {
            factors.iter().find(|(_, factor)| **factor > 0).map_or("", |(datacenter, _)| datacenter.as_str())
        }
    };
    let levels = [
        ("default_read_consistency", Operation::Read, *read),
        ("default_write_consistency", Operation::Write, *write),
    ];
    for (field, operation, level) in levels {
        if let Err(error) = BlockFor::of(operation, level, replication, datacenter) {
            return Err(Refusal::InvalidConsistency { field, detail: format!("{field}: {error}") });
        }
    }
    Ok(())
}

/// Where a key is to have more replicas than there are members to hold them.
fn too_few_members(view: &View, replication: &Replication) -> Vec<String> {
    let say = |factor: u32, place: &str, members: usize| {
        let exceeds = usize::try_from(factor).is_ok_and(|factor| factor > members);
        exceeds.then(|| {
            format!(
                "its replication factor of {factor}{place} is more than the {} there: levels that require more replicas \
                 than there are members are unavailable",
                counted(members, "member")
            )
        })
    };
    match replication {
        Replication::Simple { factor } => say(*factor, "", view.members().count()).into_iter().collect(),
        Replication::NetworkTopology { factors } => {
            let members = |name: &str| view.members().filter(|member| member.datacenter == name).count();
            let places = factors.iter();
            let said =
                places.map(|(name, factor)| say(*factor, &format!(" in datacenter {name}"), members(name)));
            said.flatten().collect()
        }
    }
}

/// A new table's replicas are where there are members: a misspelt datacenter would hold none (Apache Cassandra refuses
/// it too). What a table was created with stays right, whoever has left since.
fn check_datacenters(view: &View, name: &str, definition: &Definition) -> Result<(), Refusal> {
    let Replication::NetworkTopology { factors } = &definition.replication else { return Ok(()) };
    if view.tables().get(name).is_some() {
        return Ok(());
    }
    let known: BTreeSet<&str> = view.members().map(|member| member.datacenter.as_str()).collect();
    match factors.keys().find(|datacenter| !known.contains(datacenter.as_str())) {
        None => Ok(()),
        Some(unknown) => {
            let known = known.into_iter().collect::<Vec<_>>().join("`, `");
            let detail =
                format!("no member is in datacenter `{}`; there are `{known}`", unknown.escape_debug());
            Err(Refusal::Invalid { field: "replication", detail })
        }
    }
}
