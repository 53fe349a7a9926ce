//! Messages as bytes: a postcard head and a raw payload. (skeleton)

use bytes::Bytes;

use crate::message::{Header, Message, Request, Response};

/// A message as bytes. The transport frames both parts and adds length and checksum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Verb, verb version, header and small fields.
    pub head: Bytes,
    /// Keys and values, untouched.
    pub payload: Bytes,
}

/// Bytes that are no message of this build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WireError {
    /// A verb or verb version this build does not know; its header could still be read, so it can be answered.
    #[error("verb {verb} version {version} is not supported")]
    Unsupported {
        /// The verb.
        verb: u8,
        /// Its version.
        version: u8,
        /// The sender's header.
        header: Box<Header>,
    },
    /// Not a message at all.
    #[error("malformed message: {0}")]
    Malformed(String),
}

/// Encodes a request.
pub fn encode_request(message: &Message<Request>) -> Encoded {
    let _ = message;
    todo!()
}

/// Decodes a request.
///
/// # Errors
/// [`WireError`].
pub fn decode_request(encoded: Encoded) -> Result<Message<Request>, WireError> {
    let _ = encoded;
    todo!()
}

/// Encodes an answer.
pub fn encode_response(message: &Message<Response>) -> Encoded {
    let _ = message;
    todo!()
}

/// Decodes an answer.
///
/// # Errors
/// [`WireError`].
pub fn decode_response(encoded: Encoded) -> Result<Message<Response>, WireError> {
    let _ = encoded;
    todo!()
}
