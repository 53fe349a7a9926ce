//! The raw `#` in a request's target, which hyper drops together with all that follows it.
//!
//! No client may send one (RFC 9112, section 3.2): in a key it is written `%23`. Dropped in silence, it would turn a write
//! of `a#b` into a write of `a`. Hyper does not tell, so the bytes on their way to it are followed, just far enough to
//! know where each head begins: request line, the two headers that say how long the body is, chunks. What cannot be
//! followed hyper refuses too; should the two ever disagree, nothing further on that connection is judged.

/// Longer lines are refused by hyper: no setting of the largest head allows them.
const MAX_LINE_BYTES: usize = 1 << 20;

/// What the next bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    RequestLine,
    Header,
    /// So many bytes of a body.
    Data(u64),
    ChunkSize,
    /// So many bytes of a chunk, its line end included.
    Chunk(u64),
    Trailer,
    Lost,
}

/// Follows the requests of a connection.
#[derive(Debug)]
pub(super) struct Targets {
    at: At,
    /// The beginning of a line whose end has not arrived.
    partial: Vec<u8>,
    length: u64,
    chunked: bool,
    requests: u64,
    cut: Option<u64>,
}

impl Targets {
    /// Of a new connection.
    pub(super) const fn new() -> Self {
        Self { at: At::RequestLine, partial: Vec::new(), length: 0, chunked: false, requests: 0, cut: None }
    }

    /// Which request, counted from 1, is the first whose target hyper will cut.
    pub(super) fn first_cut(&self) -> Option<u64> {
        self.cut
    }

    /// Follows the bytes that arrived.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.at != At::Lost {
            bytes = match self.at {
                At::Data(left) => self.skip(bytes, left, At::Data, At::RequestLine),
                At::Chunk(left) => self.skip(bytes, left, At::Chunk, At::ChunkSize),
                _ => self.pass_line(bytes),
            };
        }
    }

    fn skip<'a>(&mut self, bytes: &'a [u8], left: u64, more: fn(u64) -> At, then: At) -> &'a [u8] {
        let here = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - here as u64;
        self.at = if left == 0 { then } else { more(left) };
        &bytes[here..]
    }

    fn pass_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
            self.partial.extend_from_slice(bytes);
            if self.partial.len() > MAX_LINE_BYTES {
                self.at = At::Lost;
                self.partial = Vec::new();
            }
            return &[];
        };
        let mut line = std::mem::take(&mut self.partial);
        let line = if line.is_empty() {
            &bytes[..end]
        } else {
            line.extend_from_slice(&bytes[..end]);
            &line
        };
        self.at = self.after(line.strip_suffix(b"\r").unwrap_or(line)).unwrap_or(At::Lost);
        &bytes[end + 1..]
    }

    /// What follows a line; `None` for one that hyper refuses.
    fn after(&mut self, line: &[u8]) -> Option<At> {
        match self.at {
            // Empty lines may precede a request.
            At::RequestLine if line.is_empty() => Some(At::RequestLine),
            At::RequestLine => {
                (self.length, self.chunked) = (0, false);
                self.requests += 1;
                if line.contains(&b'#') {
                    self.cut.get_or_insert(self.requests);
                }
                Some(At::Header)
            }
            At::Header if !line.is_empty() => {
                let colon = line.iter().position(|byte| *byte == b':')?;
                let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
                if name.eq_ignore_ascii_case(b"content-length") {
                    self.length = std::str::from_utf8(value).ok()?.parse().ok()?;
                } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                    let coding = value.rsplit(|byte| *byte == b',').next()?.trim_ascii();
                    self.chunked = coding.eq_ignore_ascii_case(b"chunked");
                }
                Some(At::Header)
            }
            At::Header if self.chunked => Some(At::ChunkSize),
            At::Header if self.length > 0 => Some(At::Data(self.length)),
            At::ChunkSize => {
                let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
                match u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()? {
                    0 => Some(At::Trailer),
                    size => Some(At::Chunk(size.checked_add(2)?)),
                }
            }
            At::Trailer if !line.is_empty() => Some(At::Trailer),
            At::Header | At::Trailer => Some(At::RequestLine),
            At::Data(_) | At::Chunk(_) | At::Lost => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first cut request of an input, however it is split.
    fn first_cut(input: &str) -> Option<u64> {
        let found = |step: usize| {
            let mut targets = Targets::new();
            input.as_bytes().chunks(step).for_each(|piece| targets.pass(piece));
            targets.first_cut()
        };
        let whole = found(usize::MAX);
        for step in 1..input.len().min(20) {
            assert_eq!(found(step), whole, "in pieces of {step} bytes");
        }
        whole
    }

    #[test]
    fn a_request_whose_target_is_cut_is_counted() {
        assert_eq!(first_cut("GET /a HTTP/1.1\r\nHost: h#h\r\n\r\n"), None);
        assert_eq!(first_cut("GET /a#b HTTP/1.1\r\n"), Some(1));
        assert_eq!(first_cut("\r\nGET /a HTTP/1.1\nA: #\n\nGET /# HTTP/1.1\n\nGET /# HTTP/1.1\n\n"), Some(2));
    }

    #[test]
    fn a_body_is_no_request() {
        let request = "GET /a#b HTTP/1.1\r\n\r\n";
        let length = request.len();
        let by_length = format!("PUT /a HTTP/1.1\r\nCONTENT-length:  {length} \r\n\r\n{request}");
        assert_eq!(first_cut(&by_length), None);
        assert_eq!(first_cut(&format!("{by_length}{request}")), Some(2));
        let chunked = format!(
            "PUT /a HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n{length:x};x=#\r\n{request}\r\n0\r\nt: #\r\n\r\n"
        );
        assert_eq!(first_cut(&chunked), None);
        assert_eq!(first_cut(&format!("{chunked}{by_length}{request}")), Some(3));
    }

    #[test]
    fn what_cannot_be_followed_is_judged_no_further() {
        for lost in [
            "PUT /a HTTP/1.1\r\nContent-Length: x\r\n",
            "PUT /a HTTP/1.1\r\nno colon\r\n",
            "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
            "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            assert_eq!(first_cut(&format!("{lost}\r\nGET /# HTTP/1.1\r\n\r\n")), None, "{lost}");
        }
    }
}
