//! What one node knows of the cluster.

use std::collections::BTreeMap;

use helenus_storage::TableId;

use super::{
    changes::{Changes, Note},
    member::{Exchange, Flaw, MAX_MEMBERS, MAX_TOKENS, Member, MemberState, check_count},
};
use crate::{
    node_id::{ClusterId, Generation, HostId},
    table::{DEFAULT_TABLE, Replication, Schema, Table},
    time::Timestamp,
};

/// All members and tables a node knows, itself included. A plain value: clone it to publish a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    own: HostId,
    cluster_id: Option<ClusterId>,
    members: BTreeMap<HostId, Member>,
    /// Whose each token is.
    tokens: BTreeMap<i64, HostId>,
    tables: Schema,
    configured_factor: Option<u32>,
}

/// What a node had made durable of its view before it restarted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Remembered {
    /// The cluster it belongs to.
    pub cluster_id: Option<ClusterId>,
    /// Members; an older description of the node itself is passed over.
    pub members: Vec<Member>,
    /// Tables.
    pub tables: Vec<Table>,
}

impl View {
    /// The view of a node that starts as `own`, with all that it remembers. What it remembers is not checked again: it
    /// was when it came, and a ring must not shrink because checks became stricter.
    pub fn new(own: Member, remembered: Remembered, configured_factor: Option<u32>) -> Self {
        let mut view = Self {
            own: own.host_id,
            cluster_id: remembered.cluster_id,
            members: BTreeMap::new(),
            tokens: BTreeMap::new(),
            tables: Schema::default(),
            configured_factor,
        };
        let others = remembered.members.into_iter().filter(|member| member.host_id != view.own);
        for member in others.collect::<Vec<_>>().into_iter().chain([own]) {
            view.insert(member);
        }
        for table in remembered.tables {
            view.tables.insert(table);
        }
        view
    }

    /// This node.
    pub fn own(&self) -> &Member {
        self.members.get(&self.own).expect("inserted by `new`, and nobody is ever taken out")
    }

    /// Whether an operator has removed this node from its cluster.
    pub fn is_removed(&self) -> bool {
        self.own().state == MemberState::Removed
    }

    /// The cluster it belongs to, once it does.
    pub fn cluster_id(&self) -> Option<ClusterId> {
        self.cluster_id
    }

