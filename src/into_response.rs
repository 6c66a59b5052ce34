//! [`IntoResponse`]: the values that a handler may return; `send`, `Json`, `stream` and `chunks`.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Cursor, Read};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_lite::{AsyncRead, Stream};
use http_types::{Body, Error, StatusCode};
use serde::Serialize;

use super::error::{IntoStatus, Result, with_body_status};
use super::log::{MODE, Mode};
use super::response::{Reader, Response, ResponseBody};

const JSON: &str = "application/json; charset=utf-8";
const BYTES: &str = "application/octet-stream";

/// Makes a response of a status and a value.
///
/// The status replaces the one that the value has by itself.
///
/// # Errors
///
/// What the conversion of the value fails with; 500 if http-types does not know the status, and the log says so.
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
/// assert_eq!(response.header("content-type"), Some("application/json; charset=utf-8"));
/// ```
pub fn send(status: impl IntoStatus, value: impl IntoResponse) -> Result<Response> {
    let status = status.into_status()?;
    let mut response = value.into_response()?;
    response.set_status(status);
    Ok(response)
}

/// What a handler may return.
///
/// | value | status | Content-Type |
/// | --- | --- | --- |
/// | `()`, `None` | 204 | |
/// | `&'static str`, `String`, `Cow<'static, str>` | 200 | `text/plain; charset=utf-8` |
/// | `Vec<u8>`, `&'static [u8]`, `b"…"`, [`stream`], [`chunks`] | 200 | `application/octet-stream` |
/// | `serde_json::Value`, numbers, `bool`, [`Json`] | 200 | `application/json; charset=utf-8` |
/// | [`Body`] | 200 | as the body says |
/// | [`Response`], `http_types::Response` | its own | its own |
/// | `(status, value)` | that one | as the value |
/// | `(status, [(name, value), …], value)` | that one | as the value, or as the fields say |
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
    /// The error that the value is; 500 if it cannot be serialised as JSON, or for a status unknown to http-types.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::IntoResponse;
    ///
    /// let made = (201, [("location", "/tea/1")], "made").into_response().unwrap();
    /// assert_eq!(made.header("location"), Some("/tea/1"));
    /// assert_eq!(None::<&str>.into_response().unwrap().status(), 204);
    /// assert_eq!(Err::<(), _>(std::fmt::Error).into_response().unwrap_err().status(), 500);
    /// ```
    fn into_response(self) -> Result<Response>;
}

/// Implements the conversion for types that are sent in the same way.
macro_rules! into_response {
    ($($type:ty),* => $convert:expr) => {
        $(impl IntoResponse for $type {
            fn into_response(self) -> Result<Response> {
                $convert(self)
            }
        })*
    };
}

into_response!(Response => Ok);
into_response!(http_types::Response => |response| Ok(Response::from(response)));
into_response!(() => |()| Ok(Response::new(StatusCode::NoContent)));
into_response!(Body => |body| {
    let mut response = Response::new(StatusCode::Ok);
    response.set_body(body);
    Ok(response)
});
into_response!(&'static str, String, Cow<'static, str> => |value| Ok(Response::text(StatusCode::Ok, value)));
into_response!(Vec<u8>, &'static [u8] => |value: Self| bytes(ResponseBody::Bytes(value.into())));
into_response!(Streamed => |value: Streamed| bytes(ResponseBody::Reader(value.reader, value.length)));
into_response!(
    serde_json::Value, bool, i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, f32, f64
    => |value| Json(value).into_response()
);

fn bytes(content: impl Into<ResponseBody>) -> Result<Response> {
    Ok(Response::with_content(StatusCode::Ok, Some(BYTES), content))
}

impl<const N: usize> IntoResponse for &'static [u8; N] {
    fn into_response(self) -> Result<Response> {
        self.as_slice().into_response()
    }
}

impl<S: IntoStatus, T: IntoResponse> IntoResponse for (S, T) {
    fn into_response(self) -> Result<Response> {
        send(self.0, self.1)
    }
}

impl<S: IntoStatus, N: AsRef<str>, V: AsRef<str>, const COUNT: usize, T: IntoResponse> IntoResponse
    for (S, [(N, V); COUNT], T)
{
    fn into_response(self) -> Result<Response> {
        let (status, fields, value) = self;
        let mut response = send(status, value)?;
        // All are removed before any is set: the same name may stand twice.
        fields.iter().for_each(|(name, _)| response.remove_header(name.as_ref()));
        fields.iter().for_each(|(name, value)| response.append_header(name.as_ref(), value));
        Ok(response)
    }
}

