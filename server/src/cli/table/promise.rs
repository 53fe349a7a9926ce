//! What reads and writes at a table's own levels promise together: Gifford's rule (SOSP 1979).

use helenus_cluster::{
    consistency::Consistency,
    quorum::{Operation, Overlap, overlap, overlap::Sum},
    table::Replication,
};
use serde_json::{Map, Value};

/// What "last" means where no clock is the same as another.
const LAST: &str = "The last write is that with the highest timestamp: of two that more than half of the replicas \
                    have to acknowledge the one that begins later, unless its client has chosen its timestamp; of others only a \
                    session keeps the order, where clocks differ.";

/// The promise in a few sentences, for a table as a node describes it.
pub(super) fn of(table: &Map<String, Value>) -> String {
    let level = |name: &str| table.get(name).and_then(Value::as_str)?.parse::<Consistency>().ok();
    let levels = level("default_read_consistency").zip(level("default_write_consistency"));
    let Some(((read, write), replication)) = levels.zip(replication(table)) else {
        return "This build does not know what its levels promise.".to_owned();
    };
    let (read, write) = ((Operation::Read, read), (Operation::Write, write));
    match (overlap(write, read, &replication), overlap(write, write, &replication)) {
        (Ok(reads), Ok(writes)) => {
            format!("By its default levels {};\n{}.\n{LAST}", of_reads(&reads), of_writes(&writes))
        }
        (Err(error), _) | (_, Err(error)) => format!("Requests at its default levels are refused: {error}."),
    }
}

fn of_reads(overlap: &Overlap) -> String {
    match overlap {
        Overlap::Always(sums) => {
            format!("reads see the last acknowledged write, since W + R > N ({})", added(sums))
        }
        Overlap::Within(sums) => format!(
            "reads see the last acknowledged write of their own datacenter, since W + R > N there ({}), and may miss \
             those of others",
            added(sums)
        ),
        Overlap::Never(sum) => {
            let sum = added(std::slice::from_ref(sum));
            format!("a read may miss the last acknowledged write, since W + R <= N ({sum})")
        }
    }
}

fn of_writes(overlap: &Overlap) -> String {
    match overlap {
        Overlap::Always(sums) => {
            format!("any two writes meet in a replica, since W > N/2 ({})", halved(sums))
        }
        Overlap::Within(sums) => format!(
            "any two writes of one datacenter meet in a replica, since W > N/2 there ({}), and those of two need not",
            halved(sums)
        ),
        Overlap::Never(sum) => {
            let sum = halved(std::slice::from_ref(sum));
            format!("two writes may meet in no replica, since W <= N/2 ({sum})")
        }
    }
}

/// W + R against N.
fn added(sums: &[Sum]) -> String {
    told(sums, |sum, sign| format!("{} + {} {sign} {}", sum.first, sum.second, sum.replicas))
}

/// W against N/2.
fn halved(sums: &[Sum]) -> String {
    told(sums, |sum, sign| format!("{} {sign} {}/2", sum.first, sum.replicas))
}

fn told(sums: &[Sum], words: impl Fn(&Sum, &str) -> String) -> String {
    let one = |sum: &Sum| {
        let place = sum.datacenter.as_ref().map(|name| format!(" in {name}")).unwrap_or_default();
        words(sum, if sum.meets() { ">" } else { "<=" }) + &place
    };
    sums.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn replication(table: &Map<String, Value>) -> Option<Replication> {
    let fields = table.get("replication")?.as_object()?;
    let factor = |value: &Value| value.as_u64().and_then(|factor| u32::try_from(factor).ok());
    if fields.get("class")? == "simple" {
        return Some(Replication::Simple { factor: factor(fields.get("factor")?)? });
    }
    let factors = fields.iter().filter(|(name, _)| *name != "class");
    let factors = factors.map(|(name, value)| Some((name.clone(), factor(value)?)));
    Some(Replication::NetworkTopology { factors: factors.collect::<Option<_>>()? })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_levels_promise_follows_from_the_factors() {
        let one = || json!({ "class": "simple", "factor": 1 });
        let three = || json!({ "class": "simple", "factor": 3 });
        let two_places = || json!({ "class": "network_topology", "dc1": 3, "dc2": 2 });
        for (replication, read, write, of_reads, of_writes) in [
            (one(), "one", "one", "W + R > N (1 + 1 > 1)", "W > N/2 (1 > 1/2)"),
            (three(), "quorum", "quorum", "W + R > N (2 + 2 > 3)", "W > N/2 (2 > 3/2)"),
            (three(), "one", "quorum", "W + R <= N (2 + 1 <= 3)", "any two writes meet"),
            (three(), "all", "one", "W + R > N (1 + 3 > 3)", "two writes may meet in no replica"),
            (three(), "all", "any", "W + R <= N (0 + 3 <= 3)", "W <= N/2 (0 <= 3/2)"),
            (three(), "local_quorum", "quorum", "W + R > N (2 + 2 > 3)", "W > N/2 (2 > 3/2)"),
            (two_places(), "quorum", "quorum", "W + R > N (3 + 3 > 5)", "W > N/2 (3 > 5/2)"),
            (
                two_places(),
                "local_quorum",
                "local_quorum",
                "write of their own datacenter, since W + R > N there (2 + 2 > 3 in dc1, 2 + 2 > 2 in dc2), and may",
                "two writes of one datacenter meet in a replica, since W > N/2 there (2 > 3/2 in dc1, 2 > 2/2 in dc2)",
            ),
            (
                two_places(),
                "local_quorum",
                "each_quorum",
                "see the last acknowledged write, since W + R > N (2 + 2 > 3 in dc1, 2 + 2 > 2 in dc2)",
                "any two writes meet in a replica, since W > N/2 (2 > 3/2 in dc1)",
            ),
            (two_places(), "local_quorum", "quorum", "W + R <= N (3 + 2 <= 5)", "W > N/2 (3 > 5/2)"),
            (two_places(), "local_one", "all", "W + R > N (5 + 1 > 5)", "W > N/2 (5 > 5/2)"),
            (two_places(), "local_one", "local_quorum", "W + R <= N (2 + 1 <= 5)", "of one datacenter meet"),
        ] {
            let table = json!({
                "replication": replication,
                "default_read_consistency": read, "default_write_consistency": write,
            });
            let promise = of(table.as_object().expect("it is one"));
            assert!(promise.contains(of_reads), "{read} {write}: {promise}\n{of_reads}");
            assert!(promise.contains(of_writes), "{read} {write}: {promise}\n{of_writes}");
        }
    }
}
