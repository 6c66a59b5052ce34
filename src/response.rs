//! [`Response`], what becomes one ([`IntoResponse`]), and `send`, `send_error`, `Json` and `stream`.

use std::borrow::Cow;
use std::fmt::{self, Debug};
use std::io;
use std::mem;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll};

use futures_lite::io::{BufReader, Cursor, empty};
use futures_lite::{AsyncRead, AsyncWrite};
use http_types::headers::{CONTENT_TYPE, HeaderName, HeaderValue};
use http_types::{Body, Error, StatusCode};
use serde::Serialize;

use super::error::{IntoStatus, MODE, Mode, Result, Status, disclose};
use super::kept::keep_type;

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// Makes a response of a status and a value.
///
/// The status replaces the one that the value has by itself.
///
/// # Errors
///
/// Whatever the conversion of the value fails with; 500 if http-types does not know the status, and the log says so.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, Response, Result, json, send};
///
/// async fn handler(_req: Request) -> Result<Response> {
///     send(400, json!({ "error": "No such colour" }))
/// }
///
/// let response = smol::block_on(micro_smol::respond(&handler, Request::default()));
/// assert_eq!(response.status(), 400);
/// assert_eq!(response["content-type"], "application/json; charset=utf-8");
/// ```
pub fn send(status: impl IntoStatus, value: impl IntoResponse) -> Result<Response> {
    let status = status.into_status()?;
    let mut response = value.into_response()?;
    response.set_status(status);
    Ok(response)
}

/// Turns an error into the response that the server sends for it.
///
/// The message is sent if the status is below 500 or [`create_error`](super::create_error) made the error; else the
/// status's reason phrase, and the chain of causes goes to stderr. With `MICRO_ENV=development` both get the chain, whatever the status, and the
/// backtrace if there is one; with `MICRO_ENV=test` nothing is printed.
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
    let (status, message) = disclose(error.into());
    text(status, message)
}

/// A response, as a handler makes it.
///
/// The whole API of [`http_types::Response`] is there through `Deref`. That object is put together when it is first used;
/// a plain `send(200, "x")` stays a status, a content type and a body.
///
/// # Examples
///
/// ```
/// let response = micro_smol::send(200, "hi").unwrap().with_header("x-powered-by", "smol");
/// assert_eq!(response["content-type"], "text/plain; charset=utf-8");
/// assert_eq!(response["x-powered-by"], "smol");
/// ```
pub struct Response {
    status: StatusCode,
    /// The type that the conversion of a value gave it.
    content_type: Option<&'static str>,
    content: Outgoing,
    /// What `Deref` shows of these, without the content.
    view: OnceLock<Box<http_types::Response>>,
    /// What `DerefMut` made of all the above, and the truth once it is there.
    full: Option<Box<http_types::Response>>,
    /// What takes over the connection once this is sent.
    pub(super) upgrade: Option<Upgrade>,
}

/// What takes over a connection.
pub(super) type Upgrade = Box<dyn FnOnce(Upgraded) -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// A connection that has been handed over by [`upgrade`](super::upgrade()): bytes both ways.
///
/// Closing it tells the peer that no more is sent; it is closed in any case when the future is done that got it.
pub type Upgraded = Box<dyn Duplex>;

/// Bytes both ways, from whatever stream.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// The content of a response, as the connection writes it.
pub(super) enum Outgoing {
    Bytes(Cow<'static, [u8]>),
    /// Boxed, for it is large, and every response has room for one.
    Body(Box<Body>),
}

impl Outgoing {
    pub(super) const NONE: Outgoing = Outgoing::Bytes(Cow::Borrowed(&[]));

    /// How long it is, where that is known.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Outgoing::Bytes(bytes) => Some(bytes.len()),
            Outgoing::Body(body) => body.len(),
        }
    }

    fn into_body(self) -> Body {
        let length = self.length();
        match self {
            Outgoing::Bytes(bytes) => Body::from_reader(Cursor::new(bytes), length),
            Outgoing::Body(body) => *body,
        }
    }
}

impl Response {
    fn new(status: StatusCode, content_type: Option<&'static str>, content: Outgoing) -> Self {
        Response { status, content_type, content, view: OnceLock::new(), full: None, upgrade: None }
    }

