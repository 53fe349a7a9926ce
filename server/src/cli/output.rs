//! How answers look: tables for people, JSON for programs.

use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;
use comfy_table::{Table, presets};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    Table,
    /// For programs; stable.
    Json,
}

/// Chooses the form.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct FormatArgs {
    /// Form of the answer, table or json
    #[arg(short = 'o', long = "output", value_enum, default_value = "table", hide_possible_values = true)]
    pub format: Format,
}

/// Writes an answer. Not `print!`, which panics when the reader has gone.
///
/// # Errors
/// When standard output cannot be written, [`io::ErrorKind::BrokenPipe`] among others.
pub fn answer(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Writes an answer as JSON.
///
/// # Errors
/// As [`answer`].
pub fn answer_json(value: &serde_json::Value) -> io::Result<()> {
    answer(&format!("{value:#}"))
}

/// Tells whoever watches, on standard error. Whether anybody does changes nothing.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says what went wrong, on standard error.
pub fn error(text: &str) {
    note(text);
}

/// Whether standard error is a terminal that may be coloured (<https://no-color.org>).
pub fn colours_on_standard_error() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

/// A table without lines, its columns two blanks apart.
pub fn table<const COLUMNS: usize>(header: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    spaced(header, rows, 2)
}

/// A table without lines that has no room to spare: its columns are one blank apart.
pub fn narrow_table<const COLUMNS: usize>(header: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    spaced(header, rows, 1)
}

fn spaced<const COLUMNS: usize>(header: [&str; COLUMNS], rows: &[[String; COLUMNS]], blanks: u16) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, blanks));
    }
    table.trim_fmt()
}
