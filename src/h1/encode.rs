//! A response as bytes: status line, field lines, Date, length or chunked (RFC 9112, 4, 6 and 7).

#![expect(clippy::arithmetic_side_effects, reason = "these are our own numbers, not the peer's")]

use std::cell::RefCell;
use std::io::Write;
use std::time::{Duration, SystemTime};

use http_types::{StatusCode, Version};

use super::syntax::{has_element, is_field_byte, is_token};
use super::{Framing, Persistence};

/// Why a response cannot be sent as its handler made it.
const INVALID_FIELD: &str = "a response field has a byte that cannot be sent, like CR, LF or NUL";
const WRONG_LENGTH: &str = "the body is not as long as it was said to be";

/// Writes the head of a response behind what is already in a buffer.
#[derive(Debug)]
pub struct Encoder<'a> {
    output: &'a mut Vec<u8>,
    persistence: Persistence,
    /// Whether the handler has set Date.
    is_dated: bool,
}

impl<'a> Encoder<'a> {
    /// Writes the status line. It says HTTP/1.1 to any peer: that is what we speak (RFC 9110, 2.5).
    pub fn new(output: &'a mut Vec<u8>, status: StatusCode, persistence: Persistence) -> Self {
        output.extend_from_slice(b"HTTP/1.1 ");
        output.extend_from_slice(itoa::Buffer::new().format(u16::from(status)).as_bytes());
        output.push(b' ');
        output.extend_from_slice(reason_phrase(status).as_bytes());
        output.extend_from_slice(b"\r\n");
        Encoder { output, persistence, is_dated: false }
    }

    /// Writes a field line of the handler's. How the message is framed is not the handler's to say; that it be the last is.
    ///
    /// Fails if the line could be read as something else than one field line (RFC 9110, 5).
    pub fn field(&mut self, name: &str, value: &str) -> Result<(), &'static str> {
        match name {
            _ if !is_token(name.as_bytes()) || !value.bytes().all(is_field_byte) => return Err(INVALID_FIELD),
            "content-length" | "transfer-encoding" => {}
            "connection" if has_element(value.as_bytes(), "close") => self.persistence = Persistence::Close,
            "connection" => {}
            _ => {
                self.is_dated |= name == "date";
                self.line(name, value.as_bytes());
            }
        }
        Ok(())
    }

    /// Writes Date and the fields that say where the message ends, then the empty line.
    pub fn finish(mut self, framing: Framing, version: Version) -> Persistence {
        if !self.is_dated {
            DATE.with_borrow_mut(|date| self.output.extend_from_slice(date.line()));
        }
        match framing {
            Framing::Length(length) => self.line("content-length", itoa::Buffer::new().format(length).as_bytes()),
            Framing::Chunked => self.line("transfer-encoding", b"chunked"),
            Framing::Close => self.persistence = Persistence::Close,
            Framing::None => {}
        }
        match (self.persistence, version) {
            (Persistence::Close, _) => self.line("connection", b"close"),
            (Persistence::Upgrade, _) => self.line("connection", b"upgrade"),
            (Persistence::Persist, Version::Http1_0) => self.line("connection", b"keep-alive"),
            (Persistence::Persist, _) => {}
        }
        self.output.extend_from_slice(b"\r\n");
        self.persistence
    }

    /// Writes a field line of our own.
    pub fn line(&mut self, name: &str, value: &[u8]) {
        self.output.extend_from_slice(name.as_bytes());
        self.output.extend_from_slice(b": ");
        self.output.extend_from_slice(value);
        self.output.extend_from_slice(b"\r\n");
    }
}

/// A piece of content on its way out: it is filled by a reader, and leaves with its framing around it.
#[derive(Debug)]
pub struct Chunk {
    framing: Framing,
    bytes: Vec<u8>,
    filled: usize,
}

/// Whether there is content behind a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum More {
    Follows,
    Ends,
}

const CHUNK_BYTES_MIN: usize = 8 * 1024;
const CHUNK_BYTES_MAX: usize = 64 * 1024;
const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
const FRAMING_BYTES: usize = CHUNK_END.len() + LAST_CHUNK.len();

impl Chunk {
    pub fn new(framing: Framing) -> Self {
        Chunk { framing, bytes: vec![0; CHUNK_BYTES_MIN], filled: 0 }
    }

    /// Room for content, which grows while it is filled; empty if the chunk should leave.
    pub fn room(&mut self) -> &mut [u8] {
        if self.filled + FRAMING_BYTES == self.bytes.len() && self.bytes.len() < CHUNK_BYTES_MAX {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let end = self.bytes.len() - FRAMING_BYTES;
        self.bytes.get_mut(self.filled..end).unwrap_or_default()
    }

    /// Notes that so much content was put into the room.
    pub fn fill(&mut self, count: usize) -> Result<(), &'static str> {
        if let Framing::Length(left) = &mut self.framing {
            *left = left.checked_sub(count as u64).ok_or(WRONG_LENGTH)?;
        }
        self.filled += count;
        Ok(())
    }

    /// What can be said of the content without waiting for the reader; `None` if that is nothing yet.
    pub fn more(&self) -> Option<More> {
        match (self.framing, self.filled) {
            (Framing::Length(0), _) => Some(More::Ends),
            (_, 0) => None,
            _ => Some(More::Follows),
        }
    }

    /// Writes the size line, if there is to be one, and returns what stands behind it. The chunk is empty then.
    pub fn frame(&mut self, output: &mut Vec<u8>, more: More) -> Result<&[u8], &'static str> {
        let mut end = std::mem::take(&mut self.filled);
        match (self.framing, more) {
            (Framing::Length(left), More::Ends) if left > 0 => return Err(WRONG_LENGTH),
            (Framing::Chunked, _) => {
                if end > 0 {
                    // A Vec takes whatever is written to it.
                    let _ = write!(output, "{end:x}\r\n");
                    end = self.append(end, CHUNK_END);
                }
                if more == More::Ends {
                    end = self.append(end, LAST_CHUNK);
                }
            }
            _ => {}
        }
        Ok(self.bytes.get(..end).unwrap_or_default())
    }

    fn append(&mut self, start: usize, framing: &[u8]) -> usize {
        let room = self.bytes.iter_mut().skip(start);
        room.zip(framing).for_each(|(to, from)| *to = *from);
        start + framing.len()
    }
}

/// The reason phrases of RFC 9110, 15, of which http-types has two wrong.
fn reason_phrase(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NonAuthoritativeInformation => "Non-Authoritative Information",
        StatusCode::NotModified => "Not Modified",
        _ => status.canonical_reason(),
    }
}

thread_local! {
    static DATE: RefCell<DateLine> = const { RefCell::new(DateLine { second: None, text: String::new() }) };
}

/// The field line of Date, formatted once a second and thread.
struct DateLine {
    second: Option<u64>,
    text: String,
}

impl DateLine {
    fn line(&mut self) -> &[u8] {
        let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let second = since_epoch.as_secs();
        if self.second != Some(second) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            self.text = format!("date: {}\r\n", http_types::other::Date::new(now).value());
            self.second = Some(second);
        }
        self.text.as_bytes()
    }
}
