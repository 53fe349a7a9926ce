//! What is said about wrong settings: the place, a caret, and what to write instead.

use std::{fmt, ops::Range, path::PathBuf};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

/// Where a document comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum DocumentKind {
    File(PathBuf),
    /// By the name of the variable.
    Environment(String),
    CommandLine,
}

/// Something that settings were read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    pub(super) kind: DocumentKind,
    pub(super) text: String,
}

/// Some bytes of a document, by its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) document: usize,
    pub(super) span: Range<usize>,
}

impl Place {
    /// Another place of the same document.
    pub(super) fn part(&self, span: Range<usize>) -> Self {
        Self { document: self.document, span }
    }
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Diagnostic {
    pub(super) title: String,
    /// What to point at; `None` when a whole file could not be read.
    pub(super) at: Option<Place>,
    pub(super) label: String,
    /// Other settings that matter.
    pub(super) related: Vec<(Place, String)>,
    pub(super) help: Option<String>,
}

/// Everything that is wrong with the settings of a node, at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub(super) documents: Vec<Document>,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl Document {
    /// Line of a byte, from 1.
    pub(super) fn line(&self, offset: usize) -> usize {
        let before = &self.text.as_bytes()[..offset.min(self.text.len())];
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn snippet<'a>(
        &'a self,
        annotations: impl Iterator<Item = annotate_snippets::Annotation<'a>>,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let name = match &self.kind {
            DocumentKind::File(path) => path.display().to_string(),
            DocumentKind::Environment(_) => "environment".to_owned(),
            DocumentKind::CommandLine => "command line".to_owned(),
        };
        Snippet::source(self.text.as_str()).path(name).annotations(annotations)
    }

    /// The span, cut to what the renderer can point at.
    fn clamp(&self, span: &Range<usize>) -> Range<usize> {
        let start = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let end = self.text.ceil_char_boundary(span.end.min(self.text.len()));
        start..end.max(start)
    }
}

impl Report {
    /// Whether only the command line is wrong: then the program was used wrongly.
    pub fn is_usage_error(&self) -> bool {
        self.diagnostics.iter().all(|diagnostic| {
            let document = diagnostic.at.as_ref().and_then(|place| self.documents.get(place.document));
            document.is_some_and(|document| document.kind == DocumentKind::CommandLine)
        })
    }

    /// The report as text, with colours if the reader's terminal has them.
    pub fn render(&self, colours: bool) -> String {
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        let texts: Vec<String> =
            self.diagnostics.iter().map(|diagnostic| renderer.render(&[self.group(diagnostic)])).collect();
        texts.join("\n\n")
    }

    /// What is wrong without where: for a value that was given by itself.
    pub fn in_a_line(&self) -> String {
        let said = self.diagnostics.iter().map(|diagnostic| match diagnostic.label.as_str() {
            "" => diagnostic.title.clone(),
            label => format!("{}: {label}", diagnostic.title),
        });
        said.collect::<Vec<_>>().join("; ")
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic) -> Group<'a> {
        let mut group = Group::with_title(Level::ERROR.primary_title(diagnostic.title.as_str()));
        let mut places: Vec<(AnnotationKind, &Place, &str)> = Vec::new();
        if let Some(place) = &diagnostic.at {
            places.push((AnnotationKind::Primary, place, &diagnostic.label));
        }
        for (place, label) in &diagnostic.related {
            places.push((AnnotationKind::Context, place, label));
        }
        let mut numbers: Vec<usize> = places.iter().map(|(_, place, _)| place.document).collect();
        numbers.dedup();
        for number in numbers {
            let Some(document) = self.documents.get(number) else { continue };
            let here = places.iter().filter(|(_, place, _)| place.document == number);
            group = group.element(document.snippet(
                here.map(|(kind, place, label)| kind.span(document.clamp(&place.span)).label(*label)),
            ));
        }
        match &diagnostic.help {
            Some(help) => group.element(Level::HELP.message(help.as_str())),
            None => group,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}
