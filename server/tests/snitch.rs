//! Promise: a node learns where it stands from its file, its address or its instance's metadata service, or does not
//! start and says why; a property file that changes moves nobody.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpListener},
    sync::mpsc::{Receiver, channel},
    thread,
    time::Duration,
};

use helenus_cluster::{
    membership::MemberState,
    node::{ClusterStatus, MemberStatus},
    node_id::HostId,
    snitch::Locality,
};
use helenus_server::{
    config::{Config, Effective, SnitchKind, Sources},
    snitch::{locality, watch::Watch},
};
use tempfile::TempDir;
use uuid::Uuid;

fn config(settings: &[String]) -> Config {
    let sources = Sources { file: None, environment: Vec::new(), overrides: settings.to_vec() };
    Effective::load(&sources).unwrap_or_else(|report| panic!("{}", report.render(false))).config
}

fn setting(name: &str, value: impl std::fmt::Display) -> String {
    format!("snitch.{name}={value}")
}

fn at(datacenter: &str, rack: &str) -> Locality {
    Locality::new(datacenter, rack).expect("sound names")
}

fn place(settings: &[String], advertise: &str) -> Result<Locality, String> {
    locality(&config(settings), advertise).map_err(|error| format!("{error:#}"))
}

#[test]
fn settings_and_addresses_say_it_without_asking_anybody() {
    let node = ["node.datacenter=here".to_owned(), "node.rack=r7".to_owned()];
    assert_eq!(place(&node, "host:7171"), Ok(at("here", "r7")));
    assert_eq!(place(&[setting("kind", "simple")], "host:7171"), Ok(at("datacenter1", "rack1")));
    let inferring = [setting("kind", "rack-inferring")];
    assert_eq!(place(&inferring, "127.2.3.6:7171"), Ok(at("2", "3")));
    assert!(place(&inferring, "host:7171").expect_err("a name").contains("`host` is a name"));
    assert!(place(&inferring, "[fe80::1]:7171").expect_err("no parts").contains("IPv4"));
}

#[test]
fn a_file_says_it_or_which_of_its_lines_is_wrong() {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("rackdc.properties");
    let own = [setting("kind", "gossiping-property-file"), setting("file", file.display())];
    let of_all = [setting("kind", "property-file"), setting("file", file.display())];

    assert!(place(&own, "h:1").expect_err("no file").contains("cannot read the snitch's file"));
    fs::write(&file, "dc=DC1\nrack=R2\n").expect("a file");
    assert_eq!(place(&own, "h:1"), Ok(at("DC1", "R2")));
    fs::write(&file, "dc=DC1\nrak=R2\n").expect("a file");
    let error = place(&own, "h:1").expect_err("a wrong line");
    assert!(error.contains("rackdc.properties:2: there is no `rak` here"), "{error}");

    fs::write(&file, "10.0.0.1=DC1:R1\n10.0.0.2=DC1:R2\n").expect("a file");
    assert_eq!(place(&of_all, "10.0.0.2:7171"), Ok(at("DC1", "R2")));
    assert!(place(&of_all, "10.0.0.3:7171").expect_err("no line").contains("no line for 10.0.0.3"));
}

fn member(number: u128, rack: &str) -> MemberStatus {
    MemberStatus {
        host_id: HostId(Uuid::from_u128(number)),
        address: format!("10.0.0.{number}:7171"),
        datacenter: "DC1".to_owned(),
        rack: rack.to_owned(),
        up: Some(true),
        state: MemberState::Normal,
        why: None,
        clock: None,
        tokens: 16,
        owns: 1.0,
        load_bytes: None,
    }
}

/// The watch of node 1, which stands at DC1, R1, over a file with this text.
fn watch(kind: SnitchKind, text: &str) -> (TempDir, Watch) {
    let directory = TempDir::new().expect("a directory");
    let file = directory.path().join("topology.properties");
    fs::write(&file, text).expect("a file");
    let watch = Watch::new(kind, file, "10.0.0.1:7171", at("DC1", "R1")).expect("it can be read");
    (directory, watch.expect("this kind has a file"))
}

/// What node 1 knows of itself and of node 2.
fn status() -> ClusterStatus {
    ClusterStatus {
        cluster_name: "c".to_owned(),
        cluster_id: None,
        partitioner: "murmur3".to_owned(),
        host_id: HostId(Uuid::from_u128(1)),
        members: vec![member(1, "R1"), member(2, "R2")],
    }
}

