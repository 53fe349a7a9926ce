//! A record's fields as one value.

use rand::Rng;

use crate::generators::{Histogram, Random, Uniform, Zipfian};

/// How long a field is.
#[derive(Debug, Clone)]
pub(super) enum Length {
    Constant(u64),
    Uniform(Uniform),
    Zipfian(Box<Zipfian>),
    Histogram(Histogram),
}

impl Length {
    fn next(&self, random: &mut Random) -> usize {
        let length = match self {
            Self::Constant(length) => *length,
            Self::Uniform(lengths) => lengths.next(random),
            Self::Zipfian(lengths) => lengths.next(random),
            Self::Histogram(lengths) => lengths.next(random),
        };
        usize::try_from(length).unwrap_or(usize::MAX)
    }
}

/// What comparing a value with what must have been written says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Every field is what its key and name imply.
    Right,
    /// A field is missing or something else.
    Wrong,
    /// There is no value.
    Nothing,
}

/// Names and contents of fields: a value is `name=content` and a line end for each, in order.
#[derive(Debug, Clone)]
pub struct Fields {
    pub(super) names: Vec<String>,
    pub(super) length: Length,
    /// Contents follow from key and field name (`dataintegrity`).
    pub(super) is_deterministic: bool,
}

impl Fields {
    /// Writes a whole value into `value`, replacing what is there.
    pub fn write(&self, key: &str, random: &mut Random, value: &mut Vec<u8>) {
        value.clear();
        for name in &self.names {
            self.write_field(key, name, random, value);
        }
    }

    /// Writes `old` into `value` with one field, chosen at random, replaced; a whole value if `old` has no such field.
    pub fn merge(&self, key: &str, old: &[u8], random: &mut Random, value: &mut Vec<u8>) {
        let last = self.names.len() as u64 - 1;
        let chosen = usize::try_from(Uniform::new(0, last).next(random)).unwrap_or(0);
        let name = &self.names[chosen];
        let is_chosen =
            |line: &[u8]| line.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.starts_with(b"="));
        if !old.split(|&byte| byte == b'\n').any(is_chosen) {
            return self.write(key, random, value);
        }
        value.clear();
        for line in old.split_inclusive(|&byte| byte == b'\n') {
            if is_chosen(line) {
                self.write_field(key, name, random, value);
            } else {
                value.extend_from_slice(line);
            }
        }
    }

    /// Compares a value that was read, of contents that follow from key and name.
    #[must_use]
    pub fn verify(&self, key: &str, value: &[u8], random: &mut Random) -> Verdict {
        if value.is_empty() {
            return Verdict::Nothing;
        }
        let mut expected = Vec::with_capacity(value.len());
        self.write(key, random, &mut expected);
        if expected == value { Verdict::Right } else { Verdict::Wrong }
    }

    fn write_field(&self, key: &str, name: &str, random: &mut Random, value: &mut Vec<u8>) {
        value.extend_from_slice(name.as_bytes());
        value.push(b'=');
        let length = self.length.next(random);
        if self.is_deterministic {
            value.extend_from_slice(deterministic(key, name, length).as_bytes());
        } else {
            write_printable(length, random, value);
        }
        value.push(b'\n');
    }
}

/// Random printable characters, eight for each draw; six bits of each byte, as YCSB's are about.
fn write_printable(length: usize, random: &mut Random, value: &mut Vec<u8>) {
    const SIX_BITS: u64 = 0x3f3f_3f3f_3f3f_3f3f;
    const BLANKS: u64 = 0x2020_2020_2020_2020;
    let end = value.len() + length;
    while value.len() < end {
        let eight = (random.next_u64() & SIX_BITS) + BLANKS;
        let wanted = (end - value.len()).min(8);
        value.extend_from_slice(&eight.to_le_bytes()[..wanted]);
    }
}

/// YCSB's content of a field whose data can be checked: key, field, then the hash of all so far, again and again.
fn deterministic(key: &str, field: &str, length: usize) -> String {
    let mut content = format!("{key}:{field}");
    let mut hash = java_hash(0, &content);
    while content.len() < length {
        let before = content.len();
        content.push(':');
        hash = java_hash(hash, ":");
        let digits = hash.to_string();
        content.push_str(&digits);
        hash = java_hash(hash, &content[before + 1..]);
    }
    content.truncate(length);
    content
}

/// `String.hashCode` of Java, continued; the text is ASCII.
fn java_hash(hash: i32, text: &str) -> i32 {
    text.bytes().fold(hash, |hash, byte| hash.wrapping_mul(31).wrapping_add(i32::from(byte)))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    fn fields(is_deterministic: bool) -> Fields {
        let names = (0..3).map(|number| format!("field{number}")).collect();
        Fields { names, length: Length::Constant(40), is_deterministic }
    }

    #[test]
    fn hashes_are_those_of_java() {
        assert_eq!(java_hash(0, "hello"), 99_162_322);
        assert_eq!(
            java_hash(0, "user6284781860667377211"),
            java_hash(java_hash(0, "user628478"), "1860667377211")
        );
    }

    #[test]
    fn checkable_content_repeats_the_hash_of_what_stands_before_it() {
        // "k:f" hashes to 104623, "k:f:" is what its first number is the hash of.
        let first = java_hash(0, "k:f:");
        let second = java_hash(0, &format!("k:f:{first}:"));
        let whole = format!("k:f:{first}:{second}");
        assert_eq!(deterministic("k", "f", whole.len()), whole);
        assert_eq!(deterministic("k", "f", 2), "k:");
    }

    #[test]
    fn a_value_has_a_line_for_each_field_and_no_other_line_ends() {
        let mut random = Random::seed_from_u64(7);
        let mut value = Vec::new();
        fields(false).write("k", &mut random, &mut value);
        let text = String::from_utf8(value).expect("printable");
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        for (number, line) in lines.iter().enumerate() {
            let content = line.strip_prefix(&format!("field{number}=")).expect("its name");
            assert_eq!(content.len(), 40);
        }
    }

    #[test]
    fn a_merge_changes_one_field() {
        let mut random = Random::seed_from_u64(7);
        let (mut old, mut new) = (Vec::new(), Vec::new());
        let fields = fields(false);
        fields.write("k", &mut random, &mut old);
        fields.merge("k", &old, &mut random, &mut new);
        let lines = |value: &[u8]| String::from_utf8(value.to_vec()).expect("text");
        let differing = lines(&old).lines().zip(lines(&new).lines()).filter(|(a, b)| a != b).count();
        assert_eq!((differing, new.len()), (1, old.len()));
    }

    #[test]
    fn a_wrong_byte_is_noticed() {
        let mut random = Random::seed_from_u64(7);
        let fields = fields(true);
        let mut value = Vec::new();
        fields.write("user1", &mut random, &mut value);
        assert_eq!(fields.verify("user1", &value, &mut random), Verdict::Right);
        assert_eq!(fields.verify("user2", &value, &mut random), Verdict::Wrong);
        assert_eq!(fields.verify("user1", b"", &mut random), Verdict::Nothing);
        value[20] ^= 1;
        assert_eq!(fields.verify("user1", &value, &mut random), Verdict::Wrong);
    }
}
