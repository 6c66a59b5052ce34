//! [`Head`] -> where the message body ends, and whether the connection goes on (RFC 9112, 6.3 and 9.3). Pure.

use http_types::{Method, StatusCode, Version};

use super::syntax::{decimal, elements, has_element, is_token};
use super::{Head, Refusal};

/// How the end of a message body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no message body.
    None,
    /// So many bytes.
    Length(u64),
    /// The chunked coding says.
    Chunked,
    /// The end of the connection says; only for responses, and only to HTTP/1.0.
    Close,
}

/// Whether the connection goes on after the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    Persist,
    Close,
    /// In another protocol (RFC 9110, 7.8).
    Upgrade,
}

/// What the peer waits for before it sends the body (RFC 9110, 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    Nothing,
    Continue,
}

/// Finds the framing of a request by the rules of RFC 9112, 6.3, and refuses whatever two readers might read in two ways.
pub fn framing(head: &Head) -> Result<Framing, Refusal> {
    let mut lengths = head.values("content-length");
    let length = lengths.next();
    let codings = transfer_coding(head)?;
    match (codings, length) {
        // 3. Both: one of the two is a lie, and the ends may disagree on which.
        (Some(_), Some(_)) => Err(Refusal::bad("Content-Length beside Transfer-Encoding")),
        // 4. A chunked body.
        (Some(Chunked), None) => Ok(Framing::Chunked),
        // 5. Content-Length more than once, even if equal: a list of lengths is not a length.
        (None, Some(_)) if lengths.next().is_some() => Err(Refusal::bad("Content-Length is repeated")),
        // 6. A valid Content-Length.
        (None, Some(length)) => content_length(length).map(Framing::Length),
        // 7. A request with neither has no body.
        (None, None) => Ok(Framing::None),
    }
}

/// Finds the framing of a response, whose content has `length` bytes if that is known (RFC 9112, 6.3).
pub fn response_framing(request: Method, version: Version, status: StatusCode, length: Option<usize>) -> Framing {
    match (status, length, version) {
        // 1. 1xx, 204 and 304 have no body, and do not say how long one would be.
        (StatusCode::NoContent | StatusCode::NotModified, ..) => Framing::None,
        _ if status.is_informational() => Framing::None,
        // A 205 has no content either, but says so (RFC 9110, 15.3.6).
        (StatusCode::ResetContent, ..) => Framing::Length(0),
        (_, Some(length), _) => Framing::Length(length as u64),
        (_, None, Version::Http1_1) => Framing::Chunked,
        // 8. HTTP/1.0 knows no chunks; what ends the connection ends the body, of which HEAD has none.
        _ if request == Method::Head => Framing::None,
        _ => Framing::Close,
    }
}

/// The one transfer coding that we know.
struct Chunked;

/// Transfer-Encoding must be exactly `chunked`, once (RFC 9112, 6.1 and 7).
fn transfer_coding(head: &Head) -> Result<Option<Chunked>, Refusal> {
    let mut codings = head.values("transfer-encoding").flat_map(elements).peekable();
    if codings.peek().is_none() {
        return Ok(None);
    }
    if head.version() == Version::Http1_0 {
        return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
    }
    let mut unknown = false;
    while let Some(coding) = codings.next() {
        let is_last = codings.peek().is_none();
        match coding.eq_ignore_ascii_case(b"chunked") {
            true if !is_last => return Err(Refusal::bad("chunked is not the last transfer coding")),
            false if !is_token(coding) => return Err(Refusal::bad("Transfer-Encoding is malformed")),
            is_chunked => unknown |= !is_chunked,
        }
    }
    match unknown {
        true => Err(Refusal::new(StatusCode::NotImplemented, "transfer coding is unknown")),
        false => Ok(Some(Chunked)),
    }
}

fn content_length(value: &[u8]) -> Result<u64, Refusal> {
    let length = if value.is_empty() { None } else { decimal(value) };
    length.ok_or(Refusal::bad("Content-Length is malformed"))
}

/// Whether the peer means to go on after this request (RFC 9112, 9.3).
pub fn persistence(head: &Head) -> Persistence {
    let says = |option| head.values("connection").any(|value| has_element(value, option));
    match head.version() {
        // 1. Close means close.
        _ if says("close") => Persistence::Close,
        // 2. HTTP/1.1 goes on.
        Version::Http1_1 => Persistence::Persist,
        // 3. HTTP/1.0 goes on if asked to.
        _ if says("keep-alive") => Persistence::Persist,
        // 4. Else close.
        _ => Persistence::Close,
    }
}

/// Finds what the peer expects. HTTP/1.0 does not know of 100 (Continue); of other expectations we do not.
pub fn expectation(head: &Head) -> Result<Expectation, Refusal> {
    let mut expectation = Expectation::Nothing;
    for expected in head.values("expect").flat_map(elements) {
        if !expected.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::new(StatusCode::ExpectationFailed, "expectation is unknown"));
        }
        if head.version() == Version::Http1_1 {
            expectation = Expectation::Continue;
        }
    }
    Ok(expectation)
}
