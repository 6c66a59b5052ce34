//! [`Kept`]: the content of a request, what has been read of it and what has not, up to a [`Limit`].

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::{self, Display};
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_lite::AsyncRead;
use futures_lite::io::{BufReader, Cursor};
use http_types::Body;
use http_types::headers::{CONTENT_TYPE, Headers};

use super::error::{Result, create_error, create_error_from};

/// What is large: so much room is made before any content has come, at most, and memory of this size is used again.
const LARGE_BYTES: usize = 64 * 1024;

/// How large memory may be to be used again, and how many pieces of it a thread keeps.
const SPARE_BYTES_MAX: usize = 1024 * 1024;
const SPARE_MAX: usize = 16;

/// The most content that is read: a number of bytes, or a string.
///
/// A string is a number and a unit, `b`, `kb`, `mb` or `gb`, without case and in powers of 1024: `"100kb"`, `"1.5MB"`.
/// Without a unit it is bytes. One that cannot be understood makes the call fail with 500, and the log says so.
///
/// # Examples
///
/// ```
/// use micro_smol::Limit;
///
/// assert_eq!(Limit::from("1.5mb").to_string(), "1.5mb");
/// assert_eq!(Limit::from(100).to_string(), "100");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    bytes: Option<u64>,
    text: Cow<'static, str>,
}

impl Limit {
    pub(super) const DEFAULT: Limit = Limit { bytes: Some(1024 * 1024), text: Cow::Borrowed("1mb") };

    fn check(&self, length: usize) -> Result<()> {
        match self.bytes {
            Some(bytes) if length as u64 <= bytes => Ok(()),
            Some(_) => Err(create_error(413, format_args!("Body exceeded {self} limit"))),
            None => Err(io::Error::other(format!("cannot understand the limit {:?}", self.text)).into()),
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

/// The content of a request: what has been read of it, and what has not.
#[derive(Default)]
pub(super) struct Kept {
    /// What has been read, and room for more.
    read: Buffer,
    filled: usize,
    /// What has not been read; `None` once [`poll_read`](Self::poll_read) has come to its end.
    rest: Option<Rest>,
    /// How long both are together, where that is known.
    length: Option<usize>,
    /// What has been read to its end, once a body was made of it.
    shared: Option<Shared>,
}

/// Where content comes from.
pub(super) type Rest = Box<dyn AsyncRead + Unpin + Send + Sync>;

/// A whole content as the source of bodies.
#[derive(Clone)]
struct Shared(Arc<Buffer>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0.0
    }
}

impl Kept {
    pub(super) fn new(read: &[u8], rest: Rest, length: Option<usize>) -> Self {
        Kept { read: Buffer(read.to_vec()), filled: read.len(), rest: Some(rest), length, shared: None }
    }

    /// How long the content is, where that is known.
    pub(super) fn length(&self) -> Option<usize> {
        if self.rest.is_some() { self.length } else { Some(self.content().len()) }
    }

    /// What has been read: all of it once [`poll_read`](Self::poll_read) is done.
    pub(super) fn content(&self) -> &[u8] {
        let read = || self.read.0.get(..self.filled).unwrap_or_default();
        self.shared.as_ref().map_or_else(read, Shared::as_ref)
    }

    /// Whether a body that was made of the whole content is still in use.
    pub(super) fn is_shared(&self) -> bool {
        self.shared.as_ref().is_some_and(|shared| Arc::strong_count(&shared.0) > 1)
    }

    /// Makes a body of it. What has been read to its end stays as well; anything else goes with the body.
    pub(super) fn take(&mut self) -> Body {
        self.read.0.truncate(self.filled);
        let Some(rest) = self.rest.take() else {
            let shared = self.shared.get_or_insert_with(|| Shared(Arc::new(mem::take(&mut self.read))));
            return Body::from_reader(Cursor::new(shared.clone()), Some(self.filled));
        };
        let mut taken = mem::take(self);
        let left = taken.length.map(|length| length.saturating_sub(taken.filled));
        let rest = Body::from_reader(BufReader::with_capacity(1024, rest), left);
        if taken.filled == 0 { rest } else { Body::from_bytes(mem::take(&mut taken.read.0)).chain(rest) }
    }

    /// Reads until the content is whole.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, limit: &Limit) -> Poll<Result<()>> {
        loop {
            limit.check(self.length().unwrap_or(0).max(self.filled))?;
            let Some(rest) = &mut self.rest else { return Poll::Ready(Ok(())) };
            let left = self.length.map(|length| length.saturating_sub(self.filled));
            let wanted = left.unwrap_or(0).clamp(1024, LARGE_BYTES);
            let read = match left {
                Some(0) => Ok(0),
                _ => ready!(Pin::new(rest).poll_read(cx, self.read.room(self.filled, wanted))),
            };
            match read {
                Ok(0) => self.rest = None,
                Ok(count) => self.filled = self.filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                    return Poll::Ready(Err(create_error_from(408, "Body took too long", error)));
                }
                Err(error) => return Poll::Ready(Err(create_error_from(400, "Invalid body", error))),
            }
        }
    }
}

/// Memory that is used again by other content of the thread.
#[derive(Default)]
struct Buffer(Vec<u8>);

impl Buffer {
    /// Room behind what is filled; `wanted` says how much would be good.
    fn room(&mut self, filled: usize, wanted: usize) -> &mut [u8] {
        if self.0.is_empty() {
            self.0 = spare(wanted);
        }
        if self.0.len() == filled {
            self.0.resize(filled.saturating_add(wanted.max(filled)), 0);
        }
        self.0.get_mut(filled..).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        leave(mem::take(&mut self.0));
    }
}

thread_local! {
    /// Memory of large content that is used again, as fresh pages cost more than copying. Whatever it holds is old.
    static SPARE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Takes memory that is used again, if so much is wanted that it would be costly to make.
fn spare(wanted: usize) -> Vec<u8> {
    let spare = if wanted < LARGE_BYTES { None } else { SPARE.with_borrow_mut(Vec::pop) };
    spare.unwrap_or_default()
}

/// Leaves memory to the next content of this thread.
pub(super) fn leave(bytes: Vec<u8>) {
    if (LARGE_BYTES..=SPARE_BYTES_MAX).contains(&bytes.len()) {
        // It fails where the thread is ending.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            spare.truncate(SPARE_MAX - 1);
            spare.push(bytes);
        });
    }
}

/// Copies content to memory that was used before, if it is large.
pub(super) fn copy(content: &[u8]) -> Vec<u8> {
    let mut bytes = spare(content.len());
    bytes.clear();
    bytes.extend_from_slice(content);
    bytes
}

/// Changes the body of a message and leaves its Content-Type: http-types invents one where there is none.
pub(super) fn keep_type<M: AsMut<Headers>>(message: &mut M, change: impl FnOnce(&mut M) -> Body) -> Body {
    let has_type = message.as_mut().get(CONTENT_TYPE).is_some();
    let replaced = change(message);
    if !has_type {
        message.as_mut().remove(CONTENT_TYPE);
    }
    replaced
}