    /// All members by host id, this node included; without those that were removed or evicted.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| !member.state.is_gone())
    }

    /// What is left of members that were removed or evicted.
    pub fn gone(&self) -> impl Iterator<Item = &Member> {
        self.members.values().filter(|member| member.state.is_gone())
    }

    /// All members but this node.
    pub fn others(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|member| member.host_id != self.own)
    }

    /// The member with a host id.
    pub fn member(&self, host_id: HostId) -> Option<&Member> {
        self.known(host_id).filter(|member| !member.state.is_gone())
    }

    /// The member with a host id, or what is left of it.
    pub fn known(&self, host_id: HostId) -> Option<&Member> {
        self.members.get(&host_id)
    }

    /// The tables.
    pub fn tables(&self) -> &Schema {
        &self.tables
    }

    /// [`Note::FactorDiffers`], if the table `default` is known and does. For the log of a start; [`View::merge`]
    /// reports it when the table is learned.
    pub fn factor_note(&self) -> Option<Note> {
        let actual = self.tables.get(DEFAULT_TABLE)?.definition.replication.factor();
        let configured = self.configured_factor.filter(|&configured| configured != actual)?;
        Some(Note::FactorDiffers { configured, actual })
    }

    /// Forms a cluster: it belongs to `cluster_id`, is normal, and has the table `default`. Only after
    /// [`super::Formation`] said so; to be made durable, all or nothing, before anyone is told.
    pub fn form(&mut self, cluster_id: ClusterId, default_replication: impl Into<Replication>) {
        self.cluster_id = Some(cluster_id);
        self.tables.insert(Table::default_replicated(default_replication.into()));
        self.move_on(MemberState::Normal);
    }

    /// This node has these tokens from now on. Before it belongs to a cluster and shows itself to one: what is durable, and
    /// known to nobody, may still change.
    pub fn choose_tokens(&mut self, tokens: Vec<i64>) {
        self.insert(Member { tokens, ..self.own().clone() });
    }

    /// Moves this node on to a later state. Only after [`super::Join`] said so; to be made durable before anyone is
    /// told.
    pub fn move_on(&mut self, state: MemberState) {
        let own = self.own_mut();
        own.state = own.state.max(state);
        let next = (own.generation, own.version);
        outbid(own, next);
    }

    /// Puts a tombstone in the place of a member, one start later than the last one known of it. `None` if it is none,
    /// or this node. To be made durable before anyone is told.
    pub fn remove(&mut self, host_id: HostId) -> Option<&Member> {
        self.end(host_id, MemberState::Removed)
    }

    /// Ends the join of another member, one start later than the last one known of it: nothing that it has said so far
    /// brings it back. `None` if it does not join. To be made durable before anyone is told.
    pub fn evict(&mut self, host_id: HostId) -> Option<&Member> {
        self.member(host_id).filter(|member| member.state == MemberState::Joining)?;
        self.end(host_id, MemberState::Evicted)
    }

    fn end(&mut self, host_id: HostId, state: MemberState) -> Option<&Member> {
        let member = self.member(host_id).filter(|member| member.host_id != self.own)?;
        let generation = Generation(member.generation.0.saturating_add(1));
        let tombstone = Member { generation, version: 0, state, ..member.clone() };
        self.replace(tombstone);
        self.known(host_id)
    }

    /// What to tell another node. The flag is read after the members are listed, as the module's proof wants it.
    pub fn exchange(&self, has_user_records: impl FnOnce() -> bool) -> Exchange {
        let others = self.members.values().filter(|member| member.host_id != self.own);
        let members = [self.own()].into_iter().chain(others).cloned().collect();
        let tables = self.tables.facts().cloned().collect();
        Exchange { cluster_id: self.cluster_id, members, tables, has_user_records: has_user_records() }
    }

    /// Learns from what `sender` told. Commutative, associative and idempotent over well-formed facts.
    pub fn merge(&mut self, sender: HostId, theirs: &Exchange, now: Timestamp) -> Changes {
        let mut changes = Changes::default();
        match (self.cluster_id, theirs.cluster_id) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                changes.note(Note::OtherCluster { ours, theirs });
            }
            (Some(_), None) => self.merge_outsider(sender, theirs, now, &mut changes),
            (Some(_), Some(_)) => self.merge_all(theirs, now, &mut changes),
            (None, Some(cluster_id)) if self.is_listed_by(theirs) && theirs.is_of_owner(sender) => {
                self.belong(cluster_id, theirs, now, &mut changes);
            }
            (None, Some(_)) => self.heed_end(theirs, now, &mut changes),
            (None, None) => {}
        }
        changes
    }

    /// Learns what other nodes of this cluster say of members, as [`View::merge`] does.
    pub fn merge_members<'a>(
        &mut self,
        facts: impl IntoIterator<Item = &'a Member>,
        now: Timestamp,
    ) -> Changes {
        let mut changes = Changes::default();
        for fact in facts {
            self.merge_member(fact, now, &mut changes);
        }
        changes
    }

    /// Whether the sender of an exchange has this node in its ring: with its tokens, not just its name, and since it joins
    /// as it does now, not before it was evicted.
    pub fn is_listed_by(&self, theirs: &Exchange) -> bool {
        let own = self.own();
        let has_tokens = !own.tokens.is_empty();
        let is_own =
            |member: &&Member| has_tokens && member.host_id == own.host_id && member.tokens == own.tokens;
        let listed = theirs.members.iter().find(is_own);
        listed.is_some_and(|member| !member.state.is_gone() && member.generation >= own.generation)
    }

    /// Whether this node believes what is said of a member, or something newer.
    pub fn believes(&self, fact: &Member) -> bool {
        self.known(fact.host_id).is_some_and(|known| {
            let is_removed = |member: &Member| member.state == MemberState::Removed;
            known.tokens == fact.tokens
                && is_removed(known) == is_removed(fact)
                && (known.generation, known.version) >= (fact.generation, fact.version)
        })
    }

    /// Whether this node knows, and so has believed, all members that the sender of an exchange lists.
    pub fn knows_all_of(&self, theirs: &Exchange) -> bool {
        let tokens_of = |host_id| self.known(host_id).map(|known| &known.tokens);
        theirs.members.iter().all(|member| tokens_of(member.host_id) == Some(&member.tokens))
    }

    /// Takes everything or nothing: a node that belonged without knowing some member would miss it in its writes.
    fn belong(&mut self, cluster_id: ClusterId, theirs: &Exchange, now: Timestamp, changes: &mut Changes) {
        let mut belonging = Self { cluster_id: Some(cluster_id), ..self.clone() };
        let mut all = Changes { cluster_id: Some(cluster_id), ..Changes::default() };
        belonging.merge_all(theirs, now, &mut all);
        if belonging.knows_all_of(theirs) {
            (*self, *changes) = (belonging, all);
        } else {
            (changes.notes, changes.suppressed) = (all.notes, all.suppressed);
        }
    }

    fn merge_all(&mut self, theirs: &Exchange, now: Timestamp, changes: &mut Changes) {
        for member in &theirs.members {
            self.merge_member(member, now, changes);
        }
        self.learn_tables(&theirs.tables, changes);
    }

    /// Learns tables that another member told alone. As [`View::merge`].
    pub fn merge_tables(&mut self, facts: &[Table]) -> Changes {
        let mut changes = Changes::default();
        self.learn_tables(facts, &mut changes);
        changes
    }

    /// Takes a fact about a table that this node made itself; to be made durable before anyone is told.
    pub fn insert_table(&mut self, fact: Table) {
        self.tables.insert(fact);
    }

    /// A fact calls a table live whose id this node's storage has dropped ([`Schema::bury`]).
    pub(crate) fn bury_table(&mut self, id: TableId) {
        self.tables.bury(id);
    }

    fn learn_tables(&mut self, facts: &[Table], changes: &mut Changes) {
        for fact in facts {
            let known = self.tables.get(&fact.name).cloned();
            match self.tables.learn(fact) {
                Ok(true) => {
                    changes.tables.push(fact.name.clone());
                    if let Some(note) = known.and_then(|known| redefinition(&known, fact)) {
                        changes.note(note);
                    }
                }
                Ok(false) => {}
                Err(flaw) => changes.note(Note::TableIgnored { flaw }),
            }
        }
        if changes.tables.iter().any(|name| name == DEFAULT_TABLE)
            && let Some(note) = self.factor_note()
        {
            changes.note(note);
        }
    }

    /// A node that never belonged to the cluster that it has shown itself to learns that it is no member any more.
    fn heed_end(&mut self, theirs: &Exchange, now: Timestamp, changes: &mut Changes) {
        let own = self.own;
        let is_end = |member: &&Member| member.host_id == own && member.state.is_gone();
        if let Some(end) = theirs.members.iter().find(is_end) {
            self.merge_member(end, now, changes);
        }
    }

    /// A node without a cluster announces itself, and knows nothing else worth knowing.
    fn merge_outsider(&mut self, sender: HostId, theirs: &Exchange, now: Timestamp, changes: &mut Changes) {
        for member in theirs.members.iter().filter(|member| member.host_id == sender) {
            if member.state == MemberState::Joining {
                self.merge_member(member, now, changes);
            } else {
                changes.note(Note::MemberIgnored { about: sender, flaw: Flaw::Outsider });
            }
        }
    }

    fn merge_member(&mut self, fact: &Member, now: Timestamp, changes: &mut Changes) {
        let merged = if fact.host_id == self.own {
            self.outbid_claim(fact, now, changes)
        } else {
            self.merge_other(fact, now, changes)
        };
        match merged {
            Ok(true) => changes.members.push(fact.host_id),
            Ok(false) => {}
            Err(flaw) => changes.note(Note::MemberIgnored { about: fact.host_id, flaw }),
        }
    }

    fn merge_other(&mut self, fact: &Member, now: Timestamp, changes: &mut Changes) -> Result<bool, Flaw> {
        let Some(known) = self.members.get_mut(&fact.host_id) else {
            self.check_newcomer(fact, now)?;
            self.insert(fact.clone());
            return Ok(true);
        };
        if known == fact {
            return Ok(false);
        }
        fact.check(now)?;
        if known.tokens != fact.tokens {
            return Err(Flaw::TokensChanged);
        }
        // A tombstone ends all that was said of a member, and all that it says itself.
        if let Some(is_tombstone) = tombstone_wins(known, fact) {
            if is_tombstone {
                changes.note(Note::Removed { about: fact.host_id });
                self.replace(fact.clone());
            }
            return Ok(is_tombstone);
        }
        // The state only moves on, whatever the versions say: a node restored from an old copy must not shrink the
        // ring, and all nodes must come to the same state whichever description they heard first.
        let state = later_state(known, fact);
        let newest = if fact.precedence() > known.precedence() { fact } else { &*known };
        let merged = Member { state, ..newest.clone() };
        if merged == *known {
            return Ok(false);
        }
        match (known.state.is_gone(), state.is_gone()) {
            (false, true) => {
                changes.note(Note::Evicted { about: fact.host_id });
                self.replace(merged);
            }
            (true, false) => {
                self.check_free(&merged)?;
                self.insert(merged);
            }
            _ => {
                if fact.state.is_arriving() && fact.state < state {
                    changes.note(Note::SteppedBack { about: fact.host_id });
                }
                *known = merged;
            }
        }
        Ok(true)
    }

    fn check_newcomer(&self, fact: &Member, now: Timestamp) -> Result<(), Flaw> {
        fact.check(now)?;
        if self.members.len() >= MAX_MEMBERS || self.tokens.len() + fact.tokens.len() > MAX_TOKENS {
            return Err(Flaw::TooMany);
        }
        if fact.state.is_gone() { Ok(()) } else { self.check_free(fact) }
    }

    fn check_free(&self, fact: &Member) -> Result<(), Flaw> {
        let taken = |token: &i64| self.tokens.get(token).map(|&owner| (*token, owner));
        match fact.tokens.iter().find_map(taken) {
            Some((token, owner)) => Err(Flaw::TokenTaken { token, owner }),
            None => Ok(()),
        }
    }

    /// Only this node describes itself. Others may hold something else as newer (its data directory is an old copy,
    /// or they are wrong): then its own description must become the newest again.
    fn outbid_claim(&mut self, claim: &Member, now: Timestamp, changes: &mut Changes) -> Result<bool, Flaw> {
        let own = self.own_mut();
        if own.state == MemberState::Removed {
            return Ok(false);
        }
        if claim.state == MemberState::Removed {
            return self.accept_removal(claim, now, changes);
        }
        let (claimed, held) = ((claim.generation, claim.version), (own.generation, own.version));
        let differs = |claim: &Member, own: &Member| {
            // Of the state, others may be ahead for good (see `merge_other`): outbidding that would never end.
            let as_claimed = Member { state: claim.state, ..own.clone() };
            as_claimed != *claim
        };
        if claimed < held || (claimed == held && !differs(claim, own)) {
            return Ok(false);
        }
        check_count(claim.version, claim.generation, now)?;
        helenus_storage::sometimes!("a claim about this node was outbid");
        if claim.address != own.address {
            changes.rival = Some(claim.address.clone());
        }
        let is_evicted = claim.state == MemberState::Evicted && own.state == MemberState::Joining;
        outbid(own, claimed);
        let about = own.host_id;
        changes.note(if is_evicted { Note::Evicted { about } } else { Note::OwnDescriptionDisputed });
        Ok(true)
    }

    /// The one thing that others decide about this node: there is no arguing with its own tombstone, since everyone
    /// has let go of its ranges.
    fn accept_removal(
        &mut self,
        claim: &Member,
        now: Timestamp,
        changes: &mut Changes,
    ) -> Result<bool, Flaw> {
        check_count(claim.version, claim.generation, now)?;
        if claim.tokens != self.own().tokens {
            return Err(Flaw::TokensChanged);
        }
        changes.note(Note::Removed { about: self.own });
        self.replace(claim.clone());
        Ok(true)
    }

    fn insert(&mut self, member: Member) {
        if !member.state.is_gone() {
            for token in &member.tokens {
                self.tokens.entry(*token).or_insert(member.host_id);
            }
        }
        self.members.insert(member.host_id, member);
    }

    /// Inserts a tombstone: its tokens are free.
    fn replace(&mut self, tombstone: Member) {
        for token in &tombstone.tokens {
            if self.tokens.get(token) == Some(&tombstone.host_id) {
                self.tokens.remove(token);
            }
        }
        self.insert(tombstone);
    }

    fn own_mut(&mut self) -> &mut Member {
        self.members.get_mut(&self.own).expect("inserted by `new`, and nobody is ever taken out")
    }
}

