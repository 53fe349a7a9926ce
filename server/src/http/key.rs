//! Tables and keys in paths, decoded once and strictly from the raw path.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use bytes::Bytes;
use helenus_cluster::table::is_table_name;

use super::problem::{Kind, Problem};

/// Longest key in bytes.
pub(crate) const MAX_KEY_BYTES: usize = 4096;

/// What precedes the table in a path.
const PREFIX: &str = "/v1/kv/";

/// How a key is written in a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum KeyEncoding {
    /// Everything after the table, percent-decoded.
    #[default]
    Percent,
    /// Unpadded base64url, for keys that URL libraries would rewrite (`.`, `..`).
    Base64Url,
}

/// Splits a raw path into table and raw key; without a key the path names a whole table.
pub(crate) fn split(path: &str) -> (&str, &str) {
    let rest = path.strip_prefix(PREFIX).unwrap_or_default();
    rest.split_once('/').unwrap_or((rest, ""))
}

/// The table's name.
///
/// # Errors
/// 400 naming the field `table`.
pub(crate) fn table(raw: &str) -> Result<String, Problem> {
    percent_decode(raw)
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .filter(|name| is_table_name(name))
        .ok_or_else(no_such_name)
}

/// The error of a text that cannot be a table's name.
pub(crate) fn no_such_name() -> Problem {
    Problem::bad_field("table", "a table name matches ^[a-z][a-z0-9_]{0,47}$")
}

/// The key's bytes.
///
/// # Errors
/// 400 invalid-key or 414 key-too-large.
pub(crate) fn key(raw: &str, encoding: KeyEncoding) -> Result<Bytes, Problem> {
    let invalid = |detail: &str| Problem::new(Kind::InvalidKey, detail).about("key");
    let key = percent_decode(raw)
        .ok_or_else(|| invalid("the key has a `%` that is not followed by two hexadecimal digits"))?;
    let key = match encoding {
        KeyEncoding::Percent => key,
        KeyEncoding::Base64Url => {
            URL_SAFE_NO_PAD.decode(key).map_err(|_| invalid("the key is not unpadded base64url"))?
        }
    };
    checked(key.into())
}

/// A key, if it has the length of one.
///
/// # Errors
/// 400 invalid-key or 414 key-too-large.
pub(crate) fn checked(key: Bytes) -> Result<Bytes, Problem> {
    match key.len() {
        0 => Err(Problem::new(Kind::InvalidKey, "the key is empty").about("key")),
        1..=MAX_KEY_BYTES => Ok(key),
        length => Err(Problem::new(
            Kind::KeyTooLarge,
            format!("the key has {length} bytes and may have {MAX_KEY_BYTES}"),
        )
        .about("key")),
    }
}

/// Decodes each `%xx` once; `None` where `%` is not followed by two hexadecimal digits.
pub(crate) fn percent_decode(raw: &str) -> Option<Vec<u8>> {
    let mut decoded = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex_digit(bytes.next()?)? << 4 | hex_digit(bytes.next()?)?,
            _ => byte,
        });
    }
    Some(decoded)
}

fn hex_digit(byte: u8) -> Option<u8> {
    Some(match byte {
        b'0'..=b'9' => byte - b'0',
        b'a'..=b'f' => byte - b'a' + 10,
        b'A'..=b'F' => byte - b'A' + 10,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(raw: &str) -> Result<Vec<u8>, Kind> {
        key(raw, KeyEncoding::Percent).map(Vec::from).map_err(|problem| problem.kind)
    }

    #[test]
    fn a_key_is_decoded_exactly_once() {
        assert_eq!(plain("a%20b").unwrap(), b"a b");
        assert_eq!(plain("%252e").unwrap(), b"%2e");
        assert_eq!(plain("%00%ff%C0%80").unwrap(), b"\x00\xff\xc0\x80");
        assert_eq!(plain("a+b").unwrap(), b"a+b");
        assert_eq!(plain("..").unwrap(), b"..");
        assert_eq!(plain("/a//b/").unwrap(), b"/a//b/");
    }

    #[test]
    fn a_broken_escape_is_refused() {
        for raw in ["%", "a%", "%1", "%zz", "%G1", "%1G", "%%41", "%+1", "%é"] {
            assert_eq!(plain(raw), Err(Kind::InvalidKey), "{raw}");
        }
    }

    #[test]
    fn a_key_has_one_to_4096_bytes_after_decoding() {
        assert_eq!(plain(""), Err(Kind::InvalidKey));
        assert_eq!(plain(&"%41".repeat(4096)).unwrap().len(), 4096);
        assert_eq!(plain(&"a".repeat(4097)), Err(Kind::KeyTooLarge));
    }

    #[test]
    fn base64url_is_unpadded_and_canonical() {
        let decode = |raw| key(raw, KeyEncoding::Base64Url).map_err(|problem| problem.kind);
        assert_eq!(decode("Li4").unwrap().as_ref(), b"..");
        assert_eq!(decode("_-8").unwrap().as_ref(), b"\xff\xef");
        for raw in ["Li4=", "Li5", "/-8", "+-8", "a", "a/Li4", ""] {
            assert_eq!(decode(raw), Err(Kind::InvalidKey), "{raw}");
        }
    }

    #[test]
    fn a_path_splits_at_the_first_slash_after_the_table() {
        assert_eq!(split("/v1/kv/t/a/b"), ("t", "a/b"));
        assert_eq!(split("/v1/kv/t//"), ("t", "/"));
        assert_eq!(split("/v1/kv/t/"), ("t", ""));
        assert_eq!(split("/v1/kv/t"), ("t", ""));
        assert_eq!(split("/v1/kv//k"), ("", "k"));
    }

    #[test]
    fn a_table_name_is_decoded_and_then_held_to_its_pattern() {
        assert_eq!(table("d%65fault").unwrap(), "default");
        for raw in ["", "A", "1a", "a-b", "a%2Fb", "a%", "..", "%c3%a9", "a%00"] {
            assert_eq!(table(raw).unwrap_err().field.as_deref(), Some("table"), "{raw}");
        }
        assert!(table(&"a".repeat(48)).is_ok());
        assert!(table(&"a".repeat(49)).is_err());
    }
}
