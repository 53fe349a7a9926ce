//! Merges default, file, environment and command line, and remembers where each value came from.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fmt, fs,
    io::Read,
    path::{Path, PathBuf},
};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    diagnostics::{Diagnostic, Document, DocumentKind, Place, Report},
    rules::RULES,
    schema::{Config, SECTIONS, SETTINGS, Setting},
    suggestion::{nearest, quoted, similar},
    value::{Item, Raw},
    written::{toml_item, written_item},
};

/// Variables of the environment that start with it and have `__` in their names are settings.
const PREFIX: &str = "HELENUS_";

/// No file of settings is longer.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// Where settings are read from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file.
    pub file: Option<PathBuf>,
    /// The environment, ours and foreign variables.
    pub environment: Vec<(OsString, OsString)>,
    /// The arguments of `--set`, in order: `section.key=value`.
    pub overrides: Vec<String>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// The file, with line.
    File(PathBuf, usize),
    /// The environment, by the name of the variable.
    Environment(String),
    /// The command line.
    CommandLine,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::CommandLine => f.write_str("--set"),
        }
    }
}

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Effective {
    /// Their values.
    pub config: Config,
    origins: BTreeMap<String, Origin>,
}

impl Effective {
    /// Reads and merges the sources.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn load(sources: &Sources) -> Result<Self, Report> {
        let mut overlay = Overlay::default();
        if let Some(path) = &sources.file {
            overlay.add_file(path);
        }
        overlay.add_environment(&sources.environment);
        overlay.add_overrides(&sources.overrides);
        overlay.merge()
    }

    /// Every setting: its name, its value, where that came from.
    pub fn settings(&self) -> impl Iterator<Item = (String, serde_json::Value, Origin)> {
        SETTINGS.iter().map(|setting| {
            let name = setting.name();
            let origin = self.origins.get(&name).cloned().unwrap_or(Origin::Default);
            (name, (setting.show)(&self.config), origin)
        })
    }
}

/// A value that some source sets.
struct Entry {
    setting: &'static Setting,
    item: Item,
}

#[derive(Default)]
struct Overlay {
    documents: Vec<Document>,
    /// In ascending order of precedence.
    entries: Vec<Entry>,
    diagnostics: Vec<Diagnostic>,
}

impl Overlay {
    fn add_file(&mut self, path: &Path) {
        let text = match read_bounded(path) {
            Ok(text) => text,
            Err(error) => {
                let title = format!("cannot read {}: {error}", path.display());
                self.diagnostics.push(Diagnostic {
                    title,
                    at: None,
                    label: String::new(),
                    related: Vec::new(),
                    help: None,
                });
                return;
            }
        };
        let document = self.add_document(DocumentKind::File(path.to_owned()), text.clone());
        let (table, errors) = DeTable::parse_recoverable(&text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let (title, label) = error.message().split_once('\n').unwrap_or((error.message(), ""));
            let title = format!("this is not TOML: {title}");
            self.complain(Place { document, span }, title, label.replace('\n', ", "), None);
        }
        for (key, value) in table.get_ref() {
            self.add_section(document, key, value);
        }
    }

    fn add_section(
        &mut self,
        document: usize,
        name: &Spanned<std::borrow::Cow<'_, str>>,
        value: &Spanned<DeValue<'_>>,
    ) {
        let place = Place { document, span: name.span() };
        let text: &str = name.get_ref();
        let Some(section) = SECTIONS.iter().find(|section| **section == text) else {
            let title = format!("unknown section `{text}`");
            let homes: Vec<String> =
                SETTINGS.iter().filter(|setting| setting.key == text).map(Setting::name).collect();
            let help = if homes.is_empty() {
                similar(text, SECTIONS.iter().copied(), "sections")
            } else {
                format!("every setting has a section: did you mean {}?", quoted(&homes, " or "))
            };
            self.complain(place, title, "no such section".to_owned(), Some(help));
            return;
        };
        let Some(table) = value.get_ref().as_table() else {
            let title = format!("`{section}` is a section, not a setting");
            let help = format!("write its settings below a line [{section}]");
            self.complain(place, title, "expected a table".to_owned(), Some(help));
            return;
        };
        for (key, value) in table {
            let place = Place { document, span: key.span() };
            if let Some(setting) = self.find(section, key.get_ref(), place) {
                self.entries.push(Entry { setting, item: toml_item(document, 0, value) });
            }
        }
    }

