//! A merge of sorted streams is the sorted stream of their reconciled records, and an error ends it.

use std::collections::BTreeMap;

use bytes::Bytes;
use helenus_storage::{
    Error, Record, Timestamp,
    merge::{Source, merge, merge_lazily},
};
use proptest::prelude::*;

/// A source of what a list holds.
struct Entries(Vec<Result<(Bytes, Record), Error>>, usize);

impl Source for Entries {
    fn advance(&mut self) -> Result<bool, Error> {
        self.1 += 1;
        match self.0.get_mut(self.1 - 1) {
            Some(Err(error)) => Err(std::mem::replace(error, Error::Closed)),
            entry => Ok(entry.is_some()),
        }
    }

    fn key(&self) -> &[u8] {
        &self.0[self.1 - 1].as_ref().expect("it stands at an entry").0
    }

    fn record(&self) -> Result<Record, Error> {
        Ok(self.0[self.1 - 1].as_ref().expect("it stands at an entry").1.clone())
    }
}

fn source(entries: BTreeMap<u8, u64>) -> Entries {
    Entries(entries.into_iter().map(|(key, at)| Ok((Bytes::from(vec![key]), record(at)))).collect(), 0)
}

fn record(at: u64) -> Record {
    Record::plain(Timestamp(at), at.to_le_bytes().to_vec())
}

proptest! {
    #[test]
    fn the_newest_record_of_each_key_comes_out_once_and_in_order(
        sources in prop::collection::vec(prop::collection::btree_map(any::<u8>(), 0_u64..50, 0..40), 0..6)
    ) {
        let mut expected = BTreeMap::new();
        for (key, at) in sources.iter().flatten() {
            let newest = expected.entry(*key).or_insert(*at);
            *newest = (*newest).max(*at);
        }
        let merged: Vec<_> = merge(sources.into_iter().map(source)).map(Result::unwrap).collect();
        let expected: Vec<_> =
            expected.into_iter().map(|(key, at)| (Bytes::from(vec![key]), record(at))).collect();
        prop_assert_eq!(merged, expected);
    }
}

#[test]
fn an_error_of_any_source_ends_the_merge() {
    let broken = |good: usize| {
        let entries = (0..good).map(|key| Ok((Bytes::from(vec![key as u8 * 2]), record(1))));
        Entries(entries.chain([Err(Error::Closed)]).collect(), 0)
    };
    for good in 0..3 {
        let whole = source((0..10).map(|key| (key, 2)).collect());
        let mut merged = merge(vec![whole, broken(good)]);
        let before = merged.by_ref().take_while(Result::is_ok).count();
        // Past the last key before the error nothing is known of the broken source.
        assert!(before <= good * 2, "{before} records before the error, {good} good ones");
        assert!(merged.next().is_none());
    }
}

#[test]
fn a_source_is_asked_for_nothing_before_its_turn() {
    // Given a source that fails, and is known to have nothing below 5,
    let whole = || (Bytes::new(), source((0..10).map(|key| (key, 2)).collect()));
    let failing = || (Bytes::from(vec![5]), Entries(vec![Err(Error::Closed)], 0));
    // then what is below comes out, and nothing else.
    for sources in [vec![whole(), failing()], vec![failing(), whole()]] {
        let merged: Vec<_> = merge_lazily(sources).collect();
        assert_eq!(merged.iter().filter(|entry| entry.is_ok()).count(), 5);
        assert!(matches!(merged.last(), Some(Err(Error::Closed))));
    }
    // And one that begins exactly at its key is reconciled.
    let late = (Bytes::from(vec![5]), source(BTreeMap::from([(5, 9), (6, 1)])));
    let merged: Vec<_> = merge_lazily(vec![whole(), late]).map(Result::unwrap).collect();
    assert_eq!((merged.len(), &merged[5].1, &merged[6].1), (10, &record(9), &record(2)));
}
