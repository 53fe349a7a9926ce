//! When a read asks one replica more than it needs.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Serialize};

/// How long a read of a table waits for its answers before it asks another replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SpeculativeRetry {
    /// For ever.
    None,
    /// Not at all: it asks one replica more from the beginning.
    Always,
    /// As long as all but the slowest of recent reads took.
    Percentile {
        /// Those that took less, per thousand: 1..=999.
        permille: u16,
    },
    /// So long.
    After {
        /// Milliseconds, at least 1.
        millis: u32,
    },
}

impl Default for SpeculativeRetry {
    fn default() -> Self {
        Self::Percentile { permille: 990 }
    }
}

impl SpeculativeRetry {
    /// A fixed time to wait, if it is one.
    pub fn fixed(self) -> Option<Duration> {
        match self {
            Self::After { millis } => Some(Duration::from_millis(u64::from(millis))),
            Self::None | Self::Always | Self::Percentile { .. } => None,
        }
    }
}

/// A text that says no such time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` does not say when to ask another replica; use none, always, a percentile of recent reads such as p99 or \
     p99.9, or a time such as 50ms"
)]
pub struct UnknownSpeculativeRetry(pub String);

impl FromStr for SpeculativeRetry {
    type Err = UnknownSpeculativeRetry;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = match text {
            "none" => Some(Self::None),
            "always" => Some(Self::Always),
            _ => match (text.strip_prefix('p'), text.strip_suffix("ms")) {
                (Some(percentile), _) => permille(percentile).map(|permille| Self::Percentile { permille }),
                (None, Some(millis)) => whole(millis).map(|millis| Self::After { millis }),
                (None, None) => None,
            },
        };
        known.ok_or_else(|| UnknownSpeculativeRetry(text.escape_debug().to_string()))
    }
}

impl fmt::Display for SpeculativeRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Always => f.write_str("always"),
            Self::Percentile { permille } if permille % 10 == 0 => write!(f, "p{}", permille / 10),
            Self::Percentile { permille } => write!(f, "p{}.{}", permille / 10, permille % 10),
            Self::After { millis } => write!(f, "{millis}ms"),
        }
    }
}

/// Percent with one decimal at most.
fn permille(text: &str) -> Option<u16> {
    let (percent, tenths) = text.split_once('.').unwrap_or((text, "0"));
    if tenths.len() != 1 {
        return None;
    }
    let tenths: u16 = tenths.parse().ok()?;
    let permille = u16::try_from(whole(percent)?).ok()?.checked_mul(10)?.checked_add(tenths)?;
    (permille < 1000).then_some(permille)
}

/// A number from 1 on, without signs and leading zeros.
fn whole(text: &str) -> Option<u32> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    is_number.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_is_read_again() {
        for text in ["none", "always", "p99", "p50", "p1", "p99.9", "p90.1", "50ms", "4294967295ms"] {
            let read: SpeculativeRetry = text.parse().expect("it is one");
            assert_eq!(read.to_string(), text);
        }
        assert_eq!(SpeculativeRetry::default().to_string(), "p99");
    }

    #[test]
    fn nothing_else_is() {
        for text in [
            "",
            "p",
            "p0",
            "p100",
            "p099",
            "p99.",
            "p99.99",
            "p-1",
            "99p",
            "ms",
            "0ms",
            "-1ms",
            "50",
            "50s",
            "p99.x",
            "NONE",
            "4294967296ms",
        ] {
            assert!(text.parse::<SpeculativeRetry>().is_err(), "{text}");
        }
    }
}