    fn add_environment(&mut self, environment: &[(OsString, OsString)]) {
        let mut variables: Vec<(&str, &OsString)> =
            environment.iter().filter_map(|(name, value)| Some((name.to_str()?, value))).collect();
        variables.sort_unstable();
        for (name, value) in variables {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let rest = rest.to_ascii_lowercase();
            let text = format!("{name}={}", value.to_string_lossy());
            let Some((section, key)) = rest.split_once("__") else {
                self.check_single_underscore(name, &rest, text);
                continue;
            };
            let document = self.add_document(DocumentKind::Environment(name.to_owned()), text);
            let place = Place { document, span: 0..name.len() };
            let Some(setting) = self.find_in_any(section, key, place) else { continue };
            let at = Place { document, span: name.len() + 1..self.documents[document].text.len() };
            match value.to_str() {
                Some(value) => self.entries.push(Entry { setting, item: written_item(value, at) }),
                None => self.complain(at, format!("{name} is not UTF-8"), String::new(), None),
            }
        }
    }

    /// `HELENUS_HTTP_LISTEN` would be ignored in silence.
    fn check_single_underscore(&mut self, name: &str, rest: &str, text: String) {
        let meant = SETTINGS.iter().find(|setting| format!("{}_{}", setting.section, setting.key) == rest);
        if let Some(setting) = meant {
            let document = self.add_document(DocumentKind::Environment(name.to_owned()), text);
            let help = format!(
                "did you mean `{PREFIX}{}__{}`?",
                setting.section.to_ascii_uppercase(),
                setting.key.to_ascii_uppercase()
            );
            let place = Place { document, span: 0..name.len() };
            let label = "two underscores part section and key".to_owned();
            self.complain(place, format!("unknown setting `{name}`"), label, Some(help));
        }
    }

    fn add_overrides(&mut self, overrides: &[String]) {
        for argument in overrides {
            let start = "--set ".len();
            let document = self.add_document(DocumentKind::CommandLine, format!("--set {argument}"));
            let place = |from: usize, to: usize| Place { document, span: start + from..start + to };
            let Some((name, value)) = argument.split_once('=') else {
                let title = "--set takes section.key=value".to_owned();
                self.complain(place(0, argument.len()), title, "there is no `=`".to_owned(), None);
                continue;
            };
            let Some((section, key)) = name.split_once('.') else {
                let title = format!("unknown setting `{name}`");
                let help = similar(name, SECTIONS.iter().copied(), "sections");
                self.complain(place(0, name.len()), title, "there is no section".to_owned(), Some(help));
                continue;
            };
            let (key, entry) = match key.split_once('.') {
                Some((key, entry)) => (key, Some(entry)),
                None => (key, None),
            };
            let Some(setting) = self.find_in_any(section, key, place(0, name.len())) else { continue };
            let item = written_item(value, place(name.len() + 1, argument.len()));
            match entry {
                None => self.entries.push(Entry { setting, item }),
                Some(entry) => self.add_table_entry(setting, entry.to_owned(), item),
            }
        }
    }

    /// `--set peer.route.ID=address`: such entries of one command line make one table.
    fn add_table_entry(&mut self, setting: &'static Setting, key: String, item: Item) {
        let on_command_line = |entry: &&mut Entry| {
            std::ptr::eq(entry.setting, setting)
                && self.documents[entry.item.at.document].kind == DocumentKind::CommandLine
        };
        if let Some(Entry { item: Item { raw: Raw::Table(entries), .. }, .. }) =
            self.entries.iter_mut().rev().find(on_command_line)
        {
            entries.push((key, item));
            return;
        }
        let at = item.at.clone();
        self.entries.push(Entry { setting, item: Item { raw: Raw::Table(vec![(key, item)]), at } });
    }

