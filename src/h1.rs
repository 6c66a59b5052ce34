//! The wire half: HTTP/1.1 messages as bytes (RFC 9112), without a socket, a handler or a value in sight.
//!
//! What connection.rs may use of it is re-exported here.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod syntax;
mod head;
mod framing;
mod body;
mod encode;

use http_types::StatusCode;

pub use body::Decoder;
pub use encode::{Chunk, Encoder, More};
pub use framing::{Expectation, Framing, Persistence, expectation, framing, persistence, response_framing};
pub use head::Head;

/// Why a message is refused: the status that answers it, and the part at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub fault: &'static str,
}

impl Refusal {
    pub const fn new(status: StatusCode, fault: &'static str) -> Self {
        Refusal { status, fault }
    }

    pub const fn bad(fault: &'static str) -> Self {
        Refusal::new(StatusCode::BadRequest, fault)
    }
}
