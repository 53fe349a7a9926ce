//! How answers look: tables for people, JSON for programs.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
pub use helenus_cluster::counted::{counted, is_or_are};

/// Columns of a text that is not for a terminal.
pub const WIDTH: usize = 80;

/// Fewer characters of a name say nothing.
const LEAST_OF_A_NAME: usize = 8;

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

/// Writes an answer in text that is safe to show: see [`printable`].
///
/// # Errors
/// When standard output cannot be written, [`io::ErrorKind::BrokenPipe`] among others.
pub fn answer(text: &str) -> io::Result<()> {
    answer_as_it_is(&printable(text, &['\n', '\t']))
}

/// Writes an answer that is not for a terminal. Not `print!`, which panics when the reader has gone.
///
/// # Errors
/// As [`answer`].
pub fn answer_as_it_is(text: &str) -> io::Result<()> {
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
    coloured(&printable(text, &['\n', '\t']));
}

/// Says what went wrong, on standard error.
pub fn error(text: &str) {
    note(text);
}

/// As [`error`], of text of our own that may have colours.
pub fn coloured(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// A text that moves no cursor and sets no title: other nodes and old files say what they like, and a terminal would obey.
/// Control characters, but for those that are meant, are shown as JSON writes them.
pub fn printable<'a>(text: &'a str, meant: &[char]) -> Cow<'a, str> {
    let is_shown = |c: char| !c.is_control() || meant.contains(&c);
    if text.chars().all(is_shown) {
        return Cow::Borrowed(text);
    }
    let show = |c: char| if is_shown(c) { c.to_string() } else { format!("\\u{:04x}", u32::from(c)) };
    Cow::Owned(text.chars().map(show).collect())
}

/// Whether standard error is a terminal that may be coloured (<https://no-color.org>).
pub fn colours_on_standard_error() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stderr().is_terminal() && !refused
}

/// A table without lines, its columns two blanks apart. On a terminal it is as wide as that at most, and what is too long
/// goes on in the next line of its column.
pub fn table<const COLUMNS: usize>(header: [&str; COLUMNS], rows: &[[String; COLUMNS]]) -> String {
    spaced(header, rows, 2, terminal_columns())
}

/// As [`table_of_names`], for a table that has no room to spare: its columns are one blank apart.
pub fn narrow_table_of_names<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
    long: &[usize],
) -> String {
    spaced_names(header, rows, long, 1, terminal_columns())
}

/// As [`table`], but the names in the columns `long` lose their middle where a row would be wider than the terminal, or than
/// [`WIDTH`] where there is none: each stays in its line. Programs read JSON.
pub fn table_of_names<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: Vec<[String; COLUMNS]>,
    long: &[usize],
) -> String {
    spaced_names(header, rows, long, 2, terminal_columns())
}

fn spaced_names<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    mut rows: Vec<[String; COLUMNS]>,
    long: &[usize],
    blanks: u16,
    terminal: Option<u16>,
) -> String {
    let width = terminal.map_or(WIDTH, usize::from);
    let mut widths: [usize; COLUMNS] = std::array::from_fn(|column| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([header[column].chars().count()]).max().unwrap_or_default()
    });
    let taken = |widths: &[usize]| widths.iter().sum::<usize>() + usize::from(blanks) * (COLUMNS - 1);
    while taken(&widths) > width {
        let widest = long.iter().copied().max_by_key(|&column| widths[column]);
        let Some(widest) = widest.filter(|&column| widths[column] > LEAST_OF_A_NAME) else { break };
        widths[widest] -= 1;
    }
    for row in &mut rows {
        for &column in long {
            row[column] = shortened(&row[column], widths[column]);
        }
    }
    spaced(header, &rows, blanks, terminal)
}

/// A sentence in lines no wider than the terminal, or than [`WIDTH`] where there is none.
pub fn wrapped(sentence: &str) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(terminal_columns().unwrap_or(WIDTH as u16)).add_row([printable(sentence, &[])]);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 0));
    });
    table.trim_fmt()
}