    /// The setting of a name whose section may be unknown too.
    fn find_in_any(&mut self, section: &str, key: &str, place: Place) -> Option<&'static Setting> {
        if SECTIONS.contains(&section) {
            return self.find(section, key, place);
        }
        let name = format!("{section}.{key}");
        let names: Vec<String> = SETTINGS.iter().map(Setting::name).collect();
        let help = match nearest(&name, names.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => similar(section, SECTIONS.iter().copied(), "sections"),
        };
        self.complain(place, format!("unknown setting `{name}`"), "no such section".to_owned(), Some(help));
        None
    }

    fn find(&mut self, section: &str, key: &str, place: Place) -> Option<&'static Setting> {
        let of_section = SETTINGS.iter().filter(|setting| setting.section == section);
        let found = of_section.clone().find(|setting| setting.key == key);
        if found.is_none() {
            let help = similar(key, of_section.map(|setting| setting.key), "settings of the section");
            let label = format!("[{section}] has no such setting");
            self.complain(place, format!("unknown setting `{section}.{key}`"), label, Some(help));
        }
        found
    }

    fn merge(mut self) -> Result<Effective, Report> {
        let mut config = Config::default();
        let mut broken = BTreeSet::new();
        let mut winners: BTreeMap<String, Place> = BTreeMap::new();
        for Entry { setting, item } in std::mem::take(&mut self.entries) {
            let name = setting.name();
            if let Err(complaint) = (setting.read)(&mut config, &item) {
                self.complain(complaint.at, format!("wrong value for `{name}`"), complaint.what, None);
                broken.insert(name.clone());
            }
            winners.insert(name, item.at);
        }
        self.check_rules(&config, &broken, &winners);
        if self.diagnostics.is_empty() {
            let origins =
                winners.into_iter().map(|(name, place)| (name, origin(&self.documents, &place))).collect();
            return Ok(Effective { config, origins });
        }
        self.diagnostics
            .sort_by_key(|diagnostic| diagnostic.at.as_ref().map(|place| (place.document, place.span.start)));
        Err(Report { documents: self.documents, diagnostics: self.diagnostics })
    }

    fn check_rules(&mut self, config: &Config, broken: &BTreeSet<String>, winners: &BTreeMap<String, Place>) {
        for rule in RULES {
            if rule.settings.iter().any(|name| broken.contains(*name)) {
                continue;
            }
            let Some(what) = (rule.broken)(config) else { continue };
            let mut places = rule
                .settings
                .iter()
                .filter_map(|name| Some((winners.get(*name)?.clone(), format!("`{name}` is set here"))));
            let (at, label) = places.next().unzip();
            let related = places.collect();
            let defaults: Vec<String> = rule
                .settings
                .iter()
                .filter(|name| !winners.contains_key(**name))
                .map(|name| (*name).to_owned())
                .collect();
            let help = (!defaults.is_empty()).then(|| format!("{} has its default", quoted(&defaults, ", ")));
            let label = label.unwrap_or_default();
            self.diagnostics.push(Diagnostic { title: what, at, label, related, help });
        }
    }

    fn add_document(&mut self, kind: DocumentKind, text: String) -> usize {
        self.documents.push(Document { kind, text });
        self.documents.len() - 1
    }

    fn complain(&mut self, at: Place, title: String, label: String, help: Option<String>) {
        self.diagnostics.push(Diagnostic { title, at: Some(at), label, related: Vec::new(), help });
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(format!("it is longer than {MAX_FILE_BYTES} bytes"));
    }
    String::from_utf8(bytes).map_err(|error| {
        let line = 1 + error.as_bytes()[..error.utf8_error().valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        format!("it is not UTF-8 in line {line}")
    })
}

fn origin(documents: &[Document], place: &Place) -> Origin {
    let document = &documents[place.document];
    match &document.kind {
        DocumentKind::File(path) => Origin::File(path.clone(), document.line(place.span.start)),
        DocumentKind::Environment(name) => Origin::Environment(name.clone()),
        DocumentKind::CommandLine => Origin::CommandLine,
    }
}
