//! YCSB's generators of numbers: which record, how long, which operation.
//!
//! They follow YCSB's arithmetic, not only its names, so that two programs with the same properties ask a server for the
//! same distribution of keys. Each is a value that draws from the random stream it is given; what clients share (the
//! counters) is behind atomics.
//!
//! Reading order: [`fnv_hash`], [`Zipfian`] and what is built on it ([`ScrambledZipfian`], [`SkewedLatest`]), the plain
//! ones, then [`Counter`] and [`AcknowledgedCounter`], which say what has been inserted.

mod counter;
mod discrete;
mod fnv;
mod histogram;
mod latest;
mod plain;
mod zipfian;

pub use counter::{AcknowledgedCounter, Counter};
pub use discrete::Discrete;
pub use fnv::fnv_hash;
pub use histogram::{Histogram, HistogramError};
pub use latest::SkewedLatest;
pub use plain::{Exponential, Hotspot, Sequential, Uniform};
pub use zipfian::{ScrambledZipfian, ZIPFIAN_CONSTANT, Zipfian};

/// The random stream of a client; its output is the same in every release.
pub type Random = rand_xoshiro::Xoshiro256PlusPlus;
