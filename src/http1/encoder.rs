//! A response -> bytes: status line, field lines, content with its framing (RFC 9112, 4 to 7).

#![expect(clippy::arithmetic_side_effects, reason = "the numbers are our own, not the peer's")]

use std::cell::RefCell;
use std::io::Write;
use std::time::{Duration, SystemTime};

use http_types::{StatusCode, Version};

use super::super::error::reason_phrase;
use super::fields::Fields;
use super::framing::{Framing, Persistence};
use super::syntax::elements;

/// The head of a response. Its fields are valid ([`Fields::invalid`]).
#[derive(Clone, Copy)]
pub struct ResponseHead<'a> {
    pub status: StatusCode,
    /// A content type that stands before the fields.
    pub content_type: Option<&'a str>,
    pub fields: &'a Fields,
    pub framing: Framing,
    /// The version of the request.
    pub version: Version,
    pub persistence: Persistence,
}

impl ResponseHead<'_> {
    /// Writes the head, and returns whether the connection persists: the handler may close it, and so may the framing.
    ///
    /// The status line says HTTP/1.1 to any peer (RFC 9110, 2.5). Framing is not the handler's to set: Content-Length and
    /// Transfer-Encoding of its own are left out.
    pub fn encode(&self, output: &mut Vec<u8>) -> Persistence {
        output.extend_from_slice(b"HTTP/1.1 ");
        output.extend_from_slice(itoa::Buffer::new().format(u16::from(self.status)).as_bytes());
        output.push(b' ');
        output.extend_from_slice(reason_phrase(self.status).as_bytes());
        output.extend_from_slice(b"\r\n");
        if let Some(content_type) = self.content_type {
            write_line(output, b"content-type", content_type.as_bytes());
        }
        let mut has_date = false;
        for (name, value) in self.fields.lines() {
            let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
            if !is("content-length") && !is("transfer-encoding") && !is("connection") {
                has_date |= is("date");
                write_line(output, name, value);
            }
        }
        if !has_date {
            write_date(output);
        }
        match self.framing {
            Framing::Length(length) => {
                write_line(output, b"content-length", itoa::Buffer::new().format(length).as_bytes())
            }
            Framing::Chunked => write_line(output, b"transfer-encoding", b"chunked"),
            Framing::Close | Framing::None => {}
        }
        let persistence = self.persistence();
        self.write_connection(output, persistence);
        output.extend_from_slice(b"\r\n");
        persistence
    }

    /// Closes the connection if the response does.
    fn persistence(&self) -> Persistence {
        match self.persistence {
            Persistence::Upgrade => Persistence::Upgrade,
            _ if self.framing == Framing::Close => Persistence::Close,
            _ if self.fields.has_element("connection", "close") => Persistence::Close,
            persistence => persistence,
        }
    }

    /// Writes Connection, if it says anything: what the server does, that there is an Upgrade (RFC 9110, 7.8), and what
    /// the handler has added.
    fn write_connection(&self, output: &mut Vec<u8>, persistence: Persistence) {
        const MANAGED: [&str; 4] = ["", "close", "keep-alive", "upgrade"];
        let is_managed = |option: &[u8]| MANAGED.iter().any(|name| option.eq_ignore_ascii_case(name.as_bytes()));
        let start = output.len();
        let mut write = |option: &[u8]| {
            output.extend_from_slice(if output.len() == start { b"connection: " } else { b", " });
            output.extend_from_slice(option);
        };
        match (persistence, self.version) {
            (Persistence::Close, _) => write(b"close"),
            (Persistence::Persist, Version::Http1_0) => write(b"keep-alive"),
            _ => {}
        }
        if self.fields.values("upgrade").next().is_some() {
            write(b"upgrade");
        }
        for value in self.fields.values("connection") {
            elements(value).filter(|option| !is_managed(option)).for_each(&mut write);
        }
        if output.len() > start {
            output.extend_from_slice(b"\r\n");
        }
    }
}

fn write_line(output: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    output.extend_from_slice(name);
    output.extend_from_slice(b": ");
    output.extend_from_slice(value);
    output.extend_from_slice(b"\r\n");
}

/// A piece of streamed content: a reader fills it, and it leaves with its framing around it.
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

const WRONG_LENGTH: &str = "the content is not as long as it was declared to be";

impl Chunk {
    pub fn new(framing: Framing) -> Self {
        Chunk { framing, bytes: vec![0; CHUNK_BYTES_MIN], filled: 0 }
    }

    /// Room for content, which grows while it is filled; empty if the chunk is full.
    pub fn room(&mut self) -> &mut [u8] {
        if self.filled + FRAMING_BYTES == self.bytes.len() && self.bytes.len() < CHUNK_BYTES_MAX {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let end = self.bytes.len() - FRAMING_BYTES;
        self.bytes.get_mut(self.filled..end).unwrap_or_default()
    }

    /// Notes that so many bytes were written to the room.
    ///
    /// Fails if the room or the declared length has fewer.
    pub fn fill(&mut self, count: usize) -> Result<(), &'static str> {
        if count > self.bytes.len() - FRAMING_BYTES - self.filled {
            return Err("a reader claims more bytes than its buffer holds");
        }
        if let Framing::Length(left) = &mut self.framing {
            *left = left.checked_sub(count as u64).ok_or(WRONG_LENGTH)?;
        }
        self.filled += count;
        Ok(())
    }

    /// What is known before the reader goes on: that content ends or that some can leave; `None` if there is none yet.
    pub fn more(&self) -> Option<More> {
        match (self.framing, self.filled) {
            (Framing::Length(0), _) => Some(More::Ends),
            (_, 0) => None,
            _ => Some(More::Follows),
        }
    }

    /// Writes the size line, if there is one, and returns what leaves behind it. The chunk is empty then.
    pub fn frame(&mut self, output: &mut Vec<u8>, more: More) -> Result<&[u8], &'static str> {
        let mut end = std::mem::take(&mut self.filled);
        match (self.framing, more) {
            (Framing::Length(left), More::Ends) if left > 0 => return Err(WRONG_LENGTH),
            (Framing::Chunked, _) => {
                if end > 0 {
                    // Writing to a Vec cannot fail.
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

thread_local! {
    /// The field line of Date, and the second for which it was formatted.
    static DATE: RefCell<(Option<u64>, String)> = const { RefCell::new((None, String::new())) };
}

fn write_date(output: &mut Vec<u8>) {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let second = since_epoch.as_secs();
    DATE.with_borrow_mut(|(formatted, line)| {
        if formatted.replace(second) != Some(second) {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(second);
            *line = format!("date: {}\r\n", http_types::other::Date::new(now).value());
        }
        output.extend_from_slice(line.as_bytes());
    });
}
