//! [`Handler`]: the one function of a service; [`respond`]: its response, whatever happens in it.

use std::future::poll_fn;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Poll, ready};

use http_types::StatusCode;

use super::error::{Result, panic_message};
use super::into_response::IntoResponse;
use super::request::Request;
use super::response::Response;

/// What a handler answers, once it is awaited.
pub type Answer<'a> = Pin<Box<dyn Future<Output = Result<Response>> + 'a>>;

/// A service: an async function from a [`Request`] to anything that [`IntoResponse`] converts.
///
/// Every `async fn(Request) -> impl IntoResponse` is one, and so is a closure, async or returning a future. The future
/// need not be `Send`: a connection stays on one thread. The function itself is shared by all workers, so what it
/// captures must be `Send + Sync`. A `Box<dyn Handler>` is a handler as well, so that a router is a list of them.
///
/// The future lives while it answers, in memory of its own: what it holds costs an idle connection nothing. It is dropped, wherever
/// it waits, when the peer resets the connection or the server is cut. A peer that has only said that it sends no more is
/// still answered.
///
/// Annotate the argument of a closure that uses it: `async |req: Request| …`. A closure that uses `?` needs a return type.
///
/// # Examples
///
/// Composition instead of middleware: a function from handler to handler. This one lets a field reach every response, also
/// those to errors, because [`respond`] makes a response of whatever happens:
///
/// ```
/// use micro_smol::{Handler, Request, create_error, respond};
///
/// fn with_cors(handler: impl Handler) -> impl Handler {
///     async move |req: Request| respond(&handler, req).await.with_header("access-control-allow-origin", "*")
/// }
///
/// let handler = with_cors(async |_req: Request| Err::<(), _>(create_error(404, "No such tea")));
/// let response = smol::block_on(respond(&handler, Request::get("/tea")));
/// assert_eq!(response.status(), 404);
/// assert_eq!(response.header("access-control-allow-origin"), Some("*"));
/// ```
///
/// Errors of your own have their statuses in a wrapper, and a wrapper hands values to the handler with
/// [`ext_mut`](Request::ext_mut):
///
/// ```
/// use micro_smol::{Handler, Request, Result, create_error_from, respond};
/// use std::{error::Error, fmt};
///
/// #[derive(Debug)]
/// enum ShopError {
///     SoldOut,
/// }
///
/// impl fmt::Display for ShopError {
///     fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
///         f.write_str("sold out")
///     }
/// }
///
/// impl Error for ShopError {}
///
/// fn with_statuses(handler: impl Handler) -> impl Handler {
///     async move |req: Request| {
///         handler.call(req).await.map_err(|error| match error.downcast_ref() {
///             Some(ShopError::SoldOut) => create_error_from(410, "No more of it", error),
///             None => error,
///         })
///     }
/// }
///
/// async fn buy(_req: Request) -> Result<(), ShopError> {
///     Err(ShopError::SoldOut)
/// }
///
/// assert_eq!(smol::block_on(respond(&with_statuses(buy), Request::post("/tea"))).status(), 410);
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
    fn call(&self, req: Request) -> Answer<'_>;
}

impl<F> Handler for F
where
    F: AsyncFnOfRequest + Send + Sync + 'static,
    F::Output: IntoResponse,
{
    fn call(&self, req: Request) -> Answer<'_> {
        match size_of_output(|| self.start(Request::default())) {
            LARGE_BYTES.. => answer_in_two_boxes(self, req),
            _ => answer_in_one_box(self, req),
        }
    }
}

/// A future of this size is not moved within the stack, where it stands several times without optimisation.
const LARGE_BYTES: usize = 64 * 1024;

fn size_of_output<T>(_make: impl FnOnce() -> T) -> usize {
    size_of::<T>()
}

fn answer_in_one_box<F: AsyncFnOfRequest<Output: IntoResponse>>(handler: &F, req: Request) -> Answer<'_> {
    Box::pin(async { handler.start(req).await.into_response() })
}

fn answer_in_two_boxes<F: AsyncFnOfRequest<Output: IntoResponse>>(handler: &F, req: Request) -> Answer<'_> {
    let future = Box::pin(handler.start(req));
    Box::pin(async { future.await.into_response() })
}

impl Handler for Box<dyn Handler> {
    fn call(&self, req: Request) -> Answer<'_> {
        (**self).call(req)
    }
}

/// `AsyncFn(Request) -> Output` by another name. Of a function that is not async, rustc would say that its output is not a
/// future, and would not mention handlers.
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

/// Answers a request as the server does, without a socket; for tests, for wrappers and for embedding.
///
/// It never fails: an error becomes the response that [`send_error`](super::send_error) makes, a panic a 500, and so does a
/// response with a field or a status that cannot be sent. The response to a HEAD, a 204 and a 304 have no content.
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
pub fn respond(handler: &dyn Handler, request: Request) -> impl Future<Output = Response> {
    let head = request.head.clone();
    let mut answer = survive(|| handler.call(request));
    poll_fn(move |cx| {
        let of_error = |error| Response::of_error(error, Some(&head));
        let answer = answer.as_mut().map_err(mem::take);
        let poll = || Ok(answer?.as_mut().poll(cx).map(|answered| answered.unwrap_or_else(of_error)));
        let answered = survive(poll).unwrap_or_else(Err);
        let failed = |own: String| Poll::Ready(Response::text(StatusCode::InternalServerError, panic_message(&own)));
        let mut response = ready!(answered.unwrap_or_else(failed));
        response.finish(&head);
        Poll::Ready(response)
    })
}

/// Calls a function. The error is the message of its panic, which the panic hook has reported.
pub(super) fn survive<T>(call: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(call)).map_err(|payload| {
        let text = payload.downcast_ref().copied().or(payload.downcast_ref().map(String::as_str));
        let message = text.unwrap_or("a panic without a message").to_owned();
        // What a panic carries may panic in its turn when it is dropped.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            mem::forget(payload);
        }
        message
    })
}
