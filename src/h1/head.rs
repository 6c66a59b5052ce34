//! bytes -> [`Head`]: the request line and the field lines, as strictly as the grammar has them (RFC 9112, 2 to 5).

use std::net::Ipv6Addr;

use http_types::{Method, StatusCode, Version};

use super::super::limits::Limits;
use super::Refusal;
use super::syntax::{PATH, REG_NAME, TCHAR, decimal, is_field_byte, printable_bytes, trim};

const FIELD_LINES_MAX: usize = 256;

/// The start line and the field lines of a request, as received, and where their parts are.
#[derive(Clone, Debug)]
pub struct Head {
    bytes: Vec<u8>,
    method: Method,
    version: Version,
    authority: Option<Span>,
    path: Span,
    query: Option<Span>,
    fields: Vec<(Span, Span)>,
    /// Which names there may be: most of those that are asked for are not there, and one look says so.
    names: u64,
}

/// A part of the head, as offsets into its bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Where `part` stands in `whole`, of which it is a slice.
    fn of(part: &[u8], whole: &[u8]) -> Span {
        let start = part.as_ptr().addr().wrapping_sub(whole.as_ptr().addr());
        let end = start.wrapping_add(part.len());
        Span { start: start as u32, end: end as u32 }
    }
}

impl Default for Head {
    fn default() -> Self {
        Head {
            bytes: Vec::new(),
            method: Method::Get,
            version: Version::Http1_1,
            authority: None,
            path: Span::default(),
            query: None,
            fields: Vec::new(),
            names: 0,
        }
    }
}

/// The bit of a field name, which others may share.
fn bit(name: &[u8]) -> u64 {
    let letter = name.first().map_or(0, |byte| byte & 0x1f);
    1_u64.rotate_left(u32::from(letter) ^ name.len() as u32)
}

/// Why a head is not read to its end: it is refused, or else some of it has not come yet.
type Stop = Option<Refusal>;

const BAD_LINE: Refusal = Refusal::bad("request line is malformed");
const BAD_LINE_END: Refusal = Refusal::bad("line does not end in CRLF");

