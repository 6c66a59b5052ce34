//! bytes -> message body: by length and by the chunked coding (RFC 9112, 6 and 7).
//!
//! The decoder never holds content. It takes framing off the front of what has come and says how many bytes of content
//! follow, so that content goes straight from the stream to its reader.

use super::super::error::Rejection;
use super::framing::Framing;
use super::syntax::{TCHAR, is_field_byte};

/// Leading zeros, chunk extensions and the trailer section are skipped, up to so many bytes in one body.
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
    /// The further digits of a chunk size, and their value so far.
    Size(u64),
    /// The chunk extensions behind a size.
    Extension(u64, Extension),
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
    TrailerName,
    TrailerValue,
    /// The LF behind a trailer field line.
    TrailerLf,
    /// The LF of the empty line.
    EndLf,
    Done,
    Failed(Rejection),
}

/// Where in `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )` a byte stands (RFC 9112, 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extension {
    /// White space before a semicolon.
    Before,
    NameStart,
    Name,
    /// White space behind a name.
    NameEnd,
    ValueStart,
    Token,
    Quoted,
    /// The byte behind a backslash.
    Escaped,
    /// Behind a closing quote.
    QuotedEnd,
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

    /// Takes framing off the front of `input`, up to the next content, the end of the body or the end of `input`, and
    /// returns how many bytes that was.
    pub fn skip_framing(&mut self, input: &[u8]) -> Result<usize, Rejection> {
        let mut bytes = input.iter();
        while self.content_bytes() == 0 && !matches!(self.state, State::Done | State::Failed(_)) {
            let Some(byte) = bytes.next() else { break };
            self.state = self.step(*byte).unwrap_or_else(State::Failed);
        }
        match self.state {
            State::Failed(rejection) => Err(rejection),
            _ => Ok(input.len().saturating_sub(bytes.len())),
        }
    }

    /// How many bytes of content follow; 0 if framing follows, or nothing.
    pub fn content_bytes(&self) -> u64 {
        match self.state {
            State::Length(left) | State::Data(left) => left,
            _ => 0,
        }
    }

    /// How many of the next bytes, which are so many, are content.
    pub fn content_within(&self, bytes: usize) -> usize {
        usize::try_from(self.content_bytes()).map_or(bytes, |content| content.min(bytes))
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

    /// Notes that no more of the body is read, and why.
    pub fn cut(&mut self, rejection: Rejection) {
        self.state = State::Failed(rejection);
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Whether the body may end within so many bytes of content.
    pub fn may_end_within(&self, bytes: usize) -> bool {
        match self.state {
            State::Failed(_) => false,
            _ => self.content_bytes() <= bytes as u64,
        }
    }

    fn step(&mut self, byte: u8) -> Result<State, Rejection> {
        match (self.state, byte) {
            (State::SizeStart, _) => add_digit(0, byte).map(State::Size),
            (State::Size(size), b'\r') => Ok(State::SizeEnd(size)),
            (State::Size(size), b';') => Ok(State::Extension(size, Extension::NameStart)),
            (State::Size(size), b' ' | b'\t') => self.skip(State::Extension(size, Extension::Before)),
            (State::Size(0), _) => self.skip(State::Size(add_digit(0, byte)?)),
            (State::Size(size), _) => add_digit(size, byte).map(State::Size),
            (State::Extension(size, Extension::Name | Extension::Token | Extension::QuotedEnd), b'\r') => {
                Ok(State::SizeEnd(size))
            }
            (State::Extension(size, place), _) => self.skip(State::Extension(size, extension(place, byte)?)),
            (State::SizeEnd(0), b'\n') => Ok(State::TrailerStart),
            (State::SizeEnd(size), b'\n') => Ok(State::Data(size)),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeStart),
            (State::TrailerStart, b'\r') => Ok(State::EndLf),
            (State::TrailerName, b':') => self.skip(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, _) if TCHAR.has(byte) => self.skip(State::TrailerName),
            (State::TrailerStart | State::TrailerName, _) => Err(Rejection::bad("trailer field name is malformed")),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLf),
            (State::TrailerValue, _) if is_field_byte(byte) => self.skip(State::TrailerValue),
            (State::TrailerValue, _) => Err(Rejection::bad("trailer field value is malformed")),
            (State::TrailerLf, b'\n') => Ok(State::TrailerStart),
            (State::EndLf, b'\n') => Ok(State::Done),
            (State::DataCr | State::DataLf, _) => Err(Rejection::bad("chunk does not end in CRLF")),
            _ => Err(Rejection::bad("line in the chunked coding does not end in CRLF")),
        }
    }

    /// Counts a byte that is passed over.
    fn skip(&mut self, next: State) -> Result<State, Rejection> {
        self.skipped_bytes = self.skipped_bytes.saturating_add(1);
        match self.skipped_bytes {
            ..=SKIPPED_BYTES_MAX => Ok(next),
            _ => Err(Rejection::bad("chunk extensions or trailers are too long")),
        }
    }
}

fn add_digit(size: u64, byte: u8) -> Result<u64, Rejection> {
    let size = size.checked_mul(16).ok_or(Rejection::bad("chunk size is too large"))?;
    let digit = char::from(byte).to_digit(16).ok_or(Rejection::bad("chunk size is not hexadecimal"))?;
    Ok(size | u64::from(digit))
}

/// Steps over a byte of a chunk extension.
fn extension(place: Extension, byte: u8) -> Result<Extension, Rejection> {
    use Extension::*;
    match (place, byte) {
        (Before | NameEnd | QuotedEnd, b';') | (Name | Token, b';') => Ok(NameStart),
        (Before | Token | QuotedEnd, b' ' | b'\t') => Ok(Before),
        (NameStart, b' ' | b'\t') => Ok(NameStart),
        (Name | NameEnd, b' ' | b'\t') => Ok(NameEnd),
        (Name | NameEnd, b'=') => Ok(ValueStart),
        (ValueStart, b' ' | b'\t') => Ok(ValueStart),
        (ValueStart, b'"') => Ok(Quoted),
        (NameStart | Name, _) if TCHAR.has(byte) => Ok(Name),
        (ValueStart | Token, _) if TCHAR.has(byte) => Ok(Token),
        (Quoted, b'"') => Ok(QuotedEnd),
        (Quoted, b'\\') => Ok(Escaped),
        (Quoted | Escaped, _) if is_field_byte(byte) => Ok(Quoted),
        _ => Err(Rejection::bad("chunk extension is malformed")),
    }
}
