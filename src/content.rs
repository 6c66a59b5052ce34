//! `json`, `text`, `buffer`, `form`: the whole content of a request, up to a limit.

use std::borrow::Cow;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_types::Mime;
use serde::de::DeserializeOwned;

use super::error::{Result, create_error, invalid};
use super::http1::copy;
use super::limits::Limit;
use super::payload::Payload;
use super::request::Request;

/// Reads the whole content of a request as bytes.
///
/// The content is kept: a second call of `buffer`, [`text`], [`json`](json()) or [`form`] reads the same again, also in
/// another task at the same time. [`take_body`](Request::take_body) ends that. The limit is inclusive; the default is 1 MiB,
/// and [`limit`](Content::limit) sets another.
///
/// # Errors
///
/// 413 above the limit; 400 if the message body ends early or is malformed; 408 if it is slower than `body_timeout`.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, Result, buffer};
///
/// async fn handler(req: Request) -> Result<usize> {
///     Ok(buffer(&req).limit("10mb").await?.len())
/// }
///
/// let req = Request::post("/").with_body("12345");
/// let mut response = smol::block_on(micro_smol::respond(&handler, req));
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), "5");
/// ```
pub fn buffer(req: &Request) -> Content<'_, Vec<u8>> {
    Content::new(req, |_, bytes| Ok(copy(bytes)))
}

/// Reads the whole content of a request as text.
///
/// The charset of its Content-Type may be UTF-8, which is the default, US-ASCII or ISO-8859-1. A byte order mark stays.
/// The limit and second calls are as for [`buffer`].
///
/// # Errors
///
/// As [`buffer`]; 415 for another charset; 400 if the content is not valid in its charset.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, Result, text};
///
/// async fn handler(req: Request) -> Result<String> {
///     Ok(text(&req).await?.to_uppercase())
/// }
///
/// let req = Request::post("/").with_body("hello");
/// let mut response = smol::block_on(micro_smol::respond(&handler, req));
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), "HELLO");
/// ```
pub fn text(req: &Request) -> Content<'_, String> {
    Content::new(req, |charset, bytes| decode(charset, bytes).map(Cow::into_owned))
}

/// Reads the whole content of a request as JSON, into any type that serde can deserialise.
///
/// The Content-Type need not say JSON; its charset counts as for [`text`]. The limit and second calls are as for [`buffer`].
///
/// # Errors
///
/// As [`text`]; 400 with serde's message if the content is not JSON or does not fit the type.
///
/// # Examples
///
/// A path that is borrowed from the request and its content can be used together:
///
/// ```
/// use micro_smol::{Method, Request, Response, Result, create_error, json, respond, send};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Item {
///     price: u32,
/// }
///
/// async fn handler(req: Request) -> Result<Response> {
///     let parts: Vec<&str> = req.path().split('/').skip(1).collect();
///     match (req.method(), &parts[..]) {
///         (Method::Post, ["items", id]) => {
///             let item: Item = json(&req).limit("1kb").await?;
///             send(201, format!("{id} costs {}", item.price))
///         }
///         _ => Err(create_error(404, "Not found")),
///     }
/// }
///
/// let post = |body: &str| smol::block_on(respond(&handler, Request::post("/items/tea").with_body(body)));
/// assert_eq!(smol::block_on(post(r#"{ "price": 6 }"#).body_string()).unwrap(), "tea costs 6");
/// let message = smol::block_on(post("{}").body_string()).unwrap();
/// assert_eq!(message, "Invalid JSON: missing field `price` at line 1 column 2");
/// ```
pub fn json<T: DeserializeOwned>(req: &Request) -> Content<'_, T> {
    Content::new(req, |charset, bytes| {
        let text = decode(charset, bytes)?;
        serde_json::from_str(&text).map_err(|error| invalid("JSON", error))
    })
}