/// A name in so many characters at most, beginning and end of it if it has more.
pub fn shortened(name: &str, most: usize) -> String {
    let length = name.chars().count();
    if length <= most {
        return name.to_owned();
    }
    let kept = most.saturating_sub(1);
    let end = kept / 2;
    let begin: String = name.chars().take(kept - end).collect();
    begin + "…" + &name.chars().skip(length - end).collect::<String>()
}

/// Columns of standard output, if it is a terminal that says so.
fn terminal_columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

fn spaced<const COLUMNS: usize>(
    header: [&str; COLUMNS],
    rows: &[[String; COLUMNS]],
    blanks: u16,
    width: Option<u16>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    for row in rows {
        table.add_row(row.iter().map(|cell| printable(cell, &[])));
    }
    for (number, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if number + 1 < COLUMNS { blanks } else { 0 }));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_say_cannot_command_a_terminal() {
        let foreign = "a\u{1b}]0;title\u{7}\nb\u{9b}2J".to_owned();
        let shown = spaced(["NAME", "NEXT"], &[[foreign.clone(), "x".to_owned()]], 2, None);
        assert_eq!(shown.lines().nth(1), Some("a\\u001b]0;title\\u0007\\u000ab\\u009b2J  x"));
        assert_eq!(printable(&foreign, &['\n']), "a\\u001b]0;title\\u0007\nb\\u009b2J");
        assert_eq!(printable("nódos\n", &['\n']), "nódos\n");
    }

    #[test]
    fn long_names_lose_their_middle_and_no_row_is_wider_than_eighty_columns() {
        let header = ["NAME", "SIZE", "DIRECTORY"];
        let long =
            ["s".repeat(64), "5.7 KiB".to_owned(), format!("/var/lib/helenus/snapshots/{}", "s".repeat(64))];
        let short = ["one".to_owned(), "0 B".to_owned(), "/d/one".to_owned()];
        let rows = vec![long, short.clone()];
        let text = spaced_names(header, rows.clone(), &[0, 2], 2, None);
        assert_eq!(
            text,
            spaced_names(header, rows, &[0, 2], 2, Some(80)),
            "nothing is wrapped on a terminal"
        );
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{text}");
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[1].contains("/var/lib") && lines[1].matches('…').count() == 2, "{text}");
        let text = spaced_names(header, vec![short], &[0, 2], 2, None);
        assert_eq!(text, "NAME  SIZE  DIRECTORY\none   0 B   /d/one");
        assert_eq!(
            (shortened("abcdefgh", 5), shortened("abcde", 5)),
            ("ab…gh".to_owned(), "abcde".to_owned())
        );
    }

    #[test]
    fn a_sentence_has_lines_of_eighty_columns_and_keeps_its_words() {
        let sentence = format!("{} {} end", "a few words ".repeat(20).trim_end(), "w".repeat(72));
        let text = wrapped(&sentence);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.split_whitespace().collect::<Vec<_>>().join(" "), sentence);
        assert_eq!(wrapped("short"), "short");
    }

    #[test]
    fn long_names_leave_a_table_readable_in_eighty_columns() {
        let row =
            ["a".repeat(48), "simple factor=3".to_owned(), "local_quorum".to_owned(), "10days".to_owned()];
        let header = ["NAME", "REPLICATION", "READ", "GRACE"];

        let whole = spaced(header, std::slice::from_ref(&row), 2, None);
        assert!(whole.contains(&row[0]), "a program reads it as it is:\n{whole}");

        let wrapped = spaced(header, std::slice::from_ref(&row), 2, Some(80));
        let widest = wrapped.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(80), "{wrapped}");
        // Each column still begins where its header does.
        let header = wrapped.lines().next().expect("there is one");
        let first = wrapped.lines().nth(1).expect("there is one");
        for (name, value) in [("READ", "local"), ("GRACE", "10")] {
            let place = header.find(name).expect("it is there");
            assert!(first[place..].starts_with(value), "{wrapped}");
        }
    }
}
