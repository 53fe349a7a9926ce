//! Repair marks: the first of a member and table is saved at once, what is added to it once a second.

use std::collections::{BTreeMap, BTreeSet};

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
}

impl Marks {
    pub(super) fn of(saved: Vec<RepairMark>) -> Self {
        let marks = saved.into_iter().map(|mark| (name(&mark), mark)).collect();
        Self { state: Mutex::new(State { marks, unsaved: BTreeSet::new() }), ..Self::default() }
    }

    /// Takes a mark in, and answers whether it has to be saved now: before, nothing said that anything is missing there.
    pub(super) fn add(&self, mark: &RepairMark) -> bool {
        let mut state = self.state.lock();
        let name = name(mark);
        let is_first = !state.marks.contains_key(&name);
        state.marks.entry(name).and_modify(|known| known.extend(mark)).or_insert_with(|| mark.clone());
        state.unsaved.insert(name);
        is_first
    }

    /// Saves what is not saved yet.
    ///
    /// # Errors
    /// Of storage. What was not saved will be tried again.
    pub(super) async fn save(&self, store: &LocalStore, saves: &Saves) -> Result<(), ReplicaError> {
        let _turn = self.saving.lock().await;
        let unsaved = {
            let mut state = self.state.lock();
            let names = std::mem::take(&mut state.unsaved);
            names.iter().filter_map(|name| state.marks.get(name).cloned()).collect::<Vec<_>>()
        };
        for (at, mark) in unsaved.iter().enumerate() {
            if let Err(error) = saves.mark(store, mark).await {
                self.state.lock().unsaved.extend(unsaved[at..].iter().map(name));
                return Err(error);
            }
        }
        Ok(())
    }

    /// All of them.
    pub(super) fn list(&self) -> Vec<RepairMark> {
        self.state.lock().marks.values().cloned().collect()
    }
}

fn name(mark: &RepairMark) -> Name {
    (mark.target, mark.table)
}
