//! When a joining node begins to settle, and a settling one becomes normal. Why this is sound: the cover page of
//! [`super`].

use std::collections::{BTreeMap, BTreeSet};

use super::{Exchange, Member, MemberState, View};
use crate::node_id::{Generation, HostId};

/// What a node that is not normal yet has heard of the members since it started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Join {
    words: BTreeMap<HostId, Word>,
    /// In which generation of this node a member that owns ranges has listed it.
    listed: Option<Generation>,
}

/// What a member has said last, of all that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Word {
    heard: Heard,
    /// Of this node: its eviction ends a generation ([`View::evict`]), and with it this join.
    generation: Generation,
    /// Members that this node knew to be removed or evicted then.
    gone: BTreeSet<(HostId, Generation)>,
}

/// Later ones say more, and what was heard once stays true; but see [`Join::heard`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    /// It has not heard of all removals: what it says may change by what a removed member has sent.
    MissesRemovals,
    /// It does not list this node (yet, or because it does not believe its description).
    DoesNotList,
    /// It lists members that this node did not believe, so cannot ask.
    ListsOthers,
    /// It lists this node, and has user records that this node may lack.
    HasRecords,
    /// It lists this node and had no user records then: it can coordinate nothing any more that this node misses.
    Clean,
    /// It lists this node as one that owns its ranges.
    ReadsHere,
}

/// What a node that is not normal yet does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JoinVerdict {
    /// It moves on to this state.
    MoveOn(MemberState),
    /// It stays in its state.
    Wait {
        /// For whom and what, for the status.
        why: String,
    },
}

impl Join {
    /// A member has sent an exchange, asked or unasked. To be called after [`View::merge`] of it.
    pub fn on_exchange(&mut self, view: &View, sender: HostId, theirs: &Exchange) {
        let is_of_cluster = theirs.cluster_id.is_some() && theirs.cluster_id == view.cluster_id();
        if !is_of_cluster || view.member(sender).is_none() {
            return;
        }
        if view.is_listed_by(theirs) && theirs.is_of_owner(sender) {
            self.listed = Some(view.own().generation);
        }
        let new = if !view.is_listed_by(theirs) {
            Heard::DoesNotList
        } else if !view.knows_all_of(theirs) {
            Heard::ListsOthers
        } else if !knows_gone(view, theirs) {
            Heard::MissesRemovals
        } else if owns_ranges(view.own().host_id, theirs) {
            Heard::ReadsHere
        } else if theirs.has_user_records {
            Heard::HasRecords
        } else {
            Heard::Clean
        };
        let heard = match self.heard(view, sender) {
            Some(known) if known >= Heard::Clean => new.max(known),
            _ => new,
        };
        let gone = view.gone().map(|member| (member.host_id, member.generation)).collect();
        self.words.insert(sender, Word { heard, generation: view.own().generation, gone });
    }

    /// What a member has said, as far as it still counts: a member that is gone may have coordinated writes that went
    /// to others after they said that they had no records, and not to this node; and it may read from former owners
    /// without asking this node. So a removal makes answers of before worth nothing: those of later turn it away.
    fn heard(&self, view: &View, host_id: HostId) -> Option<Heard> {
        let word = self.words.get(&host_id)?;
        let is_known = |member: &Member| word.gone.contains(&(member.host_id, member.generation));
        let is_outdated = word.generation != view.own().generation
            || word.heard >= Heard::Clean && !view.gone().all(is_known);
        (!is_outdated).then_some(word.heard)
    }

    /// Whether the node may coordinate requests. One that joins may have been evicted without knowing it, and learns what
    /// it has missed from whoever lists it again.
    pub fn is_listed(&self, view: &View) -> bool {
        let own = view.own();
        own.state != MemberState::Joining || self.listed == Some(own.generation)
    }

