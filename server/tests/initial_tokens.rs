//! Promise: a node has the tokens that its settings name, or as many as they ask for, and keeps them; tokens that cannot be
//! are refused at the start, with the reason.

mod processes;

use processes::TestCluster;

/// The tokens of a node, as it says.
fn tokens(cluster: &TestCluster, number: usize) -> Vec<String> {
    let info = cluster.request("GET", number, "/admin/v1/info", None).json();
    let tokens = info["tokens"].as_array().expect("a list").iter();
    tokens.map(|token| token.as_str().expect("a text").to_owned()).collect()
}

#[test]
fn a_node_has_the_tokens_that_its_settings_name_and_no_other_node_gets_one_of_them() {
    let cluster = TestCluster::stopped(4);
    let named = r#"node.initial_token=["7", "-9223372036854775807", "9223372036854775807"]"#;
    cluster.spawn_with(1, &[named]);
    cluster.wait_until_ready(1);
    assert_eq!(tokens(&cluster, 1), ["-9223372036854775807", "7", "9223372036854775807"]);

    let taken = r#"node.initial_token=["8", "7"]"#;
    cluster.spawn_with(2, &[taken]);
    let log = cluster.wait_for_failure(2);
    let holder = cluster.peer_address(1);
    assert!(log.contains("the token 7 of this node is that of host") && log.contains(&holder), "{log}");
    assert_eq!(cluster.members(1).map(|members| members.len()), Some(1));

    // Of its own choice.
    cluster.spawn_with(3, &["node.num_tokens=4"]);
    cluster.wait_until_ready(3);
    let chosen = tokens(&cluster, 3);
    assert_eq!(chosen.len(), 4);

    // What a node has, it keeps, and is told so if the settings name something else.
    cluster.kill(3);
    cluster.spawn_with(3, &["node.num_tokens=9"]);
    cluster.wait_until_ready(3);
    assert_eq!(tokens(&cluster, 3), chosen);
    cluster.kill(1);
    cluster.spawn_with(1, &[r#"node.initial_token=["7"]"#]);
    let log = cluster.wait_for_failure(1);
    assert!(log.contains("a node keeps the tokens of its first start"), "{log}");
    cluster.spawn_with(1, &[named]);
    cluster.wait_until_ready(1);
    cluster.wait_until_seen_up(1, 2);

    for (wrong, why) in [
        (r#"["5", "5"]"#, "the token 5 is named twice"),
        (r#"["5", " 5"]"#, "the token  5 is named twice"),
        (
            r#"["five"]"#,
            "expected a token, a whole number of 64 bits such as -42, above the lowest; found `five`",
        ),
        ("5,+8", "found `+8`"),
        ("007", "found `007`"),
        ("5,,6", "expected a value on both sides of each comma, found `5,,6`"),
        ("5,", "on both sides of each comma, found `5,`"),
        (r#"["9223372036854775808"]"#, "found `9223372036854775808`"),
        (r#"["-9223372036854775808"]"#, "above the lowest; found `-9223372036854775808`"),
        (r#"[""]"#, "found ``"),
        ("[5]", "node.initial_token"),
    ] {
        cluster.spawn_with(4, &[&format!("node.initial_token={wrong}")]);
        let log = cluster.wait_for_failure(4);
        assert!(log.contains(why), "{wrong}: {log}");
    }
    assert!(!cluster.data_directory(4).exists(), "a wrong setting leaves nothing behind");
}