/// Whether a fact takes the place of what is known because one of them is a tombstone; `None`: neither is.
fn tombstone_wins(known: &Member, fact: &Member) -> Option<bool> {
    match (known.state == MemberState::Removed, fact.state == MemberState::Removed) {
        (false, false) => None,
        (is_known_removed, is_fact_removed) if is_known_removed != is_fact_removed => Some(is_fact_removed),
        _ => Some(fact.precedence() > known.precedence()),
    }
}

/// The state of a member of which two descriptions are known, neither its tombstone: see [`View::merge`]. That a joining one
/// was evicted, and that it joins anew, each hold until the next; who owns ranges was not evicted, whoever says so.
fn later_state(known: &Member, fact: &Member) -> MemberState {
    let is_newer = fact.precedence().cmp(&known.precedence());
    if known.state.owns_ranges() || fact.state.owns_ranges() || is_newer.is_eq() {
        return known.state.max(fact.state);
    }
    if is_newer.is_gt() { fact.state } else { known.state }
}

/// What to say of a fact that takes the place of another one about the same table.
fn redefinition(known: &Table, fact: &Table) -> Option<Note> {
    if fact.is_dropped || fact.id() != known.id() || fact.definition == known.definition {
        return None;
    }
    let (was, is) = (&known.definition.replication, &fact.definition.replication);
    let replication = (was != is).then(|| Box::new((was.clone(), is.clone())));
    Some(Note::TableRedefined { name: fact.name.clone(), replication })
}

/// Gives the member the next version after one that is known of it.
fn outbid(own: &mut Member, (generation, version): (Generation, u64)) {
    (own.generation, own.version) = (generation, version.saturating_add(1));
}
