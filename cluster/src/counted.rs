//! Counts in sentences.

use std::fmt;

/// A number and what it counts, shown as `1 replica` or `2 replicas`.
#[derive(Debug, Clone, Copy)]
pub struct Counted<'a> {
    number: u64,
    noun: &'a str,
}

/// So many of something that is named in the singular and takes an `s` in the plural.
pub fn counted(number: impl TryInto<u64>, noun: &str) -> Counted<'_> {
    Counted { number: number.try_into().unwrap_or(u64::MAX), noun }
}

impl fmt::Display for Counted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}{}", self.number, self.noun, if self.number == 1 { "" } else { "s" })
    }
}

/// The verb of so many.
pub fn is_or_are(number: impl TryInto<u64>) -> &'static str {
    if number.try_into().is_ok_and(|number| number == 1) { "is" } else { "are" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many_and_nothing_is() {
        let shown = [0_u32, 1, 2].map(|number| format!("{} {}", counted(number, "node"), is_or_are(number)));
        assert_eq!(shown, ["0 nodes are", "1 node is", "2 nodes are"]);
    }
}
