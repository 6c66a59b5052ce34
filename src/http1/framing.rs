//! [`Head`] -> where the message body ends, and whether the connection goes on (RFC 9112, 6.3 and 9.3). Pure.

use http_types::{Method, StatusCode, Version};

use super::super::error::Rejection;
use super::head::Head;
use super::syntax::{decimal, is_token};

/// How the end of a message body is found (RFC 9112, 6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is no message body.
    None,
    /// It has so many bytes.
    Length(u64),
    /// The chunked coding marks it.
    Chunked,
    /// It is the end of the connection; only for responses, and only to HTTP/1.0.
    Close,
}

/// Whether the connection persists after the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    Persist,
    Close,
    /// It persists in another protocol (RFC 9110, 7.8).
    Upgrade,
}

/// What the peer waits for before it sends the body (RFC 9110, 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expectation {
    Nothing,
    Continue,
}

/// Finds the framing of a request by the rules of RFC 9112, 6.3. What two readers might read in two ways is refused.
pub fn framing(head: &Head) -> Result<Framing, Rejection> {
    if !head.fields.may_have("content-length") && !head.fields.may_have("transfer-encoding") {
        return Ok(Framing::None);
    }
    let mut lengths = head.fields.values("content-length");
    match (transfer_coding(head)?, lengths.next(), lengths.next()) {
        // 3. Two lengths: the ends may disagree where the message stops.
        (Some(_), Some(_), _) => Err(Rejection::bad("Content-Length beside Transfer-Encoding")),
        // 4. A chunked body.
        (Some(Chunked), None, _) => Ok(Framing::Chunked),
        // 5. Content-Length more than once, even if equal: a list of lengths is not a length.
        (None, Some(_), Some(_)) => Err(Rejection::bad("Content-Length is repeated")),
        // 6. A valid Content-Length.
        (None, Some(length), None) => content_length(length).map(Framing::Length),
        // 7. A request with neither has no body.
        (None, None, _) => Ok(Framing::None),
    }
}

/// Finds the framing of a response, whose content has `length` bytes if that is known (RFC 9112, 6.3).
pub fn response_framing(request: Method, version: Version, status: StatusCode, length: Option<u64>) -> Framing {
    match (status, length, version) {
        // 1. 1xx, 204 and 304 have no body, and do not say how long one would be.
        (StatusCode::NoContent | StatusCode::NotModified, ..) => Framing::None,
        _ if status.is_informational() => Framing::None,
        // A 205 has no content either, but says so (RFC 9110, 15.3.6).
        (StatusCode::ResetContent, ..) => Framing::Length(0),
        // A handler that makes no content for a HEAD has not said how long that of a GET is (RFC 9110, 8.6).
        (_, Some(0), _) if request == Method::Head => Framing::None,
        (_, Some(length), _) => Framing::Length(length),
        (_, None, Version::Http1_1) => Framing::Chunked,
        // 8. HTTP/1.0 knows no chunks: the end of the connection ends the body. The response to a HEAD has none.
        _ if request == Method::Head => Framing::None,
        _ => Framing::Close,
    }
}

/// The one transfer coding that is known here.
struct Chunked;

/// Transfer-Encoding must be exactly `chunked`, once (RFC 9112, 6.1 and 7).
fn transfer_coding(head: &Head) -> Result<Option<Chunked>, Rejection> {
    let is_chunked = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let codings = || head.fields.elements("transfer-encoding");
    if head.fields.values("transfer-encoding").next().is_none() {
        return Ok(None);
    }
    match codings().skip(1).last() {
        _ if head.version == Version::Http1_0 => Err(Rejection::bad("Transfer-Encoding in HTTP/1.0")),
        None if codings().all(|coding| is_chunked(&coding)) => Ok(Some(Chunked)),
        _ if !codings().all(is_token) => Err(Rejection::bad("Transfer-Encoding is malformed")),
        Some(last) if is_chunked(&last) && codings().filter(is_chunked).count() == 1 => {
            Err(Rejection::new(StatusCode::NotImplemented, "transfer coding is unknown"))
        }
        // 4. What does not end in chunked has no length.
        _ => Err(Rejection::bad("chunked is not the last transfer coding")),
    }
}

fn content_length(value: &[u8]) -> Result<u64, Rejection> {
    let length = if value.is_empty() { None } else { decimal(value) };
    length.ok_or(Rejection::bad("Content-Length is malformed"))
}

/// Finds whether a request lets the connection persist (RFC 9112, 9.3). A shutdown, a body left unread, and the response may still
/// close it.
pub fn persistence(head: &Head) -> Persistence {
    let says = |option| head.fields.has_element("connection", option);
    match head.version {
        // 1. "close" closes.
        _ if says("close") => Persistence::Close,
        // 2. HTTP/1.1 persists.
        Version::Http1_1 => Persistence::Persist,
        // 3. HTTP/1.0 persists if it asks to.
        _ if says("keep-alive") => Persistence::Persist,
        // 4. Anything else closes.
        _ => Persistence::Close,
    }
}

/// Finds what the peer expects. HTTP/1.0 does not know 100 (Continue); no other expectation is known here.
pub fn expectation(head: &Head) -> Result<Expectation, Rejection> {
    let mut expectation = Expectation::Nothing;
    // An empty element of a list does not count (RFC 9110, 5.6.1.2).
    for expected in head.fields.elements("expect").filter(|expected| !expected.is_empty()) {
        if !expected.eq_ignore_ascii_case(b"100-continue") {
            return Err(Rejection::new(StatusCode::ExpectationFailed, "expectation is unknown"));
        }
        if head.version == Version::Http1_1 {
            expectation = Expectation::Continue;
        }
    }
    Ok(expectation)
}
