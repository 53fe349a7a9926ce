//! A damaged frame ends its connection and is never taken for another message.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use helenus_cluster::node::transport::{CallError, Transport};
use helenus_server::peer::frame::{Frame, FrameCodec, FrameError, FrameKind, HEADER_BYTES};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::codec::{Decoder, Encoder};

use super::nodes::*;

fn some_frame() -> Frame {
    Frame {
        kind: FrameKind::Request,
        correlation: 0x0102_0304_0506_0708,
        head: Bytes::from_static(b"head"),
        payload: Bytes::from_static(b"and a payload"),
    }
}

fn bytes_of(frame: &Frame) -> BytesMut {
    let mut bytes = BytesMut::new();
    FrameCodec::new(1024).encode(frame, &mut bytes).unwrap();
    bytes
}

#[test]
fn a_frame_is_laid_out_as_documented() {
    let bytes = bytes_of(&some_frame());

    assert_eq!(bytes[..4], 17_u32.to_le_bytes(), "body length");
    assert_eq!(bytes[4..8], 4_u32.to_le_bytes(), "head length");
    assert_eq!(bytes[8..16], [8, 7, 6, 5, 4, 3, 2, 1], "correlation");
    assert_eq!(bytes[16], 3, "kind");
    assert_eq!(bytes[17..21], crc32fast::hash(b"headand a payload").to_le_bytes(), "body checksum");
    assert_eq!(bytes[21..25], crc32fast::hash(&bytes[..21]).to_le_bytes(), "header checksum");
    assert_eq!(&bytes[25..], b"headand a payload");
}

#[test]
fn frames_come_out_as_they_went_in_however_the_bytes_are_cut() {
    let frames = [
        some_frame(),
        Frame { head: Bytes::new(), payload: Bytes::new(), ..some_frame() },
        Frame { kind: FrameKind::Response, payload: vec![7; 900].into(), ..some_frame() },
    ];
    let bytes: Vec<u8> = frames.iter().flat_map(bytes_of).collect();

    for piece in [1, 2, 24, 25, 26, 500, bytes.len()] {
        let (mut codec, mut buffer, mut out) = (FrameCodec::new(1024), BytesMut::new(), Vec::new());
        for chunk in bytes.chunks(piece) {
            buffer.extend_from_slice(chunk);
            while let Some(frame) = codec.decode(&mut buffer).unwrap() {
                out.push(frame);
            }
        }
        assert_eq!(out, frames, "in pieces of {piece}");
        assert!(buffer.is_empty());
    }
}

#[test]
fn any_flipped_bit_is_noticed_as_soon_as_its_part_is_there() {
    let intact = bytes_of(&some_frame());

    for bit in 0..intact.len() * 8 {
        let mut damaged = intact.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        // A damaged header must not wait for a body, which may never come.
        if bit / 8 < HEADER_BYTES {
            damaged.truncate(HEADER_BYTES);
        }

        let verdict = FrameCodec::new(1024).decode(&mut damaged);

        assert!(verdict.is_err(), "bit {bit}: {verdict:?}");
    }
}

#[test]
fn a_frame_beyond_the_bound_is_refused_before_anything_is_allocated_for_it() {
    let long = Frame { payload: vec![0; 1 << 20].into(), ..some_frame() };
    let mut bytes = BytesMut::new();
    FrameCodec::new(2 << 20).encode(&long, &mut bytes).unwrap();
    let mut header = BytesMut::with_capacity(64);
    header.extend_from_slice(&bytes[..HEADER_BYTES]);
    let capacity = header.capacity();

    let verdict = FrameCodec::new(1024).decode(&mut header);

    assert!(matches!(verdict, Err(FrameError::TooLong { max: 1024, .. })), "{verdict:?}");
    assert_eq!(header.capacity(), capacity);
    let unsent = FrameCodec::new(1024).encode(&long, &mut header);
    assert!(matches!(unsent, Err(FrameError::TooLong { .. })), "{unsent:?}");
    assert_eq!(header.len(), HEADER_BYTES, "a frame that is too long is not begun");
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Direction {
    ToListener,
    ToCaller,
}

/// Sits between caller and listener and flips a bit of one byte of the first frame after the greetings, once.
struct Proxy {
    destination: helenus_cluster::node::transport::Destination,
    /// Where to flip; taken by the first connection.
    damage: Arc<Mutex<Option<(Direction, usize)>>>,
}

impl Proxy {
    async fn before(listener: std::net::SocketAddr) -> Self {
        let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let destination = at(socket.local_addr().unwrap());
        let damage: Arc<Mutex<Option<(Direction, usize)>>> = Arc::default();
        let planned = Arc::clone(&damage);
        tokio::spawn(async move {
            while let Ok((caller, _)) = socket.accept().await {
                let listener = TcpStream::connect(listener).await.unwrap();
                let (from_caller, to_caller) = caller.into_split();
                let (from_listener, to_listener) = listener.into_split();
                let of = |direction| {
                    let mut planned = planned.lock();
                    let offset = planned.filter(|(of, _)| *of == direction).map(|(_, offset)| offset);
                    if offset.is_some() {
                        *planned = None;
                    }
                    offset
                };
                let (up, down) = (of(Direction::ToListener), of(Direction::ToCaller));
                tokio::spawn(pass(from_caller, to_listener, 8, up));
                tokio::spawn(pass(from_listener, to_caller, 0, down));
            }
        });
        Self { destination, damage }
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    magic: usize,
    damage: Option<usize>,
) -> std::io::Result<()> {
    let mut greeting = vec![0; magic + HEADER_BYTES];
    from.read_exact(&mut greeting).await?;
    let body = u32::from_le_bytes(greeting[magic..magic + 4].try_into().unwrap());
    greeting.resize(magic + HEADER_BYTES + body as usize, 0);
    from.read_exact(&mut greeting[magic + HEADER_BYTES..]).await?;
    to.write_all(&greeting).await?;
    if let Some(offset) = damage {
        let mut intact = vec![0; offset + 1];
        from.read_exact(&mut intact).await?;
        intact[offset] ^= 0x10;
        to.write_all(&intact).await?;
    }
    tokio::io::copy(&mut from, &mut to).await?;
    Ok(())
}

#[tokio::test]
async fn a_byte_damaged_on_the_way_fails_the_call_and_the_next_one_succeeds() {
    for direction in [Direction::ToListener, Direction::ToCaller] {
        // Head and key or value of these messages are longer than that together.
        for offset in (0..HEADER_BYTES + 40).step_by(3) {
            let listener = listen(echo()).await;
            let proxy = Proxy::before(listener.local_address()).await;
            *proxy.damage.lock() = Some((direction, offset));
            let transport = transport();
            let key = "a key of forty bytes, to be damaged soon";

            let first = transport.call(&proxy.destination, read(key), far()).await;
            let second = transport.call(&proxy.destination, read(key), far()).await;

            let lost = matches!(first, Err(CallError::Lost { .. }));
            assert!(lost, "{direction:?} at {offset}: {first:?}");
            assert_eq!(echoed(second), key, "{direction:?} at {offset}");
            let asked = if direction == Direction::ToListener { 1 } else { 2 };
            assert_eq!(listener.counts().requests, asked, "{direction:?} at {offset}");
        }
    }
}