impl Head {
    /// Reads a head off the front of `input` and returns how many bytes it took, or `None` while some are missing.
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let message = skip_empty_lines(input);
        let mut reader = Reader(message);
        let read = self.read(message, &mut reader, limits.field_lines_max.min(FIELD_LINES_MAX));
        let length = message.len().saturating_sub(if read.is_ok() { reader.0.len() } else { 0 });
        let head = message.get(..length).unwrap_or_default();
        check_sizes(head, limits)?;
        match read {
            Err(_) if message == b"\r" => Ok(None),
            Err(None) => Ok(None),
            Err(Some(refusal)) => Err(refusal),
            Ok(()) => {
                self.bytes.clear();
                self.bytes.extend_from_slice(head);
                Ok(Some(input.len().saturating_sub(reader.0.len())))
            }
        }
    }

    fn read(&mut self, message: &[u8], reader: &mut Reader<'_>, field_lines_max: usize) -> Result<(), Stop> {
        self.read_request_line(message, reader)?;
        let mut host = None;
        self.fields.clear();
        self.names = 0;
        while !matches!(reader.0, [b'\r' | b'\n', ..]) {
            let name = reader.part(|byte| TCHAR.has(byte), b':', Refusal::bad("field name is malformed"))?;
            let value = trim(reader.run(printable_bytes(reader.0), is_field_byte)?);
            reader.line_end(Refusal::bad("field value is malformed"))?;
            if self.fields.len() == field_lines_max {
                let status = StatusCode::RequestHeaderFieldsTooLarge;
                return Err(Refusal::new(status, "head has too many field lines").into());
            }
            if name.eq_ignore_ascii_case(b"host") && host.replace(value).is_some() {
                return Err(Refusal::bad("Host is repeated").into());
            }
            self.fields.push((Span::of(name, message), Span::of(value, message)));
            self.names |= bit(name);
        }
        reader.line_end(BAD_LINE_END)?;
        // HTTP/1.1 asks for exactly one; two are an error in any version (RFC 9112, 3.2).
        match host {
            None if self.version == Version::Http1_1 => return Err(Refusal::bad("Host is missing").into()),
            Some(host) if !is_authority(host) => return Err(Refusal::bad("Host is malformed").into()),
            Some(host) if self.authority.is_none() && !host.is_empty() => {
                self.authority = Some(Span::of(host, message))
            }
            _ => {}
        }
        Ok(())
    }

    fn read_request_line(&mut self, message: &[u8], reader: &mut Reader<'_>) -> Result<(), Stop> {
        self.method = Method::Get;
        let is_visible = |byte| byte > b' ' && byte != 0x7f;
        let name = reader.part(|byte| TCHAR.has(byte), b' ', BAD_LINE)?;
        if name == b"HEAD" {
            // Known even of a head that is refused: its answer has no content (RFC 9110, 9.3.2).
            self.method = Method::Head;
        }
        let target = reader.part(is_visible, b' ', BAD_LINE)?;
        self.version = version(reader.run(0, is_visible)?)?;
        reader.line_end(BAD_LINE)?;
        self.method = method(name)?;
        self.set_target(target, message).ok_or(Refusal::bad("request target is malformed"))?;
        Ok(())
    }

    /// Notes the parts of a request target (RFC 9112, 3.2).
    fn set_target(&mut self, target: &[u8], message: &[u8]) -> Option<()> {
        let (authority, target) = match target {
            [b'/', ..] => (None, target),
            b"*" if self.method == Method::Options => (None, target),
            _ => absolute(target).map(|(authority, path)| (Some(authority), path))?,
        };
        let end = target.iter().position(|byte| !PATH.has(*byte));
        let (path, rest) = target.split_at(end.unwrap_or(target.len()));
        let query = match rest {
            [] => None,
            [b'?', query @ ..] if query.iter().all(|byte| *byte == b'?' || PATH.has(*byte)) => Some(query),
            _ => return None,
        };
        let span = |part| Span::of(part, message);
        (self.authority, self.path, self.query) = (authority.map(span), span(path), query.map(span));
        Some(())
    }

    pub fn method(&self) -> Method {
        self.method
    }

    pub fn version(&self) -> Version {
        self.version
    }

    /// The authority of an absolute target, else what Host says; `None` if that is empty or missing.
    pub fn authority(&self) -> Option<&str> {
        self.authority.map(|span| self.text(span))
    }

    pub fn path(&self) -> &str {
        match self.text(self.path) {
            "" => "/",
            path => path,
        }
    }

    pub fn query(&self) -> Option<&str> {
        self.query.map(|span| self.text(span))
    }

    /// The field lines in order, their values without the white space around them.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fields.iter().map(|(name, value)| (self.text(*name), self.slice(*value)))
    }

    /// The values of the field lines of one name, which is compared without case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let may_be_there = self.names & bit(name.as_bytes()) != 0;
        let fields = if may_be_there { self.fields.as_slice() } else { &[] };
        let named = move |span: Span| self.slice(span).eq_ignore_ascii_case(name.as_bytes());
        fields.iter().filter(move |(found, _)| named(*found)).map(|(_, value)| self.slice(*value))
    }

    fn slice(&self, span: Span) -> &[u8] {
        self.bytes.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    fn text(&self, span: Span) -> &str {
        str::from_utf8(self.slice(span)).unwrap_or_default()
    }
}

/// What has not been read of a head.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Takes one byte or more of a kind, and `end` behind them.
    fn part(&mut self, is: impl Fn(u8) -> bool, end: u8, refusal: Refusal) -> Result<&'a [u8], Stop> {
        let part = self.run(0, is)?;
        match self.0 {
            [byte, rest @ ..] if *byte == end && !part.is_empty() => self.0 = rest,
            _ => return Err(refusal.into()),
        }
        Ok(part)
    }

    /// Takes the bytes of a kind, of which so many are known.
    fn run(&mut self, known: usize, is: impl Fn(u8) -> bool) -> Result<&'a [u8], Stop> {
        let more = self.0.get(known..).unwrap_or_default().iter().position(|byte| !is(*byte)).ok_or(None)?;
        let (run, rest) = self.0.split_at(known.saturating_add(more));
        self.0 = rest;
        Ok(run)
    }

    /// Takes CRLF. A bare LF is a line end to some, and not to others, who see other lines then (RFC 9112, 2.2).
    fn line_end(&mut self, refusal: Refusal) -> Result<(), Stop> {
        match self.0 {
            [b'\r', b'\n', rest @ ..] => self.0 = rest,
            [] | [b'\r'] => return Err(None),
            [b'\n', ..] => return Err(BAD_LINE_END.into()),
            _ => return Err(refusal.into()),
        }
        Ok(())
    }
}

