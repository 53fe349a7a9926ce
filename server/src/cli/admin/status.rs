//! `helenus admin status`: the shape of Cassandra's `nodetool status`, in eighty columns or those of the terminal. Where
//! addresses or racks are too long for that, host ids and racks lose their middle. Host ids are there to be copied: those of
//! members that are down, of which one may be removed, stand below in full then.

use std::{collections::BTreeMap, fmt::Write};

use super::{Member, Status};
use crate::cli::output;

/// Columns that give way.
const HOST_ID: usize = 5;
const RACK: usize = 6;

/// One block per datacenter, and what is to be said of its members below.
pub(super) fn render(status: &Status) -> String {
    let mut text = String::new();
    let mut is_shortened = false;
    for (datacenter, members) in by_datacenter(&status.members) {
        let title = format!("Datacenter: {datacenter}");
        let line = "=".repeat(title.chars().count());
        let owns = percents(&members);
        let rows: Vec<[String; 7]> =
            members.iter().zip(owns).map(|(member, owns)| row(member, owns)).collect();
        let header = ["--", "Address", "Load", "Tokens", "Owns", "Host ID", "Rack"];
        let table = output::narrow_table_of_names(header, rows, &[HOST_ID, RACK]);
        is_shortened |= members.iter().any(|member| !table.contains(&member.host_id));
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "{title}\n{line}\nStatus=Up/Down\n|/ State=Normal/Leaving/Joining/Moving\n{table}\n\n"
        );
    }
    if is_shortened {
        text += &shortened_note(&status.members);
    }
    status.members.iter().for_each(|member| text.push_str(&notes(member)));
    text.truncate(text.trim_end().len());
    text
}

/// The members of each datacenter.
pub(super) fn by_datacenter(members: &[Member]) -> BTreeMap<&str, Vec<&Member>> {
    let mut datacenters: BTreeMap<&str, Vec<&Member>> = BTreeMap::new();
    for member in members {
        datacenters.entry(&member.datacenter).or_default().push(member);
    }
    datacenters
}

/// What the members own, in tenths of a percent that add up to what they own together: those that lose most by rounding
/// down are rounded up (the method of the largest remainder).
pub(super) fn percents(members: &[&Member]) -> Vec<String> {
    let tenths: Vec<f64> = members.iter().map(|member| member.owns.clamp(0.0, 1.0) * 1000.0).collect();
    let floor_sum: f64 = tenths.iter().map(|tenth| tenth.floor()).sum();
    let missing = tenths.iter().sum::<f64>().round() - floor_sum;
    let mut by_loss: Vec<usize> = (0..tenths.len()).collect();
    by_loss.sort_by(|a, b| tenths[*b].fract().total_cmp(&tenths[*a].fract()));
    let mut rounded: Vec<f64> = tenths.iter().map(|tenth| tenth.floor()).collect();
    let mut left = missing;
    for place in by_loss {
        if left < 0.5 {
            break;
        }
        rounded[place] += 1.0;
        left -= 1.0;
    }
    rounded.into_iter().map(|tenths| format!("{:.1}%", tenths / 10.0)).collect()
}

fn row(member: &Member, owns: String) -> [String; 7] {
    let up = member.up.map_or('?', |up| if up { 'U' } else { 'D' });
    let state = match member.state.as_str() {
        "normal" | "settling" => 'N',
        "leaving" => 'L',
        "joining" => 'J',
        "moving" => 'M',
        _ => '?',
    };
    [
        format!("{up}{state}"),
        member.address.clone(),
        short_load(member.load_bytes),
        member.tokens.to_string(),
        owns,
        member.host_id.clone(),
        member.rack.clone(),
    ]
}

/// Bytes in five characters at most, as `ls -h` shows them.
#[expect(clippy::cast_precision_loss, reason = "a load for people to read")]
fn short_load(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return "?".to_owned() };
    let mut load = bytes as f64;
    let mut units = ["B", "K", "M", "G", "T", "P"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for next in units {
        // What would be shown as 1024 of a unit is one of the next.
        if load < 1023.5 {
            break;
        }
        (load, unit) = (load / 1024.0, next);
    }
    if load < 9.95 && unit != "B" { format!("{load:.1}{unit}") } else { format!("{load:.0}{unit}") }
}

/// Where the host ids are in full, and those that may be needed.
fn shortened_note(members: &[Member]) -> String {
    let mut note = output::wrapped("Note: host ids do not fit here; `-o json` has them in full") + "\n";
    for member in members.iter().filter(|member| member.up == Some(false)) {
        let line = format!("    {}  {}", member.host_id, member.address);
        note += &(output::printable(&line, &[]) + "\n");
    }
    note
}

