//! Region and availability zone of Amazon's EC2 as datacenter and rack.
//!
//! The metadata service of an instance answers without a secret to whoever asks from it, so its second version demands
//! a token first, which a careless proxy cannot fetch (a PUT, answered with one hop to live):
//!
//! ```text
//!   PUT /latest/api/token                                    X-aws-ec2-metadata-token-ttl-seconds: 60   → token
//!   GET /latest/meta-data/placement/availability-zone        X-aws-ec2-metadata-token: token            → us-east-1a
//! ```

use super::Locality;

/// Where a token is fetched.
pub const TOKEN_PATH: &str = "/latest/api/token";
/// Request header: how long the token is to hold, in seconds.
pub const TOKEN_TTL_HEADER: &str = "X-aws-ec2-metadata-token-ttl-seconds";
/// Request header: the token.
pub const TOKEN_HEADER: &str = "X-aws-ec2-metadata-token";
/// Where the zone is.
pub const ZONE_PATH: &str = "/latest/meta-data/placement/availability-zone";

/// How datacenter and rack are named after the zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Naming {
    /// `us-east-1a`: datacenter `us-east-1`, rack `us-east-1a`.
    #[default]
    Standard,
    /// `us-east-1a`: datacenter `us-east`, rack `1a`; `us-west-2b`: `us-west-2` and `2b`. As old Cassandra clusters
    /// have it.
    Legacy,
}

/// Where an instance of an availability zone stands.
///
/// # Errors
/// When the text is not the name of a zone: words with dashes, the last one digits and one letter.
pub fn locality(zone: &str, naming: Naming) -> Result<Locality, String> {
    let zone = zone.trim();
    let wrong = || format!("`{}` is not the name of an availability zone", zone.escape_debug());
    let is_plain = zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let (front, last) = zone.rsplit_once('-').ok_or_else(wrong)?;
    let number = last.strip_suffix(|letter: char| letter.is_ascii_lowercase()).ok_or_else(wrong)?;
    if !is_plain || front.is_empty() || number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit()) {
        return Err(wrong());
    }
    match naming {
        Naming::Standard => Locality::new(&format!("{front}-{number}"), zone),
        Naming::Legacy if number == "1" => Locality::new(front, last),
        Naming::Legacy => Locality::new(&format!("{front}-{number}"), last),
    }
}
