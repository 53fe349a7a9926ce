//! The text format of `java.util.Properties.load`.

/// A property as a file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub(super) name: String,
    pub(super) value: String,
    /// Line of the name, from 1.
    pub(super) line: usize,
}

/// Why a file is not one of properties.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\\u must be followed by four hexadecimal digits")]
pub(super) struct BadEscape {
    /// Line where the property begins, from 1.
    pub(super) line: usize,
}

/// Parses a file.
///
/// `#` and `!` open comments; `=`, `:` or white space end a name; a backslash at the end of a line continues it, its
/// successor's indentation dropped; `\t \n \r \f \uXXXX` are characters, any other escaped character is itself.
pub(super) fn parse(text: &str) -> Result<Vec<Assignment>, BadEscape> {
    let mut assignments = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let first = first.trim_start_matches(is_blank);
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_with_continuation(&logical) {
            logical.pop();
            let Some((_, next)) = lines.next() else { break };
            logical.push_str(next.trim_start_matches(is_blank));
        }
        let line = index + 1;
        let (name, value) = split(&logical);
        let unescaped = |text| unescape(text).ok_or(BadEscape { line });
        assignments.push(Assignment { name: unescaped(name)?, value: unescaped(value)?, line });
    }
    Ok(assignments)
}

fn is_blank(character: char) -> bool {
    matches!(character, ' ' | '\t' | '\u{c}')
}

fn ends_with_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1
}

fn split(line: &str) -> (&str, &str) {
    let mut is_escaped = false;
    let end = line
        .char_indices()
        .find(|&(_, character)| {
            let is_end = !is_escaped && (is_blank(character) || matches!(character, '=' | ':'));
            is_escaped = character == '\\' && !is_escaped;
            is_end
        })
        .map_or(line.len(), |(at, _)| at);
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start_matches(is_blank);
    let rest = rest.strip_prefix(['=', ':']).unwrap_or(rest);
    (name, rest.trim_start_matches(is_blank))
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            plain.push(character);
            continue;
        }
        match characters.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = characters.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4)?;
                // Java's surrogate pairs have no place in names and numbers; half of one becomes the usual mark.
                plain.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Vec<(String, String, usize)> {
        let assignments = parse(text).expect("a property file");
        assignments.into_iter().map(|a| (a.name, a.value, a.line)).collect()
    }

    #[test]
    fn names_end_at_an_equals_sign_a_colon_or_a_blank() {
        for text in ["a=b c", "a:b c", "a b c", "  a = b c", "a\t:  b c"] {
            assert_eq!(parsed(text), [("a".to_owned(), "b c".to_owned(), 1)], "{text:?}");
        }
    }

    #[test]
    fn comments_and_empty_lines_are_no_properties() {
        assert_eq!(parsed("# a=b\n\n  ! c=d\n"), []);
    }

    #[test]
    fn a_backslash_at_the_end_continues_a_line_and_the_line_is_that_of_the_name() {
        assert_eq!(
            parsed("x=1\na=b,\\\n   c\nz"),
            [
                ("x".to_owned(), "1".to_owned(), 1),
                ("a".to_owned(), "b,c".to_owned(), 2),
                ("z".to_owned(), String::new(), 4)
            ]
        );
        assert_eq!(parsed("a=b\\\\\nc=d").len(), 2, "an escaped backslash continues nothing");
    }

    #[test]
    fn escapes_are_characters() {
        assert_eq!(parsed(r"a\=b\ c=\t\u0041\q"), [("a=b c".to_owned(), "\tAq".to_owned(), 1)]);
        assert_eq!(parse("ok=1\nbad=\\u12x4"), Err(BadEscape { line: 2 }));
    }
}
