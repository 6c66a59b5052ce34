//! bytes -> [`Head`]: the request line and the field lines (RFC 9112, 2 to 5).
//!
//! httparse finds the parts; what it forgives and we do not (bare LF, any target, any Host) is refused here.

use std::mem::MaybeUninit;
use std::net::Ipv6Addr;

use http_types::{Method, StatusCode, Version};

use super::super::limits::Limits;
use super::Refusal;
use super::syntax::{REG_NAME, decimal};

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
    names: Names,
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
            names: Names::default(),
        }
    }
}

/// Which field names there may be: most of those that are asked for are not there, and one look says so.
#[derive(Clone, Copy, Debug, Default)]
struct Names(u64);

impl Names {
    /// The set of one name; others may have the same.
    fn of(name: &[u8]) -> Names {
        let letter = name.first().map_or(0, |byte| byte & 0x1f);
        Names(1_u64.rotate_left(u32::from(letter) ^ name.len() as u32))
    }
}

impl Head {
    /// Reads a head off the front of `input` and returns how many bytes it took, or `None` while some are missing.
    pub fn parse(&mut self, input: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let message = skip_empty_lines(input);
        match message {
            [] | [b'\r'] => return Ok(None),
            [b'\r' | b'\n', ..] => return Err(Refusal::bad("request line is malformed")),
            _ => {}
        }
        let mut lines = [const { MaybeUninit::uninit() }; FIELD_LINES_MAX];
        let lines = lines.get_mut(..limits.field_lines_max.min(FIELD_LINES_MAX)).unwrap_or_default();
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(message, lines);
        // Known even of a head that is refused: a HEAD has no content in its answer (RFC 9110, 9.3.2).
        self.method = if request.method == Some("HEAD") { Method::Head } else { Method::Get };
        let length = match parsed {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return check_sizes(message, limits).map(|()| None),
            Err(error) => return check_sizes(message, limits).and_then(|()| refuse(error, message)),
        };
        let head = message.get(..length).unwrap_or_default();
        check_sizes(head, limits)?;
        check_line_ends(head, request.headers)?;
        self.fill(head, &request)?;
        let skipped = input.len().saturating_sub(message.len());
        Ok(Some(skipped.saturating_add(length)))
    }