#[test]
fn a_property_file_that_changes_is_told_of_once_and_moves_nobody() {
    let text = "10.0.0.1=DC1:R1\n10.0.0.2=DC1:R2\n";
    let (_directory, mut watch) = watch(SnitchKind::PropertyFile, text);
    let mut look = |text: &str| watch.look(Ok(text.to_owned()), &status());
    let told = |warnings: Option<Vec<String>>| warnings.expect("it has changed").join("\n");

    assert_eq!(look(text), None, "nothing has changed");
    assert_eq!(look(&format!("# a comment\n{text}")), Some(Vec::new()), "nothing that matters");
    let moved = told(look("10.0.0.1=DC2:R1\n10.0.0.2=DC1:R9\n"));
    assert!(moved.contains("this node stands in datacenter `DC2`, rack `R1`; it stays"), "{moved}");
    assert!(moved.contains("10.0.0.2:7171 stands in datacenter `DC1`, rack `R9`"), "{moved}");
    assert_eq!(look("10.0.0.1=DC2:R1\n10.0.0.2=DC1:R9\n"), None, "said already");
    assert!(told(look("nonsense\n")).contains("topology.properties:1: `nonsense`"));
    assert_eq!(look(text), Some(Vec::new()), "right again");
    let mut gone = || watch.look(Err(anyhow::anyhow!("gone")), &status());
    assert_eq!(gone().expect("it has").len(), 1);
    assert_eq!(gone(), None, "said already");
}

#[test]
fn a_file_of_the_nodes_own_that_changes_is_told_of_in_one_line_and_moves_nobody() {
    let (_directory, mut watch) = watch(SnitchKind::GossipingPropertyFile, "dc=DC1\nrack=R1\n");
    let mut look = |text: &str| watch.look(Ok(text.to_owned()), &status());

    assert_eq!(look("rack=R1\ndc=DC1\n"), Some(Vec::new()), "it says the same");
    let moved = look("dc=DC1\nrack=R9\n").expect("it has changed");
    let [moved] = &moved[..] else { panic!("{moved:?}") };
    assert!(moved.contains("this node stands in datacenter `DC1`, rack `R9`; it stays"), "{moved}");
    assert!(moved.contains("must leave the cluster and join anew"), "{moved}");
    assert_eq!(look("dc=DC1\nrack=R9\n"), None, "said already");
    let wrong = look("rack=R9\n").expect("it has changed");
    assert!(wrong[0].contains("there is no line `dc=…`") && wrong.len() == 1, "{wrong:?}");
}

#[test]
fn a_snitch_without_a_file_is_not_watched() {
    let watch = Watch::new(SnitchKind::Settings, "".into(), "host:7171", at("DC1", "R1"));
    assert!(watch.expect("nothing is read").is_none());
}

/// Answers connections one after another with these texts, and tells what was asked.
fn metadata_service(answers: &'static [&'static str]) -> (SocketAddr, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let (tell, asked) = channel();
    thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().expect("a connection");
            let reader = BufReader::new(stream.try_clone().expect("a second handle"));
            let head = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let head: Vec<String> = head.collect();
            let _ = tell.send(head.join("\n").to_ascii_lowercase());
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, asked)
}

const TOKEN: &str = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nTOKEN";
const ZONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\nus-east-1d";
const FORBIDDEN: &str = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const NO_ZONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: close\r\n\r\n<html>";

fn ec2(address: SocketAddr, naming: &str) -> Vec<String> {
    vec![
        setting("kind", "ec2"),
        setting("ec2_endpoint", format!("http://{address}")),
        setting("ec2_naming", naming),
    ]
}

#[test]
fn an_instance_asks_for_a_token_and_then_for_its_zone() {
    let (address, asked) = metadata_service(&[TOKEN, ZONE]);
    assert_eq!(place(&ec2(address, "standard"), "h:1"), Ok(at("us-east-1", "us-east-1d")));
    let token = asked.recv_timeout(Duration::from_secs(10)).expect("a request");
    assert!(token.starts_with("put /latest/api/token "), "{token}");
    assert!(token.contains("x-aws-ec2-metadata-token-ttl-seconds: 60"), "{token}");
    let zone = asked.recv_timeout(Duration::from_secs(10)).expect("a request");
    assert!(zone.starts_with("get /latest/meta-data/placement/availability-zone "), "{zone}");
    assert!(zone.contains("x-aws-ec2-metadata-token: token"), "{zone}");

    let (address, _asked) = metadata_service(&[TOKEN, ZONE]);
    assert_eq!(place(&ec2(address, "legacy"), "h:1"), Ok(at("us-east", "1d")));
}

#[test]
fn a_metadata_service_that_refuses_lies_or_is_silent_keeps_the_node_from_starting() {
    let (address, _asked) = metadata_service(&[FORBIDDEN]);
    assert!(place(&ec2(address, "standard"), "h:1").expect_err("refused").contains("answered 403"));
    let (address, _asked) = metadata_service(&[TOKEN, NO_ZONE]);
    let error = place(&ec2(address, "standard"), "h:1").expect_err("no zone");
    assert!(error.contains("`<html>` is not the name of an availability zone"), "{error}");

    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut settings = ec2(silent.local_addr().expect("an address"), "standard");
    settings.push(setting("ec2_timeout", "50ms"));
    assert!(place(&settings, "h:1").expect_err("silence").contains("does not answer"));
}