impl<T: IntoResponse> IntoResponse for Option<T> {
    fn into_response(self) -> Result<Response> {
        self.map_or_else(|| ().into_response(), T::into_response)
    }
}

impl<T: IntoResponse, E: Into<Error>> IntoResponse for Result<T, E> {
    fn into_response(self) -> Result<Response> {
        self.map_err(|error| with_body_status(error.into()))?.into_response()
    }
}

/// A value to be sent as JSON.
///
/// It is indented with `MICRO_ENV=development`. If it cannot be serialised, the response is a 500.
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
        let content = ResponseBody::Bytes(json?.into());
        Ok(Response::with_content(StatusCode::Ok, Some(JSON), content))
    }
}

/// Sends what a reader yields, as it comes.
///
/// HTTP/1.1 gets it in chunks, HTTP/1.0 up to the end of the connection; [`length`](Streamed::length) declares its length
/// instead. If the reader fails, the connection is cut, so that the client does not take a part for the whole.
///
/// # Examples
///
/// ```
/// use micro_smol::{IntoResponse, Request, Result, smol::fs::File, stream};
///
/// async fn handler(_req: Request) -> Result<impl IntoResponse> {
///     Ok(stream(File::open("Cargo.toml").await?))
/// }
///
/// let mut response = smol::block_on(micro_smol::respond(&handler, Request::default()));
/// assert!(smol::block_on(response.body_string()).unwrap().starts_with("[package]"));
/// ```
pub fn stream(reader: impl AsyncRead + Send + 'static) -> Streamed {
    Streamed { reader: Box::pin(reader), length: None }
}

/// Sends the pieces of a stream, as they come; otherwise as [`stream`].
///
/// A piece is anything that has bytes: a `String`, a `Vec<u8>`, a `&'static str`. An empty one sends nothing.
///
/// # Examples
///
/// ```
/// use micro_smol::{IntoResponse, Request, chunks};
/// use smol::stream;
/// use std::io;
///
/// async fn handler(_req: Request) -> impl IntoResponse {
///     chunks(stream::iter(["one, ", "two"]).map(io::Result::Ok))
/// }
/// # use smol::stream::StreamExt;
///
/// let mut response = smol::block_on(micro_smol::respond(&handler, Request::default()));
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), "one, two");
/// ```
pub fn chunks<B>(pieces: impl Stream<Item = io::Result<B>> + Send + 'static) -> Streamed
where
    B: AsRef<[u8]> + Send + Unpin + 'static,
{
    stream(Pieces { stream: Box::pin(pieces), piece: None })
}

/// Content that is sent as it comes; made by [`stream`] and [`chunks`].
pub struct Streamed {
    reader: Reader,
    length: Option<u64>,
}

impl Streamed {
    /// Declares the length of the content in bytes, which is sent as Content-Length.
    ///
    /// If there turn out to be more or fewer, the connection is cut.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{IntoResponse, stream};
    ///
    /// let response = stream(smol::io::Cursor::new("hello")).length(5).into_response().unwrap();
    /// assert_eq!(response.len(), Some(5));
    /// ```
    #[must_use]
    pub fn length(mut self, bytes: u64) -> Self {
        self.length = Some(bytes);
        self
    }
}

impl fmt::Debug for Streamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamed").field("length", &self.length).finish_non_exhaustive()
    }
}

/// The reader of a stream of pieces.
struct Pieces<S, B> {
    stream: Pin<Box<S>>,
    piece: Option<Cursor<B>>,
}

impl<S: Stream<Item = io::Result<B>>, B: AsRef<[u8]> + Unpin> AsyncRead for Pieces<S, B> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        loop {
            if let Some(piece) = &mut self.piece {
                let count = piece.read(buffer)?;
                if count > 0 || buffer.is_empty() {
                    return Poll::Ready(Ok(count));
                }
            }
            match ready!(self.stream.as_mut().poll_next(cx)) {
                Some(piece) => self.piece = Some(Cursor::new(piece?)),
                None => return Poll::Ready(Ok(0)),
            }
        }
    }
}
