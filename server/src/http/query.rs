//! Queries of routes for operators, which have no header aliases, and how any query is read.

use super::{key::percent_decode, problem::Problem};

/// The query of a route for operators: names that it takes, each at most once.
#[derive(Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    /// Reads a raw query.
    ///
    /// # Errors
    /// 400 naming the first parameter that is unknown, doubled or broken.
    pub(crate) fn parse(query: Option<&str>, accepted: &[&str]) -> Result<Self, Problem> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for piece in query.unwrap_or_default().split('&').filter(|piece| !piece.is_empty()) {
            let (raw_name, raw_value) = piece.split_once('=').unwrap_or((piece, ""));
            let (Some(name), Some(value)) = (decode(raw_name), decode(raw_value)) else {
                return Err(Problem::bad_field(raw_name, "the query has a broken percent-escape"));
            };
            if !accepted.contains(&name.as_str()) {
                let known = accepted.join(", ");
                let detail = format!("there is no parameter `{name}` here; known are {known}");
                return Err(Problem::bad_field(&name, detail));
            }
            if pairs.iter().any(|(seen, _)| *seen == name) {
                return Err(Problem::bad_field(&name, format!("`{name}` is given more than once")));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// What a parameter says.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }

    /// A whole number of a range.
    ///
    /// # Errors
    /// 400 naming the parameter and the range.
    pub(crate) fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<u64>,
    ) -> Result<Option<u64>, Problem> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = if text == "0" { Some(0) } else { digits(text) };
        number.filter(|number| range.contains(number)).map(Some).ok_or_else(|| {
            let (low, high) = (range.start(), range.end());
            let detail = format!("`{name}` is a whole number from {low} to {high}, without leading zeros");
            Problem::bad_field(name, detail)
        })
    }
}

/// Refuses any query at all, for routes without parameters.
///
/// # Errors
/// 400 naming the first parameter.
pub(crate) fn none(query: Option<&str>) -> Result<(), Problem> {
    match query.unwrap_or_default().split('&').find(|piece| !piece.is_empty()) {
        None => Ok(()),
        Some(piece) => {
            let name = piece.split('=').next().unwrap_or_default();
            Err(Problem::bad_field(name, format!("there is no parameter `{name}` here")))
        }
    }
}

/// A positive number, digits only: no sign, no blanks, no leading zeros, no overflow.
pub(super) fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

pub(super) fn decode(raw: &str) -> Option<String> {
    String::from_utf8(percent_decode(raw)?).ok()
}
