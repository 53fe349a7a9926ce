//! What a YCSB workload file and `-p name=value` say.
//!
//! ```text
//! -P file ─▶ syntax (Java's .properties) ─▶ ┐
//! -p name=value ─────────────────────────▶ Properties ─▶ typed values, or an error that names file and line
//! ```
//!
//! Files are read in order, each overriding the one before; `-p` overrides all of them. Names that YCSB's core workload
//! does not know are kept, and listed once by [`Properties::unknown`]: workload files often carry some for a database.

mod known;
mod set;
mod syntax;

pub use set::{Properties, PropertyError};