/// Two empty lines before a request line are forgiven, as some old clients end a body with one (RFC 9112, 2.2).
fn skip_empty_lines(input: &[u8]) -> &[u8] {
    let rest = input.strip_prefix(b"\r\n").unwrap_or(input);
    rest.strip_prefix(b"\r\n").unwrap_or(rest)
}

fn check_sizes(head: &[u8], limits: &Limits) -> Result<(), Refusal> {
    let line_bytes_max = limits.request_line_bytes_max;
    if head.len() > line_bytes_max && request_line(head).len() > line_bytes_max {
        return Err(Refusal::new(StatusCode::UriTooLong, "request line is too long"));
    }
    if head.len() > limits.head_bytes_max.min(u32::MAX as usize) {
        return Err(Refusal::new(StatusCode::RequestHeaderFieldsTooLarge, "head is too long"));
    }
    Ok(())
}

/// What there is of the request line, without its end.
fn request_line(message: &[u8]) -> &[u8] {
    let line = message.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A version that is well-formed, but not ours, has a status of its own (RFC 9112, 2.3).
fn version(text: &[u8]) -> Result<Version, Refusal> {
    match text {
        b"HTTP/1.1" => Ok(Version::Http1_1),
        b"HTTP/1.0" => Ok(Version::Http1_0),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Refusal::new(StatusCode::HttpVersionNotSupported, "HTTP version is neither 1.0 nor 1.1"))
        }
        _ => Err(BAD_LINE),
    }
}

/// Methods are case-sensitive (RFC 9110, 9.1), which http-types does not mind; the common ones need no look-up.
fn method(name: &[u8]) -> Result<Method, Refusal> {
    match name {
        b"GET" => Ok(Method::Get),
        b"POST" => Ok(Method::Post),
        b"CONNECT" => Err(Refusal::new(StatusCode::NotImplemented, "CONNECT is not implemented")),
        _ => {
            let known = str::from_utf8(name).ok().and_then(|name| name.parse::<Method>().ok());
            let method = known.filter(|method| method.as_ref().as_bytes() == name);
            method.ok_or(Refusal::new(StatusCode::NotImplemented, "method is unknown"))
        }
    }
}

/// `http://authority/path?query`; an empty host or user information is an error (RFC 9110, 4.2.1 and 4.2.4).
fn absolute(target: &[u8]) -> Option<(&[u8], &[u8])> {
    let (scheme, rest) = str::from_utf8(target).ok()?.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let has_host = !authority.is_empty() && !authority.starts_with(':');
    let is_valid = known && has_host && is_authority(authority.as_bytes());
    is_valid.then_some((authority.as_bytes(), path.as_bytes()))
}

/// Whether `text` is `uri-host [ ":" port ]` (RFC 9110, 4.2; RFC 3986, 3.2.2).
fn is_authority(text: &[u8]) -> bool {
    let Some(address) = text.strip_prefix(b"[") else { return is_port(skip_registered_name(text)) };
    let mut parts = address.splitn(2, |byte| *byte == b']');
    let address = parts.next().and_then(|address| str::from_utf8(address).ok()?.parse::<Ipv6Addr>().ok());
    address.is_some() && parts.next().is_some_and(is_port)
}

/// Takes off bytes that stand for themselves, and others percent-encoded.
fn skip_registered_name(mut text: &[u8]) -> &[u8] {
    loop {
        match text {
            [byte, rest @ ..] if REG_NAME.has(*byte) => text = rest,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => text = rest,
            _ => return text,
        }
    }
}

/// Empty, or a colon and digits, as many as make a port number; RFC 3986 lets the digits be missing.
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => decimal(digits).is_some_and(|port| port <= u16::MAX.into()),
        _ => false,
    }
}
