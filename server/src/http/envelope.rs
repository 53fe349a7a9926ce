//! How a client's value and what describes it become the bytes that replicas store.
//!
//! ```text
//! 0 │ value                                                   application/octet-stream and nothing else
//! 1 │ type │ encoding │ count u16 LE │ count × (name │ text) │ value
//!     each of type, encoding, name and text: length u16 LE │ bytes; no bytes: absent (of type and encoding)
//! ```
//!
//! The first byte is the version: a build that meets a higher one says so instead of handing out a wrong value.
//! Most values carry nothing, and pay one byte. Names of `Helenus-Meta-*` are stored without that prefix.

use bytes::{Buf, BufMut, Bytes};
use hyper::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue},
};

use super::problem::{Kind, Problem};

/// Most bytes of names and texts together.
pub(crate) const MAX_METADATA_BYTES: usize = 8 << 10;

const BARE: u8 = 0;
const DESCRIBED: u8 = 1;

pub(super) const META_PREFIX: &str = "helenus-meta-";
const DEFAULT_TYPE: &[u8] = b"application/octet-stream";

/// Stored bytes that no build before this one can have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    #[error("the stored value is in envelope version {0}, which this build does not know")]
    UnknownVersion(u8),
    #[error("the stored value's envelope is damaged")]
    Malformed,
}

/// Starts the stored bytes with what the headers say of the value, which is to be appended; `room` is how much of it at
/// first.
///
/// # Errors
/// 431 beyond 8 KiB, 400 for two content types.
pub(crate) fn begin(headers: &HeaderMap, room: usize) -> Result<Vec<u8>, Problem> {
    if headers.get_all(CONTENT_TYPE).iter().count() > 1 {
        return Err(Problem::bad_field("Content-Type", "`Content-Type` is given more than once"));
    }
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let content_type = if content_type == DEFAULT_TYPE { b"" } else { content_type };
    let encodings: Vec<_> = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes).collect();
    let encoding = encodings.join(&b", "[..]);
    let meta: Vec<_> = headers
        .iter()
        .filter_map(|(name, text)| Some((name.as_str().strip_prefix(META_PREFIX)?, text.as_bytes())))
        .collect();

    let of_meta: usize = meta.iter().map(|(name, text)| META_PREFIX.len() + name.len() + text.len()).sum();
    let metadata_bytes = content_type.len() + encoding.len() + of_meta;
    if metadata_bytes > MAX_METADATA_BYTES {
        return Err(Problem::new(
            Kind::HeadersTooLarge,
            format!(
                "Content-Type, Content-Encoding and Helenus-Meta-* have {metadata_bytes} bytes together and may \
                 have {MAX_METADATA_BYTES}"
            ),
        ));
    }
    let mut out = Vec::with_capacity(1 + 6 + metadata_bytes + 4 * meta.len() + room);
    if metadata_bytes == 0 {
        out.put_u8(BARE);
        return Ok(out);
    }
    out.put_u8(DESCRIBED);
    put(&mut out, content_type);
    put(&mut out, &encoding);
    out.put_u16_le(small(meta.len()));
    for (name, text) in meta {
        put(&mut out, name.as_bytes());
        put(&mut out, text);
    }
    Ok(out)
}

/// Takes stored bytes apart: the headers that describe the value, and the value as a slice of the same buffer.
///
/// # Errors
/// [`EnvelopeError`] for anything that [`begin`] does not write.
pub(crate) fn open(mut stored: Bytes) -> Result<(HeaderMap, Bytes), EnvelopeError> {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    match stored.try_get_u8().map_err(|_| EnvelopeError::Malformed)? {
        BARE => return Ok((headers, stored)),
        DESCRIBED => {}
        version => return Err(EnvelopeError::UnknownVersion(version)),
    }
    let content_type = header_value(take(&mut stored)?)?;
    if !content_type.is_empty() {
        headers.insert(CONTENT_TYPE, content_type);
    }
    let encoding = header_value(take(&mut stored)?)?;
    if !encoding.is_empty() {
        headers.insert(CONTENT_ENCODING, encoding);
    }
    for _ in 0..stored.try_get_u16_le().map_err(|_| EnvelopeError::Malformed)? {
        let name = take(&mut stored)?;
        let name = HeaderName::from_bytes(&[META_PREFIX.as_bytes(), &name].concat())
            .map_err(|_| EnvelopeError::Malformed)?;
        headers.append(name, header_value(take(&mut stored)?)?);
    }
    Ok((headers, stored))
}

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u16_le(small(bytes.len()));
    out.put_slice(bytes);
}

fn small(length: usize) -> u16 {
    u16::try_from(length).expect("all metadata together is bounded by 8 KiB")
}

fn take(stored: &mut Bytes) -> Result<Bytes, EnvelopeError> {
    let length = usize::from(stored.try_get_u16_le().map_err(|_| EnvelopeError::Malformed)?);
    if length > stored.len() {
        return Err(EnvelopeError::Malformed);
    }
    Ok(stored.split_to(length))
}

fn header_value(bytes: Bytes) -> Result<HeaderValue, EnvelopeError> {
    HeaderValue::from_maybe_shared(bytes).map_err(|_| EnvelopeError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        map
    }

    fn seal(pairs: &[(&'static str, &[u8])], value: &[u8]) -> Bytes {
        let mut stored = begin(&headers(pairs), value.len()).unwrap();
        stored.put_slice(value);
        stored.into()
    }

    #[test]
    fn a_plain_value_pays_one_byte() {
        assert_eq!(seal(&[], b"v").as_ref(), b"\0v");
        assert_eq!(seal(&[("content-type", b"application/octet-stream")], b"").as_ref(), b"\0");
    }

    #[test]
    fn what_describes_a_value_comes_back_as_it_came() {
        let given: &[(&str, &[u8])] = &[
            ("content-type", b"text/plain; charset=utf-8"),
            ("content-encoding", b"gzip"),
            ("helenus-meta-owner", b"a\xff"),
            ("helenus-meta-owner", b""),
            ("helenus-meta-", b"x"),
        ];
        let (found, value) = open(seal(given, b"\x01\x00")).unwrap();
        assert_eq!((found, value.as_ref()), (headers(given), &b"\x01\x00"[..]));
    }

    #[test]
    fn stored_bytes_that_were_never_written_are_told_apart() {
        assert_eq!(open(Bytes::new()), Err(EnvelopeError::Malformed));
        assert_eq!(open(Bytes::from_static(b"\x02v")), Err(EnvelopeError::UnknownVersion(2)));
        let whole = seal(&[("helenus-meta-a", b"1"), ("content-type", b"t")], b"");
        for end in 1..whole.len() {
            assert_eq!(open(whole.slice(..end)), Err(EnvelopeError::Malformed), "cut at {end}");
        }
        assert_eq!(open(Bytes::from_static(b"\x01\x01\0\n\0\0\0\0")), Err(EnvelopeError::Malformed));
    }

    #[test]
    fn metadata_is_bounded_together() {
        let long = vec![b'x'; MAX_METADATA_BYTES - "helenus-meta-a".len()];
        assert!(begin(&headers(&[("helenus-meta-a", &long)]), 0).is_ok());
        let problem = begin(&headers(&[("helenus-meta-a", &long), ("content-type", b"t")]), 0).unwrap_err();
        assert_eq!(problem.kind, Kind::HeadersTooLarge);
        assert!(begin(&headers(&[("content-type", b"a"), ("content-type", b"b")]), 0).is_err());
    }
}
