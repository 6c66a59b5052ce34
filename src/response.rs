//! [`Response`]: what a handler answers; and `send_error`.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_lite::io::{BufReader, Cursor};
use futures_lite::{AsyncRead, AsyncWrite};
use http_types::headers::{CONTENT_TYPE, HeaderName, HeaderValue};
use http_types::{Body, Error, Method, Mime, StatusCode};
use serde::de::DeserializeOwned;

use super::error::{IntoStatus, Result, client_message, reason_phrase};
use super::http1::{Fields, Head};

const TEXT: &str = "text/plain; charset=utf-8";

/// Turns an error into the response that the server sends for it.
///
/// The client reads the message if the status is below 500 or [`create_error`](super::create_error) made the error; else the
/// status's reason phrase, and the log on stderr has the message with its causes. With `MICRO_ENV=development` both have
/// them, whatever the status; with `MICRO_ENV=test` nothing is logged.
///
/// # Examples
///
/// ```
/// use std::io;
///
/// let mut response = micro_smol::send_error(io::Error::other("the disk is on fire"));
/// assert_eq!(response.status(), 500);
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), "Internal Server Error");
/// ```
pub fn send_error(error: impl Into<Error>) -> Response {
    Response::of_error(error.into(), None)
}

/// A response, as a handler makes it: a status, fields and content.
///
/// Content-Length, Transfer-Encoding, Date and Connection are the server's to write: the first two are never taken from the
/// fields, [`len`](Self::len) says the length. Other fields leave in the order in which they were set. A field that cannot be
/// sent, because its name is not a token (RFC 9110, 5.1) or its value has a control character, makes the response a 500, and the log
/// names it.
///
/// It converts from and to [`http_types::Response`]; see [`Request`](super::Request) for what that costs.
///
/// # Examples
///
/// ```
/// use micro_smol::{Response, StatusCode, http_types, send};
///
/// let mut response = send(201, "made").unwrap().with_header("location", "/things/1");
/// assert_eq!(response.status(), StatusCode::Created);
/// assert_eq!(response.header("Location"), Some("/things/1"));
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), "made");
/// assert_eq!(http_types::Response::from(response)["location"], "/things/1");
/// ```
pub struct Response {
    status: StatusCode,
    /// The type that a conversion gave the content; none once a field says it.
    pub(super) content_type: Option<&'static str>,
    /// The other fields.
    pub(super) fields: Fields,
    pub(super) content: ResponseBody,
    /// What takes over the connection behind a 101.
    upgrade: Option<Upgrade>,
}

/// What takes over a connection.
pub(super) type Upgrade = Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A connection that [`upgrade`](super::upgrade()) has handed over: bytes both ways.
///
/// Closing it tells the peer that no more is sent. When the future that got it is done, it is closed in any case.
pub type Upgraded = Box<dyn Duplex>;

/// Bytes both ways.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// A reader of content.
pub(super) type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// The content of a response.
pub(super) enum ResponseBody {
    Bytes(Cow<'static, [u8]>),
    /// A reader, and the length that is declared for it.
    Reader(Reader, Option<u64>),
    /// Content that a GET would get and a HEAD does not.
    Omitted(Option<u64>),
}

impl ResponseBody {
    pub(super) const NONE: ResponseBody = ResponseBody::Bytes(Cow::Borrowed(&[]));

