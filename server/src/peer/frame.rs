//! Frames: how messages lie on a connection between two nodes.
//!
//! ```text
//! offset size
//!      0    4  body length   u32 LE: bytes of head and payload together, at most the bound of the receiver
//!      4    4  head length   u32 LE, at most the body length
//!      8    8  correlation   u64 LE: an answer repeats that of its request; zero in greetings
//!     16    1  kind          1 greeting, 2 greeting answer, 3 request, 4 response
//!     17    4  body CRC32    u32 LE over head and payload
//!     21    4  header CRC32  u32 LE over bytes 0..21
//!     25    h  head          small fields, encoded by `helenus_cluster::wire`
//!   25+h    p  payload       keys and values, untouched
//! ```
//!
//! The header has a checksum of its own because the reader acts upon it before the body is there: with one
//! checksum over all, a flipped bit in the length would make it wait for bytes that never come. Both are CRC-32
//! (ISO-HDLC), which finds every error burst of up to 32 bits. A frame that does not check ends its connection:
//! behind it, nobody can say where the next one begins.
//!
//! `tokio_util::codec::LengthDelimitedCodec` is not used: it would hand out a frame only as a whole, so the length
//! would have to be trusted before its checksum, and a frame could not be written without first being assembled.

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio_util::codec::{Decoder, Encoder};

/// Bytes before the head.
pub const HEADER_BYTES: usize = 25;

/// Room for the next read: fewer, larger reads, and few copies of a frame's beginning.
pub(super) const READ_BYTES: usize = 64 * 1024;

/// A writer sends what it has gathered once it is this much.
pub(super) const WRITE_BYTES: usize = 128 * 1024;

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// The first frame of the side that has connected.
    Greeting = 1,
    /// The other side's answer to it.
    GreetingAnswer = 2,
    /// A request.
    Request = 3,
    /// The answer to the request of the same correlation.
    Response = 4,
}

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it is for.
    pub kind: FrameKind,
    /// Which request this is, or answers.
    pub correlation: u64,
    /// Small fields.
    pub head: Bytes,
    /// Keys and values.
    pub payload: Bytes,
}

/// Bytes that are no frame. The connection they came from cannot be used any further.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// Reading or writing failed, or the connection ended within a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The frame is longer than this node takes; nothing was allocated for it.
    #[error("a frame of {length} bytes exceeds the bound of {max}")]
    TooLong {
        /// Bytes of its body.
        length: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// The header was damaged on its way.
    #[error("the header of a frame fails its checksum")]
    HeaderChecksum,
    /// Head or payload was damaged on its way.
    #[error("the body of a frame fails its checksum")]
    BodyChecksum,
    /// The head would not fit into the body.
    #[error("a head of {head} bytes in a body of {body}")]
    HeadLength {
        /// Bytes of the head.
        head: usize,
        /// Bytes of the body.
        body: usize,
    },
    /// Not a kind of this protocol version.
    #[error("kind {0} of frame is not known")]
    UnknownKind(u8),
}

/// Reads and writes frames.
#[derive(Debug, Clone)]
pub struct FrameCodec {
    max_body_bytes: usize,
}

impl FrameCodec {
    /// A codec that takes bodies (head and payload) of at most that many bytes.
    pub fn new(max_body_bytes: usize) -> Self {
        Self { max_body_bytes }
    }
}

impl Decoder for FrameCodec {
    type Item = Frame;
    type Error = FrameError;

    /// Head and payload are slices of the read buffer, not copies; whoever keeps one for long keeps up to
    /// 64 KiB of neighbours alive and may want to copy.
    fn decode(&mut self, source: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        let Some((fixed, _)) = source.split_first_chunk::<HEADER_BYTES>() else {
            source.reserve(READ_BYTES / 8);
            return Ok(None);
        };
        let header = FrameHeader::parse(fixed, self.max_body_bytes)?;
        let missing = (HEADER_BYTES + header.body).saturating_sub(source.len());
        if missing > 0 {
            source.reserve(missing.max(READ_BYTES / 8));
            return Ok(None);
        }
        source.advance(HEADER_BYTES);
        let mut body = source.split_to(header.body).freeze();
        if crc32fast::hash(&body) != header.body_crc {
            return Err(FrameError::BodyChecksum);
        }
        let head = body.split_to(header.head);
        Ok(Some(Frame { kind: header.kind, correlation: header.correlation, head, payload: body }))
    }
}

