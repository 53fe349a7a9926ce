//! `helenus admin compaction-stats`: the shape of Cassandra's `nodetool compactionstats`.

use serde::Deserialize;

use super::{super::output, load};

/// The answer of `/admin/v1/compaction-stats`, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(super) struct Stats {
    pending_bytes: u64,
    pending_sstables: u64,
    compactions: Vec<Running>,
    throughput_bytes_per_second: u64,
    limit_bytes_per_second: Option<u64>,
    remaining_seconds: Option<f64>,
    set_aside: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Running {
    id: u64,
    kind: String,
    table: Option<String>,
    done_bytes: u64,
    total_bytes: u64,
}

/// What is under way, what waits, and how long it takes.
pub(super) fn render(stats: &Stats) -> String {
    let mut lines = vec![
        format!(
            "pending: {} in {}",
            load(Some(stats.pending_bytes)),
            output::counted(stats.pending_sstables, "SSTable")
        ),
        format!("throughput limit: {}", limit(stats)),
    ];
    if !stats.compactions.is_empty() {
        let rows: Vec<_> = stats.compactions.iter().map(row).collect();
        let header = ["id", "compaction type", "table", "completed", "total", "unit", "progress"];
        lines.push(output::table_of_names(header, rows, &[2]));
    }
    lines.push(format!("Active compaction remaining time : {}", remaining(stats.remaining_seconds)));
    lines
        .extend(stats.set_aside.iter().map(|file| format!("Note: {file} is damaged, and no merge takes it")));
    lines.join("\n")
}

/// What is set, and what has become of it.
fn limit(stats: &Stats) -> String {
    let rate = |bytes| format!("{}/s", load(Some(bytes)));
    match (stats.throughput_bytes_per_second, stats.limit_bytes_per_second) {
        (0, _) => "none".to_owned(),
        (set, None) => format!("{}, lifted while so much is pending", rate(set)),
        (set, Some(now)) if now > set => format!("{}, raised to {} by what is pending", rate(set), rate(now)),
        (set, Some(_)) => rate(set),
    }
}

fn row(running: &Running) -> [String; 7] {
    [
        running.id.to_string(),
        running.kind.clone(),
        running.table.clone().unwrap_or_else(|| "(own)".to_owned()),
        running.done_bytes.to_string(),
        running.total_bytes.to_string(),
        "bytes".to_owned(),
        format!("{:.1}%", 100.0 * running.done_bytes as f64 / running.total_bytes.max(1) as f64),
    ]
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time for people to read")]
fn remaining(seconds: Option<f64>) -> String {
    seconds.map_or_else(
        || "n/a".to_owned(),
        |seconds| {
            let seconds = seconds.round() as u64;
            format!("{}h{:02}m{:02}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shape_is_cassandras_and_fits_80_columns() {
        let stats = |limit_bytes_per_second| Stats {
            pending_bytes: 10 << 20,
            pending_sstables: 6,
            compactions: vec![Running {
                id: 7,
                kind: "major".to_owned(),
                table: Some("users".to_owned()),
                done_bytes: 4_294_967_296,
                total_bytes: 8_589_934_592,
            }],
            throughput_bytes_per_second: 64 << 20,
            limit_bytes_per_second,
            remaining_seconds: Some(3723.4),
            set_aside: Vec::new(),
        };
        assert_eq!(
            render(&stats(Some(64 << 20))),
            "\
pending: 10.0 MiB in 6 SSTables
throughput limit: 64.0 MiB/s
id  compaction type  table  completed   total       unit   progress
7   major            users  4294967296  8589934592  bytes  50.0%
Active compaction remaining time : 1h02m03s"
        );
        let mut long = stats(None);
        long.compactions[0].table = Some("t".repeat(48));
        let text = render(&long);
        assert!(text.lines().all(|line| line.chars().count() <= output::WIDTH), "{text}");
        assert_eq!(remaining(None), "n/a");
        assert_eq!(limit(&stats(Some(128 << 20))), "64.0 MiB/s, raised to 128.0 MiB/s by what is pending");
        assert_eq!(limit(&stats(None)), "64.0 MiB/s, lifted while so much is pending");
    }
}
