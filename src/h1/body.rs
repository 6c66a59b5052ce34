//! bytes -> message body: by length and by the chunked coding (RFC 9112, 6 and 7).
//!
//! The decoder never holds content. It takes framing off the front of what has come, and says how many bytes of content
//! stand next, so that content can go straight from the socket to whoever reads it.

use super::syntax::{TCHAR, is_field_byte};
use super::{Framing, Refusal};

/// Chunk extensions and the trailer section are skipped, but not without end: so many bytes of either in one body.
const SKIPPED_BYTES_MAX: usize = 16 * 1024;

/// How far a message body has been read.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
    skipped_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Content by length; so many bytes are left.
    Length(u64),
    /// The first digit of a chunk size.
    SizeStart,
    /// The further digits of a chunk size, and what they make so far.
    Size(u64),
    /// A chunk extension.
    Extension(u64),
    /// The LF behind a chunk size.
    SizeEnd(u64),
    /// Content of a chunk; so many bytes are left.
    Data(u64),
    /// The CR behind a chunk.
    DataCr,
    /// The LF behind a chunk.
    DataLf,
    /// The start of a trailer field line, or of the empty line that ends the message.
    TrailerStart,
    /// The name of a trailer field.
    TrailerName,
    /// The value of a trailer field.
    TrailerValue,
    /// The LF behind a trailer field line.
    TrailerLf,
    /// The LF of the empty line.
    EndLf,
    Done,
    Failed(Refusal),
}

impl Decoder {
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Close | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::SizeStart,
        };
        Decoder { state, skipped_bytes: 0 }
    }

    /// Takes framing off the front of `input` up to the next content, the end of the body or the end of `input`, and
    /// returns how many bytes it was.
    pub fn skip_framing(&mut self, input: &[u8]) -> Result<usize, Refusal> {
        let mut bytes = input.iter();
        while self.content_bytes() == 0 && !self.is_done() {
            let Some(byte) = bytes.next() else { break };
            self.state = self.step(*byte).unwrap_or_else(State::Failed);
        }
        match self.state {
            State::Failed(refusal) => Err(refusal),
            _ => Ok(input.len().saturating_sub(bytes.len())),
        }
    }

    /// How many bytes of content stand next; 0 if framing does, or nothing more.
    pub fn content_bytes(&self) -> u64 {
        match self.state {
            State::Length(left) | State::Data(left) => left,
            _ => 0,
        }
    }

    /// Notes that so many bytes of content were taken.
    pub fn took_content(&mut self, count: usize) {
        self.state = match (self.state, self.content_bytes().saturating_sub(count as u64)) {
            (State::Length(_), 0) => State::Done,
            (State::Length(_), left) => State::Length(left),
            (State::Data(_), 0) => State::DataCr,
            (State::Data(_), left) => State::Data(left),
            (state, _) => state,
        };
    }

    /// Notes that the peer is gone, whatever was left of the body.
    pub fn cut(&mut self) {
        self.state = State::Failed(Refusal::bad("message body ends early"));
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether so many bytes of content may be enough to end the body.
    pub fn may_end_within(&self, bytes: usize) -> bool {
        match self.state {
            State::Failed(_) => false,
            _ => self.content_bytes() <= bytes as u64,
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::SizeStart, _) => add_digit(0, byte).map(State::Size),
            (State::Size(size), b'\r') => Ok(State::SizeEnd(size)),
            (State::Size(size), b';') => Ok(State::Extension(size)),
            // Leading zeros are not without end, either.
            (State::Size(0), _) => self.skip(byte, State::Size(add_digit(0, byte)?)),
            (State::Size(size), _) => add_digit(size, byte).map(State::Size),
            (State::Extension(size), b'\r') => Ok(State::SizeEnd(size)),
            (State::Extension(size), _) => self.skip(byte, State::Extension(size)),
            (State::SizeEnd(0), b'\n') => Ok(State::TrailerStart),
            (State::SizeEnd(size), b'\n') => Ok(State::Data(size)),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeStart),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerName, b':') => self.skip(byte, State::TrailerValue),
            (State::TrailerStart | State::TrailerName, _) if TCHAR.has(byte) => self.skip(byte, State::TrailerName),
            (State::TrailerStart | State::TrailerName, _) => Err(Refusal::bad("trailer field name is malformed")),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) => self.skip(byte, State::TrailerValue),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::DataCr | State::DataLf, _) => Err(Refusal::bad("chunk does not end in CRLF")),
            _ => Err(Refusal::bad("line in the chunked coding does not end in CRLF")),
        }
    }

    /// Passes over a byte of a chunk extension or of a trailer value: the same bytes as in a field value.
    fn skip(&mut self, byte: u8, next: State) -> Result<State, Refusal> {
        self.skipped_bytes = self.skipped_bytes.saturating_add(1);
        match byte {
            _ if self.skipped_bytes > SKIPPED_BYTES_MAX => {
                Err(Refusal::bad("chunk extensions or trailers are too long"))
            }
            _ if is_field_byte(byte) => Ok(next),
            _ => Err(Refusal::bad("control byte in the chunked coding")),
        }
    }
}

fn add_digit(size: u64, byte: u8) -> Result<u64, Refusal> {
    let size = size.checked_mul(16).ok_or(Refusal::bad("chunk size is too large"))?;
    let digit = char::from(byte).to_digit(16).ok_or(Refusal::bad("chunk size is not hexadecimal"))?;
    Ok(size | u64::from(digit))
}
