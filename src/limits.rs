//! [`Limits`]: what one peer may use; [`Limit`]: how much content a handler reads.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::io;
use std::time::Duration;

use super::error::{Result, create_error};

/// How much of the server one connection may use.
///
/// Sizes are in bytes and inclusive: exactly the limit is accepted. A message above a limit is answered with the status
/// named at the field, and the connection is closed. A time that is zero has passed at once; one that is too long to be
/// added to the clock never passes.
///
/// # Examples
///
/// ```
/// use micro_smol::Limits;
///
/// let limits = Limits { head_bytes_max: 32 * 1024, ..Limits::default() };
/// assert_eq!(limits.request_line_bytes_max, 8 * 1024);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The request line without its line end. A longer one is answered with 414. The default is 8 KiB.
    pub request_line_bytes_max: usize,
    /// The whole head, with the empty line that ends it. A larger one is answered with 431. The default is 16 KiB.
    pub head_bytes_max: usize,
    /// The number of field lines in a head. A head with more is answered with 431. The default is 100; a number above 256
    /// counts as 256.
    pub field_lines_max: usize,
    /// From the first byte of a head to its end; on a new connection, from its start. A slower head is answered with 408; if
    /// no byte has come, the connection is closed. The default is 10 seconds.
    pub head_timeout: Duration,
    /// From a response to the first byte of the next request. The connection is closed after it. The default is 75 seconds,
    /// longer than the 60 of most balancers.
    pub idle_timeout: Duration,
    /// Between bytes of a message body that the handler waits for. A slower body makes the read fail with 408. The default is
    /// 30 seconds. A read of [`Request::take_body`](super::Request::take_body) that is given up, as for a timer, counts until more
    /// has come or the body is dropped.
    pub body_timeout: Duration,
    /// How much of a message body that the handler left unread is read, to keep the connection. Above it the connection is
    /// closed. The default is 64 KiB.
    pub unread_bytes_max: usize,
    /// Between bytes of a response that the peer takes. The connection is reset after it. If the peer has said that it sends
    /// no more, it is also the time in which the handler has to make progress with its response. The default is 30 seconds.
    pub write_timeout: Duration,
    /// How long a server that was told to stop waits for its connections. Those that are still open are then cut. The
    /// default is 8 seconds, because Docker kills after 10.
    pub drain_timeout: Duration,
    /// The number of open connections, at least 1. At the limit, new ones wait in the backlog. The default is as many as the
    /// process may have descriptors, less an eighth for other uses; a larger number counts as that. The soft limit is raised to
    /// the hard one when a server starts.
    pub connections_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            request_line_bytes_max: 8 * 1024,
            head_bytes_max: 16 * 1024,
            field_lines_max: 100,
            head_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(30),
            unread_bytes_max: 64 * 1024,
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(8),
            connections_max: usize::MAX,
        }
    }
}

/// The names of the limits, for a message; a test compares them with the fields.
const NAMES: &str = "request_line_bytes_max, head_bytes_max, field_lines_max, head_timeout, idle_timeout, body_timeout, \
    unread_bytes_max, write_timeout, drain_timeout, connections_max";

impl Limits {
    /// Sets the limit of a name, which is that of its field, from text: a size like `32kb`, a time like `620s` or `500ms`, or a
    /// number.
    pub(super) fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        let unreadable = |advice: &str| format!("{name}: {value:?} cannot be read: {advice}");
        let size = || parse_size(value).and_then(|bytes| usize::try_from(bytes).ok());
        let size = || size().ok_or_else(|| unreadable("give a size like 32kb"));
        let time = || parse_time(value).ok_or_else(|| unreadable("give a time like 620s or 500ms"));
        let number = || value.parse().map_err(|_| unreadable("give a number"));
        match name {
            "request_line_bytes_max" => self.request_line_bytes_max = size()?,
            "head_bytes_max" => self.head_bytes_max = size()?,
            "field_lines_max" => self.field_lines_max = number()?,
            "head_timeout" => self.head_timeout = time()?,
            "idle_timeout" => self.idle_timeout = time()?,
            "body_timeout" => self.body_timeout = time()?,
            "unread_bytes_max" => self.unread_bytes_max = size()?,
            "write_timeout" => self.write_timeout = time()?,
            "drain_timeout" => self.drain_timeout = time()?,
            "connections_max" => self.connections_max = number()?,
            _ => return Err(format!("there is no limit {name:?}: the limits are {NAMES}")),
        }
        Ok(())
    }
}

fn parse_time(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    let units = [("", 1.0), ("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let (_, seconds) = units.into_iter().find(|(name, _)| *name == unit)?;
    Duration::try_from_secs_f64(number * seconds).ok()
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = split_unit(&text)?;
    let units = [("", 0), ("b", 0), ("kb", 10), ("mb", 20), ("gb", 30)];
    let (_, power) = units.into_iter().find(|(name, _)| *name == unit.trim_start())?;
    Some((number * f64::from(1 << power)) as u64)
}

/// Reads a number, and returns the unit behind it as well.
fn split_unit(text: &str) -> Option<(f64, &str)> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()));
    Some((number.parse().ok()?, unit))
}

/// The most content that [`json`](super::json()), [`text`](super::text()), [`buffer`](super::buffer()) or
/// [`form`](super::form()) reads: a number of bytes, or a string.
///
/// A string is a number and a unit, `b`, `kb`, `mb` or `gb`, without case and in powers of 1024: `"100kb"`, `"1.5MB"`.
/// A number without a unit counts bytes. A string of another form makes the call fail with 500, and the log says so.
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

    /// How many bytes more than these are above the limit.
    pub(super) fn bytes_above(&self, length: usize) -> usize {
        let limit = self.bytes.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(usize::MAX);
        limit.saturating_sub(length).saturating_add(1)
    }

    /// Fails if so many bytes are above the limit, or if the limit is malformed.
    pub(super) fn check(&self, length: u64) -> Result<()> {
        match self.bytes {
            Some(bytes) if length <= bytes => Ok(()),
            Some(_) => Err(create_error(413, format_args!("Body exceeded {self} limit"))),
            None => Err(io::Error::other(format!("cannot understand the limit {:?}", self.text)).into()),
        }
    }
}

/// Writes the limit as the caller gave it.
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
