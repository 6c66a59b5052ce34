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
use http_types::{Body, Error};

use super::error::{Result, create_error, create_error_from};

/// The room that is made for content before any of it has come, at most.
const TRUSTED_BYTES_MAX: usize = 64 * 1024;

/// How large the memory is that is used again, and how many pieces of it a thread keeps.
const SPARE_BYTES_MIN: usize = TRUSTED_BYTES_MAX;
const SPARE_BYTES_MAX: usize = 1024 * 1024;
const SPARE_MAX: usize = 16;

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
    pub(super) const DEFAULT: Limit = Limit { bytes: Some(1024 * 1024), text: Cow::Borrowed("1mb") };

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

/// Copies content to memory that was used before, if it is large.
pub(super) fn copy(content: &[u8]) -> Vec<u8> {
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
        let is_known = !matches!(self, Kept::Part { length: None, .. });
        is_known.then(|| self.bytes_min())
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
