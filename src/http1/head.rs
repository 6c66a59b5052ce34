//! bytes -> [`Head`]: the request line and the field lines, as strictly as the grammar has them (RFC 9112, 2 to 5).

use std::fmt::{self, Display};
use std::net::Ipv6Addr;

use http_types::{Method, StatusCode, Version};

use super::super::error::Rejection;
use super::super::limits::Limits;
use super::fields::{Fields, Span};
use super::syntax::{PATH, REG_NAME, TCHAR, decimal, is_field_byte, printable_bytes, trim};

const FIELD_LINES_MAX: usize = 256;

/// No method of the IANA registry is longer.
const METHOD_BYTES_MAX: usize = 20;

const UNKNOWN_METHOD: Rejection = Rejection::new(StatusCode::NotImplemented, "method is unknown");
const BAD_LINE: Rejection = Rejection::bad("request line is malformed");
const BAD_LINE_END: Rejection = Rejection::bad("line does not end in CRLF");

/// The request line and the field lines of a request.
#[derive(Clone)]
pub struct Head {
    pub method: Method,
    pub version: Version,
    /// That of an absolute target.
    authority: Option<Span>,
    path: Span,
    query: Option<Span>,
    pub fields: Fields,
}

/// Why a head was not read to its end: it is rejected, or, with `None`, some of it has not come yet.
type ParseError = Option<Rejection>;

impl Default for Head {
    fn default() -> Self {
        Head::new(Method::Get, Version::Http1_1, None, "")
    }
}

impl Head {
    /// A head that was not received. The target is taken as it is: a path, or a path with a query.
    pub fn new(method: Method, version: Version, authority: Option<&str>, target: &str) -> Self {
        let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
        let mut fields = Fields::default();
        let mut push = |part: &str| fields.push(part);
        let (authority, path, query) = (authority.map(&mut push), push(path), query.map(&mut push));
        Head { method, version, authority, path, query, fields }
    }

    /// Reads a head off the front of `input` and returns how many bytes it took, or `None` while some are missing.
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Rejection> {
        let message = skip_empty_lines(input);
        let mut reader = Reader(message);
        let read = self.read(message, &mut reader, limits.field_lines_max.min(FIELD_LINES_MAX));
        // What was not read of a rejected head may be no part of it.
        let behind = if read == Err(None) { 0 } else { reader.0.len() };
        let length = message.len().saturating_sub(behind);
        let head = message.get(..length).unwrap_or_default();
        check_sizes(head, limits)?;
        match read {
            Err(None) => Ok(None),
            Err(Some(rejection)) => Err(rejection),
            Ok(()) => {
                self.fields.set_bytes(head);
                Ok(Some(input.len().saturating_sub(reader.0.len())))
            }
        }
    }

    fn read(&mut self, message: &[u8], reader: &mut Reader<'_>, field_lines_max: usize) -> Result<(), ParseError> {
        self.read_request_line(message, reader)?;
        let mut host = None;
        self.fields.clear();
        while !matches!(reader.0, [b'\r' | b'\n', ..]) {
            let name = reader.part(|byte| TCHAR.has(byte), b':', Rejection::bad("field name is malformed"))?;
            let value = trim(reader.run(printable_bytes(reader.0), is_field_byte)?);
            reader.line_end(Rejection::bad("field value is malformed"))?;
            if self.fields.len() == field_lines_max {
                let status = StatusCode::RequestHeaderFieldsTooLarge;
                return Err(Rejection::new(status, "head has too many field lines").into());
            }
            if name.eq_ignore_ascii_case(b"host") && host.replace(value).is_some() {
                return Err(Rejection::bad("Host is repeated").into());
            }
            self.fields.note(name, value, message);
        }
        reader.line_end(BAD_LINE_END)?;
        // HTTP/1.1 requires exactly one Host; two are an error in any version (RFC 9112, 3.2). It may be empty.
        match host {
            None if self.version == Version::Http1_1 => Err(Rejection::bad("Host is missing").into()),
            Some(host @ [_, ..]) if !is_authority(host) => Err(Rejection::bad("Host is malformed").into()),
            _ => Ok(()),
        }
    }

    fn read_request_line(&mut self, message: &[u8], reader: &mut Reader<'_>) -> Result<(), ParseError> {
        self.method = Method::Get;
        let is_visible = |byte| byte > b' ' && byte != 0x7f;
        if reader.0.get(..=METHOD_BYTES_MAX).is_some_and(|start| start.iter().all(|byte| TCHAR.has(*byte))) {
            return Err(UNKNOWN_METHOD.into());
        }
        let name = reader.part(|byte| TCHAR.has(byte), b' ', BAD_LINE)?;
        if name == b"HEAD" {
            // Known even of a head that is refused: its response has no content (RFC 9110, 9.3.2).
            self.method = Method::Head;
        }
        let target = reader.part(is_visible, b' ', BAD_LINE)?;
        self.version = version(reader.run(0, is_visible)?)?;
        reader.line_end(BAD_LINE)?;
        self.method = method(name)?;
        self.set_target(target, message).ok_or(Rejection::bad("request target is malformed"))?;
        Ok(())
    }

