//! Names of records.

use std::fmt::Write;

use crate::generators::fnv_hash;

/// How a record's number becomes its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyNames {
    /// `insertorder=ordered`: the number itself rather than its hash.
    pub is_ordered: bool,
    /// Digits at least, filled with zeros.
    pub zero_padding: usize,
}

impl KeyNames {
    /// `user` and the number, or its hash.
    #[must_use]
    pub fn name(self, number: u64) -> String {
        let digits = if self.is_ordered { number } else { fnv_hash(number) };
        // Room for the longest number at once: this is done for every operation.
        let mut name = String::with_capacity(24);
        write!(name, "user{digits:0width$}", width = self.zero_padding).expect("a string takes all text");
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_names_are_those_of_ycsb() {
        let names = KeyNames { is_ordered: false, zero_padding: 1 };
        assert_eq!(
            [0, 1, 2, 3].map(|number| names.name(number)),
            [
                "user6284781860667377211",
                "user8517097267634966620",
                "user1820151046732198393",
                "user4052466453699787802"
            ]
        );
    }

    #[test]
    fn ordered_names_are_numbers_with_leading_zeros() {
        assert_eq!(KeyNames { is_ordered: true, zero_padding: 8 }.name(42), "user00000042");
        assert_eq!(KeyNames { is_ordered: true, zero_padding: 1 }.name(42), "user42");
    }
}