    pub(super) fn switching(upgrade: Upgrade) -> Self {
        Response { upgrade: Some(upgrade), ..Response::new(StatusCode::SwitchingProtocols, None, Outgoing::NONE) }
    }

    /// Returns the status code.
    ///
    /// # Examples
    ///
    /// ```
    /// assert_eq!(micro_smol::send(404, ()).unwrap().status(), 404);
    /// ```
    pub fn status(&self) -> StatusCode {
        self.full.as_ref().map_or(self.status, |full| full.status())
    }

    /// Sets the status code.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{IntoResponse, StatusCode};
    ///
    /// let mut response = "made".into_response().unwrap();
    /// response.set_status(StatusCode::Created);
    /// assert_eq!(response.status(), 201);
    /// ```
    pub fn set_status(&mut self, status: StatusCode) {
        self.status = status;
        if let Some(object) = self.full.as_mut().or_else(|| self.view.get_mut()) {
            object.set_status(status);
        }
    }

    /// Sets a header field and returns the response, for use in an expression.
    ///
    /// A value that http-types cannot hold, because it is not ASCII, makes the response a 500, and the log says so. So does,
    /// when it is sent, one with CR, LF or NUL.
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
    /// assert_eq!(response["location"], "/things/1");
    /// ```
    #[must_use]
    pub fn with_header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let (Ok(field_name), Ok(value)) = (name.parse::<HeaderName>(), value.as_ref().parse::<HeaderValue>()) else {
            return send_error(io::Error::other(format!("response field {name:?} is not ASCII")));
        };
        self.insert_header(field_name, value);
        self
    }

    /// Takes the body out and leaves an empty one.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut response = micro_smol::send(200, "hi").unwrap();
    /// assert_eq!(smol::block_on(response.take_body().into_string()).unwrap(), "hi");
    /// ```
    pub fn take_body(&mut self) -> Body {
        self.view.take();
        self.take_content().into_body()
    }

    /// Reads the body as a string; for tests and wrappers.
    ///
    /// # Errors
    ///
    /// 422 if the body is not UTF-8 or its reader fails.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut response = micro_smol::send(200, 42).unwrap();
    /// assert_eq!(smol::block_on(response.body_string()).unwrap(), "42");
    /// ```
    pub async fn body_string(&mut self) -> Result<String> {
        self.take_body().into_string().await
    }

    /// Reads the body as bytes; for tests and wrappers.
    ///
    /// # Errors
    ///
    /// 422 if the body's reader fails.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut response = micro_smol::send(200, b"hi").unwrap();
    /// assert_eq!(smol::block_on(response.body_bytes()).unwrap(), b"hi");
    /// ```
    pub async fn body_bytes(&mut self) -> Result<Vec<u8>> {
        self.take_body().into_bytes().await
    }

    pub(super) fn take_content(&mut self) -> Outgoing {
        match &mut self.full {
            Some(full) => Outgoing::Body(Box::new(keep_type(&mut **full, http_types::Response::take_body))),
            None => mem::replace(&mut self.content, Outgoing::NONE),
        }
    }

    /// The content type that the conversion of a value gave it, if the handler has set no field.
    pub(super) fn content_type(&self) -> Option<&'static str> {
        if self.full.is_none() { self.content_type } else { None }
    }

    /// The header fields that the handler set, with the content type.
    pub(super) fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        let full = self.full.iter().flat_map(|full| full.iter());
        full.flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value.as_str())))
    }

    /// Makes the http-types response, without the content.
    fn build(&self) -> Box<http_types::Response> {
        let mut view = Box::new(http_types::Response::new(self.status));
        keep_type(&mut *view, |view| view.replace_body(Body::from_reader(empty(), self.content.length())));
        if let Some(content_type) = self.content_type {
            view.insert_header(CONTENT_TYPE, content_type);
        }
        view
    }
}

impl Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Response");
        debug.field("status", &self.status()).field("fields", &self.iter().collect::<Vec<_>>());
        debug.finish_non_exhaustive()
    }
}

impl Deref for Response {
    type Target = http_types::Response;

