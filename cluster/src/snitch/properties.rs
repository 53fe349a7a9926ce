//! Files of `key=value` lines, as Java writes them and Cassandra's snitches read them.
//!
//! Empty lines and those that begin with `#` or `!` say nothing; a colon in a key (IPv6) may be written `\:`.

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct LineError {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// A line that says something.
pub(super) struct Property {
    pub(super) line: usize,
    pub(super) key: String,
    pub(super) value: String,
}

impl Property {
    pub(super) fn error(&self, what: impl Into<String>) -> LineError {
        LineError { line: self.line, what: what.into() }
    }
}

/// The lines that say something, or what is wrong with them.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Result<Property, LineError>> {
    let numbered = text.lines().zip(1..).map(|(text, line)| (text.trim(), line));
    numbered.filter(|(text, _)| !text.is_empty() && !text.starts_with(['#', '!'])).map(|(text, line)| {
        let Some((key, value)) = text.split_once('=') else {
            let what = format!("`{}` is not of the form key=value", text.escape_debug());
            return Err(LineError { line, what });
        };
        Ok(Property { line, key: key.trim().replace("\\:", ":"), value: value.trim().to_owned() })
    })
}