fn notes(member: &Member) -> String {
    let Member { address, host_id, up, state, why, clock, .. } = member;
    let note = |what: String| output::wrapped(&format!("Note: {what}")) + "\n";
    let mut notes = match (why, state.as_str()) {
        // A node of itself, once it is drained.
        (Some(why), "normal") => note(format!("{address}: {why}")),
        (Some(why), state) => note(format!("{address} is {state}: {why}")),
        (None, "joining") => note(format!("{address} is joining; its own `admin status` says why")),
        (None, _) => String::new(),
    };
    if state == "joining" && *up == Some(false) {
        notes += &note(format!(
            "{address} is joining and down: writes of its ranges wait for one replica more until it is back, or evicted \
             after 30 s; if it is not, remove it with"
        ));
        // In one line, to be copied.
        notes += &format!("    helenus admin assassinate {host_id}\n");
    }
    if let Some(clock) = clock {
        notes += &note(format!("the clock of {address} is off: {clock}"));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(address: &str, datacenter: &str) -> Member {
        Member {
            host_id: "5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d".to_owned(),
            address: address.to_owned(),
            datacenter: datacenter.to_owned(),
            rack: "rack1".to_owned(),
            up: Some(true),
            state: "normal".to_owned(),
            why: None,
            clock: None,
            tokens: 16,
            owns: 0.667,
            load_bytes: None,
        }
    }

    #[test]
    fn status_has_cassandras_shape() {
        let here = Member { load_bytes: Some(106_086), ..member("127.0.0.1:7171", "dc1") };
        let clock = Some("1h ahead of this node's".to_owned());
        let dead = Member { up: Some(false), clock, ..member("127.0.0.1:7172", "dc1") };
        let why = Some("the cluster holds records".to_owned());
        let joining =
            Member { state: "joining".to_owned(), why, owns: 0.0, ..member("127.2.1.2:7171", "dc2") };
        let elsewhere =
            Member { why: None, up: Some(false), address: "127.2.1.4:7171".to_owned(), ..joining.clone() };
        let why = Some("it is drained and takes no part in the cluster until it is started again".to_owned());
        let drained = Member { up: None, why, ..member("127.0.0.1:7173", "dc1") };
        let text = render(&Status { members: vec![here, dead, drained, joining, elsewhere] });
        assert_eq!(
            text,
            "\
Datacenter: dc1
===============
Status=Up/Down
|/ State=Normal/Leaving/Joining/Moving
-- Address        Load Tokens Owns  Host ID                              Rack
UN 127.0.0.1:7171 104K 16     66.7% 5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d rack1
DN 127.0.0.1:7172 ?    16     66.7% 5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d rack1
?N 127.0.0.1:7173 ?    16     66.7% 5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d rack1

Datacenter: dc2
===============
Status=Up/Down
|/ State=Normal/Leaving/Joining/Moving
-- Address        Load Tokens Owns Host ID                              Rack
UJ 127.2.1.2:7171 ?    16     0.0% 5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d rack1
DJ 127.2.1.4:7171 ?    16     0.0% 5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d rack1

Note: the clock of 127.0.0.1:7172 is off: 1h ahead of this node's
Note: 127.0.0.1:7173: it is drained and takes no part in the cluster until it is
started again
Note: 127.2.1.2:7171 is joining: the cluster holds records
Note: 127.2.1.4:7171 is joining; its own `admin status` says why
Note: 127.2.1.4:7171 is joining and down: writes of its ranges wait for one
replica more until it is back, or evicted after 30 s; if it is not, remove it
with
    helenus admin assassinate 5f0d9a8e-6d0c-4d1e-9c43-0f6d1a2b3c4d"
        );
    }

    #[test]
    fn a_row_fits_eighty_columns_whatever_it_says() {
        for load_bytes in [None, Some(0), Some(1023), Some(10 << 10), Some((1 << 20) - 1), Some(1 << 50)] {
            let full = Member { load_bytes, owns: 1.0, tokens: 1024, ..member("127.0.0.1:7171", "dc1") };
            let text = render(&Status { members: vec![full] });
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest <= Some(80), "{text}");
        }
    }

    #[test]
    fn long_addresses_and_racks_fit_too_and_the_host_id_of_who_is_down_can_be_copied() {
        let live = Member { owns: 1.0, rack: "r".repeat(64), ..member("192.168.100.101:17171", "dc1") };
        let dead = Member { up: Some(false), ..member("192.168.100.102:17171", "dc1") };
        let text = render(&Status { members: vec![live, dead.clone()] });
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(text.lines().nth(5).map(|line| &line[..26]), Some("UN 192.168.100.101:17171 ?"), "{text}");
        let below = format!(
            "\nNote: host ids do not fit here; `-o json` has them in full\n    {}  {}",
            dead.host_id, dead.address
        );
        assert!(text.ends_with(&below), "{text}");
        assert_eq!(text.matches(&dead.host_id).count(), 1, "{text}");

        let fits =
            render(&Status { members: vec![Member { owns: 1.0, ..member("127.0.0.1:17171", "dc1") }] });
        assert!(!fits.contains("Note"), "{fits}");
    }

    #[test]
    fn what_members_own_adds_up() {
        for (shares, shown) in [
            (vec![1.0 / 3.0; 3], vec!["33.4%", "33.3%", "33.3%"]),
            (vec![2.0 / 3.0; 3], vec!["66.7%", "66.7%", "66.6%"]),
            (vec![1.0, 1.0, 0.0], vec!["100.0%", "100.0%", "0.0%"]),
            (vec![0.12345, 0.87655], vec!["12.3%", "87.7%"]),
            (vec![], vec![]),
        ] {
            let members: Vec<Member> =
                shares.iter().map(|share| Member { owns: *share, ..member("a:1", "dc1") }).collect();
            assert_eq!(percents(&members.iter().collect::<Vec<_>>()), shown);
        }
    }
}