    fn deref(&self) -> &http_types::Response {
        self.full.as_ref().unwrap_or_else(|| self.view.get_or_init(|| self.build()))
    }
}

impl DerefMut for Response {
    fn deref_mut(&mut self) -> &mut http_types::Response {
        let full = self.full.take().unwrap_or_else(|| {
            let mut view = self.view.take().unwrap_or_else(|| self.build());
            keep_type(&mut *view, |view| view.replace_body(self.take_content().into_body()));
            view
        });
        self.full.insert(full)
    }
}

impl From<http_types::Response> for Response {
    fn from(response: http_types::Response) -> Self {
        Response { full: Some(Box::new(response)), ..Response::new(StatusCode::Ok, None, Outgoing::NONE) }
    }
}

impl From<Response> for http_types::Response {
    fn from(mut response: Response) -> Self {
        mem::replace(&mut response, http_types::Response::new(StatusCode::Ok))
    }
}

/// A text response, for what is already a message.
pub(super) fn text(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Response {
    let bytes = match text.into() {
        Cow::Borrowed(text) => text.as_bytes().into(),
        Cow::Owned(text) => text.into_bytes().into(),
    };
    Response::new(status, Some(TEXT), Outgoing::Bytes(bytes))
}

/// What a handler may return.
///
/// | value | status | Content-Type |
/// | --- | --- | --- |
/// | `()`, `None` | 204 | |
/// | `&'static str`, `String`, `Cow<'static, str>` | 200 | `text/plain; charset=utf-8` |
/// | `Vec<u8>`, `&'static [u8]`, `b"…"`, [`stream`] | 200 | `application/octet-stream` |
/// | `serde_json::Value`, numbers, `bool`, [`Json`] | 200 | `application/json; charset=utf-8` |
/// | [`Body`] | 200 | as the body says |
/// | [`Response`], `http_types::Response` | its own | its own |
/// | `(status, value)` | that one | as the value |
/// | `Some(value)`, `Ok(value)` | as the value | as the value |
/// | `Err(error)` | the error's | `text/plain; charset=utf-8` |
///
/// A content type that a handler sets by itself is kept.
///
/// # Examples
///
/// A type of your own, in terms of another:
///
/// ```
/// use micro_smol::{IntoResponse, Response, Result, json};
///
/// struct Tea {
///     name: &'static str,
/// }
///
/// impl IntoResponse for Tea {
///     fn into_response(self) -> Result<Response> {
///         json!({ "tea": self.name }).into_response()
///     }
/// }
///
/// let mut response = Tea { name: "oolong" }.into_response().unwrap();
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), r#"{"tea":"oolong"}"#);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be sent as a response",
    label = "this cannot become a response",
    note = "text, bytes, numbers, `()`, `Option`, `Result`, `(status, value)`, `json!(…)` and `Response` can",
    note = "to send a value that implements `serde::Serialize` as JSON, return `micro_smol::Json(value)`"
)]
pub trait IntoResponse {
    /// Converts the value.
    ///
    /// # Errors
    ///
    /// The error that the value is; 400 if it cannot be serialised as JSON; 500 for a status unknown to http-types.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::IntoResponse;
    ///
    /// assert_eq!(None::<&str>.into_response().unwrap().status(), 204);
    /// assert_eq!(Err::<(), _>(std::fmt::Error).into_response().unwrap_err().status(), 500);
    /// ```
    fn into_response(self) -> Result<Response>;
}

impl IntoResponse for Response {
    fn into_response(self) -> Result<Response> {
        Ok(self)
    }
}

impl IntoResponse for http_types::Response {
    fn into_response(self) -> Result<Response> {
        Ok(self.into())
    }
}

impl IntoResponse for () {
    fn into_response(self) -> Result<Response> {
        Ok(Response::new(StatusCode::NoContent, None, Outgoing::NONE))
    }
}

impl IntoResponse for &'static str {
    fn into_response(self) -> Result<Response> {
        Ok(text(StatusCode::Ok, self))
    }
}

impl IntoResponse for String {
    fn into_response(self) -> Result<Response> {
        Ok(text(StatusCode::Ok, self))
    }
}

impl IntoResponse for Cow<'static, str> {
    fn into_response(self) -> Result<Response> {
        Ok(text(StatusCode::Ok, self))
    }
}

