//! Promise: whatever order the facts about tables arrive in, all nodes come to the same schema; a drop is final, and an
//! id never comes back.

use helenus_cluster::{
    consistency::Consistency,
    table::{DEFAULT_TABLE, DEFAULT_TABLE_ID, Definition, FactFlaw, Refusal, Replication, Schema, Table},
};
use proptest::prelude::*;

fn of_factor(factor: u32) -> Definition {
    Definition::replicated(Replication::Simple { factor })
}

fn expiring_after(default_ttl_seconds: u32) -> Definition {
    Definition { default_ttl_seconds, ..of_factor(3) }
}

/// A schema in which the table was defined.
fn with(schema: &Schema, name: &str, definition: Definition) -> Schema {
    let fact = schema.define(name, definition, |_| false).expect("nothing speaks against it");
    told(schema, &fact.expect("it was not so before"))
}

fn told(schema: &Schema, fact: &Table) -> Schema {
    let mut schema = schema.clone();
    assert_eq!(schema.learn(fact), Ok(true));
    schema
}

#[test]
fn a_table_is_created_altered_and_left_alone() {
    let empty = Schema::default();
    let created = with(&empty, "users", of_factor(3));
    assert_eq!(created.define("users", of_factor(3), |_| false), Ok(None), "it is so already");

    let altered = with(&created, "users", expiring_after(60));
    let table = altered.get("users").expect("it was created");
    assert_eq!((table.incarnation, table.definition.default_ttl_seconds), (1, 60));
    assert_eq!(table.version, 1, "counted on from the one before");
    assert_eq!(altered.by_id(table.id()), Some(table));
    assert_ne!(altered.version(), created.version());
}

/// Two names whose first tables have one id, by chance.
const COLLIDING: [&str; 2] = ["t2078", "t14407"];

#[test]
fn a_new_table_takes_no_id_that_another_one_ever_had() {
    let incarnation_of = |schema: &Schema, name| {
        let fact = schema.define(name, of_factor(3), |_| false).expect("nothing speaks against it");
        fact.expect("it was not so before").incarnation
    };
    let [one, other] = COLLIDING;
    let created = with(&Schema::default(), one, of_factor(3));
    let first = created.get(one).expect("it was created").id();
    let unaware = with(&Schema::default(), other, of_factor(3));
    assert_eq!(unaware.get(other).map(Table::id), Some(first), "they collide");

    assert_eq!(incarnation_of(&created, other), 2);
    let dropped = told(&created, &created.drop_table(one).expect("it is there"));
    assert_eq!(incarnation_of(&dropped, other), 2);
    assert_eq!(incarnation_of(&with(&dropped, one, of_factor(3)), other), 2, "nor one of long ago");

    let spent = Schema::default().define(one, of_factor(3), |id| id == first);
    assert_eq!(spent.expect("nothing speaks against it").map(|fact| fact.incarnation), Some(2));
    let none_left = Schema::default().define(one, of_factor(3), |_| true);
    assert!(matches!(none_left, Err(Refusal::Conflict(_))), "{none_left:?}");
}

#[test]
fn a_dropped_table_is_gone_and_another_of_its_name_has_another_id() {
    let created = with(&Schema::default(), "users", of_factor(3));
    let first = created.get("users").expect("it was created").clone();

    let dropped = told(&created, &created.drop_table("users").expect("it is there"));
    assert_eq!((dropped.get("users"), dropped.by_id(first.id()), dropped.iter().count()), (None, None, 0));
    assert_eq!(dropped.drop_table("users"), Err(Refusal::NoSuchTable("users".to_owned())));

    let again = with(&dropped, "users", of_factor(1));
    let second = again.get("users").expect("it was created again");
    assert_ne!(second.id(), first.id());
    assert!(!again.clone().learn(&first).expect("a sound fact"), "the first does not come back");
}

#[test]
fn two_nodes_that_create_a_table_at_once_create_the_same_one() {
    let here = with(&Schema::default(), "users", of_factor(3));
    let there = with(&Schema::default(), "users", expiring_after(60));
    let id = |schema: &Schema| schema.get("users").expect("it was created").id();
    assert_eq!(id(&here), id(&there));

    let (mut here_too, mut there_too) = (here.clone(), there.clone());
    there.facts().for_each(|fact| drop(here_too.learn(fact)));
    here.facts().for_each(|fact| drop(there_too.learn(fact)));
    assert_eq!(here_too, there_too);
}

