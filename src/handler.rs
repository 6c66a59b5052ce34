//! [`Handler`]: the one function of a service; [`respond`]: its answer, whatever happens in it.

use std::panic::AssertUnwindSafe;

use futures_lite::FutureExt;
use http_types::StatusCode;

use super::error::Result;
use super::request::Request;
use super::response::{IntoResponse, Response, send_error, text};

/// A service: an async function from a [`Request`] to anything that [`IntoResponse`] takes.
///
/// Every `async fn(Request) -> impl IntoResponse` is one, and so is a closure, async or returning a future. The future
/// need not be `Send`: a connection stays on one thread. The function itself is shared by all workers, so what it
/// captures must be `Sync`.
///
/// The future is dropped, wherever it waits, when the peer resets the connection or the server is cut. A peer that only says
/// that it sends no more is still answered.
///
/// A closure that uses its argument wants its type, `async |req: Request| …`; one that uses `?` wants a return type.
///
/// # Examples
///
/// Composition instead of middleware: a function from handler to handler.
///
/// ```
/// use micro_smol::{Handler, Request, respond, send};
///
/// fn handle_errors(handler: impl Handler) -> impl Handler {
///     async move |req: Request| handler.call(req).await.or_else(|_| send(500, "My custom error!"))
/// }
///
/// let handler = handle_errors(|_| async { std::fs::read("/nowhere") });
/// let response = smol::block_on(respond(&handler, Request::default()));
/// assert_eq!(response.status(), 500);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a handler",
    label = "expected an `async fn(Request) -> impl IntoResponse`",
    note = "a handler is async, takes one `micro_smol::Request`, and returns something that can be sent",
    note = "what a closure captures must be `Send + Sync + 'static`, because all workers share it"
)]
pub trait Handler: Send + Sync + 'static {
    /// Answers a request.
    ///
    /// # Errors
    ///
    /// What the handler returns as an error.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Handler, Request};
    ///
    /// async fn handler(_req: Request) -> &'static str {
    ///     "Hello, world"
    /// }
    ///
    /// let response = smol::block_on(handler.call(Request::default())).unwrap();
    /// assert_eq!(response.status(), 200);
    /// ```
    fn call(&self, req: Request) -> impl Future<Output = Result<Response>>;
}

impl<F> Handler for F
where
    F: AsyncFnOfRequest + Send + Sync + 'static,
    F::Output: IntoResponse,
{
    async fn call(&self, req: Request) -> Result<Response> {
        self.start(req).await.into_response()
    }
}

/// `AsyncFn(Request) -> Output` by another name: of a function that is not async rustc would say that what it returns is not
/// a future, and nothing of handlers.
pub trait AsyncFnOfRequest {
    type Output;

    fn start(&self, req: Request) -> impl Future<Output = Self::Output>;
}

#[diagnostic::do_not_recommend]
impl<F: AsyncFn(Request) -> T, T> AsyncFnOfRequest for F {
    type Output = T;

    fn start(&self, req: Request) -> impl Future<Output = T> {
        self(req)
    }
}

/// Answers a request as the server does, without a socket; for tests and for embedding.
///
/// It never fails: an error becomes the response of [`send_error`], a panic a 500.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, respond};
///
/// async fn handler(_req: Request) -> &'static str {
///     panic!("at the disco")
/// }
///
/// let response = smol::block_on(respond(&handler, Request::default()));
/// assert_eq!(response.status(), 500);
/// ```
pub async fn respond(handler: &impl Handler, request: Request) -> Response {
    match AssertUnwindSafe(async { handler.call(request).await }).catch_unwind().await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => send_error(error),
        // The panic hook has reported it.
        Err(_) => text(StatusCode::InternalServerError, StatusCode::InternalServerError.canonical_reason()),
    }
}
