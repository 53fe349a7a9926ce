//! The settings of a node: what they are, where they may come from, and what is said when one is wrong.
//!
//! A setting is `section.key`. Later sources win over earlier ones, key by key:
//!
//! ```text
//!   default  <  file (--config)  <  environment              <  command line
//!               [http]              HELENUS_HTTP__LISTEN=…      --set http.listen=…
//!               listen = "…"
//! ```
//!
//! Every source is checked even where a later one wins, an unknown key is an error, and all errors are reported
//! at once with the line and a caret. The merging crates (config, figment) were rejected because they lose line
//! numbers when they merge; `serde` was rejected for the sections because it stops at the first error.
//!
//! Reading order: [`schema`] lists every setting with default and range, [`value`] and [`quantity`] say how a value
//! is written, [`overlay`] merges the sources, `rules` holds what settings demand of each other, [`live`] changes some while the node runs,
//! [`diagnostics`] prints, [`parts`] hands the result to storage, cluster, HTTP and peers. `config/node.toml` is the same list for
//! people.

pub mod diagnostics;
pub mod live;
pub mod overlay;
pub mod parts;
pub mod quantity;
mod rules;
pub mod schema;
mod suggestion;
pub mod value;
mod written;

pub use diagnostics::Report;
pub use live::LiveSettings;
pub use overlay::{Effective, Origin, Sources};
pub(crate) use rules::is_loopback;
pub use schema::Config;
pub use value::SnitchKind;
