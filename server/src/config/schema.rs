//! Every setting: section, key, type, default and range, in one place.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use helenus_cluster::{partitioning::Partitioner, snitch::ec2::Naming, table::Replication};
use helenus_storage::{AccessMode, Compression, SyncMode, table_options::Scaling};
use uuid::Uuid;

use super::{
    quantity::{Address, Period, Size},
    value::{Auto, Complaint, Item, SnitchKind, Switch, Value},
};
use crate::telemetry::{LEVEL_NAMES, LogFormat, is_target};

/// One line of the list below, as the overlay needs it.
pub(super) struct Setting {
    pub(super) section: &'static str,
    pub(super) key: &'static str,
    /// Reads and checks a value and puts it into its place.
    pub(super) read: fn(&mut Config, &Item) -> Result<(), Complaint>,
    /// The value of a configuration.
    pub(super) show: fn(&Config) -> serde_json::Value,
}

impl Setting {
    pub(super) fn name(&self) -> String {
        format!("{}.{}", self.section, self.key)
    }
}

macro_rules! sections {
    ($(
        $(#[$section_doc:meta])*
        $section:ident: $Section:ident {
            $( $(#[$doc:meta])* $key:ident: $type:ty = $default:expr, $check:expr; )*
        }
    )*) => {
        $(
            $(#[$section_doc])*
            #[derive(Debug, Clone, PartialEq)]
            pub struct $Section { $( $(#[$doc])* pub $key: $type, )* }

            impl Default for $Section {
                fn default() -> Self {
                    Self { $( $key: $default, )* }
                }
            }
        )*

        /// All settings of a node.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Config { $( $(#[$section_doc])* pub $section: $Section, )* }

        /// Every setting, in the order of the sections.
        pub(super) const SETTINGS: &[Setting] = &[ $( $( Setting {
            section: stringify!($section),
            key: stringify!($key),
            read: |config, item| {
                let value = <$type as Value>::read(item)?;
                let check: &dyn Fn(&$type) -> Result<(), String> = &$check;
                check(&value).map_err(|what| item.complain(what))?;
                config.$section.$key = value;
                Ok(())
            },
            show: |config| config.$section.$key.json(),
        }, )* )* ];

        /// The sections, in order.
        pub(super) const SECTIONS: &[&str] = &[ $( stringify!($section), )* ];
    };
}

sections! {
    /// `[cluster]`: what all nodes of a cluster have in common.
    cluster: Cluster {
        /// Nodes of different cluster names never talk.
        name: String = "helenus".to_owned(), a_name;
        /// Peer addresses of the nodes to learn the cluster from; the first one forms it.
        seeds: Vec<Address> = Vec::new(), |seeds| seeds.iter().try_for_each(a_real_port);
        /// Replicas of each key of the table `default`, decided by the node that forms the cluster. `auto`: 3, or
        /// 1 on a node that has no seeds.
        default_replication_factor: Auto<u32> = Auto::Auto, |factor| match factor {
            Auto::Auto => Ok(()),
            Auto::Fixed(factor) => between(1, 64)(factor),
        };
        /// Replicas of each key of the table `default` by datacenter, in distinct racks; decided by the node that forms
        /// the cluster. Empty: `default_replication_factor` counts, wherever nodes stand.
        default_replication: BTreeMap<String, u32> = BTreeMap::new(), |factors| {
            let replication = Replication::NetworkTopology { factors: factors.clone() };
            if factors.is_empty() { Ok(()) } else { replication.flaw().map_or(Ok(()), Err) }
        };
        /// How keys become tokens; the same on all nodes, for ever.
        partitioner: Partitioner = Partitioner::Murmur3, anything;
    }
    /// `[node]`: this node.
    node: Node {
        /// Everything the node keeps. Relative to the working directory.
        data_directory: PathBuf = PathBuf::from("./helenus-data"), |path| a_path(path);
        /// Where the node stands.
        datacenter: String = "dc1".to_owned(), a_name;
        /// See `datacenter`.
        rack: String = "rack1".to_owned(), a_name;
        /// Threads that serve clients and other nodes. `auto`: as many as there are processors.
        request_threads: Auto<u32> = Auto::Auto, |threads| match threads {
            Auto::Auto => Ok(()),
            Auto::Fixed(threads) => between(1, 1024)(threads),
        };
        /// Tokens that the node draws at its first start.
        num_tokens: u32 = 16, between(1, 1024);
        /// Replication factor of the node's datacenter at which the tokens of a new node are chosen to share the keys
        /// evenly; 0: they are drawn.
        allocate_tokens_for: u32 = 3, between(0, 64);
        /// The tokens themselves, instead of drawn ones.
        initial_token: Vec<String> = Vec::new(), |tokens| {
            if tokens.len() > 1024 { Err(format!("{} tokens are more than 1024", tokens.len())) } else { Ok(()) }
        };
    }
    /// `[snitch]`: where this node stands, and which replicas it asks first.
    snitch: Snitch {
        /// Who tells the node its datacenter and rack.
        kind: SnitchKind = SnitchKind::Settings, anything;
        /// The file of the kinds that have one.
        file: PathBuf = PathBuf::new(), |_: &PathBuf| Ok(());
        /// How often the file is looked at for changes.
        poll_interval: Period = Period::secs(5), between(Period::millis(10), Period::secs(3600));
        /// The metadata service of an instance.
        ec2_endpoint: String = "http://169.254.169.254".to_owned(), |url: &String| an_http_url(url);
        /// Time for each of the two calls to it.
        ec2_timeout: Period = Period::secs(2), between(Period::millis(10), Period::secs(60));
        /// Names of datacenter and rack.
        ec2_naming: Naming = Naming::Standard, anything;
        /// Whether replicas that have been slow are asked later.
        dynamic: Switch = Switch::On, anything;
        /// By how much a replica must score worse than it could, as a share, before the scores decide.
        badness_threshold: f64 = 1.0, between(0.0, 100.0);
        /// Time between two computations of the scores.
        update_interval: Period = Period::millis(100), between(Period::millis(1), Period::secs(60));
        /// Time after which all latencies are forgotten.
        reset_interval: Period = Period::secs(600), between(Period::secs(1), Period::secs(86_400));
    }
    /// `[http]`: the listener for clients.
    http: Http {
        /// Where it listens; port 0 takes a free one.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7071)), anything;
        /// A connection that has not sent its whole request head by then is closed.
        header_timeout: Period = Period::secs(5), between(Period::millis(10), Period::secs(300));
        /// A connection without a request for that long is closed.
        idle_timeout: Period = Period::secs(60), between(Period::millis(10), Period::secs(3600));
        /// A write that a client does not take for that long ends its connection.
        write_stall_timeout: Period = Period::secs(10), between(Period::millis(10), Period::secs(300));
        /// How long unread input is thrown away after the last reply, so that the reply arrives.
        linger_timeout: Period = Period::secs(1), between(Period::millis(0), Period::secs(60));
        /// Connections at once; further ones are answered as overloaded.
        max_connections: u32 = 4096, between(1, 1_000_000);
        /// Largest value.
        max_value: Size = Size::mib(1), between(Size::of_bytes(1), Size::mib(16));
        /// All request bodies under way together; further requests are answered as overloaded.
        max_body_memory: Size = Size::mib(64), between(Size::mib(1), Size::gib(64));
        /// How long the next piece of a body may take.
        body_stall_timeout: Period = Period::secs(10), between(Period::millis(10), Period::secs(300));
        /// How much of a body must arrive per second, once `body_stall_timeout` is over.
        body_min_rate: Size = Size::kib(1), between(Size::of_bytes(1), Size::mib(16));
        /// Longest path and query together. The longest key, with every byte escaped, must fit.
        max_target: Size = Size::kib(16), between(Size::kib(13), Size::kib(64));
        /// Headers of a request.
        max_headers: u32 = 64, between(16, 1024);
        /// Names and values of all headers of a request together.
        max_header_size: Size = Size::kib(16), between(Size::kib(9), Size::kib(256));
        /// Request line and headers together, before anything is looked at.
        max_head_size: Size = Size::kib(64), between(Size::kib(32), Size::mib(1));
        /// How long requests under way may take to end when the node is drained or stops.
        drain_timeout: Period = Period::secs(5), between(Period::millis(0), Period::secs(300));
    }
    /// `[admin]`: the listener for operators.
    admin: Admin {
        /// Where `/admin/v1` is served; port 0 takes a free one. Empty: on the listener for clients, which must be
        /// loopback then.
        listen: Option<SocketAddr> = None, anything;
    }
    /// `[peer]`: the listener for, and the connections to, other nodes.
    peer: Peer {
        /// Where it listens; port 0 takes a free one.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 7171)), anything;
        /// The address under which the other nodes reach this one. `auto`: the address it listens on. Port 0: the
        /// port it listens on.
        advertise: Auto<Address> = Auto::Auto, reachable;
        /// Addresses to use instead of what a node advertises, by its host id.
        route: BTreeMap<Uuid, Address> = BTreeMap::new(), |routes| routes.values().try_for_each(a_real_port);
        /// Largest frame, in either direction.
        max_frame: Size = Size::mib(8), between(Size::kib(64), Size::mib(256));
        /// Time to resolve a name and make a connection.
        connect_timeout: Period = Period::secs(1), between(Period::millis(10), Period::secs(60));
        /// Time for both sides of a new connection to greet each other.
        handshake_timeout: Period = Period::secs(2), between(Period::millis(10), Period::secs(60));
        /// A connection is given up when the other machine gives no sign of life for that long; whole seconds.
        silence_timeout: Period = Period::secs(10), |timeout| {
            between(Period::secs(1), Period::secs(300))(timeout)?;
            whole_seconds(timeout)
        };
        /// A connection without a call for that long is closed.
        idle_timeout: Period = Period::secs(300), between(Period::secs(1), Period::secs(86_400));
        /// Shortest pause before the next attempt to connect; doubled with each further failure.
        backoff_min: Period = Period::millis(50), between(Period::millis(1), Period::secs(60));
        /// Longest pause before the next attempt to connect, and how late a restarted node may be noticed.
        backoff_max: Period = Period::secs(1), between(Period::millis(1), Period::secs(600));
        /// Requests that wait to be sent, per connection; further ones are answered as overloaded.
        queue_requests: u32 = 8192, between(1, 1_000_000);
        /// Bytes that wait to be sent, per connection; further requests are answered as overloaded.
        queue_memory: Size = Size::mib(32), between(Size::kib(64), Size::gib(16));
        /// Requests that are sent and unanswered, per connection.
        in_flight_requests: u32 = 8192, between(1, 1_000_000);
        /// Requests of another node that are worked on at once, per connection; beyond it is not read any further.
        concurrent_requests: u32 = 1024, between(1, 1_000_000);
        /// Bytes of such requests, per connection.
        concurrent_memory: Size = Size::mib(64), between(Size::kib(64), Size::gib(16));
        /// Connections from other nodes; further ones are closed at once.
        max_inbound: u32 = 2048, between(1, 100_000);
        /// Connections to other nodes.
        max_outbound: u32 = 2048, between(1, 100_000);
    }
    /// `[storage]`: the storage engine.
    storage: Storage {
        /// `group`: acknowledged once synced, one sync for all who wait. `batch`: likewise, and no sync waits for others
        /// to join. `periodic`: synced every `sync_interval`.
        sync_mode: SyncMode = SyncMode::Group, anything;
        /// Time between syncs in mode `periodic`.
        sync_interval: Period = Period::secs(1), between(Period::millis(1), Period::secs(60));
        /// Size of a commit log segment.
        segment_size: Size = Size::mib(32), between(Size::mib(1), Size::gib(1));
        /// Bytes that wait for the commit log; further writes are answered as overloaded.
        commit_queue: Size = Size::mib(64), between(Size::mib(1), Size::gib(4));
        /// A memtable that holds more is written to an SSTable.
        memtable_size: Size = Size::mib(64), between(Size::mib(1), Size::gib(16));
        /// All memtables together; further writes are answered as overloaded.
        memtable_total: Size = Size::mib(256), between(Size::mib(1), Size::gib(64));
        /// All commit log segments together; beyond it the oldest memtables are written to SSTables.
        commit_log_size: Size = Size::mib(512), between(Size::mib(2), Size::gib(1024));
        /// Commit log segments that are kept to be used again.
        spare_segments: u32 = 16, between(0, 1024);
        /// Age at which a memtable is written to an SSTable, however little it holds.
        memtable_age: Period = Period::secs(3600), between(Period::secs(1), Period::secs(31_536_000));
        /// Longest delay of a writer who is slowed down.
        slow_down: Period = Period::millis(5), between(Period::millis(1), Period::secs(10));
        /// How long a thread that writes waits for room before it is answered as overloaded.
        stall_limit: Period = Period::secs(10), between(Period::millis(1), Period::secs(600));
        /// Uncompressed size of an SSTable block.
        block_size: Size = Size::kib(4), between(Size::kib(1), Size::mib(1));
        /// Entries between two restart points of a block.
        restart_interval: u32 = 16, between(1, 1024);
        /// False-positive rate of bloom filters.
        bloom_fp_rate: f64 = 0.01, between(0.000_01, 0.5);
        /// `lz4` or `none`: how blocks of new SSTables are compressed. Both are read either way.
        compression: Compression = Compression::Lz4, anything;
        /// `mmap` or `standard` (reads into buffers): how SSTables are read. With `mmap`, a disk that fails to deliver
        /// a page kills the process (SIGBUS); with `standard` the read that needed it fails.
        access_mode: AccessMode = AccessMode::Standard, anything;
        /// Unpacked blocks that are kept in memory, for all SSTables together. Zero keeps none.
        block_cache: Size = Size::mib(256), between(Size::kib(0), Size::gib(1024));
        /// How SSTables are merged: per level, T and the number of tables of like density that become one, or L and how
        /// much denser the next level is.
        compaction_scaling: Scaling = Scaling::default(), anything;
        /// Size at which the output of a merge is split.
        sstable_target: Size = Size::gib(1), between(Size::mib(1), Size::gib(1024));
        /// SSTables that one merge takes at most.
        merge_max_tables: u32 = 32, between(2, 256);
        /// Merges at once. `auto`: the number of processors, from 2 to 8.
        compaction_threads: Auto<u32> = Auto::Auto, |threads| match threads {
            Auto::Auto => Ok(()),
            Auto::Fixed(threads) => between(1, 64)(threads),
        };
        /// What merges may read of SSTables in a second; 0 for no limit.
        compaction_throughput: Size = Size::mib(64), |limit| {
            none_or_between("no limit", Size::kib(64), Size::gib(64))(limit)
        };
        /// SSTables due to be merged that a read may have to look into, before writers are stopped.
        compaction_debt_tables: u32 = 64, between(8, 10_000);
        /// Bytes that wait to be merged, before writers are stopped.
        compaction_debt: Size = Size::gib(64), between(Size::mib(1), Size::gib(65_536));
        /// How long tombstones stay.
        gc_grace: Period = Period::secs(864_000), between(Period::secs(0), Period::secs(315_360_000));
    }
    /// `[coordinator]`: requests of clients, and the cluster behind them.
    coordinator: Coordinator {
        /// Deadline of writes that name none.
        write_timeout: Period = Period::secs(2), between(Period::millis(1), Period::secs(30));
        /// Deadline of reads that name none.
        read_timeout: Period = Period::secs(5), between(Period::millis(1), Period::secs(30));
        /// Deadline of pages of scans that name none.
        scan_timeout: Period = Period::secs(10), between(Period::millis(1), Period::secs(30));
        /// Requests that take as long, and parts of others' requests, are logged with what is known of their course.
        slow_request_threshold: Period = Period::millis(500), between(Period::millis(1), Period::secs(3600));
        /// How far ahead of its own clock a node accepts a timestamp.
        allowed_drift: Period = Period::secs(60), between(Period::millis(1), Period::secs(86_400));
        /// Requests of clients at once, of which 32 reads of a batch are one; further ones are answered as overloaded.
        max_requests: u32 = 4096, between(1, 1_000_000);
        /// Of these, how many are worked on at once while the processors have no time for more; others wait in line.
        requests_when_busy: u32 = 128, between(1, 1_000_000);
        /// How long the line may be; further requests are answered as overloaded.
        wait_when_busy: Period = Period::millis(500), between(Period::millis(1), Period::secs(30));
        /// Answered reads that wait for late replicas, to repair them; those of further ones go unheard.
        background_repairs: u32 = 64, between(0, 10_000);
        /// Reads of SSTables at once.
        cold_reads: u32 = 16, between(1, 1024);
        /// Reads of SSTables that wait beyond those; further ones are answered as overloaded.
        cold_read_queue: u32 = 1024, between(0, 1_000_000);
        /// Pages of scans that are read at once, apart from other reads.
        scan_reads: u32 = 4, between(1, 1024);
        /// Scans at once; further ones wait for their turn.
        max_scans: u32 = 32, between(1, 10_000);
    }
    /// `[handoff]`: writes that are kept for replicas that missed them.
    handoff: Handoff {
        /// How long such a write is kept; zero: not at all.
        window: Period = Period::secs(10_800), between(Period::secs(0), Period::secs(2_592_000));
        /// Bytes that all of them may take on disk; what is missed beyond has to be repaired.
        quota: Size = Size::gib(1), between(Size::mib(1), Size::gib(1024));
        /// How many of them may be on their way to the disk at once.
        in_flight: u32 = 4096, between(1, 1_000_000);
    }
    /// `[gossip]`: who is in the cluster, and who of them lives.
    gossip: Gossip {
        /// Time between two heartbeats, and between two rounds of gossip.
        interval: Period = Period::secs(1), between(Period::millis(10), Period::secs(60));
        /// Suspicion from which on another node is taken for dead if nobody reaches it; it is probed from half of it on.
        phi_threshold: f64 = 8.0, between(1.0, 100.0);
        /// Other nodes that are asked to reach a suspect.
        probe_helpers: u32 = 3, between(0, 16);
        /// How long each of the two rounds of probes may take.
        probe_timeout: Period = Period::millis(1500), between(Period::millis(10), Period::secs(60));
    }
    /// `[log]`: the log, on standard error.
    log: Log {
        /// `text` for people, `json` for machines.
        format: LogFormat = LogFormat::Text, anything;
        /// What is logged: a level, or `target=level` directives separated by commas.
        filter: String = "info".to_owned(), |filter| a_filter(filter);
    }
}

#[expect(clippy::unnecessary_wraps, reason = "the signature of a check")]
fn anything<T>(_: &T) -> Result<(), String> {
    Ok(())
}

fn between<T: PartialOrd + fmt::Display>(min: T, max: T) -> impl Fn(&T) -> Result<(), String> {
    move |value| {
        if *value >= min && *value <= max {
            Ok(())
        } else {
            Err(format!("must be between {min} and {max}, is {value}"))
        }
    }
}

/// For sizes of which zero means something else.
fn none_or_between(none: &str, min: Size, max: Size) -> impl Fn(&Size) -> Result<(), String> {
    move |size| match size.bytes() {
        0 => Ok(()),
        _ => between(min, max)(size).map_err(|what| format!("{what}; 0 for {none}")),
    }
}

fn whole_seconds(period: &Period) -> Result<(), String> {
    if period.get().subsec_nanos() == 0 { Ok(()) } else { Err(format!("must be whole seconds, is {period}")) }
}

fn a_name(text: &String) -> Result<(), String> {
    if text.is_empty() || text.len() > 64 || text.trim() != text || text.chars().any(char::is_control) {
        return Err("must be 1 to 64 bytes, without control characters and blanks at its ends".to_owned());
    }
    Ok(())
}

fn an_http_url(text: &str) -> Result<(), String> {
    match text.strip_prefix("http://") {
        Some(rest) if !rest.is_empty() && !rest.ends_with('/') => Ok(()),
        _ => Err("must begin with http:// and not end with /".to_owned()),
    }
}

fn a_path(path: &Path) -> Result<(), String> {
    if path.as_os_str().is_empty() { Err("must not be empty".to_owned()) } else { Ok(()) }
}

fn a_real_port(address: &Address) -> Result<(), String> {
    if address.port() == 0 { Err(format!("`{address}` has port 0, which nobody can reach")) } else { Ok(()) }
}

fn reachable(advertise: &Auto<Address>) -> Result<(), String> {
    match advertise {
        Auto::Fixed(address) if is_unspecified(address.host()) => Err(format!(
            "{} means \"every address of this machine\" and cannot be reached from another node; advertise one \
             that can",
            address.host()
        )),
        Auto::Auto | Auto::Fixed(_) => Ok(()),
    }
}

fn is_unspecified(host: &str) -> bool {
    host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// Stricter than the library, for which a misspelt level is a target that nothing is logged for.
fn a_filter(text: &str) -> Result<(), String> {
    let levels = LEVEL_NAMES.join(", ");
    if text.is_empty() {
        return Err(format!("must not be empty; write a level ({levels}) or target=level"));
    }
    for directive in text.split(',') {
        let (target, level) = match directive.split_once('=') {
            Some((target, level)) => (Some(target), level),
            None => (None, directive),
        };
        if let Some(target) = target.filter(|target| !is_target(target)) {
            return Err(format!(
                "`{target}` is no target, which is a path of modules, such as helenus_cluster::node"
            ));
        }
        if !LEVEL_NAMES.contains(&level) {
            return Err(format!("`{level}` is no level; write a level ({levels}) or target=level"));
        }
    }
    Ok(())
}
