//! What holds of any bytes that a peer may send. The fuzz targets run these checks on bytes of their own.

use std::sync::{Arc, Mutex};

use crate::support::{converse, converse_in_bytes, echo};
use micro_smol::smol::io::Cursor;
use micro_smol::{IntoResponse, Limits, Request, Response, Result, send_error, stream};

/// A head that is accepted is one that a strict reading of the grammar accepts, and is read as that reads it.
pub fn head(input: &[u8]) {
    let seen = Arc::new(Mutex::new(None));
    let note = seen.clone();
    let handler = async move |req: Request| {
        note.lock().unwrap().get_or_insert_with(|| Seen {
            method: req.method().to_string(),
            path: req.path().to_owned(),
            host: req.header_bytes("host").map(<[u8]>::to_vec),
        });
        // The view of http-types must not panic, whatever was sent.
        req.url().to_string()
    };
    let (answer, _) = converse(&handler, &Limits::default(), &[input], usize::MAX);
    if let Some(seen) = seen.lock().unwrap().take() {
        assert_eq!(Some(seen), strict_head(input), "{input:?} was answered {answer:?}");
    }
}

#[derive(Debug, PartialEq)]
struct Seen {
    method: String,
    path: String,
    host: Option<Vec<u8>>,
}

/// RFC 9112, 2 to 5, read as strictly as it can be.
fn strict_head(input: &[u8]) -> Option<Seen> {
    let input = input.strip_prefix(b"\r\n").unwrap_or(input);
    let input = input.strip_prefix(b"\r\n").unwrap_or(input);
    let end = input.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
    let mut lines = Vec::new();
    let mut rest = &input[..end];
    while let Some(at) = rest.windows(2).position(|bytes| bytes == b"\r\n") {
        lines.push(&rest[..at]);
        rest = &rest[at + 2..];
    }
    lines.push(rest);
    if lines.iter().any(|line| line.contains(&b'\r') || line.contains(&b'\n')) {
        return None;
    }
    let request_line: Vec<_> = lines[0].split(|byte| *byte == b' ').collect();
    let [method, target, version] = request_line.as_slice() else { return None };
    let is_version = matches!(*version, [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'0'..=b'9']);
    let is_method = !method.is_empty() && method.iter().all(|byte| byte.is_ascii_uppercase() || *byte == b'-');
    let is_target = !target.is_empty() && target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#');
    let fields = lines[1..].iter().map(|line| strict_field(line)).collect::<Option<Vec<_>>>()?;
    let hosts: Vec<_> = fields.iter().filter(|(name, _)| name == "host").map(|(_, value)| value.clone()).collect();
    let enough_hosts = hosts.len() == 1 || hosts.is_empty() && *version == b"HTTP/1.0";
    let is_host = hosts.iter().all(|host| host.is_empty() || strict_host(host));
    let is_valid = is_version && is_method && is_target && enough_hosts && is_host && strict_framing(&fields, version);
    is_valid.then_some(Seen {
        method: String::from_utf8_lossy(method).into_owned(),
        path: strict_path(method, target)?,
        host: hosts.into_iter().next(),
    })
}

fn strict_field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let is_value = |byte: &u8| matches!(byte, b'\t' | 0x20..=0x7e | 0x80..);
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let is_valid = !name.is_empty() && name.iter().all(is_tchar) && value.iter().all(is_value);
    is_valid.then(|| (String::from_utf8_lossy(name).to_ascii_lowercase(), trim(value)))
}

fn trim(value: &[u8]) -> Vec<u8> {
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    value[start..end].to_vec()
}

/// One host that is not empty, and a port that may be missing.
fn strict_host(host: &[u8]) -> bool {
    let is_bracketed = host.starts_with(b"[");
    let colon = host.iter().rposition(|byte| *byte == b':').filter(|at| !is_bracketed || host[..*at].ends_with(b"]"));
    let (name, port) = colon.map_or((host, &b""[..]), |at| (&host[..at], &host[at + 1..]));
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(byte);
    let is_address = |byte: &u8| byte.is_ascii_hexdigit() || b"[]:.".contains(byte);
    let is_valid = if is_bracketed { name.iter().all(is_address) } else { name.iter().all(is_name) };
    is_valid && !name.is_empty() && port.iter().all(u8::is_ascii_digit)
}

fn strict_framing(fields: &[(String, Vec<u8>)], version: &[u8]) -> bool {
    let values =
        |wanted: &str| fields.iter().filter(|(name, _)| name == wanted).map(|(_, value)| value).collect::<Vec<_>>();
    match (values("content-length").as_slice(), values("transfer-encoding").as_slice()) {
        ([], []) => true,
        ([length], []) => !length.is_empty() && length.iter().all(u8::is_ascii_digit),
        ([], [coding]) => version != b"HTTP/1.0" && coding.eq_ignore_ascii_case(b"chunked"),
        _ => false,
    }
}

