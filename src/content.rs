//! `buffer`, `text`, `json`: the whole content of a request, up to a limit and kept for a second call.

use std::borrow::Cow;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use serde::de::DeserializeOwned;

use super::error::{Result, create_error, create_error_from};
use super::kept::{Limit, copy};
use super::request::Request;

/// Reads the whole content of a request as bytes.
///
/// The content is kept: a second call of `buffer`, [`text`] or [`json`] has it again. The limit is inclusive; the default
/// is 1 MiB, and [`limit`](Content::limit) sets another.
///
/// # Errors
///
/// 413 above the limit; 400 if the message body ends early or is malformed; 408 if it stops coming.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, Result, buffer, http_types};
///
/// async fn handler(mut req: Request) -> Result<usize> {
///     Ok(buffer(&mut req).limit("10mb").await?.len())
/// }
///
/// let mut req = http_types::Request::post("http://localhost/");
/// req.set_body("12345");
/// let mut response = smol::block_on(micro_smol::respond(&handler, req.into()));
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), "5");
/// ```
pub fn buffer(req: &mut Request) -> Content<'_, Vec<u8>> {
    Content::new(req, |_, bytes| Ok(copy(bytes)))
}

/// Reads the whole content of a request as text.
///
/// The charset of its Content-Type may be UTF-8, which is the default, US-ASCII or ISO-8859-1. A byte order mark stays.
/// Limit and second calls are as for [`buffer`].
///
/// # Errors
///
/// 413 above the limit; 415 for another charset; 400 if the message body ends early or is malformed, or if the content is
/// not valid in its charset.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, Result, http_types, text};
///
/// async fn handler(mut req: Request) -> Result<String> {
///     Ok(text(&mut req).await?.to_uppercase())
/// }
///
/// let mut req = http_types::Request::post("http://localhost/");
/// req.set_body("hello");
/// let mut response = smol::block_on(micro_smol::respond(&handler, req.into()));
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), "HELLO");
/// ```
pub fn text(req: &mut Request) -> Content<'_, String> {
    Content::new(req, |charset, bytes| decode(charset, bytes).map(Cow::into_owned))
}

/// Reads the whole content of a request as JSON, into any type that serde can deserialise.
///
/// The Content-Type need not say JSON; its charset is heeded as by [`text`]. Limit and second calls are as for
/// [`buffer`].
///
/// # Errors
///
/// 400 if the content is not JSON or does not fit the type; else as [`text`].
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, Result, http_types, json};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Order {
///     price: u32,
///     count: u32,
/// }
///
/// async fn handler(mut req: Request) -> Result<u32> {
///     let order: Order = json(&mut req).limit("1kb").await?;
///     Ok(order.price * order.count)
/// }
///
/// let mut req = http_types::Request::post("http://localhost/");
/// req.set_body(json!({ "price": 6, "count": 7 }));
/// let mut response = smol::block_on(micro_smol::respond(&handler, req.into()));
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), "42");
/// ```
pub fn json<T: DeserializeOwned>(req: &mut Request) -> Content<'_, T> {
    Content::new(req, |charset, bytes| {
        let json = decode(charset, bytes)?;
        serde_json::from_str(&json).map_err(|error| create_error_from(400, "Invalid JSON", error))
    })
}

/// The content of a request, to be awaited; made by [`buffer`], [`text`] and [`json`].
#[must_use = "nothing is read unless it is awaited"]
#[derive(Debug)]
pub struct Content<'a, T> {
    request: &'a mut Request,
    limit: Limit,
    convert: fn(Option<&str>, &[u8]) -> Result<T>,
}

impl<'a, T> Content<'a, T> {
    fn new(request: &'a mut Request, convert: fn(Option<&str>, &[u8]) -> Result<T>) -> Self {
        Content { request, limit: Limit::DEFAULT, convert }
    }

    /// Sets the limit: a number of bytes, or a string like `"100kb"`.
    ///
    /// It is inclusive, and above it the error is 413. What has been read by then stays for a call with a higher limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, Result, text};
    ///
    /// async fn short(mut req: Request) -> Result<String> {
    ///     text(&mut req).limit(140).await
    /// }
    /// # let _ = micro_smol::serve(short);
    /// ```
    pub fn limit(mut self, limit: impl Into<Limit>) -> Self {
        self.limit = limit.into();
        self
    }
}

impl<T> Future for Content<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let Content { request, limit, convert } = &mut *self;
        let (charset, content) = ready!(request.poll_whole(cx, limit))?;
        Poll::Ready(convert(charset.as_deref(), content))
    }
}

fn decode<'a>(charset: Option<&str>, bytes: &'a [u8]) -> Result<Cow<'a, str>> {
    let charset = charset.unwrap_or("utf-8").to_ascii_lowercase();
    let invalid = |error| create_error_from(400, "Invalid body", error);
    match charset.as_str() {
        "us-ascii" | "ascii" if !bytes.is_ascii() => Err(create_error(400, "Invalid body")),
        "us-ascii" | "ascii" | "utf-8" | "utf8" => str::from_utf8(bytes).map(Cow::Borrowed).map_err(invalid),
        "iso-8859-1" | "latin1" => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        _ => Err(create_error(415, format_args!("Unsupported charset {charset:?}"))),
    }
}
