//! What the sessions of clients ask of this coordinator: [`crate::session`].

use helenus_storage::Record;

use super::{Coordinator, Goal, Target, datacenter_of, fan_out::Next, get::Plan, reading::Reading};
use crate::{
    error::RequestError,
    node::RequestOptions,
    quorum::AsOf,
    session::{Demand, Held, Observed, Session, Version, demand::Heard, key_hash},
    table::Table,
    time::Timestamp,
};

impl Coordinator {
    /// Refuses a session of another cluster, whose timestamps say nothing here.
    pub(super) fn check_session(&self, options: &RequestOptions) -> Result<(), RequestError> {
        let foreign = options.session.as_ref().and_then(|session| session.cluster());
        match foreign {
            Some(cluster) if Some(cluster) != self.replica.identity.cluster_id() => {
                Err(RequestError::ForeignSession)
            }
            _ => Ok(()),
        }
    }

    /// What a read must give the client's session.
    pub(super) fn demand(
        &self,
        options: &RequestOptions,
        target: &Target,
        table: &Table,
        as_of: &AsOf,
    ) -> Demand {
        let Some(session) = &options.session else { return Demand::Nothing };
        let forgettable = self.clock.forgettable(as_of.forgotten_before);
        session.demand(key_hash(target.table, &target.key), &table.definition.replication, forgettable)
    }

    /// A stamp of this node, above all that the client's session has met.
    pub(super) fn stamp_above(&self, session: Option<&Session>) -> Result<Timestamp, RequestError> {
        let Some(clock) = session.map(Session::clock) else { return Ok(self.clock.stamp()) };
        self.clock.stamp_above(clock).ok_or_else(|| {
            helenus_storage::sometimes!("a session was too far ahead");
            RequestError::SessionAhead { clock, max: self.clock.latest_accepted() }
        })
    }

    /// What the session is told of a record that was written, as one whose level is met.
    pub(super) fn observed(&self, target: &Target, goal: Goal, record: &Record) -> Option<Observed> {
        Some(Observed {
            cluster: self.replica.identity.cluster_id()?,
            key: key_hash(target.table, &target.key),
            version: Version::of(record),
            held: Held::at(goal.level, &target.picture.view().own().datacenter),
            is_newest: false,
        })
    }
}

impl Reading {
    /// Whether the newest version of all answers may be answered to the client's session.
    pub(super) fn satisfies_session(&self) -> bool {
        if self.plan.demand == Demand::Nothing {
            return true;
        }
        let target = &self.plan.target;
        let unheard = target.placement.natural.iter().filter(|host| !self.quorum.has_heard(**host));
        let unheard: Vec<&str> = unheard.map(|host| datacenter_of(&target.picture, *host)).collect();
        self.plan.demand.is_met(&Heard {
            newest: self.quorum.newest_or_forgotten().as_ref().map(Version::of),
            counts: self.quorum.newest().is_some(),
            unheard: &unheard,
        })
    }

    /// What the client's session is told of an answer.
    pub(super) fn observed(&self, record: &Record) -> Option<Observed> {
        let Plan { target, goal, demand, .. } = &self.plan;
        let is_newest = *demand != Demand::Nothing;
        let observed = self.coordinator.observed(target, *goal, record)?;
        Some(Observed { is_newest, ..observed })
    }

    /// Asks all other live replicas, or waits for one of them.
    pub(super) async fn widen(&mut self) -> Result<(), RequestError> {
        let live = self.plan.target.placement.natural.iter().copied();
        let live = live.filter(|host| self.coordinator.cluster.is_up(*host));
        let wider = self.quorum.widen(live);
        if !wider.is_empty() {
            helenus_storage::sometimes!("a read was widened for a session");
            self.trace
                .note(|| "the session has met what the answers may lack: more replicas are asked".to_owned());
            self.coordinator.counters.session_widenings.add(1);
            return self.ask(wider).await;
        }
        if !self.quorum.awaited().is_empty()
            && let Next::Answer(answer) = self.reads.next_before(None).await
        {
            return self.hear(answer).await;
        }
        helenus_storage::sometimes!("a session was unavailable");
        let natural = &self.plan.target.placement.natural;
        let heard = natural.iter().filter(|host| self.quorum.has_heard(**host)).count();
        Err(RequestError::SessionUnavailable {
            level: self.plan.goal.level,
            required: self.quorum.required(),
            heard: u32::try_from(heard).unwrap_or(u32::MAX),
            replicas: u32::try_from(natural.len()).unwrap_or(u32::MAX),
        })
    }
}