fn strict_path(method: &[u8], target: &[u8]) -> Option<String> {
    let target = str::from_utf8(target).ok()?;
    let before_query = |target: &str| target.split('?').next().map(str::to_owned);
    match target {
        "*" => (method == b"OPTIONS").then(|| "*".to_owned()),
        _ if target.starts_with('/') => before_query(target),
        _ => {
            let lower = target.to_ascii_lowercase();
            let scheme = ["http://", "https://"].into_iter().find(|scheme| lower.starts_with(scheme))?;
            let rest = &target[scheme.len()..];
            let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
            before_query(path).map(|path| if path.is_empty() { "/".to_owned() } else { path })
        }
    }
}

/// A chunked body has the same answer wherever its bytes are cut.
pub fn chunked(body: &[u8]) {
    let mut input = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    let head_bytes = input.len();
    input.extend_from_slice(&body[..body.len().min(200)]);
    let answer = |pieces: &[&[u8]]| converse(&echo, &Limits::default(), pieces, usize::MAX).0;
    let whole = answer(&[&input]);
    for cut in head_bytes..input.len() {
        assert_eq!(answer(&[&input[..cut], &input[cut..]]), whole, "{input:?} cut at {cut}");
    }
}

/// Answers in one of the ways that there are, as the path says, and says whether it was to a HEAD.
async fn answer_somehow(mut req: Request) -> Result<Response> {
    let method = req.method().to_string();
    let response = match req.path() {
        "/unread" => "unread".into_response(),
        "/stream" => stream(Cursor::new(req.path().to_owned())).into_response(),
        "/back" => stream(req.take_body()).into_response(),
        "/view" => req.url().to_string().into_response(),
        _ => echo(req).await.into_response(),
    };
    Ok(response.unwrap_or_else(send_error).with_header("x-method", method))
}

/// A connection never panics, answers no more requests than it was sent, and every answer parses; and how the bytes were cut
/// makes no difference, if the peer does not wait for a 100.
pub fn connection(input: &[u8]) {
    let answers = |pieces: &[&[u8]], write_bytes_max| {
        let (answers, _) = converse_in_bytes(&answer_somehow, &Limits::default(), pieces, write_bytes_max);
        parse_answers(&answers)
    };
    let whole = answers(&[input], usize::MAX);
    let requests = input.windows(7).filter(|bytes| bytes.eq_ignore_ascii_case(b"HTTP/1.")).count();
    let finals = whole.iter().filter(|answer| answer.status != 100).count();
    assert!(finals <= requests + 1, "{finals} answers to {input:?}");
    if !input.to_ascii_lowercase().windows(6).any(|bytes| bytes == b"expect") {
        let bytes: Vec<&[u8]> = input.chunks(1).collect();
        assert_eq!(answers(&bytes, 3), whole, "{input:?} byte by byte");
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    /// `None` if the message was cut.
    content: Option<Vec<u8>>,
}

fn parse_answers(mut rest: &[u8]) -> Vec<Answer> {
    let mut answers = Vec::new();
    while !rest.is_empty() {
        let end =
            rest.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap_or_else(|| panic!("half a head: {rest:?}"));
        let mut lines = str::from_utf8(&rest[..end]).unwrap().split("\r\n");
        let status_line: Vec<_> = lines.next().unwrap().splitn(3, ' ').collect();
        let ["HTTP/1.1", status, _reason] = status_line[..] else { panic!("no status line: {status_line:?}") };
        let status: u16 = status.parse().unwrap();
        let fields: Vec<_> = lines.map(|line| line.split_once(": ").unwrap()).collect();
        rest = &rest[end + 4..];
        let field = |name| fields.iter().find(|(found, _)| *found == name).map(|(_, value)| *value);
        let (content, behind) = match (field("x-method"), field("transfer-encoding"), field("content-length")) {
            _ if status == 100 => (Some(Vec::new()), rest),
            (Some("HEAD"), ..) => (Some(Vec::new()), rest),
            (_, Some(coding), None) => {
                assert_eq!(coding, "chunked");
                parse_chunks(rest)
            }
            (_, None, Some(length)) => {
                let length: usize = length.parse().unwrap();
                let behind = rest.get(length..).unwrap_or_default();
                (rest.get(..length).map(<[u8]>::to_vec), behind)
            }
            (_, None, None) => (Some(rest.to_vec()), &b""[..]),
            (_, Some(_), Some(_)) => panic!("two lengths"),
        };
        rest = behind;
        answers.push(Answer { status, content });
    }
    answers
}

/// The content of a chunked body, if it is whole, and what stands behind it.
fn parse_chunks(mut rest: &[u8]) -> (Option<Vec<u8>>, &[u8]) {
    let mut content = Vec::new();
    while let Some(end) = rest.windows(2).position(|bytes| bytes == b"\r\n") {
        let size = usize::from_str_radix(str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        let (start, end) = (end + 2, end + 2 + size);
        let Some(chunk) = rest.get(start..end).filter(|_| rest[end..].starts_with(b"\r\n")) else { break };
        content.extend_from_slice(chunk);
        rest = &rest[end + 2..];
        if size == 0 {
            return (Some(content), rest);
        }
    }
    (None, b"")
}
