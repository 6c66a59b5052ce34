//! `buffer`, `text`, `json`: the whole content of a request, up to a limit and kept for a second call.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::{self, Debug, Display};
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::AsyncRead;
use futures_lite::io::{BufReader, Cursor};
use http_types::{Body, Error};
use serde::de::DeserializeOwned;

use super::error::{Result, create_error, create_error_from};
use super::request::Request;

/// The room that is made for content before any of it has come, at most.
const TRUSTED_BYTES_MAX: usize = 64 * 1024;

/// How large the memory is that is used again, and how many pieces of it a thread keeps.
const SPARE_BYTES_MIN: usize = TRUSTED_BYTES_MAX;
const SPARE_BYTES_MAX: usize = 1024 * 1024;
const SPARE_MAX: usize = 16;

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

impl<T> Debug for Content<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").field("limit", &self.limit).finish_non_exhaustive()
    }
}

impl<T> Future for Content<'_, T> {
    type Output = Result<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T>> {
        let Content { request, limit, convert } = &mut *self;
        ready!(request.poll_content(cx, limit))?;
        Poll::Ready(convert(request.charset().as_deref(), request.content()))
    }
}

/// The most content that is read: a number of bytes, or a string.
///
/// A string is a number and a unit, `b`, `kb`, `mb` or `gb`, without case and in powers of 1024: `"100kb"`, `"1.5MB"`.
/// Without a unit it is bytes. One that cannot be understood makes the call fail with 500, and the log says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    bytes: Option<u64>,
    text: Cow<'static, str>,
}

impl Limit {
    const DEFAULT: Limit = Limit { bytes: Some(1024 * 1024), text: Cow::Borrowed("1mb") };

    fn bytes(&self) -> Result<u64> {
        self.bytes.ok_or_else(|| Error::from(io::Error::other(format!("cannot understand the limit {:?}", self.text))))
    }

    fn check(&self, length: usize) -> Result<()> {
        match length as u64 <= self.bytes()? {
            true => Ok(()),
            false => Err(create_error(413, format_args!("Body exceeded {self} limit"))),
        }
    }
}

/// As the caller wrote it.
impl Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<usize> for Limit {
    fn from(bytes: usize) -> Self {
        Limit { bytes: Some(bytes as u64), text: bytes.to_string().into() }
    }
}

impl From<&str> for Limit {
    fn from(text: &str) -> Self {
        Limit { bytes: parse_size(text), text: text.to_owned().into() }
    }
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    let unit: u64 = match unit.trim_start() {
        "" | "b" => 1,
        "kb" => 1 << 10,
        "mb" => 1 << 20,
        "gb" => 1 << 30,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * unit as f64) as u64)
}

fn decode<'a>(charset: Option<&str>, bytes: &'a [u8]) -> Result<Cow<'a, str>> {
    let charset = charset.unwrap_or("utf-8").to_ascii_lowercase();
    let invalid = |error| create_error_from(400, "Invalid body", error);
    match charset.as_str() {
        "utf-8" | "utf8" => str::from_utf8(bytes).map(Cow::Borrowed).map_err(invalid),
        "us-ascii" | "ascii" if bytes.is_ascii() => Ok(String::from_utf8_lossy(bytes)),
        "us-ascii" | "ascii" => Err(create_error(400, "Invalid body")),
        "iso-8859-1" | "latin1" => Ok(bytes.iter().map(|byte| char::from(*byte)).collect()),
        _ => Err(create_error(415, format_args!("Unsupported charset {charset:?}"))),
    }
}

/// What there is of a request's content: what has been read of it, and what has not.
pub(super) enum Kept {
    /// Some of it; the rest comes from the reader, and its length is known or not.
    Part { read: Buffer, rest: Box<dyn AsyncRead + Unpin + Send + Sync>, length: Option<usize> },
    /// All of it, shared with the bodies that were made of it.
    Whole(Arc<Buffer>),
}

/// Content that has been read, and room for more. The memory is used again by other requests of the thread.
#[derive(Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    filled: usize,
}

thread_local! {
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Takes memory that is used again, where it is large enough to be costly to make; whatever it holds is old.
fn spare(wanted: usize) -> Option<Vec<u8>> {
    if wanted < SPARE_BYTES_MIN { None } else { SPARE.with_borrow_mut(Vec::pop) }
}

/// Leaves memory to the next content of this thread.
pub(super) fn leave(bytes: Vec<u8>) {
    if (SPARE_BYTES_MIN..=SPARE_BYTES_MAX).contains(&bytes.len()) {
        // It fails where the thread is ending.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < SPARE_MAX {
                spare.push(bytes);
            }
        });
    }
}

