//! `helenus inspect manifest`.

use std::path::PathBuf;

use helenus_storage::{
    disk::OsDisk,
    inspect::InspectedManifest,
    sstable::{TableFile, TableReader},
};
use serde_json::{Value, json};

use crate::cli::output::{self, Format, FormatArgs};

/// `helenus inspect manifest`.
#[derive(Debug, clap::Args)]
pub struct Manifest {
    /// The data directory, or a snapshot
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    output: FormatArgs,
}

impl Manifest {
    /// Runs it.
    ///
    /// # Errors
    /// When there is no manifest or a damaged one.
    pub fn run(self) -> anyhow::Result<()> {
        let manifest = InspectedManifest::read(&OsDisk, &self.directory)?;
        if self.output.format == Format::Json {
            return Ok(output::answer_json(&as_json(&manifest))?);
        }
        let files = manifest.tables.iter().flat_map(|table| {
            table.files.iter().map(|file| {
                [table.id.0.to_string(), TableReader::file_name(file.id), file.length_bytes.to_string()]
            })
        });
        let rows: Vec<_> = files.collect();
        let head = format!(
            "Manifest {}: {}, {} dropped, {}, commit log from segment {} to {}",
            manifest.number,
            output::counted(manifest.tables.len(), "table"),
            manifest.dropped_tables,
            output::counted(rows.len(), "SSTable"),
            manifest.log_first,
            manifest.log_newest
        );
        let torn = manifest.torn_at.map(|at| {
            format!("\nTorn at offset {at}: what was being recorded there did not happen, unless a node is just at it")
        });
        let table = output::table(["TABLE", "FILE", "BYTES"], &rows);
        Ok(output::answer(&format!("{head}{}\n{table}", torn.unwrap_or_default()))?)
    }
}

fn as_json(manifest: &InspectedManifest) -> Value {
    let tables: Vec<_> = manifest
        .tables
        .iter()
        .map(|table| {
            let file = |file: &TableFile| json!({"name": TableReader::file_name(file.id), "bytes": file.length_bytes});
            json!({
                "id": table.id.0,
                "flushed": {"segment": table.flushed.0, "offset": table.flushed.1},
                "files": table.files.iter().map(file).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "number": manifest.number, "log_first": manifest.log_first, "log_newest": manifest.log_newest,
        "file_ids_end": manifest.file_ids_end, "dropped_tables": manifest.dropped_tables, "torn_at": manifest.torn_at,
        "tables": tables,
    })
}