    pub(super) fn length(&self) -> Option<u64> {
        match self {
            ResponseBody::Bytes(bytes) => Some(bytes.len() as u64),
            ResponseBody::Reader(_, length) | ResponseBody::Omitted(length) => *length,
        }
    }
}

impl From<Body> for ResponseBody {
    fn from(body: Body) -> Self {
        match body.len() {
            Some(0) => ResponseBody::NONE,
            length => ResponseBody::Reader(Box::pin(body.into_reader()), length.map(|length| length as u64)),
        }
    }
}

impl From<ResponseBody> for Body {
    fn from(content: ResponseBody) -> Self {
        let length = content.length().and_then(|length| usize::try_from(length).ok());
        match content {
            ResponseBody::Bytes(bytes) => Body::from_reader(Cursor::new(bytes), length),
            ResponseBody::Reader(reader, _) => {
                Body::from_reader(BufReader::with_capacity(1024, Exclusive(Mutex::new(reader))), length)
            }
            ResponseBody::Omitted(_) => Body::empty(),
        }
    }
}

/// A reader that is `Sync`, as http-types requires: the lock is never shared, so it is never waited for.
struct Exclusive(Mutex<Reader>);

impl AsyncRead for Exclusive {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_read(cx, buffer)
    }
}

impl Response {
    /// Makes a response without fields and content.
    ///
    /// A status that http-types does not know makes it a 500, and the log says so.
    ///
    /// # Examples
    ///
    /// ```
    /// let response = micro_smol::Response::new(304).with_header("etag", "\"1\"");
    /// assert_eq!((u16::from(response.status()), response.len()), (304, Some(0)));
    /// ```
    pub fn new(status: impl IntoStatus) -> Self {
        let empty = |status| Response::with_content(status, None, ResponseBody::NONE);
        status.into_status().map_or_else(send_error, empty)
    }

    pub(super) fn with_content(
        status: StatusCode,
        content_type: Option<&'static str>,
        content: impl Into<ResponseBody>,
    ) -> Self {
        Response { status, content_type, fields: Fields::default(), content: content.into(), upgrade: None }
    }

    pub(super) fn text(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        let bytes = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        Response::with_content(status, Some(TEXT), ResponseBody::Bytes(bytes))
    }

    pub(super) fn switching_protocols(upgrade: Upgrade) -> Self {
        let response = Response::with_content(StatusCode::SwitchingProtocols, None, ResponseBody::NONE);
        Response { upgrade: Some(upgrade), ..response }
    }

