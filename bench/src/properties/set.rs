//! Properties with where each came from.

use std::{collections::BTreeMap, fmt, fs, io, path::PathBuf, str::FromStr};

use super::{known, syntax};

/// Why properties cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PropertyError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },

    /// A line is not a property.
    #[error("{}:{line}: {why}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        why: String,
    },

    /// `-p` without a name.
    #[error("-p {0}: expected name=value")]
    NoAssignment(String),

    /// A value that its name does not allow.
    #[error("{origin}: {name}={value}: expected {expected}")]
    Invalid {
        /// File and line, or the command line.
        origin: String,
        /// The property.
        name: String,
        /// What it says.
        value: String,
        /// What it may say.
        expected: String,
    },

    /// A property that is needed is not there.
    #[error("{name} is not set: {why}")]
    Missing {
        /// The property.
        name: String,
        /// What needs it.
        why: String,
    },
}

#[derive(Debug, Clone)]
enum Origin {
    File { path: PathBuf, line: usize },
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::CommandLine => f.write_str("command line"),
        }
    }
}

#[derive(Debug, Clone)]
struct Property {
    value: String,
    origin: Origin,
}

/// A set of properties.
#[derive(Debug, Clone, Default)]
pub struct Properties {
    properties: BTreeMap<String, Property>,
}

impl Properties {
    /// Reads files in order, then takes assignments `name=value`.
    ///
    /// # Errors
    /// If a file cannot be read or parsed, or an assignment has no `=`.
    pub fn read(files: &[PathBuf], assignments: &[String]) -> Result<Self, PropertyError> {
        let mut all = Self::default();
        for path in files {
            // Java reads these files as Latin-1; what is not UTF-8 can only be in comments and names nobody knows.
            let bytes =
                fs::read(path).map_err(|error| PropertyError::Unreadable { path: path.clone(), error })?;
            let assignments = syntax::parse(&String::from_utf8_lossy(&bytes)).map_err(|error| {
                PropertyError::Syntax { path: path.clone(), line: error.line, why: error.to_string() }
            })?;
            for syntax::Assignment { name, value, line } in assignments {
                let origin = Origin::File { path: path.clone(), line };
                all.properties.insert(name, Property { value: value.trim_end().to_owned(), origin });
            }
        }
        for assignment in assignments {
            let (name, value) = assignment
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty())
                .ok_or_else(|| PropertyError::NoAssignment(assignment.clone()))?;
            all.set(name.trim(), value.trim());
        }
        Ok(all)
    }

    /// Sets a property as the command line does.
    pub fn set(&mut self, name: &str, value: &str) {
        let property = Property { value: value.to_owned(), origin: Origin::CommandLine };
        self.properties.insert(name.to_owned(), property);
    }

    /// The value as it was written.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.properties.get(name).map(|property| property.value.as_str())
    }

    /// The value, or a default where the property is absent.
    ///
    /// # Errors
    /// If the value is not a `T`, described as `expected`.
    pub fn get<T: FromStr>(&self, name: &str, default: T, expected: &str) -> Result<T, PropertyError> {
        self.optional(name, expected).map(|value| value.unwrap_or(default))
    }

    /// The value if the property is there.
    ///
    /// # Errors
    /// If the value is not a `T`, described as `expected`.
    pub fn optional<T: FromStr>(&self, name: &str, expected: &str) -> Result<Option<T>, PropertyError> {
        self.text(name)
            .map(|value| value.parse().map_err(|_| self.invalid(name, value, expected)))
            .transpose()
    }

    /// A count.
    ///
    /// # Errors
    /// If it is no whole number from 0 up.
    pub fn count(&self, name: &str, default: u64) -> Result<u64, PropertyError> {
        self.get(name, default, "a whole number, 0 or more")
    }

    /// A share or probability.
    ///
    /// # Errors
    /// If it is no number from 0 to 1.
    pub fn share(&self, name: &str, default: f64) -> Result<f64, PropertyError> {
        let expected = "a number from 0 to 1";
        let share = self.get(name, default, expected)?;
        if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(self.refuse(name, expected)) }
    }

    /// `true` or `false`, in any case.
    ///
    /// # Errors
    /// If it is neither: YCSB takes everything else for false, which hides slips of the pen.
    pub fn switch(&self, name: &str, default: bool) -> Result<bool, PropertyError> {
        match self.text(name) {
            None => Ok(default),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(value) => Err(self.invalid(name, value, "true or false")),
        }
    }

    /// One of several words.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn choice<T: Copy>(&self, name: &str, default: T, choices: &[(&str, T)]) -> Result<T, PropertyError> {
        let Some(value) = self.text(name) else { return Ok(default) };
        let chosen = choices.iter().find(|(word, _)| *word == value).map(|&(_, choice)| choice);
        chosen.ok_or_else(|| {
            let words: Vec<&str> = choices.iter().map(|&(word, _)| word).collect();
            self.invalid(name, value, &words.join(", "))
        })
    }

    /// The error that a property does not say what it may.
    #[must_use]
    pub fn refuse(&self, name: &str, expected: &str) -> PropertyError {
        self.invalid(name, self.text(name).unwrap_or("(absent)"), expected)
    }

    fn invalid(&self, name: &str, value: &str, expected: &str) -> PropertyError {
        let origin = self.properties.get(name).map_or_else(|| "default".to_owned(), |p| p.origin.to_string());
        let (name, value, expected) = (name.to_owned(), value.to_owned(), expected.to_owned());
        PropertyError::Invalid { origin, name, value, expected }
    }

    /// Names that nothing here reads, with where they came from.
    pub fn unknown(&self) -> impl Iterator<Item = String> + '_ {
        let unknown = self.properties.iter().filter(|(name, _)| !known::is_known(name));
        unknown.map(|(name, property)| format!("{name} ({})", property.origin))
    }

    /// All names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.properties.iter().map(|(name, property)| (name.as_str(), property.value.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_name_is_either_used_or_moot() {
        assert!(known::is_used("recordcount") && !known::is_used("db") && known::is_known("db"));
    }

    #[test]
    fn the_command_line_overrides_files_and_later_files_earlier_ones() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = directory.path().join(name);
            fs::write(&path, text).expect("written");
            path
        };
        let files = [file("a", "x=1\ny=1\nz=1"), file("b", "y=2\nz=2")];
        let properties = Properties::read(&files, &["z=3".to_owned()]).expect("properties");
        let values: Vec<_> = properties.iter().collect();
        assert_eq!(values, [("x", "1"), ("y", "2"), ("z", "3")]);
        assert_eq!(properties.unknown().count(), 3);
    }

    #[test]
    fn an_error_names_file_line_value_and_what_was_expected() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("w");
        fs::write(&path, "# one\nrecordcount=many\nreadallfields=yes\nreadproportion=1.5").expect("written");
        let properties = Properties::read(std::slice::from_ref(&path), &[]).expect("properties");
        let at = |line: u32, rest: &str| format!("{}:{line}: {rest}", path.display());
        let error = |result: Result<(), PropertyError>| result.expect_err("refused").to_string();
        assert_eq!(
            error(properties.count("recordcount", 0).map(drop)),
            at(2, "recordcount=many: expected a whole number, 0 or more")
        );
        assert_eq!(
            error(properties.switch("readallfields", true).map(drop)),
            at(3, "readallfields=yes: expected true or false")
        );
        assert_eq!(
            error(properties.share("readproportion", 0.0).map(drop)),
            at(4, "readproportion=1.5: expected a number from 0 to 1")
        );
        assert!(Properties::read(&[], &["recordcount".to_owned()]).is_err());
    }
}
