//! Errors with a status, and what of an error the client reads: messages below 500, and those given to [`create_error`].

use std::backtrace::BacktraceStatus;
use std::convert::identity;
use std::error::Error as StdError;
use std::fmt::{self, Debug, Display};
use std::io;
use std::iter;

use http_types::{Error, StatusCode};

use super::log::{MODE, Mode, log};

/// The result of a handler, and of whatever it calls here.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A status code, as a `u16` or as a [`StatusCode`].
///
/// No other type is one, so that the `200` of `send(200, …)` needs no annotation.
///
/// # Examples
///
/// ```
/// use micro_smol::{IntoStatus, StatusCode};
///
/// assert_eq!(404_u16.into_status().unwrap(), StatusCode::NotFound);
/// assert_eq!(299_u16.into_status().unwrap_err().status(), 500);
/// ```
pub trait IntoStatus {
    /// Converts the number.
    ///
    /// # Errors
    ///
    /// 500 if http-types has no such status, like 299 or 600; the log says so.
    fn into_status(self) -> Result<StatusCode>;
}

impl IntoStatus for StatusCode {
    fn into_status(self) -> Result<StatusCode> {
        Ok(self)
    }
}

impl IntoStatus for u16 {
    fn into_status(self) -> Result<StatusCode> {
        StatusCode::try_from(self)
            .map_err(|_| Error::from_str(StatusCode::InternalServerError, format!("http-types knows no status {self}")))
    }
}

/// The reason phrase of a status (RFC 9110, 15), which http-types has wrong for some.
pub(super) fn reason_phrase(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NonAuthoritativeInformation => "Non-Authoritative Information",
        StatusCode::ImUsed => "IM Used",
        StatusCode::MultipleChoice => "Multiple Choices",
        StatusCode::NotModified => "Not Modified",
        StatusCode::PayloadTooLarge => "Content Too Large",
        StatusCode::RequestedRangeNotSatisfiable => "Range Not Satisfiable",
        StatusCode::UnprocessableEntity => "Unprocessable Content",
        _ => status.canonical_reason(),
    }
}

/// A message that the client may read. It is private, so that only [`create_error`] can mark one.
#[derive(Debug)]
struct PublicMessage(String);

impl Display for PublicMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes an error whose message the client reads, whatever the status.
///
/// A status that http-types does not know makes it a 500, and the log says so.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, Result, create_error};
///
/// async fn handler(_req: Request) -> Result<&'static str> {
///     Err(create_error(429, "Rate limit exceeded"))
/// }
///
/// let response = smol::block_on(micro_smol::respond(&handler, Request::default()));
/// assert_eq!(response.status(), 429);
/// ```
pub fn create_error(status: impl IntoStatus, message: impl Display) -> Error {
    status.into_status().map_or_else(identity, |status| Error::from_str(status, PublicMessage(message.to_string())))
}

/// Makes an error whose message the client reads, and keeps the original for the log.
///
/// `downcast_ref` finds the original, and the log shows the chain of causes from it.
///
/// # Examples
///
/// ```
/// let original = "12x".parse::<u32>().unwrap_err();
/// let error = micro_smol::create_error_from(400, "Not a number", original);
/// assert_eq!(error.to_string(), "Not a number");
/// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
/// ```
pub fn create_error_from(status: impl IntoStatus, message: impl Display, original: impl Into<Error>) -> Error {
    let shown = |status| Error::new(status, original.into().into_inner().context(PublicMessage(message.to_string())));
    status.into_status().map_or_else(identity, shown)
}

/// Makes a 400 from a parser's message. A fault of the body keeps its own message and status.
pub(super) fn invalid(part: &str, error: impl Into<Error> + Display) -> Error {
    let message = format!("Invalid {part}: {error}");
    match with_body_status(error.into()) {
        error if Rejection::among(error.as_ref()).is_some() => error,
        error => create_error_from(StatusCode::BadRequest, message, error),
    }
}

/// Gives a failure a status: `.status(403)?`.
pub trait Status<T> {
    /// Turns a failure into an [`Error`] with this status; a success stays as it is.
    ///
    /// With a status below 500 the client reads the error's message. A `None` has the status's reason phrase as its message.
    ///
    /// # Errors
    ///
    /// The failure, with the status given; 500 if http-types does not know that status, and the log says so. A fault of the
    /// request's body keeps its own status if 422 or 500 is given: those are what http-types and `?` give.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, Result, Status};
    ///
    /// async fn handler(req: Request) -> Result<String> {
    ///     let name = req.query_string().status(400)?;
    ///     std::fs::read_to_string(format!("/nowhere/{name}")).status(404)
    /// }
    ///
    /// let response = smol::block_on(micro_smol::respond(&handler, Request::default()));
    /// assert_eq!(response.status(), 400);
    /// ```
    fn status(self, status: impl IntoStatus) -> Result<T>;
}