impl IntoResponse for Vec<u8> {
    fn into_response(self) -> Result<Response> {
        Ok(Response::new(StatusCode::Ok, Some(BYTES), Outgoing::Bytes(self.into())))
    }
}

impl IntoResponse for &'static [u8] {
    fn into_response(self) -> Result<Response> {
        Ok(Response::new(StatusCode::Ok, Some(BYTES), Outgoing::Bytes(self.into())))
    }
}

impl<const N: usize> IntoResponse for &'static [u8; N] {
    fn into_response(self) -> Result<Response> {
        self.as_slice().into_response()
    }
}

macro_rules! json_values {
    ($($value:ty)*) => {
        $(impl IntoResponse for $value {
            fn into_response(self) -> Result<Response> {
                Json(self).into_response()
            }
        })*
    };
}

json_values! { serde_json::Value bool i8 i16 i32 i64 i128 isize u8 u16 u32 u64 u128 usize f32 f64 }

impl IntoResponse for Body {
    fn into_response(self) -> Result<Response> {
        if self.is_empty() == Some(true) { send(200, ()) } else { Ok(http_types::Response::from(self).into()) }
    }
}

impl<S: IntoStatus, T: IntoResponse> IntoResponse for (S, T) {
    fn into_response(self) -> Result<Response> {
        send(self.0, self.1)
    }
}

impl<T: IntoResponse> IntoResponse for Option<T> {
    fn into_response(self) -> Result<Response> {
        self.map_or_else(|| ().into_response(), T::into_response)
    }
}

impl<T: IntoResponse, E: Into<Error>> IntoResponse for Result<T, E> {
    fn into_response(self) -> Result<Response> {
        self.map_err(E::into)?.into_response()
    }
}

/// A value to be sent as JSON.
///
/// It is indented with `MICRO_ENV=development`. If it cannot be serialised, the response is a 400.
///
/// # Examples
///
/// ```
/// use micro_smol::{Json, Request};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Colour {
///     name: &'static str,
/// }
///
/// async fn handler(_req: Request) -> Json<Colour> {
///     Json(Colour { name: "red" })
/// }
///
/// let mut response = smol::block_on(micro_smol::respond(&handler, Request::default()));
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), r#"{"name":"red"}"#);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Result<Response> {
        let json = match *MODE {
            Mode::Development => serde_json::to_vec_pretty(&self.0),
            Mode::Production | Mode::Test => serde_json::to_vec(&self.0),
        };
        Ok(Response::new(StatusCode::Ok, Some(JSON), Outgoing::Bytes(json.status(StatusCode::BadRequest)?.into())))
    }
}

/// Sends what a reader yields, as it comes.
///
/// HTTP/1.1 gets it in chunks, HTTP/1.0 up to the end of the connection. If the reader fails, the connection is cut, so
/// that the peer does not take what it has for the whole.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, Result, smol::fs::File, stream};
///
/// async fn handler(_req: Request) -> Result<impl micro_smol::IntoResponse> {
///     Ok(stream(File::open("Cargo.toml").await?))
/// }
///
/// let mut response = smol::block_on(micro_smol::respond(&handler, Request::default()));
/// assert!(smol::block_on(response.body_string()).unwrap().starts_with("[package]"));
/// ```
pub fn stream<R: AsyncRead + Send + 'static>(reader: R) -> Stream<R> {
    Stream(Mutex::new(Box::pin(reader)))
}

/// A reader to be sent; made by [`stream`].
///
/// http-types wants it `Unpin`, which the box is, and `Sync`, which a lock is; nobody contends for it.
#[derive(Debug)]
pub struct Stream<R>(Mutex<Pin<Box<R>>>);

impl<R: AsyncRead + Send + 'static> IntoResponse for Stream<R> {
    fn into_response(self) -> Result<Response> {
        let body = Body::from_reader(BufReader::with_capacity(1024, self), None);
        Ok(Response::new(StatusCode::Ok, Some(BYTES), Outgoing::Body(Box::new(body))))
    }
}

impl<R: AsyncRead> AsyncRead for Stream<R> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut().poll_read(cx, buffer)
    }
}
