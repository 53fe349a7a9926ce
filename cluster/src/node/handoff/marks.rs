//! Repair marks: durable before whatever would have brought what is missing is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::try_join_all;
use parking_lot::Mutex;

use super::saved::Saves;
use crate::{handoff::RepairMark, message::ReplicaError, node::local_store::LocalStore, node_id::HostId};

type Name = (HostId, Option<u32>);

/// The marks of one node.
#[derive(Debug, Default)]
pub(super) struct Marks {
    state: Mutex<State>,
    /// Held while some are saved: a later save says more.
    saving: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    marks: BTreeMap<Name, RepairMark>,
    /// Those that say more than was saved.
    unsaved: BTreeSet<Name>,
    /// How often one was added, and how many of these are saved.
    added: u64,
    saved: u64,
}

impl Marks {
    pub(super) fn of(saved: Vec<RepairMark>) -> Self {
        let marks = saved.into_iter().map(|mark| (name(&mark), mark)).collect();
        Self { state: Mutex::new(State { marks, ..State::default() }), ..Self::default() }
    }

    /// Takes a mark in; true if nothing was known to be missing there.
    pub(super) fn add(&self, mark: &RepairMark) -> bool {
        let mut state = self.state.lock();
        let name = name(mark);
        let is_first = !state.marks.contains_key(&name);
        state.marks.entry(name).and_modify(|known| known.extend(mark)).or_insert_with(|| mark.clone());
        state.unsaved.insert(name);
        state.added += 1;
        is_first
    }

    /// Saves what was added before the call and is not saved yet. Many callers at once cost two saves: the one that is
    /// under way, and the next, which has all of theirs.
    ///
    /// # Errors
    /// Of storage. What was not saved will be tried again.
    pub(super) async fn save(&self, store: &LocalStore, saves: &Saves) -> Result<(), ReplicaError> {
        let wanted = {
            let state = self.state.lock();
            if state.saved == state.added {
                return Ok(());
            }
            state.added
        };
        let _turn = self.saving.lock().await;
        let (names, added) = {
            let state = self.state.lock();
            if state.saved >= wanted {
                return Ok(());
            }
            (state.unsaved.clone(), state.added)
        };
        // At once: they share a sync.
        try_join_all(names.into_iter().map(async |name| {
            let Some(mark) = self.state.lock().marks.get(&name).cloned() else { return Ok(()) };
            saves.mark(store, &mark).await?;
            let mut state = self.state.lock();
            // It may say more by now.
            if state.marks.get(&name) == Some(&mark) {
                state.unsaved.remove(&name);
            }
            Ok(())
        }))
        .await?;
        self.state.lock().saved = added;
        Ok(())
    }

    /// Forgets those of which this is true, durably; how many.
    ///
    /// # Errors
    /// Of storage. Some may be forgotten.
    pub(super) async fn forget(
        &self,
        store: &LocalStore,
        saves: &Saves,
        is_over: impl Fn(&RepairMark) -> bool,
    ) -> Result<u64, ReplicaError> {
        let _turn = self.saving.lock().await;
        let over = self.list().into_iter().filter(is_over);
        let mut forgotten = 0;
        for mark in over {
            saves.forget_mark(store, &mark).await?;
            let mut state = self.state.lock();
            // What was added meanwhile is not saved, and will be.
            if state.marks.get(&name(&mark)) == Some(&mark) {
                state.marks.remove(&name(&mark));
                state.unsaved.remove(&name(&mark));
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<RepairMark> {
        self.state.lock().marks.values().cloned().collect()
    }
}

fn name(mark: &RepairMark) -> Name {
    (mark.target, mark.table)
}