fn copy(content: &[u8]) -> Vec<u8> {
    let mut bytes = spare(content.len()).unwrap_or_default();
    bytes.clear();
    bytes.extend_from_slice(content);
    bytes
}

impl Buffer {
    /// Room behind what is there; `wanted` says how much would be good.
    fn room(&mut self, wanted: usize) -> &mut [u8] {
        if self.bytes.is_empty() {
            self.bytes = spare(wanted).unwrap_or_else(|| vec![0; wanted]);
        } else if self.filled == self.bytes.len() {
            self.bytes.resize(self.filled.saturating_add(wanted.max(self.filled)), 0);
        }
        self.bytes.get_mut(self.filled..).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.filled).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        leave(mem::take(&mut self.bytes));
    }
}

/// A whole content as the source of a body.
struct Shared(Arc<Buffer>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        (*self.0).as_ref()
    }
}

impl From<&[u8]> for Kept {
    fn from(content: &[u8]) -> Self {
        let read = Buffer { bytes: content.to_vec(), filled: content.len() };
        Kept::Part { read, rest: Box::new(futures_lite::io::empty()), length: Some(0) }
    }
}

impl Default for Kept {
    fn default() -> Self {
        Kept::from([].as_slice())
    }
}

impl Kept {
    pub(super) fn unread(length: Option<usize>, rest: impl AsyncRead + Unpin + Send + Sync + 'static) -> Self {
        Kept::Part { read: Buffer::default(), rest: Box::new(rest), length }
    }

    /// How long the content is, where that is known.
    pub(super) fn length(&self) -> Option<usize> {
        match self {
            Kept::Part { read, length, .. } => length.map(|length| read.filled.saturating_add(length)),
            Kept::Whole(whole) => Some(whole.filled),
        }
    }

    /// How long the content is at least.
    fn bytes_min(&self) -> usize {
        match self {
            Kept::Part { read, length, .. } => read.filled.saturating_add(length.unwrap_or(0)),
            Kept::Whole(whole) => whole.filled,
        }
    }

    /// The content, once all of it has been read.
    pub(super) fn content(&self) -> &[u8] {
        match self {
            Kept::Part { .. } => &[],
            Kept::Whole(whole) => (**whole).as_ref(),
        }
    }

    /// Whether a body that was made of the whole content is still in use.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Kept::Whole(whole) if Arc::strong_count(whole) > 1)
    }

    /// Makes a body of what there is. Content that is not whole goes with it; whole content stays as well.
    pub(super) fn take(&mut self) -> Body {
        let body = |whole: Arc<Buffer>| Body::from_reader(Cursor::new(Shared(whole.clone())), Some(whole.filled));
        if let Kept::Whole(whole) = self {
            return body(whole.clone());
        }
        match mem::take(self) {
            Kept::Part { read, rest, length } => {
                let rest = Body::from_reader(BufReader::with_capacity(1024, rest), length);
                if read.filled == 0 { rest } else { body(Arc::new(read)).chain(rest) }
            }
            Kept::Whole(whole) => body(whole),
        }
    }

    /// Reads until the content is whole.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, limit: &Limit) -> Poll<Result<()>> {
        loop {
            limit.check(self.bytes_min())?;
            let Kept::Part { read, rest, length } = self else { return Poll::Ready(Ok(())) };
            if *length == Some(0) {
                *self = Kept::Whole(Arc::new(mem::take(read)));
                continue;
            }
            let wanted = length.unwrap_or(0).clamp(1024, TRUSTED_BYTES_MAX);
            match ready!(Pin::new(rest).poll_read(cx, read.room(wanted))) {
                Ok(0) => *self = Kept::Whole(Arc::new(mem::take(read))),
                Ok(count) => {
                    read.filled = read.filled.saturating_add(count);
                    *length = length.map(|length| length.saturating_sub(count));
                }
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Poll::Ready(Err(create_error_from(408, "Body took too long", error)));
                }
                Err(error) => return Poll::Ready(Err(create_error_from(400, "Invalid body", error))),
            }
        }
    }
}
