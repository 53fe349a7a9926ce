//! From TOML, and from bare text, to values with their places.

use toml::{Spanned, de::DeValue};

use super::{
    diagnostics::Place,
    value::{Item, Raw},
};

/// A value of the environment or the command line: TOML where it is quoted or bracketed and parses, else bare text
/// (`[::1]:7071` is an address).
pub(super) fn written_item(text: &str, at: Place) -> Item {
    if text.trim_start().starts_with(['"', '\'', '[', '{'])
        && let Ok(value) = DeValue::parse(text)
    {
        return toml_item(at.document, at.span.start, &value);
    }
    Item { raw: Raw::Text(text.to_owned()), at }
}

/// A TOML value whose text begins at `start` of the document.
pub(super) fn toml_item(document: usize, start: usize, value: &Spanned<DeValue<'_>>) -> Item {
    let raw = match value.get_ref() {
        DeValue::String(text) => Raw::String(text.clone().into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("an integer that is too large"), Raw::Integer),
        DeValue::Float(number) => {
            number.as_str().parse().map_or(Raw::Other("a number that is too long"), Raw::Float)
        }
        DeValue::Boolean(_) => Raw::Other("a boolean"),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Array(values) => {
            Raw::List(values.iter().map(|value| toml_item(document, start, value)).collect())
        }
        DeValue::Table(table) => {
            let entry = |(key, value): (&Spanned<std::borrow::Cow<'_, str>>, _)| {
                (key.get_ref().to_string(), toml_item(document, start, value))
            };
            Raw::Table(table.iter().map(entry).collect())
        }
    };
    let span = value.span();
    Item { raw, at: Place { document, span: start + span.start..start + span.end } }
}
