//! [`Fields`]: the field lines of a message, in order (RFC 9110, 5).

use super::syntax::{elements, is_field_value, is_token};

/// Field lines: names and values over one buffer of bytes. In a received head the buffer holds the request line as well.
#[derive(Clone, Default)]
pub struct Fields {
    bytes: Vec<u8>,
    lines: Vec<Line>,
    /// One bit for each name, which other names may share: most names that are looked up are absent, and one test says so.
    names: u64,
}

/// The room that is made for the first line.
const LINES_MIN: usize = 6;
const BYTES_MIN: usize = 256;

#[derive(Clone, Copy)]
struct Line {
    name: Span,
    value: Span,
}

/// A part of a buffer.
#[derive(Clone, Copy, Default)]
pub struct Span {
    start: usize,
    end: usize,
}

impl Span {
    /// Where `part` stands in `whole`, of which it is a slice.
    pub fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        Span { start, end: start.wrapping_add(part.len()) }
    }

    fn len(self) -> usize {
        self.end.wrapping_sub(self.start)
    }
}

/// The first and the last letter of the names that are looked up set a bit that few of the common names share.
#[inline]
fn bit(name: &[u8]) -> u64 {
    let letter = |byte: Option<&u8>| byte.map_or(0, |byte| u32::from(byte & 0x1f));
    1_u64.rotate_left(letter(name.first()) << 1 ^ letter(name.last()))
}

impl Fields {
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// Forgets the lines; the memory stays.
    pub fn clear(&mut self) {
        self.lines.clear();
        self.names = 0;
    }

    /// Adds a line of `whole`, which [`set_bytes`](Self::set_bytes) is given when it has been read to its end.
    pub fn note(&mut self, name: &[u8], value: &[u8], whole: &[u8]) {
        self.names |= bit(name);
        self.lines.push(Line { name: Span::of(name, whole), value: Span::of(value, whole) });
    }

    pub fn set_bytes(&mut self, bytes: &[u8]) {
        self.bytes.clear();
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds bytes that are no field line.
    pub fn push(&mut self, part: &str) -> Span {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(part.as_bytes());
        Span { start, end: self.bytes.len() }
    }

    /// Adds a line behind the others, whatever the name and the value are.
    pub fn append(&mut self, name: &str, value: &str) {
        if self.lines.capacity() == 0 {
            self.lines = Vec::with_capacity(LINES_MIN);
        }
        if self.bytes.capacity() == 0 {
            self.bytes = Vec::with_capacity(BYTES_MIN);
        }
        self.names |= bit(name.as_bytes());
        let line = Line { name: self.push(name), value: self.push(value) };
        self.lines.push(line);
    }

    /// Removes the lines of a name.
    pub fn remove(&mut self, name: &str) {
        if self.may_have(name) {
            let Fields { bytes, lines, .. } = self;
            lines.retain(|line| !slice(bytes, line.name).eq_ignore_ascii_case(name.as_bytes()));
        }
    }

    /// The lines in order. The name is as it was received or set; the value is without the white space around it.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.lines().map(|(name, value)| (text(name), value))
    }

    /// The same, without a look at whether a name is text.
    pub fn lines(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.lines.iter().map(|line| (slice(&self.bytes, line.name), slice(&self.bytes, line.value)))
    }

    /// The values of the lines of a name, which is compared without case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let lines = if self.may_have(name) { self.lines.as_slice() } else { &[] };
        let is_named = move |line: &&Line| {
            line.name.len() == name.len() && slice(&self.bytes, line.name).eq_ignore_ascii_case(name.as_bytes())
        };
        lines.iter().filter(is_named).map(|line| slice(&self.bytes, line.value))
    }

    /// The elements of a list-based field, from all its lines (RFC 9110, 5.6.1).
    pub fn elements(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.values(name).flat_map(elements)
    }

    /// Whether a list-based field has an element, which is compared without case.
    #[inline]
    pub fn has_element(&self, name: &str, element: &str) -> bool {
        let is_found = |found: &[u8]| found.eq_ignore_ascii_case(element.as_bytes());
        self.values(name).any(|value| elements(value).any(is_found))
    }

    /// The name of the first line that cannot be sent as one field line (RFC 9110, 5.1 and 5.5).
    pub fn invalid(&self) -> Option<&str> {
        let is_valid = |(name, value): &(&[u8], &[u8])| is_token(name) && is_field_value(value);
        self.lines().find(|line| !is_valid(line)).map(|(name, _)| text(name))
    }

    pub fn text(&self, span: Span) -> &str {
        text(slice(&self.bytes, span))
    }

    /// Whether there may be a line of a name; if not, there is none.
    #[inline]
    pub fn may_have(&self, name: &str) -> bool {
        self.names & bit(name.as_bytes()) != 0
    }
}

fn slice(bytes: &[u8], span: Span) -> &[u8] {
    bytes.get(span.start..span.end).unwrap_or_default()
}

fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}
