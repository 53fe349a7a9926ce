//! Promise: of the seeds one forms the cluster, and none while another may belong to one; a node joins the cluster of its
//! seeds, and none where they belong to two.

use helenus_cluster::{
    membership::{Formation, FormationVerdict},
    node_id::ClusterId,
};
use uuid::Uuid;

const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(77));

#[test]
fn who_forms_a_cluster() {
    let seeds = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let forms = |formation: &Formation| formation.verdict(None) == FormationVerdict::Form;

    assert!(forms(&Formation::new("a:1", &[])), "a node without seeds");
    assert!(forms(&Formation::new("a:1", &seeds(&["a:1"]))), "the only seed");
    assert!(!forms(&Formation::new("c:1", &seeds(&["a:1", "b:1"]))), "no seed");

    let mut second = Formation::new("b:1", &seeds(&["a:1", "b:1"]));
    second.on_failure("a:1");
    assert!(!forms(&second), "not the first seed");

    let mut first = Formation::new("a:1", &seeds(&["a:1", "b:1", "c:1"]));
    first.on_failure("b:1");
    assert!(!forms(&first), "c was not asked yet");
    first.on_answer("c:1", None);
    assert!(forms(&first), "no other seed belongs to a cluster");

    let mut returning = Formation::new("a:1", &seeds(&["a:1", "b:1"]));
    returning.on_answer("b:1", Some(CLUSTER));
    returning.on_failure("b:1");
    assert!(!forms(&returning), "the cluster exists, though its seed has gone silent");
}

#[test]
fn which_cluster_a_node_joins() {
    let seeds: Vec<String> = ["a:1", "b:1", "c:1"].map(str::to_owned).into();
    let other = ClusterId(Uuid::from_u128(78));
    let join = |seeds: &[&str]| FormationVerdict::Join {
        cluster_id: CLUSTER,
        seeds: seeds.iter().map(|seed| (*seed).to_owned()).collect(),
    };
    let mut formation = Formation::new("d:1", &seeds);
    formation.on_answer("b:1", Some(CLUSTER));
    formation.on_failure("a:1");
    assert!(matches!(formation.verdict(None), FormationVerdict::Wait { .. }), "c was not asked yet");

    let mut of_one = formation.clone();
    of_one.on_answer("c:1", Some(CLUSTER));
    assert_eq!(of_one.verdict(None), join(&["b:1", "c:1"]));

    let mut of_two = formation.clone();
    of_two.on_answer("c:1", Some(other));
    let FormationVerdict::Refuse { why } = of_two.verdict(None) else { panic!("{:?}", of_two.verdict(None)) };
    assert!(why.contains(&format!("{CLUSTER} (b:1)")) && why.contains(&format!("{other} (c:1)")), "{why}");
    assert_eq!(of_two.verdict(Some(CLUSTER)), join(&["b:1"]), "to which it has shown itself before");

    formation.on_failure("c:1");
    formation.on_failure("b:1");
    assert_eq!(formation.verdict(None), join(&["b:1"]), "silence takes nothing back");
}

#[test]
fn a_node_that_may_not_form_a_cluster_says_which_seed_may_and_what_it_has_heard_of_it() {
    let seeds: Vec<String> = ["a:1", "b:1", "c:1"].map(str::to_owned).into();
    let why = |formation: &Formation| match formation.verdict(None) {
        FormationVerdict::Wait { why } => why,
        other => panic!("{other:?}"),
    };
    let mut formation = Formation::new("c:1", &seeds);
    assert!(why(&formation).contains("a:1, forms a new one, and it has not answered yet"));
    formation.on_failure("a:1");
    assert!(why(&formation).contains("a:1, forms a new one, and it does not answer"));
    formation.on_answer("a:1", None);
    assert!(why(&formation).contains("a:1, forms a new one, and it answers, and has not formed one yet"));
    assert!(why(&formation).ends_with("or for another seed that belongs to one: b:1"), "{}", why(&formation));
}
