//! Which endpoints hold a key.

use std::{collections::BTreeSet, io::Cursor};

/// A member's place on the ring: the token that ends one of its ranges.
#[derive(Debug, Clone)]
pub struct RingToken {
    /// The token.
    pub token: i64,
    /// Whose it is.
    pub host_id: String,
    /// Where that member stands.
    pub datacenter: String,
}

/// Where a table's replicas are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replication {
    /// On so many members clockwise from the key's token.
    Simple(usize),
    /// In these datacenters. Which racks' members the further replicas are on is the servers' business: the first member
    /// clockwise of each datacenter always is one.
    Datacenters(BTreeSet<String>),
}

/// Endpoints by token range, as the ring was when it was asked for.
#[derive(Debug)]
pub struct Routes {
    /// Ends of the ranges, in order.
    ends: Vec<i64>,
    /// Of each range, the endpoints that hold it, in the order of the ring.
    replicas: Vec<Vec<usize>>,
}

impl Routes {
    /// Of a ring in order, and the host ids of the endpoints as far as they are known. A replica without an endpoint is
    /// left out.
    #[must_use]
    pub fn new(ring: &[RingToken], replication: &Replication, endpoints: &[Option<String>]) -> Self {
        let endpoint_of = |member: &RingToken| {
            endpoints.iter().position(|host_id| host_id.as_deref() == Some(&member.host_id))
        };
        let replicas = (0..ring.len()).map(|start| {
            let clockwise = ring[start..].iter().chain(&ring[..start]);
            members(clockwise, replication).into_iter().filter_map(endpoint_of).collect()
        });
        Self { ends: ring.iter().map(|entry| entry.token).collect(), replicas: replicas.collect() }
    }

    /// The endpoints that hold a key of ASCII characters; none if no endpoint does.
    #[must_use]
    pub fn replicas(&self, key: &str) -> &[usize] {
        let token = token(key);
        let range = self.ends.partition_point(|&end| end < token);
        // Beyond the last token the ring begins again.
        self.replicas.get(range).or(self.replicas.first()).map_or(&[], Vec::as_slice)
    }
}

/// The replicas of the range that the first of `clockwise` ends.
fn members<'a>(
    clockwise: impl Iterator<Item = &'a RingToken>,
    replication: &Replication,
) -> Vec<&'a RingToken> {
    let mut found: Vec<&RingToken> = Vec::new();
    let wanted = match replication {
        Replication::Simple(factor) => *factor,
        Replication::Datacenters(datacenters) => datacenters.len(),
    };
    for entry in clockwise {
        if found.len() == wanted {
            break;
        }
        let is_replica = match replication {
            Replication::Simple(_) => found.iter().all(|other| other.host_id != entry.host_id),
            Replication::Datacenters(datacenters) => {
                datacenters.contains(&entry.datacenter)
                    && found.iter().all(|other| other.datacenter != entry.datacenter)
            }
        };
        if is_replica {
            found.push(entry);
        }
    }
    found
}

/// A key's token: the first half of its Murmur3 hash, whose lowest value belongs to no key. Cassandra's variant differs
/// from the textbook's only for bytes from 0x80 on.
fn token(key: &str) -> i64 {
    let hash = murmur3::murmur3_x64_128(&mut Cursor::new(key), 0).unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
    let token = (hash as u64).cast_signed();
    if token == i64::MIN { i64::MAX } else { token }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(entries: &[(i64, &str, &str)]) -> Vec<RingToken> {
        let entry = |&(token, host_id, datacenter): &(i64, &str, &str)| RingToken {
            token,
            host_id: host_id.to_owned(),
            datacenter: datacenter.to_owned(),
        };
        entries.iter().map(entry).collect()
    }

    fn known(endpoints: &[&str]) -> Vec<Option<String>> {
        endpoints.iter().map(|&host_id| Some(host_id.to_owned())).collect()
    }

    #[test]
    fn tokens_are_cassandras() {
        assert_eq!([token("k0"), token("testvalue")], [5_638_682_346_300_632_201, 5_965_290_492_934_326_460]);
    }

    #[test]
    fn a_key_goes_to_the_next_members_clockwise_and_the_ring_wraps() {
        let (of_k0, of_value) = (token("k0"), token("testvalue"));
        let ring =
            ring(&[(of_k0 - 1, "a", ""), (of_k0, "b", ""), (of_k0 + 1, "c", ""), (of_k0 + 2, "c", "")]);
        assert!(of_value > of_k0 + 2);
        let routes = Routes::new(&ring, &Replication::Simple(2), &known(&["c", "b", "a"]));
        assert_eq!(routes.replicas("k0"), [1, 0], "the end of a range belongs to it");
        let of_next = Routes::new(&ring[2..], &Replication::Simple(2), &known(&["c", "b", "a"]));
        assert_eq!(of_next.replicas("k0"), [0], "two tokens of a member are one replica");
        assert_eq!(routes.replicas("testvalue"), [2, 1], "behind the last token comes the first");
        let only_a = Routes::new(&ring, &Replication::Simple(2), &known(&["a"]));
        assert_eq!(only_a.replicas("k0"), [0; 0]);
        assert_eq!(Routes::new(&[], &Replication::Simple(3), &known(&["a"])).replicas("k0"), [0; 0]);
    }

    #[test]
    fn the_first_member_of_each_datacenter_with_replicas_is_one() {
        let ring = ring(&[(1, "a", "d1"), (2, "b", "d1"), (3, "x", "d3"), (4, "y", "d2"), (5, "z", "d2")]);
        let replication = Replication::Datacenters(["d1".to_owned(), "d2".to_owned()].into());
        let routes = Routes::new(&ring, &replication, &known(&["z", "y", "x", "b", "a"]));
        assert_eq!(routes.replicas("k0"), [4, 1]);
    }
}
