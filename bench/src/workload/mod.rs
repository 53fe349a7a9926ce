//! What YCSB's core workload does: which operation, on which record, with which bytes.
//!
//! ```text
//! Properties ─▶ Workload (shared) ─▶ Session (one for each client, with its own random stream)
//!                                       │ next() ─▶ Task { operation, record, scan length }
//!                                       └ fields ─▶ bytes of a value, and whether bytes read are right
//! ```
//!
//! **Fields and values.** YCSB's record has `fieldcount` named fields; here a record is one value, its fields in order,
//! each as a line `name=content`. A read fetches the value whatever `readallfields` says. An update writes the value
//! anew with all its fields (`writeallfields` in effect), or, with `-p helenus.update=merge`, reads it first and replaces
//! one field: then an UPDATE takes a read and a write, and is no atomic one.
//!
//! Reading order: [`Operation`], [`KeyNames`], [`Fields`], `records` (which record is asked for), [`Workload`].

mod fields;
mod keys;
mod operation;
mod records;
mod session;
mod settings;

pub use fields::{Fields, Verdict};
pub use keys::KeyNames;
pub use operation::Operation;
pub use session::{Session, Task};
pub use settings::{Phase, Retries, UpdateMode, Workload};