    fn fill(&mut self, head: &[u8], request: &httparse::Request<'_, '_>) -> Result<(), Refusal> {
        self.version = if request.version == Some(0) { Version::Http1_0 } else { Version::Http1_1 };
        self.method = method(request.method.unwrap_or_default())?;
        let target = Target::parse(request.path.unwrap_or_default(), self.method)?;
        let host = host(request.headers, self.version)?;
        let span = |part: &str| Span::of(part.as_bytes(), head);
        let authority = target.authority.map(str::as_bytes).or(host);
        self.authority = authority.filter(|authority| !authority.is_empty()).map(|part| Span::of(part, head));
        self.path = span(target.path);
        self.query = target.query.map(span);
        self.fields.clear();
        self.names = Names::default();
        for line in request.headers.iter() {
            self.fields.push((span(line.name), Span::of(line.value, head)));
            self.names.0 |= Names::of(line.name.as_bytes()).0;
        }
        self.bytes.clear();
        self.bytes.extend_from_slice(head);
        Ok(())
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
        let may_be_there = self.names.0 & Names::of(name.as_bytes()).0 != 0;
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

/// httparse takes a bare LF for a line end; another reader may not, and then see other lines (RFC 9112, 2.2).
fn check_line_ends(head: &[u8], lines: &[httparse::Header<'_>]) -> Result<(), Refusal> {
    let before = |line: &httparse::Header<'_>| head.get(..Span::of(line.name.as_bytes(), head).start as usize);
    let whole = head.ends_with(b"\r\n\r\n");
    if whole && lines.iter().all(|line| before(line).is_some_and(|lines| lines.ends_with(b"\r\n"))) {
        Ok(())
    } else {
        Err(Refusal::bad("line does not end in CRLF"))
    }
}

/// What there is of the request line, without its end.
fn request_line(message: &[u8]) -> &[u8] {
    let line = message.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn refuse<T>(error: httparse::Error, message: &[u8]) -> Result<Option<T>, Refusal> {
    match error {
        httparse::Error::TooManyHeaders => {
            Err(Refusal::new(StatusCode::RequestHeaderFieldsTooLarge, "head has too many field lines"))
        }
        httparse::Error::HeaderName => Err(Refusal::bad("field name is malformed")),
        httparse::Error::HeaderValue => Err(Refusal::bad("field value is malformed")),
        httparse::Error::Version => refuse_version(message),
        _ => Err(Refusal::bad("request line is malformed")),
    }
}

/// A version that is well-formed, but not ours, has a status of its own (RFC 9112, 2.3); half of one is waited for.
fn refuse_version<T>(message: &[u8]) -> Result<Option<T>, Refusal> {
    let line = request_line(message);
    let version = line.splitn(3, |byte| *byte == b' ').nth(2).unwrap_or_default();
    let fits = |(byte, pattern): (&u8, &u8)| byte == pattern || *pattern == b'0' && byte.is_ascii_digit();
    match version.iter().zip(b"HTTP/0.0").all(fits) {
        true if version.len() < 8 && line.len() == message.len() => Ok(None),
        true if version.len() >= 8 => {
            Err(Refusal::new(StatusCode::HttpVersionNotSupported, "HTTP version is neither 1.0 nor 1.1"))
        }
        _ => Err(Refusal::bad("request line is malformed")),
    }
}

/// Methods are case-sensitive (RFC 9110, 9.1), which http-types does not mind; the common ones need no look-up.
fn method(name: &str) -> Result<Method, Refusal> {
    match name {
        "GET" => Ok(Method::Get),
        "HEAD" => Ok(Method::Head),
        "POST" => Ok(Method::Post),
        "PUT" => Ok(Method::Put),
        "DELETE" => Ok(Method::Delete),
        "CONNECT" => Err(Refusal::new(StatusCode::NotImplemented, "CONNECT is not implemented")),
        _ => match name.parse::<Method>() {
            Ok(method) if method.as_ref() == name => Ok(method),
            _ => Err(Refusal::new(StatusCode::NotImplemented, "method is unknown")),
        },
    }
}

/// The parts of a request target (RFC 9112, 3.2).
struct Target<'a> {
    authority: Option<&'a str>,
    path: &'a str,
    query: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn parse(target: &'a str, method: Method) -> Result<Self, Refusal> {
        if target.bytes().any(|byte| !byte.is_ascii() || byte == b'#') {
            return Err(Refusal::bad("request target is malformed"));
        }
        match target {
            "*" if method == Method::Options => Ok(Target { authority: None, path: target, query: None }),
            _ if target.starts_with('/') => Ok(Target::with_path(None, target)),
            _ => Target::absolute(target).ok_or(Refusal::bad("request target is malformed")),
        }
    }

    /// `http://authority/path?query`; an empty host or user information is an error (RFC 9110, 4.2.1 and 4.2.4).
    fn absolute(target: &'a str) -> Option<Self> {
        let (scheme, rest) = target.split_once("://")?;
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let known = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
        let has_host = !authority.is_empty() && !authority.starts_with(':');
        (known && has_host && is_authority(authority.as_bytes())).then(|| Target::with_path(Some(authority), path))
    }

    fn with_path(authority: Option<&'a str>, target: &'a str) -> Self {
        let end = target.bytes().position(|byte| byte == b'?');
        let (path, rest) = target.split_at(end.unwrap_or(target.len()));
        Target { authority, path, query: rest.strip_prefix('?') }
    }
}

/// What Host says. HTTP/1.1 asks for exactly one; two are an error in any version (RFC 9112, 3.2).
fn host<'a>(lines: &[httparse::Header<'a>], version: Version) -> Result<Option<&'a [u8]>, Refusal> {
    let mut hosts = lines.iter().filter(|line| line.name.eq_ignore_ascii_case("host"));
    match (hosts.next(), hosts.next()) {
        (None, _) if version == Version::Http1_0 => Ok(None),
        (None, _) => Err(Refusal::bad("Host is missing")),
        (Some(_), Some(_)) => Err(Refusal::bad("Host is repeated")),
        (Some(line), None) if is_authority(line.value) => Ok(Some(line.value)),
        _ => Err(Refusal::bad("Host is malformed")),
    }
}

/// Whether `text` is `uri-host [ ":" port ]` (RFC 9110, 4.2; RFC 3986, 3.2.2).
fn is_authority(text: &[u8]) -> bool {
    let split = |end: u8| text.iter().position(|byte| *byte == end).unwrap_or(text.len());
    match text.strip_prefix(b"[") {
        None => {
            let (name, port) = text.split_at(split(b':'));
            is_registered_name(name) && is_port(port)
        }
        Some(_) => {
            let (address, port) = text.split_at(split(b']'));
            let address = str::from_utf8(address).ok().and_then(|address| address.get(1..)?.parse::<Ipv6Addr>().ok());
            address.is_some() && port.strip_prefix(b"]").is_some_and(is_port)
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

/// Bytes that stand for themselves, and others percent-encoded.
fn is_registered_name(name: &[u8]) -> bool {
    let mut parts = name.split(|byte| *byte == b'%');
    let encoded = |part: &[u8]| match part {
        [high, low, rest @ ..] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit() && REG_NAME.have_all(rest),
        _ => false,
    };
    parts.next().is_some_and(|part| REG_NAME.have_all(part)) && parts.all(encoded)
}
