//! The first words on a connection: who greets whom, and the answer.
//!
//! ```text
//! connecting side                          listening side
//!   magic (below), greeting frame      ──▶   handshake::check(own greeting, theirs)
//!   check, expected host id            ◀──   greeting answer frame: its own greeting, or why it refuses
//! ```
//!
//! The magic says the class of traffic: "helenus\n" for requests, "Helenus\n" for control, "hELENUS\n" for background. So
//! the listening side knows from the first byte, before it has read anything, on which of its threads the connection
//! belongs.
//!
//! Heads are postcard. In every version of the protocol the magic, the layout of these two frames, the greeting's
//! first field (the version) and the numbers of the refusals stay as they are: so a node of another version is told
//! so by name. Everything else may change with the version. Greetings are bounded to 4 KiB and by a timeout as a
//! whole, so that a stranger who trickles or floods is rid of cheaply.

use std::{io, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt;
use helenus_cluster::{
    membership::handshake::{self, Greeting, Refusal},
    message::TrafficClass,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    net::TcpStream,
};
use tokio_util::codec::FramedRead;

use super::frame::{Frame, FrameCodec, FrameError, FrameKind, FrameWriter, READ_BYTES};

const REQUEST_MAGIC: [u8; 8] = *b"helenus\n";
const CONTROL_MAGIC: [u8; 8] = *b"Helenus\n";
const BACKGROUND_MAGIC: [u8; 8] = *b"hELENUS\n";
const MAX_GREETING_BYTES: usize = 4096;

/// Why two nodes did not get to talk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// One does not talk to the other.
    #[error("{0}")]
    Refused(Refusal),
    /// What arrived first was not the magic.
    #[error("the other side does not speak the peer protocol")]
    Stranger,
    /// Nothing, or too little, arrived in time.
    #[error("no complete greeting within {0:?}")]
    Silent(Duration),
    /// The connection ended.
    #[error("the other side closed the connection")]
    Closed,
    /// What arrived was not a frame.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A frame that does not belong here.
    #[error("malformed greeting: {0}")]
    Malformed(String),
}

impl HandshakeError {
    /// What kind of error it is, for the log: whatever a stranger sends is one kind.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Refused(Refusal::ProtocolVersion { .. }) => "version",
            Self::Refused(Refusal::ClusterName { .. }) => "cluster name",
            Self::Refused(Refusal::ClusterId { .. }) => "cluster id",
            Self::Refused(Refusal::Partitioner { .. }) => "partitioner",
            Self::Refused(_) => "refused",
            _ => "stranger",
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        Self::Frame(FrameError::Io(error))
    }
}

/// A connection after its handshake.
#[derive(Debug)]
pub(super) struct Greeted<R, W> {
    pub(super) theirs: Greeting,
    pub(super) frames: FramedRead<R, FrameCodec>,
    pub(super) writer: FrameWriter<W>,
}

#[derive(Serialize, Deserialize)]
enum GreetingAnswer {
    Accepted(Greeting),
    Refused(Refusal),
}

/// The class of traffic of a connection, from its first byte, which is left to be read. Whoever begins with something
/// else is no node, and is found out by [`welcome`].
pub(super) async fn class_of(stream: &TcpStream, limit: Duration) -> Result<TrafficClass, HandshakeError> {
    let mut first = [0];
    let peeked = tokio::time::timeout(limit, stream.peek(&mut first)).await;
    match peeked.map_err(|_| HandshakeError::Silent(limit))? {
        Ok(0) | Err(_) => Err(HandshakeError::Closed),
        Ok(_) if first[0] == CONTROL_MAGIC[0] => Ok(TrafficClass::Control),
        // Background runs where requests do.
        Ok(_) => Ok(TrafficClass::Request),
    }
}

