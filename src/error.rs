//! Errors with a status.
//!
//! [`Error`] is http-types' own. What is kept here is which messages a peer may read: those below 500, and those that
//! [`create_error`] was given.

use std::convert::identity;
use std::fmt::{self, Debug, Display};
use std::io::{self, Write};
use std::sync::LazyLock;

use http_types::{Error, StatusCode};

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

/// A message that the peer may read. Private, so that only [`create_error`] can mark one.
#[derive(Debug)]
struct Shown(String);

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Makes an error whose message the peer is shown, whatever the status.
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
    status.into_status().map_or_else(identity, |status| Error::from_str(status, Shown(message.to_string())))
}

/// Makes an error whose message the peer is shown, and keeps the original for whoever looks into it.
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
    let shown = |status| Error::new(status, original.into().into_inner().context(Shown(message.to_string())));
    status.into_status().map_or_else(identity, shown)
}

/// Gives a failure a status: `.status(403)?`.
pub trait Status<T> {
    /// Turns a failure into an [`Error`] with this status; a success stays as it is.
    ///
    /// A status below 500 shows the error's message to the peer. A `None` has no message but the status's own.
    ///
    /// # Errors
    ///
    /// The failure, with the status given; 500 if http-types does not know that status, and the log says so.
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
        let named = |status: StatusCode| Error::from_str(status, status.canonical_reason());
        self.ok_or_else(|| status.into_status().map_or_else(identity, named))
    }
}

/// Says what a peer is told of an error: its status, and its message or the status's reason phrase. The log gets the rest.
pub(super) fn disclose(error: Error) -> (StatusCode, String) {
    let status = error.status();
    let is_ours = status.is_server_error();
    let mut message = match error.downcast_ref::<Shown>() {
        Some(Shown(message)) if is_ours => message.clone(),
        None if is_ours => status.canonical_reason().to_owned(),
        _ => error.to_string(),
    };
    if is_ours || *MODE == Mode::Development {
        let report = format!("{:?}", error.into_inner());
        log(format_args!("{status}: {report}"));
        if *MODE == Mode::Development {
            message = format!("{message}\n\n{report}");
        }
    }
    (status, message)
}

/// Prints a line of the server's own on stderr.
pub(super) fn log(line: impl Display) {
    if *MODE != Mode::Test {
        // A log that cannot be written is no reason to answer nobody: `eprintln!` would panic.
        let _ = writeln!(io::stderr(), "micro-smol: {line}");
    }
}

/// What `MICRO_ENV` says, read once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Production,
    Development,
    Test,
}

pub(super) static MODE: LazyLock<Mode> = LazyLock::new(|| match std::env::var("MICRO_ENV").as_deref() {
    Ok("development") => Mode::Development,
    Ok("test") => Mode::Test,
    _ => Mode::Production,
});