    /// Returns the status code.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(micro_smol::send(404, ()).unwrap().status(), 404);
    /// ```
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Sets the status code.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Response, StatusCode};
    ///
    /// let mut response = Response::new(200);
    /// response.set_status(StatusCode::Created);
    /// assert_eq!(response.status(), 201);
    /// ```
    pub fn set_status(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// Sets a field in place of all fields of its name and returns the response, for use in an expression.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, Response, Result, send};
    ///
    /// async fn handler(_req: Request) -> Result<Response> {
    ///     Ok(send(201, "made")?.with_header("location", "/things/1"))
    /// }
    ///
    /// let response = smol::block_on(micro_smol::respond(&handler, Request::default()));
    /// assert_eq!(response.header("location"), Some("/things/1"));
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.insert_header(name, value);
        self
    }

    /// Returns the value of the first field of a name, which is compared without case.
    ///
    /// # Examples
    ///
    /// ```
    /// let response = micro_smol::send(200, "hi").unwrap();
    /// assert_eq!(response.header("Content-Type"), Some("text/plain; charset=utf-8"));
    /// ```
    pub fn header(&self, name: &str) -> Option<&str> {
        let given = self.content_type.filter(|_| name.eq_ignore_ascii_case("content-type"));
        given.or_else(|| self.fields.values(name).next().and_then(|value| str::from_utf8(value).ok()))
    }

    /// Returns all fields in the order in which they will leave, names as they were set.
    ///
    /// # Examples
    ///
    /// ```
    /// let response = micro_smol::Response::new(200).with_header("b", "1").with_header("a", "2");
    /// assert_eq!(response.headers().collect::<Vec<_>>(), [("b", &b"1"[..]), ("a", b"2")]);
    /// ```
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        let content_type = self.content_type.map(|content_type| ("content-type", content_type.as_bytes()));
        content_type.into_iter().chain(self.fields.iter())
    }

    /// Sets a field in place of all fields of its name.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut response = micro_smol::send(200, "<p>hi").unwrap();
    /// response.insert_header("content-type", "text/html");
    /// assert_eq!(response.header("content-type"), Some("text/html"));
    /// ```
    pub fn insert_header(&mut self, name: &str, value: impl AsRef<str>) {
        self.remove_header(name);
        self.append_header(name, value);
    }

    /// Adds a field behind the others.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut response = micro_smol::Response::new(200);
    /// response.append_header("set-cookie", "a=1");
    /// response.append_header("set-cookie", "b=2");
    /// assert_eq!(response.headers().count(), 2);
    /// ```
    pub fn append_header(&mut self, name: &str, value: impl AsRef<str>) {
        if let Some(content_type) = self.content_type.take_if(|_| name.eq_ignore_ascii_case("content-type")) {
            self.fields.append("content-type", content_type);
        }
        self.fields.append(name, value.as_ref());
    }

    /// Removes all fields of a name.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut response = micro_smol::send(200, "hi").unwrap();
    /// response.remove_header("content-type");
    /// assert_eq!(response.header("content-type"), None);
    /// ```
    pub fn remove_header(&mut self, name: &str) {
        self.content_type.take_if(|_| name.eq_ignore_ascii_case("content-type"));
        self.fields.remove(name);
    }

    /// Returns the length of the content in bytes, which is its Content-Length; `None` if it is not known.
    ///
    /// For a HEAD, [`respond`](super::respond) leaves the length that the content of a GET has.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(micro_smol::send(200, "hi").unwrap().len(), Some(2));
    /// ```
    #[expect(clippy::len_without_is_empty, reason = "a length that is unknown is neither")]
    pub fn len(&self) -> Option<usize> {
        self.content.length().and_then(|length| usize::try_from(length).ok())
    }

    /// Sets the body, and Content-Type to that of the body if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut response = micro_smol::Response::new(200);
    /// response.set_body("hi");
    /// assert_eq!(response.header("content-type"), Some("text/plain;charset=utf-8"));
    /// ```
    pub fn set_body(&mut self, body: impl Into<Body>) {
        let body = body.into();
        if self.header("content-type").is_none() && body.is_empty() != Some(true) {
            self.append_header("content-type", body.mime().to_string());
        }
        self.content = body.into();
    }

    /// Takes the body out and leaves none; the body has the content type of the response.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{IntoResponse, json, send};
    ///
    /// let body = send(200, json!({})).unwrap().take_body();
    /// let response = body.into_response().unwrap();
    /// assert!(response.header("content-type").unwrap().starts_with("application/json"));
    /// ```
    pub fn take_body(&mut self) -> Body {
        let mut body = Body::from(self.take_content());
        if let Some(mime) = self.header("content-type").and_then(|content_type| content_type.parse::<Mime>().ok()) {
            body.set_mime(mime);
        }
        body
    }

    /// Reads the body as a string; for tests and wrappers.
    ///
    /// # Errors
    ///
    /// 422 if the body is not UTF-8; what its reader fails with.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut response = micro_smol::send(200, 42).unwrap();
    /// assert_eq!(smol::block_on(response.body_string()).unwrap(), "42");
    /// ```
    pub async fn body_string(&mut self) -> Result<String> {
        let bytes = self.body_bytes().await?;
        String::from_utf8(bytes).map_err(|error| Error::new(StatusCode::UnprocessableEntity, error))
    }

    /// Reads the body as bytes; for tests and wrappers.
    ///
    /// # Errors
    ///
    /// What the body's reader fails with.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut response = micro_smol::send(200, b"hi").unwrap();
    /// assert_eq!(smol::block_on(response.body_bytes()).unwrap(), b"hi");
    /// ```
    pub async fn body_bytes(&mut self) -> Result<Vec<u8>> {
        Ok(match self.take_content() {
            ResponseBody::Bytes(bytes) => bytes.into_owned(),
            ResponseBody::Omitted(_) => Vec::new(),
            ResponseBody::Reader(mut reader, _) => {
                let mut bytes = Vec::new();
                futures_lite::AsyncReadExt::read_to_end(&mut reader, &mut bytes).await?;
                bytes
            }
        })
    }

    /// Reads the body as JSON; for tests and wrappers.
    ///
    /// # Errors
    ///
    /// 422 if the body is not JSON or does not fit the type; what its reader fails with.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut response = micro_smol::send(200, micro_smol::json!([1, 2])).unwrap();
    /// assert_eq!(smol::block_on(response.body_json::<Vec<u8>>()).unwrap(), [1, 2]);
    /// ```
    pub async fn body_json<T: DeserializeOwned>(&mut self) -> Result<T> {
        let bytes = self.body_bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| Error::new(StatusCode::UnprocessableEntity, error))
    }

    pub(super) fn take_content(&mut self) -> ResponseBody {
        mem::replace(&mut self.content, ResponseBody::NONE)
    }

    pub(super) fn take_upgrade(&mut self) -> Option<Upgrade> {
        self.upgrade.take_if(|_| self.status == StatusCode::SwitchingProtocols)
    }

    /// Makes it what is sent: without the content that a HEAD, a 204, a 205 and a 304 do not have. A response that cannot be
    /// sent becomes a 500.
    pub(super) fn finish(&mut self, head: &Head) {
        let switches = self.upgrade.is_some() && self.status == StatusCode::SwitchingProtocols;
        let is_final = switches || !self.status.is_informational();
        let invalid = self.fields.invalid().map(|name| format!("the response field {name:?} cannot be sent"));
        if let Some(fault) = invalid.or_else(|| (!is_final).then(|| format!("{} is no final status", self.status))) {
            *self = Response::of_error(io::Error::other(fault).into(), Some(head));
        }
        let content = match (self.status, head.method) {
            (StatusCode::NoContent | StatusCode::ResetContent | StatusCode::NotModified, _) => ResponseBody::NONE,
            (StatusCode::SwitchingProtocols, _) => ResponseBody::NONE,
            (_, Method::Head) => ResponseBody::Omitted(self.content.length()),
            // The response to a HEAD that a handler has asked itself has a length, but nothing that is so long.
            _ if matches!(self.content, ResponseBody::Omitted(_)) => ResponseBody::NONE,
            _ => return,
        };
        self.content = content;
    }

    /// The response to an error; the log names the request that it belongs to.
    pub(super) fn of_error(error: Error, request: Option<&dyn Display>) -> Response {
        let (status, message) = client_message(error, request);
        Response::text(status, message)
    }

    /// A response that says no more than its status.
    pub(super) fn of_status(status: StatusCode) -> Response {
        Response::text(status, reason_phrase(status))
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value| String::from_utf8_lossy(value).into_owned();
        let headers: Vec<_> = self.headers().map(|(name, value)| (name, text(value))).collect();
        let mut debug = f.debug_struct("Response");
        debug.field("status", &self.status).field("headers", &headers).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl From<http_types::Response> for Response {
    fn from(mut response: http_types::Response) -> Self {
        let mut made = Response::new(response.status());
        for (name, values) in &response {
            values.iter().for_each(|value| made.append_header(name.as_str(), value.as_str()));
        }
        made.content = response.take_body().into();
        made
    }
}

/// A field that http-types cannot hold, because it is not ASCII, is left out; an upgrade is forgotten.
impl From<Response> for http_types::Response {
    fn from(mut response: Response) -> Self {
        let mut made = http_types::Response::new(response.status);
        made.set_body(response.take_body());
        // http-types has made one up.
        made.remove_header(CONTENT_TYPE);
        for (name, value) in response.headers() {
            let value = str::from_utf8(value).ok().and_then(|value| value.parse::<HeaderValue>().ok());
            if let (Ok(name), Some(value)) = (name.parse::<HeaderName>(), value) {
                made.append_header(name, value);
            }
        }
        made
    }
}
