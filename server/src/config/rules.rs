//! What settings demand of each other.

use std::net::SocketAddr;

use helenus_cluster::partitioning::Token;

use super::{
    quantity::Size,
    schema::Config,
    value::{Auto, SnitchKind},
};

/// A demand that involves several settings.
pub(super) struct Rule {
    /// The settings, the one to point at first.
    pub(super) settings: &'static [&'static str],
    /// What is wrong, if something is.
    pub(super) broken: fn(&Config) -> Option<String>,
}

/// What a stored value needs besides itself: key, content type, metadata, checksums.
const ENVELOPE_BYTES: u64 = 64 << 10;

/// Says that the largest write does not fit.
fn too_small_for_a_write(what: &str, is: Size, needed_bytes: u64, value: Size) -> Option<String> {
    (is.bytes() < needed_bytes).then(|| {
        format!(
            "{what} ({is}) must be at least {}: the largest value ({value}) with its key and metadata ({})",
            Size::of_bytes(needed_bytes),
            Size::of_bytes(ENVELOPE_BYTES)
        )
    })
}

/// Whether only this machine reaches the address.
pub(crate) fn is_loopback(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

/// The tokens that the settings name.
///
/// # Errors
/// Which of them is no token of the partitioner, or named twice.
pub(super) fn initial_tokens(config: &Config) -> Result<Vec<Token>, String> {
    let partitioner = config.cluster.partitioner;
    let mut tokens = Vec::new();
    for text in &config.node.initial_token {
        let token = partitioner.parse_token(text.trim())?;
        if tokens.contains(&token) {
            return Err(format!("the token {text} is named twice"));
        }
        tokens.push(token);
    }
    Ok(tokens)
}

/// Every rule.
pub(super) const RULES: &[Rule] = &[
    Rule {
        settings: &["snitch.file", "snitch.kind"],
        broken: |config| {
            let kinds = [SnitchKind::PropertyFile, SnitchKind::GossipingPropertyFile];
            let has_file = !config.snitch.file.as_os_str().is_empty();
            (kinds.contains(&config.snitch.kind) && !has_file)
                .then(|| "this kind of snitch reads a file: set snitch.file".to_owned())
        },
    },
    Rule {
        settings: &["node.initial_token", "cluster.partitioner"],
        broken: |config| initial_tokens(config).err(),
    },
    Rule {
        settings: &["storage.memtable_size", "storage.memtable_total"],
        broken: |config| {
            let (one, total) = (config.storage.memtable_size, config.storage.memtable_total);
            (one > total).then(|| format!("one memtable ({one}) must fit into the total of all ({total})"))
        },
    },
    Rule {
        settings: &["storage.segment_size", "storage.commit_log_size"],
        broken: |config| {
            let (segment, total) = (config.storage.segment_size, config.storage.commit_log_size);
            (segment.bytes().saturating_mul(2) > total.bytes())
                .then(|| format!("two segments ({segment} each) must fit into the commit log ({total})"))
        },
    },
    Rule {
        settings: &["http.max_value", "storage.segment_size"],
        broken: |config| {
            let (value, segment) = (config.http.max_value, config.storage.segment_size);
            let needed_bytes = 2 * (value.bytes() + ENVELOPE_BYTES);
            too_small_for_a_write("a segment", segment, needed_bytes, value).map(|what| what + ", twice")
        },
    },
    Rule {
        settings: &["http.max_value", "storage.commit_queue"],
        broken: |config| {
            let (value, queue) = (config.http.max_value, config.storage.commit_queue);
            too_small_for_a_write("the commit queue", queue, value.bytes() + ENVELOPE_BYTES, value)
        },
    },
    Rule {
        settings: &["http.max_value", "peer.max_frame"],
        broken: |config| {
            let (value, frame) = (config.http.max_value, config.peer.max_frame);
            too_small_for_a_write("a frame between nodes", frame, value.bytes() + ENVELOPE_BYTES, value)
        },
    },
    Rule {
        settings: &["http.max_value", "http.max_body_memory"],
        broken: |config| {
            let (value, memory) = (config.http.max_value, config.http.max_body_memory);
            (value > memory)
                .then(|| format!("the largest value ({value}) must fit into the memory of bodies ({memory})"))
        },
    },
    Rule {
        settings: &["peer.max_frame", "peer.queue_memory"],
        broken: |config| {
            let (frame, queue) = (config.peer.max_frame, config.peer.queue_memory);
            (frame > queue).then(|| format!("the largest frame ({frame}) must fit into the queue ({queue})"))
        },
    },
    Rule {
        settings: &["peer.max_frame", "peer.concurrent_memory"],
        broken: |config| {
            let (frame, memory) = (config.peer.max_frame, config.peer.concurrent_memory);
            (frame > memory).then(|| {
                format!("the largest frame ({frame}) must fit into the memory of requests ({memory})")
            })
        },
    },
    Rule {
        settings: &["peer.backoff_min", "peer.backoff_max"],
        broken: |config| {
            let (min, max) = (config.peer.backoff_min, config.peer.backoff_max);
            (min > max).then(|| format!("the shortest pause ({min}) is longer than the longest ({max})"))
        },
    },
    Rule {
        settings: &["peer.listen", "peer.advertise"],
        broken: |config| {
            let listens_everywhere = config.peer.listen.ip().is_unspecified();
            (listens_everywhere && config.peer.advertise == Auto::Auto).then(|| {
                format!(
                    "a node that listens on every address ({}) must be told which of them the other nodes \
                     reach: set peer.advertise",
                    config.peer.listen.ip()
                )
            })
        },
    },
    Rule {
        settings: &["peer.listen", "http.listen"],
        broken: |config| {
            let (peer, http) = (config.peer.listen, config.http.listen);
            (peer == http && peer.port() != 0)
                .then(|| format!("peers and clients cannot be served on one address ({peer})"))
        },
    },
    Rule {
        settings: &["http.listen", "admin.listen"],
        broken: |config| {
            let http = config.http.listen;
            (config.admin.listen.is_none() && !is_loopback(http)).then(|| {
                format!(
                    "clients of other machines ({http}) must not reach /admin/v1, which has no authentication: set \
                     admin.listen to an address for operators, such as \"127.0.0.1:7070\""
                )
            })
        },
    },
    Rule {
        settings: &["admin.listen", "http.listen"],
        broken: |config| {
            let (admin, http) = (config.admin.listen?, config.http.listen);
            (admin == http && http.port() != 0).then(|| {
                format!(
                    "operators and clients cannot have a listener each on one address ({http}): admin.listen is \
                     left empty for one that serves both"
                )
            })
        },
    },
    Rule {
        settings: &["admin.listen", "peer.listen"],
        broken: |config| {
            let (admin, peer) = (config.admin.listen?, config.peer.listen);
            (admin == peer && peer.port() != 0)
                .then(|| format!("peers and operators cannot be served on one address ({peer})"))
        },
    },
];
