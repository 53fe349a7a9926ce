//! A histogram as a result keeps it.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hdrhistogram::{
    Histogram,
    serialization::{Deserializer, Serializer, V2DeflateSerializer},
};
use serde::{Deserialize, Serialize};

/// The percentiles of reports.
pub const PERCENTILES: [f64; 8] = [25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99];

/// Latencies in microseconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Latencies {
    /// How many.
    pub count: u64,
    /// Mean.
    pub mean_us: f64,
    /// Smallest.
    pub min_us: u64,
    /// Largest.
    pub max_us: u64,
    /// By percentile, as text.
    pub percentiles_us: BTreeMap<String, u64>,
    /// All of it: HdrHistogram V2, compressed, in base64.
    pub histogram: String,
}

impl Latencies {
    /// Of a histogram.
    #[must_use]
    pub fn new(histogram: &Histogram<u64>) -> Self {
        let mut bytes = Vec::new();
        let encoded = V2DeflateSerializer::new().serialize(histogram, &mut bytes);
        encoded.expect("a vector takes all bytes");
        let value = |percentile: &f64| (percentile.to_string(), histogram.value_at_percentile(*percentile));
        Self {
            count: histogram.len(),
            mean_us: histogram.mean(),
            min_us: histogram.min(),
            max_us: histogram.max(),
            percentiles_us: PERCENTILES.iter().map(value).collect(),
            histogram: BASE64.encode(bytes),
        }
    }

    /// The histogram; empty if the text is none.
    #[must_use]
    pub fn histogram(&self) -> Histogram<u64> {
        let bytes = BASE64.decode(&self.histogram).unwrap_or_default();
        let decoded = Deserializer::new().deserialize(&mut bytes.as_slice());
        decoded.unwrap_or_else(|_| Histogram::new(3).expect("three digits are few enough"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_survives() {
        let mut histogram = Histogram::new(3).expect("three digits");
        for value in [1, 5, 5, 90_000] {
            histogram.record(value).expect("it grows");
        }
        let latencies = Latencies::new(&histogram);
        assert_eq!(latencies.histogram(), histogram);
        assert_eq!((latencies.count, latencies.percentiles_us["50"]), (4, 5));
        assert!(Latencies { histogram: "?".into(), ..latencies }.histogram().is_empty());
    }
}