/// Greets the node at the other end, which was connected to.
pub(super) async fn greet<R, W>(
    reader: R,
    writer: W,
    class: TrafficClass,
    ours: &Greeting,
    max_frame_bytes: usize,
    limit: Duration,
) -> Result<Greeted<R, W>, HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let conversation = async {
        let mut writer = FrameWriter::new(writer, max_frame_bytes);
        writer.gather_raw(match class {
            TrafficClass::Control => &CONTROL_MAGIC,
            TrafficClass::Request => &REQUEST_MAGIC,
            TrafficClass::Background => &BACKGROUND_MAGIC,
        });
        writer.gather(&frame(FrameKind::Greeting, ours)?)?;
        writer.flush().await?;

        let mut frames = greeting_frames(reader);
        let answer = next_head(&mut frames, FrameKind::GreetingAnswer).await?;
        match postcard::from_bytes(&answer).map_err(malformed)? {
            GreetingAnswer::Refused(refusal) => Err(HandshakeError::Refused(refusal)),
            GreetingAnswer::Accepted(theirs) => {
                handshake::check(ours, &theirs).map_err(HandshakeError::Refused)?;
                *frames.decoder_mut() = FrameCodec::new(max_frame_bytes);
                Ok(Greeted { theirs, frames, writer })
            }
        }
    };
    tokio::time::timeout(limit, conversation).await.unwrap_or(Err(HandshakeError::Silent(limit)))
}

/// Answers the greeting of a node that has connected. When it is refused, it has been told.
pub(super) async fn welcome<R, W>(
    mut reader: R,
    writer: W,
    ours: &Greeting,
    max_frame_bytes: usize,
    limit: Duration,
) -> Result<Greeted<R, W>, HandshakeError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let conversation = async {
        let mut magic = [0; REQUEST_MAGIC.len()];
        reader.read_exact(&mut magic).await.map_err(|_| HandshakeError::Closed)?;
        if ![REQUEST_MAGIC, CONTROL_MAGIC, BACKGROUND_MAGIC].contains(&magic) {
            return Err(HandshakeError::Stranger);
        }
        let mut frames = greeting_frames(reader);
        let theirs = read_greeting(&next_head(&mut frames, FrameKind::Greeting).await?, ours)?;

        let verdict = theirs.and_then(|theirs| handshake::check(ours, &theirs).map(|()| theirs));
        let answer = match &verdict {
            Ok(_) => GreetingAnswer::Accepted(ours.clone()),
            Err(refusal) => GreetingAnswer::Refused(refusal.clone()),
        };
        let mut writer = FrameWriter::new(writer, max_frame_bytes);
        writer.gather(&frame(FrameKind::GreetingAnswer, &answer)?)?;
        writer.flush().await?;

        let theirs = verdict.map_err(HandshakeError::Refused)?;
        *frames.decoder_mut() = FrameCodec::new(max_frame_bytes);
        Ok(Greeted { theirs, frames, writer })
    };
    tokio::time::timeout(limit, conversation).await.unwrap_or(Err(HandshakeError::Silent(limit)))
}

fn greeting_frames<R: AsyncRead>(reader: R) -> FramedRead<R, FrameCodec> {
    FramedRead::with_capacity(reader, FrameCodec::new(MAX_GREETING_BYTES), READ_BYTES)
}

async fn next_head<R>(
    frames: &mut FramedRead<R, FrameCodec>,
    kind: FrameKind,
) -> Result<Bytes, HandshakeError>
where
    R: AsyncRead + Unpin,
{
    let frame = frames.next().await.ok_or(HandshakeError::Closed)??;
    if frame.kind == kind {
        return Ok(frame.head);
    }
    Err(HandshakeError::Malformed(format!("a frame of kind {:?} where {kind:?} belongs", frame.kind)))
}

/// The version first: what follows it may look different in another one.
fn read_greeting(head: &[u8], ours: &Greeting) -> Result<Result<Greeting, Refusal>, HandshakeError> {
    let (version, _) = postcard::take_from_bytes::<u16>(head).map_err(malformed)?;
    if version != ours.protocol_version {
        return Ok(Err(Refusal::ProtocolVersion { ours: ours.protocol_version, theirs: version }));
    }
    postcard::from_bytes(head).map(Ok).map_err(malformed)
}

fn frame(kind: FrameKind, head: &impl Serialize) -> Result<Frame, HandshakeError> {
    let head = postcard::to_stdvec(head).map_err(malformed)?;
    Ok(Frame { kind, correlation: 0, head: head.into(), payload: Bytes::new() })
}

#[expect(clippy::needless_pass_by_value, reason = "made for map_err")]
fn malformed(error: postcard::Error) -> HandshakeError {
    HandshakeError::Malformed(error.to_string())
}