    /// Notes the parts of a request target (RFC 9112, 3.2).
    fn set_target(&mut self, target: &[u8], message: &[u8]) -> Option<()> {
        let (authority, target) = match target {
            [b'/', ..] => (None, target),
            b"*" if self.method == Method::Options => (None, target),
            _ => {
                let (authority, path) = split_absolute(str::from_utf8(target).ok()?)?;
                (Some(authority.as_bytes()), path.as_bytes())
            }
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

    /// The authority of an absolute target, which wins over Host (RFC 9112, 3.2.2).
    pub fn authority(&self) -> Option<&str> {
        self.authority.map(|span| self.fields.text(span))
    }

    pub fn path(&self) -> &str {
        match self.fields.text(self.path) {
            "" => "/",
            path => path,
        }
    }

    pub fn query(&self) -> Option<&str> {
        self.query.map(|span| self.fields.text(span))
    }
}

/// Writes the start of a request, as the log shows it.
impl Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path())
    }
}

/// What has not been read of a head.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Takes one byte or more of a kind, and `end` behind them.
    fn part(&mut self, is: impl Fn(u8) -> bool, end: u8, rejection: Rejection) -> Result<&'a [u8], ParseError> {
        let part = self.run(0, is)?;
        match self.0 {
            [byte, rest @ ..] if *byte == end && !part.is_empty() => self.0 = rest,
            _ => return Err(rejection.into()),
        }
        Ok(part)
    }

    /// Takes the bytes of a kind; the first `known` are known to be of it.
    fn run(&mut self, known: usize, is: impl Fn(u8) -> bool) -> Result<&'a [u8], ParseError> {
        let more = self.0.get(known..).unwrap_or_default().iter().position(|byte| !is(*byte));
        let (run, rest) = self.0.split_at(known.saturating_add(more.ok_or(None)?));
        self.0 = rest;
        Ok(run)
    }

    /// Takes CRLF. Some read a bare LF as a line end and others do not, so they see different lines (RFC 9112, 2.2).
    fn line_end(&mut self, rejection: Rejection) -> Result<(), ParseError> {
        match self.0 {
            [b'\r', b'\n', rest @ ..] => self.0 = rest,
            [] | [b'\r'] => return Err(None),
            [b'\n', ..] => return Err(BAD_LINE_END.into()),
            _ => return Err(rejection.into()),
        }
        Ok(())
    }
}

/// Two empty lines before a request line are ignored, as some old clients end a body with one (RFC 9112, 2.2).
fn skip_empty_lines(input: &[u8]) -> &[u8] {
    let rest = input.strip_prefix(b"\r\n").unwrap_or(input);
    let rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    // Half of an empty line is nothing yet.
    if rest == b"\r" { b"" } else { rest }
}

fn check_sizes(head: &[u8], limits: &Limits) -> Result<(), Rejection> {
    let line_bytes_max = limits.request_line_bytes_max;
    if head.len() > line_bytes_max && request_line(head).len() > line_bytes_max {
        return Err(Rejection::new(StatusCode::UriTooLong, "request line is too long"));
    }
    if head.len() > limits.head_bytes_max {
        return Err(Rejection::new(StatusCode::RequestHeaderFieldsTooLarge, "head is too long"));
    }
    Ok(())
}

/// What has come of the request line, without its end.
fn request_line(message: &[u8]) -> &[u8] {
    let line = message.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// A later minor version is treated as 1.1 (RFC 9110, 2.5); another major version has a status of its own (RFC 9112, 2.3).
fn version(text: &[u8]) -> Result<Version, Rejection> {
    match text {
        b"HTTP/1.0" => Ok(Version::Http1_0),
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => Ok(Version::Http1_1),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => {
            Err(Rejection::new(StatusCode::HttpVersionNotSupported, "HTTP version is not 1"))
        }
        _ => Err(BAD_LINE),
    }
}

/// Methods are case-sensitive (RFC 9110, 9.1), but http-types ignores case; the common ones need no look-up.
fn method(name: &[u8]) -> Result<Method, Rejection> {
    match name {
        b"GET" => Ok(Method::Get),
        b"POST" => Ok(Method::Post),
        b"CONNECT" => Err(Rejection::new(StatusCode::NotImplemented, "CONNECT is not implemented")),
        _ => {
            let known = str::from_utf8(name).ok().and_then(|name| name.parse::<Method>().ok());
            known.filter(|method| method.as_ref().as_bytes() == name).ok_or(UNKNOWN_METHOD)
        }
    }
}

/// Splits `http://authority/path?query` before its path; an empty host and user information are errors (RFC 9110, 4.2.1
/// and 4.2.4).
pub fn split_absolute(target: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = target.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    (is_http && is_authority(authority.as_bytes())).then_some((authority, path))
}

/// Whether `text` is `uri-host [ ":" port ]` with a host (RFC 9110, 4.2.1; RFC 3986, 3.2.2).
fn is_authority(text: &[u8]) -> bool {
    let Some(address) = text.strip_prefix(b"[") else {
        let port = skip_registered_name(text);
        return port.len() < text.len() && is_port(port);
    };
    let mut parts = address.splitn(2, |byte| *byte == b']');
    let address = parts.next().and_then(|address| str::from_utf8(address).ok()?.parse::<Ipv6Addr>().ok());
    address.is_some() && parts.next().is_some_and(is_port)
}

/// Takes off bytes that stand for themselves, and others percent-encoded.
fn skip_registered_name(mut text: &[u8]) -> &[u8] {
    loop {
        let end = text.iter().position(|byte| !REG_NAME.has(*byte)).unwrap_or(text.len());
        match text.get(end..).unwrap_or_default() {
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => text = rest,
            rest => return rest,
        }
    }
}

/// Empty, or a colon and a port number; the digits may be missing (RFC 3986, 3.2.3).
fn is_port(text: &[u8]) -> bool {
    match text {
        [] => true,
        [b':', digits @ ..] => decimal(digits).is_some_and(|port| port <= u16::MAX.into()),
        _ => false,
    }
}