#[test]
fn what_no_table_can_be_is_refused_and_named() {
    let schema = with(&Schema::default(), "users", of_factor(3));
    let refused = |name: &str, definition| match schema.define(name, definition, |_| false) {
        Err(Refusal::Invalid { field, .. }) => field,
        other => panic!("{other:?}"),
    };
    for name in ["", "Users", "1st", "with space", "a".repeat(49).as_str(), "naïve"] {
        assert_eq!(refused(name, of_factor(3)), "table");
    }
    assert_eq!(refused("ok", of_factor(0)), "replication");
    assert_eq!(refused("ok", of_factor(101)), "replication");
    let factors = [("dc1".to_owned(), 60), ("dc2".to_owned(), 60)].into();
    assert_eq!(
        refused("ok", Definition::replicated(Replication::NetworkTopology { factors })),
        "replication"
    );
    let factors = [("\n".to_owned(), 3)].into();
    assert_eq!(
        refused("ok", Definition::replicated(Replication::NetworkTopology { factors })),
        "replication"
    );
    assert_eq!(refused("ok", expiring_after(u32::MAX)), "default_ttl");
    let conflict = schema.define("users", of_factor(5), |_| false);
    assert!(matches!(&conflict, Err(Refusal::Conflict(why)) if why.contains("replication")), "{conflict:?}");
}

#[test]
fn the_table_default_stays_and_keeps_its_id() {
    let schema = told(&Schema::default(), &Table::default_with_factor(3));
    assert!(matches!(schema.drop_table(DEFAULT_TABLE), Err(Refusal::Conflict(_))));
    let altered = with(
        &schema,
        DEFAULT_TABLE,
        Definition { default_read_consistency: Consistency::One, ..of_factor(3) },
    );
    assert_eq!(altered.get(DEFAULT_TABLE).expect("it stays").id(), DEFAULT_TABLE_ID);
}

#[test]
fn a_fact_that_is_damaged_is_not_believed() {
    let sound = with(&Schema::default(), "users", of_factor(3)).get("users").expect("it was created").clone();
    let most = 1 << 48;
    for (damaged, flaw) in [
        (Table { name: "Users".to_owned(), ..sound.clone() }, FactFlaw::Malformed),
        (Table { definition: of_factor(0), ..sound.clone() }, FactFlaw::Malformed),
        (Table { definition: of_factor(10_001), ..sound.clone() }, FactFlaw::Malformed),
        (Table { version: most + 1, ..sound.clone() }, FactFlaw::Counter),
    ] {
        assert_eq!(Schema::default().learn(&damaged), Err(flaw));
    }
    let mut schema = Schema::default();
    assert_eq!(schema.learn(&Table { version: most, ..sound }), Ok(true));
    let altered = schema.define("users", expiring_after(1), |_| false);
    assert!(matches!(altered, Err(Refusal::Conflict(_))), "{altered:?}");
    assert!(schema.drop_table("users").is_ok(), "so it can be created anew");
}

#[test]
fn there_are_so_many_tables_and_no_more() {
    let mut schema = Schema::default();
    for number in 0..1024 {
        schema = with(&schema, &format!("t{number}"), of_factor(1));
    }
    assert!(matches!(schema.define("one_more", of_factor(1), |_| false), Err(Refusal::Conflict(_))));
    let schema = told(&schema, &schema.drop_table("t7").expect("it is there"));
    assert!(schema.define("one_more", of_factor(1), |_| false).is_ok(), "there is room again");
}

fn facts() -> impl Strategy<Value = Vec<Table>> {
    let fact = (0..3, 1..4u32, 0..4u32, 0..3u64, any::<bool>()).prop_map(
        |(name, incarnation, default_ttl_seconds, version, is_dropped)| Table {
            name: format!("t{name}"),
            incarnation,
            definition: expiring_after(default_ttl_seconds),
            version,
            is_dropped,
        },
    );
    prop::collection::vec(fact, 0..12)
}

proptest! {
    #[test]
    fn order_and_repetition_of_facts_change_nothing(
        (facts, shuffled) in facts().prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle())),
    ) {
        let learn = |facts: &[Table]| {
            let mut schema = Schema::default();
            facts.iter().for_each(|fact| drop(schema.learn(fact)));
            schema
        };
        let schema = learn(&facts);
        let twice: Vec<_> = shuffled.iter().chain(&facts).cloned().collect();
        prop_assert_eq!(&learn(&twice), &schema);
        prop_assert_eq!(learn(&twice).version(), schema.version());
        for fact in schema.facts() {
            let is_dropped = facts.iter().any(|other| {
                (&other.name, other.incarnation) == (&fact.name, fact.incarnation) && other.is_dropped
            });
            prop_assert_eq!(schema.get(&fact.name).is_none(), is_dropped);
        }
    }
}
