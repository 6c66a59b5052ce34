//! HTTP/1.1 messages as bytes (RFC 9112). This room does no I/O and knows neither handlers nor values.

#![warn(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod memory;
mod syntax;
mod fields;
mod head;
mod framing;
mod decoder;
mod encoder;

pub use decoder::Decoder;
pub use encoder::{Chunk, More, ResponseHead};
pub use fields::Fields;
pub use framing::{Expectation, Framing, Persistence, expectation, framing, persistence, response_framing};
pub use head::{Head, split_absolute};
pub use memory::{Buffer, copy, give};
