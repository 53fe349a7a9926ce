//! Keys of the list: their first bytes as numbers, the rest behind a pointer that most comparisons do not follow.

use std::{borrow::Borrow, cmp::Ordering};

/// Bytes of a key that lie in the node.
const HEAD_BYTES: usize = 16;

/// The first bytes of a key, zeros where there are fewer, so that comparing them compares the keys as far as they go.
type Head = [u64; 2];

/// A key, owned or borrowed, in parts that compare one after the other.
pub(super) trait KeyView {
    fn head(&self) -> Head;
    /// How many bytes it has; those of more than the head holds are alike. Tells a short key from a longer one that goes
    /// on with zeros.
    fn known(&self) -> u8;
    /// What is behind the head.
    fn rest(&self) -> &[u8];
}

/// A key of the list.
#[derive(Debug)]
pub(super) struct Key {
    head: Head,
    rest: Box<[u8]>,
    known: u8,
}

impl Key {
    /// Copies the key.
    pub(super) fn new(bytes: &[u8]) -> Self {
        let Probe { head, known, rest } = Probe::new(bytes);
        Self { head, known, rest: rest.into() }
    }

    /// Bytes that it has behind its head, in a buffer of their own.
    pub(super) fn rest_bytes(&self) -> usize {
        self.rest.len()
    }

    /// Appends the key.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let [first, second] = self.head;
        let head = (u128::from(first) << 64 | u128::from(second)).to_be_bytes();
        out.extend_from_slice(&head[..usize::from(self.known).min(HEAD_BYTES)]);
        out.extend_from_slice(&self.rest);
    }
}

/// What is looked for.
#[derive(Debug)]
pub(super) struct Probe<'a> {
    head: Head,
    known: u8,
    rest: &'a [u8],
}

impl<'a> Probe<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let (start, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES));
        let mut padded = [0; HEAD_BYTES];
        padded[..start.len()].copy_from_slice(start);
        let number = u128::from_be_bytes(padded);
        let known = bytes.len().min(HEAD_BYTES + 1) as u8;
        Self { head: [(number >> 64) as u64, number as u64], known, rest }
    }
}

impl KeyView for Key {
    fn head(&self) -> Head {
        self.head
    }

    fn known(&self) -> u8 {
        self.known
    }

    fn rest(&self) -> &[u8] {
        &self.rest
    }
}

impl KeyView for Probe<'_> {
    fn head(&self) -> Head {
        self.head
    }

    fn known(&self) -> u8 {
        self.known
    }

    fn rest(&self) -> &[u8] {
        self.rest
    }
}

fn compare(one: &(impl KeyView + ?Sized), other: &(impl KeyView + ?Sized)) -> Ordering {
    let heads = one.head().cmp(&other.head());
    heads.then_with(|| one.known().cmp(&other.known())).then_with(|| one.rest().cmp(other.rest()))
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self, other)
    }
}

impl<'a> Borrow<dyn KeyView + 'a> for Key {
    fn borrow(&self) -> &(dyn KeyView + 'a) {
        self
    }
}

impl PartialEq for dyn KeyView + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn KeyView + '_ {}

impl PartialOrd for dyn KeyView + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn KeyView + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self, other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_compare_as_their_bytes_do_and_are_put_together_again() {
        let long = b"0123456789abcdef";
        let mut keys: Vec<Vec<u8>> =
            vec![vec![], vec![0], vec![0; 15], vec![0; 16], vec![0; 17], vec![0xff; 16]];
        for end in 14..=16 {
            for tail in [&b""[..], b"\0", b"\0\0", b"\x01", b"z", b"zz", b"\xff"] {
                keys.push([&long[..end], tail].concat());
            }
        }
        for one in &keys {
            let mut again = Vec::new();
            Key::new(one).write(&mut again);
            assert_eq!(again, *one);
            for other in &keys {
                assert_eq!(Key::new(one).cmp(&Key::new(other)), one.cmp(other), "{one:?} and {other:?}");
                let (key, probe) = (Key::new(one), Probe::new(other));
                assert_eq!(compare(&key, &probe), one.cmp(other));
            }
        }
    }
}