impl<T, E: Into<Error>> Status<T> for Result<T, E> {
    fn status(self, status: impl IntoStatus) -> Result<T> {
        self.map_err(|error| {
            let error = error.into().into_inner();
            status.into_status().map_or_else(identity, |status| Error::new(status, error))
        })
    }
}

impl<T> Status<T> for Option<T> {
    fn status(self, status: impl IntoStatus) -> Result<T> {
        let named = |status: StatusCode| Error::from_str(status, reason_phrase(status));
        self.ok_or_else(|| status.into_status().map_or_else(identity, named))
    }
}

/// Why a message is refused: the status that answers it, and the part at fault.
///
/// For a message body, it is inside of an [`io::Error`], and carries the status to wherever that surfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) status: StatusCode,
    pub(super) reason: &'static str,
}

impl Rejection {
    pub(super) const EARLY_END: Rejection = Rejection::bad("message body ends early");
    pub(super) const TOO_SLOW: Rejection = Rejection::new(StatusCode::RequestTimeout, "Body took too long");
    pub(super) const CONNECTION_ENDED: Rejection =
        Rejection::new(StatusCode::InternalServerError, "The connection no longer delivers the body");

    pub(super) const fn new(status: StatusCode, reason: &'static str) -> Self {
        Rejection { status, reason }
    }

    pub(super) const fn bad(reason: &'static str) -> Self {
        Rejection::new(StatusCode::BadRequest, reason)
    }

    /// Finds that of a message body among the causes of an error. What an `io::Error` was made of is not among its causes.
    pub(super) fn among(error: &(dyn StdError + 'static)) -> Option<Rejection> {
        chain(error).find_map(|error| match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Rejection::among(inner),
            None => error.downcast_ref().copied(),
        })
    }
}

impl Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            StatusCode::RequestTimeout | StatusCode::InternalServerError => f.write_str(self.reason),
            _ => write!(f, "Invalid body: {}", self.reason),
        }
    }
}

impl StdError for Rejection {}

impl From<Rejection> for io::Error {
    fn from(rejection: Rejection) -> Self {
        let kind = match rejection.status {
            StatusCode::RequestTimeout => io::ErrorKind::TimedOut,
            StatusCode::BadRequest => io::ErrorKind::InvalidData,
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, rejection)
    }
}

/// Gives an error that was caused by a fault of the body the status of that fault, in place of 500, which `?` sets, and of 422,
/// which http-types sets.
pub(super) fn with_body_status(mut error: Error) -> Error {
    let is_default = matches!(error.status(), StatusCode::InternalServerError | StatusCode::UnprocessableEntity);
    if let Some(fault) = Rejection::among(error.as_ref()).filter(|_| is_default) {
        error.set_status(fault.status);
    }
    error
}

/// The status and the message that answer an error: its own message below 500 or from [`create_error`], else the reason
/// phrase. A server's fault is logged, with the start of the request where that is known.
pub(super) fn client_message(error: Error, request: Option<&dyn Display>) -> (StatusCode, String) {
    let error = with_body_status(error);
    let status = error.status();
    let is_public = status.is_client_error() || error.downcast_ref::<PublicMessage>().is_some();
    let mut message = match error.downcast_ref::<PublicMessage>() {
        Some(PublicMessage(message)) if !status.is_client_error() => message.clone(),
        None if status.is_server_error() => reason_phrase(status).to_owned(),
        _ => error.to_string(),
    };
    if status.is_server_error() || *MODE == Mode::Development {
        let mut causes = causes(&error);
        let start = request.map_or(String::new(), |request| format!("{request}: "));
        if *MODE != Mode::Development {
            log(format_args!("{start}{}: {}", u16::from(status), causes.join(": ")));
            return (status, message);
        }
        log(format_args!("{start}{}: {}", u16::from(status), causes.join("\n    caused by: ")));
        causes.retain(|cause| *cause != message);
        message = iter::once(message).chain(causes).collect::<Vec<_>>().join("\ncaused by: ");
        let error = error.into_inner();
        if !is_public && error.backtrace().status() == BacktraceStatus::Captured {
            log(error.backtrace());
        }
    }
    (status, message)
}

/// The message that answers a panic: the reason phrase, in development with the panic's own.
pub(super) fn panic_message(own: &str) -> String {
    let reason = reason_phrase(StatusCode::InternalServerError);
    if *MODE == Mode::Development { format!("{reason}\ncaused by: {own}") } else { reason.to_owned() }
}

/// An error and its causes.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    iter::successors(Some(error), |error| (*error).source())
}

/// The messages of an error and its causes; one that stands at the end of the message before it is left out.
fn causes(error: &Error) -> Vec<String> {
    let mut texts: Vec<String> = Vec::new();
    for cause in chain(error.as_ref()) {
        let text = cause.to_string();
        if !texts.last().is_some_and(|last| last.ends_with(&text)) {
            texts.push(text);
        }
    }
    texts
}
