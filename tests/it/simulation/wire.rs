//! [`Wire`]: the bytes that the messages of a script make, and where the parts of each one are.

use std::fmt::Write;
use std::ops::Range;
use std::sync::LazyLock;

use super::script::{BodyPlan, ChunkStyle, Message, RequestPlan, Script, Version};

/// Heads that are refused, and with which status.
pub const BAD_HEADS: &[(&str, u16)] = &[
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET  / HTTP/1.1\r\nhost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\nhost: a\n\n", 400),
    ("GET / HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n", 400),
    ("HEAD / HTTP/1.1\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: five\r\n\r\nhello", 400),
    ("POST / HTTP/1.1\r\nhost: a\r\nexpect: more\r\ncontent-length: 5\r\n\r\nhello", 417),
    ("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip, chunked\r\n\r\nhello", 501),
    ("BREW / HTTP/1.1\r\nhost: a\r\n\r\n", 501),
    ("GET / HTTP/2.0\r\nhost: a\r\n\r\n", 505),
    ("\0\r\n", 400),
];

/// Bytes that content is cut from. Framing that slips finds sizes, line ends and heads in them.
static PATTERN: LazyLock<Vec<u8>> = LazyLock::new(|| {
    const BYTES: &[u8] = b"0123456789abcdefABCDEF\r\n\r\n :;GET HTTP/1.1";
    let mut state = 1_u32;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        BYTES[(state >> 16) as usize % BYTES.len()]
    };
    (0..1 << 20).map(next).collect()
});

/// The content of a message.
pub fn content(index: usize, length: usize) -> &'static [u8] {
    &PATTERN[index * 4099..][..length]
}

/// What a handler makes.
pub fn made(index: usize, length: usize) -> &'static [u8] {
    &PATTERN[(1 << 18) + index * 5003..][..length]
}

/// All that the peer has to send.
#[derive(Debug, Default)]
pub struct Wire {
    pub bytes: Vec<u8>,
    pub places: Vec<Place>,
}

/// Where a message stands.
#[derive(Debug, Default)]
pub struct Place {
    pub start: usize,
    pub head_end: usize,
    pub end: usize,
    pub content_bytes: usize,
    /// Where pieces of the content stand.
    pieces: Vec<Range<usize>>,
    /// The body cannot be read to its end.
    pub is_malformed: bool,
}

impl Place {
    /// How much of the content is there, once so many bytes have arrived.
    pub fn available(&self, arrived: usize) -> usize {
        self.pieces.iter().map(|piece| arrived.clamp(piece.start, piece.end) - piece.start).sum()
    }

    /// Whether the content has ended by then, or is known to be malformed.
    pub fn is_over(&self, arrived: usize) -> bool {
        arrived >= self.end
    }

    /// Whether the whole content is there, and right.
    pub fn is_whole(&self, arrived: usize) -> bool {
        self.is_over(arrived) && !self.is_malformed
    }

    /// Where so much content ends.
    pub fn position(&self, mut content: usize) -> usize {
        for piece in &self.pieces {
            if content <= piece.len() {
                return piece.start + content;
            }
            content -= piece.len();
        }
        self.end
    }
}

impl Wire {
    pub fn of(script: &Script) -> Self {
        let mut wire = Wire::default();
        for (index, message) in script.messages.iter().enumerate() {
            let place = Place { start: wire.bytes.len(), ..Place::default() };
            wire.places.push(place);
            match message {
                Message::Bad(kind) => wire.bytes.extend_from_slice(BAD_HEADS[kind % BAD_HEADS.len()].0.as_bytes()),
                Message::Raw(length) => {
                    wire.bytes.push(0);
                    wire.bytes.extend_from_slice(content(index, *length));
                }
                Message::Request(request) => wire.push_request(index, request),
            }
            let end = wire.bytes.len();
            let place = wire.last();
            place.end = end;
            if place.head_end == 0 {
                place.head_end = end;
            }
        }
        wire
    }

    fn last(&mut self) -> &mut Place {
        self.places.last_mut().unwrap()
    }

    fn push_request(&mut self, index: usize, request: &RequestPlan) {
        self.bytes.extend_from_slice(head(index, request).as_bytes());
        self.last().head_end = self.bytes.len();
        match &request.body {
            BodyPlan::None => {}
            BodyPlan::Length(length) => self.push_content(content(index, *length)),
            BodyPlan::Chunked { sizes, style, is_malformed } => {
                self.push_chunks(content(index, sizes.iter().sum()), sizes, *style);
                self.bytes.extend_from_slice(match (is_malformed, style) {
                    (true, _) => b"x",
                    (false, ChunkStyle::Plain) => b"0\r\n\r\n",
                    (false, ChunkStyle::Wordy) => b"000;last\r\nx-trailer: 1\r\n\r\n",
                });
                self.last().is_malformed = *is_malformed;
            }
        }
    }

    fn push_chunks(&mut self, content: &[u8], sizes: &[usize], style: ChunkStyle) {
        let mut rest = content;
        for size in sizes.iter().filter(|size| **size > 0) {
            let size_line = match style {
                ChunkStyle::Plain => format!("{size:x}\r\n"),
                ChunkStyle::Wordy => format!("00{size:X} ; a=\"5\\\"\";b\r\n"),
            };
            self.bytes.extend_from_slice(size_line.as_bytes());
            let (chunk, behind) = rest.split_at(*size);
            self.push_content(chunk);
            self.bytes.extend_from_slice(b"\r\n");
            rest = behind;
        }
    }

    fn push_content(&mut self, content: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(content);
        let end = self.bytes.len();
        let place = self.last();
        place.content_bytes += content.len();
        place.pieces.push(start..end);
    }
}

pub fn head(index: usize, request: &RequestPlan) -> String {
    let version = match request.version {
        Version::Http1_0 => "1.0",
        Version::Http1_1 => "1.1",
    };
    let mut head = format!("{} /{index} HTTP/{version}\r\nhost: a\r\n", request.method);
    let mut field = |name: &str, value: &str| write!(head, "{name}: {value}\r\n").unwrap();
    if request.padding > 0 {
        field("x-padding", &"x".repeat(request.padding));
    }
    match &request.body {
        BodyPlan::None => {}
        BodyPlan::Length(length) => field("content-length", &length.to_string()),
        BodyPlan::Chunked { .. } => field("transfer-encoding", "chunked"),
    }
    if request.expects_continue {
        field("expect", "100-continue");
    }
    if let Some(option) = request.connection {
        field("connection", option);
    }
    if request.connection == Some("upgrade") {
        field("upgrade", "sim");
    }
    head + "\r\n"
}
