//! The snitch of a node as it meets the world: files and the metadata service are read here, what they say is understood
//! in [`helenus_cluster::snitch`].
//!
//! A node asks once, at its start, where it stands. A file is looked at ever after, though only to tell the log: the node
//! keeps its place, and a file that says otherwise is wrong about this cluster.
//!
//! Reading order: this page, `ec2`, [`watch`].

mod ec2;
pub mod watch;

use std::{fs::File, io::Read, net::IpAddr, path::Path};

use anyhow::Context;
use helenus_cluster::snitch::{LineError, Locality, PropertyFile, gossiping, rack_inferring, simple};

use crate::config::{Config, SnitchKind};

/// No file of these is longer: ten thousand nodes fit many times.
const MAX_FILE_BYTES: u64 = 4 << 20;

/// Where the node that others reach at `advertise` (`host:port`) stands. Blocks while it reads.
///
/// # Errors
/// When the snitch does not say, with what it should have said.
pub fn locality(config: &Config, advertise: &str) -> anyhow::Result<Locality> {
    let snitch = &config.snitch;
    let file = &snitch.file;
    match snitch.kind {
        SnitchKind::Settings => {
            Locality::new(&config.node.datacenter, &config.node.rack).map_err(anyhow::Error::msg)
        }
        SnitchKind::Simple => Ok(simple::locality()),
        SnitchKind::RackInferring => rack_inferring::locality(ip(advertise)?).map_err(anyhow::Error::msg),
        SnitchKind::GossipingPropertyFile => {
            gossiping::parse(&read(file)?).map_err(|errors| wrong_lines(file, &errors))
        }
        SnitchKind::PropertyFile => {
            let address = ip(advertise)?;
            let nodes = PropertyFile::parse(&read(file)?).map_err(|errors| wrong_lines(file, &errors))?;
            let locality = nodes.locality(address).cloned();
            locality.with_context(|| {
                format!(
                    "{} has no line for {address}, the address of this node, and no default",
                    file.display()
                )
            })
        }
        SnitchKind::Ec2 => ec2::locality(&snitch.ec2_endpoint, snitch.ec2_timeout.get(), snitch.ec2_naming),
    }
}

/// The IP address of `host:port`.
fn ip(advertise: &str) -> anyhow::Result<IpAddr> {
    let host = advertise.rsplit_once(':').map_or(advertise, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse().with_context(|| {
        format!("this kind of snitch needs an IP address in peer.advertise, and `{host}` is a name")
    })
}

fn read(path: &Path) -> anyhow::Result<String> {
    let cannot = || format!("cannot read the snitch's file {}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(cannot)?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).with_context(cannot)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        anyhow::bail!("{} is longer than {MAX_FILE_BYTES} bytes", path.display());
    }
    Ok(text)
}

fn wrong_lines(path: &Path, errors: &[LineError]) -> anyhow::Error {
    let name = path.display();
    let lines: Vec<String> = errors
        .iter()
        .map(|error| match error.line {
            0 => format!("{name}: {}", error.what),
            line => format!("{name}:{line}: {}", error.what),
        })
        .collect();
    anyhow::anyhow!("the snitch's file is wrong:\n{}", lines.join("\n"))
}