/// Reads the whole content of a request as a form (`application/x-www-form-urlencoded`), into any type that serde can
/// deserialise.
///
/// The Content-Type need not say so; its charset counts as for [`text`]. A name that stands several times is an error for a
/// field of a struct; `Vec<(String, String)>` has all pairs. The limit and second calls are as for [`buffer`].
///
/// # Errors
///
/// As [`text`]; 400 with serde's message if the content does not fit the type.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, Result, form};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Login {
///     user: String,
/// }
///
/// async fn handler(req: Request) -> Result<String> {
///     let login: Login = form(&req).await?;
///     Ok(format!("Hello, {}", login.user))
/// }
///
/// let req = Request::post("/").with_body("user=ann+lee");
/// let mut response = smol::block_on(micro_smol::respond(&handler, req));
/// assert_eq!(smol::block_on(response.body_string()).unwrap(), "Hello, ann lee");
/// ```
pub fn form<T: DeserializeOwned>(req: &Request) -> Content<'_, T> {
    Content::new(req, |charset, bytes| {
        let text = decode(charset, bytes)?;
        serde_urlencoded::from_str(&text).map_err(|error| invalid("form", error))
    })
}

/// The content of a request, to be awaited; made by [`buffer`], [`text`], [`json`](json()) and [`form`].
#[must_use = "nothing is read unless it is awaited"]
pub struct Content<'a, T> {
    request: &'a Request,
    limit: Limit,
    convert: fn(Option<&str>, &[u8]) -> Result<T>,
    /// Made when it is first polled.
    reading: Option<Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>>,
}

impl<'a, T> Content<'a, T> {
    fn new(request: &'a Request, convert: fn(Option<&str>, &[u8]) -> Result<T>) -> Self {
        Content { request, limit: Limit::DEFAULT, convert, reading: None }
    }

    /// Sets the most content that is read: a number of bytes, or a string like `"100kb"`.
    ///
    /// It is inclusive, and above it the error is 413. What has been read by then stays for a call with a higher limit.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, Result, text};
    ///
    /// async fn short(req: Request) -> Result<String> {
    ///     text(&req).limit(140).await
    /// }
    /// # let _ = micro_smol::serve(short);
    /// ```
    pub fn limit(mut self, limit: impl Into<Limit>) -> Self {
        self.limit = limit.into();
        self
    }
}

impl<'a, T: 'a> Future for Content<'a, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let Content { request, ref limit, convert, ref mut reading } = *self;
        let convert = move |bytes: &[u8]| convert(charset(request).as_deref(), bytes);
        match &request.payload {
            Payload::Whole(content) => Poll::Ready(limit.check(content.len() as u64).and_then(|()| convert(content))),
            Payload::Unread(unread) => {
                let read = || Box::pin(unread.read(limit.clone(), convert)) as _;
                reading.get_or_insert_with(read).as_mut().poll(cx)
            }
        }
    }
}

impl<T> fmt::Debug for Content<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("request", self.request).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The charset that Content-Type names, in lower case.
fn charset(request: &Request) -> Option<String> {
    let value = request.header_bytes("content-type").filter(|value| value.contains(&b';'))?;
    let media_type: Mime = str::from_utf8(value).ok()?.parse().ok()?;
    media_type.param("charset").map(|charset| charset.as_str().to_ascii_lowercase())
}

fn decode<'a>(charset: Option<&str>, bytes: &'a [u8]) -> Result<Cow<'a, str>> {
    match charset.unwrap_or("utf-8") {
        "us-ascii" | "ascii" if !bytes.is_ascii() => Err(create_error(400, "Invalid body: not US-ASCII")),
        "utf-8" | "utf8" | "us-ascii" | "ascii" => {
            str::from_utf8(bytes).map(Cow::Borrowed).map_err(|error| invalid("body", error))
        }
        "iso-8859-1" | "latin1" => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        charset => Err(create_error(415, format_args!("Unsupported charset {charset:?}"))),
    }
}
