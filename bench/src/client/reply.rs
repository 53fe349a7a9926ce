//! Where a reply ends, and what it says.

use std::io;

/// A reply larger than this is an error: the largest asked for is a page of a scan.
const LARGEST_BYTES: usize = 64 << 20;

/// Headers of a reply, at most.
const MOST_HEADERS: usize = 64;

/// A reply that has arrived, as places in the buffer of its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) code: u16,
    /// Where the body begins and ends; of a chunked one, once its chunks are joined.
    pub(super) body: (usize, usize),
    /// Bytes that the reply took.
    pub(super) end: usize,
    pub(super) keeps_alive: bool,
}

/// How a body is delimited.
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    /// Until the connection closes.
    Close,
}

/// The head of a reply.
#[derive(Clone, Copy)]
pub(super) struct Head {
    code: u16,
    length: usize,
    framing: Framing,
    keeps_alive: bool,
}

impl Head {
    /// Parses the head at the start of `input`; None if it is not whole yet. Interim replies (1xx) are not answers; a
    /// server sends none to a request that does not ask for one.
    pub(super) fn parse(input: &[u8]) -> io::Result<Option<Self>> {
        let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let length = match response.parse(input).map_err(|error| malformed(&error.to_string()))? {
            httparse::Status::Complete(length) => length,
            httparse::Status::Partial => return Ok(None),
        };
        let code = response.code.unwrap_or(0);
        let mut framing = if matches!(code, 204 | 304) { Framing::Length(0) } else { Framing::Close };
        let mut keeps_alive = response.version == Some(1);
        for header in response.headers.iter() {
            if header.name.eq_ignore_ascii_case("content-length") && !matches!(framing, Framing::Chunked) {
                let text = std::str::from_utf8(header.value).ok().map(str::trim);
                let length =
                    text.and_then(|text| text.parse().ok()).ok_or(malformed("bad Content-Length"))?;
                framing = Framing::Length(length);
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                framing = Framing::Chunked;
            } else if header.name.eq_ignore_ascii_case("connection") {
                keeps_alive = !header.value.eq_ignore_ascii_case(b"close");
            }
        }
        keeps_alive &= !matches!(framing, Framing::Close);
        Ok(Some(Self { code, length, framing, keeps_alive }))
    }

    /// The whole reply, if it has arrived; `is_closed` says that nothing more will. Chunks are joined in place.
    pub(super) fn complete(&self, input: &mut [u8], is_closed: bool) -> io::Result<Option<Reply>> {
        if input.len() > LARGEST_BYTES {
            return Err(malformed("the reply is larger than 64 MiB"));
        }
        let reply = |body_end, end| {
            Some(Reply { code: self.code, body: (self.length, body_end), end, keeps_alive: self.keeps_alive })
        };
        match self.framing {
            Framing::Length(length) => {
                let end = self.length.checked_add(length).ok_or(malformed("bad Content-Length"))?;
                Ok(if input.len() >= end { reply(end, end) } else { None })
            }
            Framing::Close => Ok(if is_closed { reply(input.len(), input.len()) } else { None }),
            Framing::Chunked => {
                let Some(chunks) = find_chunks(&input[self.length..])? else { return Ok(None) };
                let mut joined = self.length;
                for &(start, end) in &chunks.data {
                    input.copy_within(self.length + start..self.length + end, joined);
                    joined += end - start;
                }
                Ok(reply(joined, self.length + chunks.end))
            }
        }
    }
}

struct Chunks {
    data: Vec<(usize, usize)>,
    end: usize,
}

fn find_chunks(input: &[u8]) -> io::Result<Option<Chunks>> {
    let mut data = Vec::new();
    let mut at = 0;
    loop {
        match httparse::parse_chunk_size(&input[at..]) {
            Ok(httparse::Status::Complete((header, size))) => {
                let start = at + header;
                let size = usize::try_from(size).map_err(|_| malformed("bad chunk"))?;
                if size == 0 {
                    // Trailers end with an empty line.
                    let mut trailers = [httparse::EMPTY_HEADER; MOST_HEADERS];
                    return match httparse::parse_headers(&input[start..], &mut trailers) {
                        Ok(httparse::Status::Complete((length, _))) => {
                            Ok(Some(Chunks { data, end: start + length }))
                        }
                        Ok(httparse::Status::Partial) => Ok(None),
                        Err(error) => Err(malformed(&error.to_string())),
                    };
                }
                let end = start.checked_add(size).ok_or(malformed("bad chunk"))?;
                if input.len() < end.saturating_add(2) {
                    return Ok(None);
                }
                data.push((start, end));
                at = end + 2;
            }
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(malformed("bad chunk size")),
        }
    }
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("malformed reply: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, is_closed: bool) -> io::Result<Option<(Reply, String)>> {
        let mut input = text.as_bytes().to_vec();
        let Some(head) = Head::parse(&input)? else { return Ok(None) };
        let reply = head.complete(&mut input, is_closed)?;
        Ok(reply
            .map(|reply| (reply, String::from_utf8_lossy(&input[reply.body.0..reply.body.1]).into_owned())))
    }

    #[test]
    fn a_reply_is_whole_only_with_its_last_byte() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nT: x\r\n\r\n",
        ] {
            for cut in 0..text.len() {
                assert!(read(&text[..cut], false).expect("no error").is_none(), "{cut} of {text:?}");
            }
            let (reply, body) = read(text, false).expect("a reply").expect("whole");
            assert_eq!(
                (reply.code, body.as_str(), reply.end, reply.keeps_alive),
                (200, "hello", text.len(), true)
            );
        }
    }

    #[test]
    fn a_reply_without_length_ends_with_its_connection() {
        let text = "HTTP/1.1 500 No\r\n\r\nbye";
        assert!(read(text, false).expect("no error").is_none());
        let (reply, body) = read(text, true).expect("a reply").expect("whole");
        assert_eq!((reply.code, body.as_str(), reply.keeps_alive), (500, "bye", false));
    }

    #[test]
    fn nonsense_is_an_error() {
        for text in [
            "garbage\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551615\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        ] {
            assert!(read(text, false).is_err(), "{text:?}");
        }
    }
}