impl Encoder<&Frame> for FrameCodec {
    type Error = FrameError;

    /// Appends a frame, or nothing if it is too long.
    fn encode(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), FrameError> {
        let body = frame.head.len() + frame.payload.len();
        let too_long = FrameError::TooLong { length: body, max: self.max_body_bytes };
        let (Ok(body_length), true) = (u32::try_from(body), body <= self.max_body_bytes) else {
            return Err(too_long);
        };
        let head_length = u32::try_from(frame.head.len()).map_err(|_| too_long)?;
        let mut body_crc = crc32fast::Hasher::new();
        body_crc.update(&frame.head);
        body_crc.update(&frame.payload);

        out.reserve(HEADER_BYTES + body);
        let start = out.len();
        out.put_u32_le(body_length);
        out.put_u32_le(head_length);
        out.put_u64_le(frame.correlation);
        out.put_u8(frame.kind as u8);
        out.put_u32_le(body_crc.finalize());
        let header_crc = crc32fast::hash(&out[start..]);
        out.put_u32_le(header_crc);
        out.put_slice(&frame.head);
        out.put_slice(&frame.payload);
        Ok(())
    }
}

struct FrameHeader {
    body: usize,
    head: usize,
    correlation: u64,
    kind: FrameKind,
    body_crc: u32,
}

impl FrameHeader {
    fn parse(bytes: &[u8; HEADER_BYTES], max: usize) -> Result<Self, FrameError> {
        let (checked, mut crc) = bytes.split_at(HEADER_BYTES - 4);
        if crc.get_u32_le() != crc32fast::hash(checked) {
            return Err(FrameError::HeaderChecksum);
        }
        let mut fields = checked;
        let body = fields.get_u32_le() as usize;
        let head = fields.get_u32_le() as usize;
        let correlation = fields.get_u64_le();
        let kind = match fields.get_u8() {
            1 => FrameKind::Greeting,
            2 => FrameKind::GreetingAnswer,
            3 => FrameKind::Request,
            4 => FrameKind::Response,
            kind => return Err(FrameError::UnknownKind(kind)),
        };
        if body > max {
            return Err(FrameError::TooLong { length: body, max });
        }
        if head > body {
            return Err(FrameError::HeadLength { head, body });
        }
        Ok(Self { body, head, correlation, kind, body_crc: fields.get_u32_le() })
    }
}

/// Gathers frames and writes them with as few system calls as there are pauses.
#[derive(Debug)]
pub(super) struct FrameWriter<W> {
    io: W,
    codec: FrameCodec,
    gathered: BytesMut,
}

impl<W: AsyncWrite + Unpin> FrameWriter<W> {
    pub(super) fn new(io: W, max_body_bytes: usize) -> Self {
        Self { io, codec: FrameCodec::new(max_body_bytes), gathered: BytesMut::new() }
    }

    /// Adds a frame to what the next [`FrameWriter::flush`] sends; a frame that is too long changes nothing.
    pub(super) fn gather(&mut self, frame: &Frame) -> Result<(), FrameError> {
        self.codec.encode(frame, &mut self.gathered)
    }

    /// Adds bytes outside any frame.
    pub(super) fn gather_raw(&mut self, bytes: &[u8]) {
        self.gathered.put_slice(bytes);
    }

    /// Whether enough is gathered to be sent now, whatever else waits.
    pub(super) fn is_full(&self) -> bool {
        self.gathered.len() >= WRITE_BYTES
    }

    /// Sends what is gathered. When this is dropped before its end, half a frame may be out: the connection must
    /// not be used any further.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        self.io.write_all(&self.gathered).await?;
        if self.gathered.capacity() > 2 * WRITE_BYTES {
            self.gathered = BytesMut::new();
        } else {
            self.gathered.clear();
        }
        self.io.flush().await
    }

    /// Tells the other side that nothing follows.
    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.io.shutdown().await
    }
}
