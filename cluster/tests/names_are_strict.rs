//! Promise: a level or table is named in one way, and anything else is told apart from it.

use helenus_cluster::{
    consistency::Consistency::{self, *},
    table::is_table_name,
};

#[test]
fn a_level_reads_back_as_it_is_written() {
    let levels = [
        Any,
        One,
        Two,
        Three,
        Quorum,
        All,
        LocalOne,
        LocalQuorum,
        EachQuorum,
        Serial,
        LocalSerial,
        Count(1),
        Count(u32::MAX),
    ];
    for level in levels {
        assert_eq!(level.to_string().parse(), Ok(level));
        assert_eq!(level.to_string().to_uppercase().parse(), Ok(level));
    }
}

#[test]
fn what_is_no_level_is_refused_by_name() {
    for text in
        ["", " one", "one ", "0", "00", "+2", "-1", "1.5", "4294967296", "quorums", "local-one", "٣", "ein"]
    {
        let error = text.parse::<Consistency>().unwrap_err();
        assert!(error.to_string().starts_with(&format!("`{text}` is not a consistency level")), "{error}");
    }
}

#[test]
fn a_table_name_is_a_lower_case_letter_and_then_up_to_47_letters_digits_and_underscores() {
    for name in ["a", "default", "user_events_2", &"a".repeat(48)] {
        assert!(is_table_name(name), "{name}");
    }
    for name in ["", "A", "1a", "_a", "a-b", "a b", "é", "aé", "a/b", "a\0", &"a".repeat(49)] {
        assert!(!is_table_name(name), "{name}");
    }
}