    /// The members that have yet to say what the next step needs: who has said it need not be asked again.
    pub fn to_be_asked<'a>(&'a self, view: &'a View) -> impl Iterator<Item = HostId> + 'a {
        let wanted = if view.own().state.owns_ranges() { Heard::ReadsHere } else { Heard::Clean };
        let has_said = move |host_id| self.heard(view, host_id).is_some_and(|heard| heard >= wanted);
        view.others().map(|member| member.host_id).filter(move |host_id| !has_said(*host_id))
    }

    /// Whether to move on now.
    pub fn verdict(&self, view: &View) -> JoinVerdict {
        match view.own().state {
            MemberState::Joining => self.verdict_of_joining(view),
            MemberState::Settling => self.verdict_of_settling(view),
            MemberState::Normal | MemberState::Other(_) => wait("it has joined already".to_owned()),
            MemberState::Removed | MemberState::Evicted => wait("it was removed from the cluster".to_owned()),
        }
    }

    fn verdict_of_joining(&self, view: &View) -> JoinVerdict {
        if view.cluster_id().is_none() {
            return wait("it belongs to no cluster yet".to_owned());
        }
        // Vacuous truth is not enough: only the node that forms a cluster is alone in it, and it is normal already.
        if view.others().next().is_none() {
            return wait("no other member is known yet".to_owned());
        }
        let who = |heard: Option<Heard>| self.who(view, |of_member| of_member == heard);
        if let Some(who) = who(Some(Heard::HasRecords)) {
            helenus_storage::sometimes!("a join waits since records exist");
            return wait(format!("user records exist already, on {who}; streaming is not available yet"));
        }
        if let Some(who) = who(Some(Heard::DoesNotList)) {
            helenus_storage::sometimes!("a join waits to be listed");
            return wait(format!("{who} does not list this node"));
        }
        if let Some(who) = who(Some(Heard::ListsOthers)) {
            return wait(format!("{who} lists members that this node does not believe"));
        }
        if let Some(who) = who(Some(Heard::MissesRemovals)) {
            return wait(format!("{who} has not heard of all members that were removed"));
        }
        if let Some(who) = who(None) {
            helenus_storage::sometimes!("a join waits for an answer");
            return wait(format!("waiting for an answer of {who}"));
        }
        JoinVerdict::MoveOn(MemberState::Settling)
    }

    fn verdict_of_settling(&self, view: &View) -> JoinVerdict {
        match self.who(view, |heard| heard != Some(Heard::ReadsHere)) {
            Some(who) => wait(format!(
                "{who} may not know yet that this node owns its ranges; their writes go to the former owners too"
            )),
            None => JoinVerdict::MoveOn(MemberState::Normal),
        }
    }

    /// The members, if any, of whom this was heard.
    fn who(&self, view: &View, is_meant: impl Fn(Option<Heard>) -> bool) -> Option<String> {
        let heard = |member: &&Member| self.heard(view, member.host_id);
        let members: Vec<_> = view.others().filter(|member| is_meant(heard(member))).collect();
        (!members.is_empty()).then(|| names(&members))
    }
}

fn wait(why: String) -> JoinVerdict {
    JoinVerdict::Wait { why }
}

/// Whether the sender of an exchange has heard of every removal and eviction that this node knows.
fn knows_gone(view: &View, theirs: &Exchange) -> bool {
    let theirs: BTreeMap<HostId, &Member> =
        theirs.members.iter().map(|member| (member.host_id, member)).collect();
    view.gone().all(|gone| {
        theirs.get(&gone.host_id).is_some_and(|theirs| match gone.state {
            MemberState::Evicted => theirs.generation >= gone.generation,
            _ => theirs.state == MemberState::Removed,
        })
    })
}

/// Whether the sender of an exchange reads from this member.
fn owns_ranges(host_id: HostId, theirs: &Exchange) -> bool {
    theirs.members.iter().any(|member| member.host_id == host_id && member.state.owns_ranges())
}

/// The first of them, and how many more there are: a status line, not a list.
fn names(members: &[&Member]) -> String {
    let first = members.iter().take(3).map(|member| format!("host {} ({})", member.host_id, member.address));
    let first = first.collect::<Vec<_>>().join(", ");
    match members.len().saturating_sub(3) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}
