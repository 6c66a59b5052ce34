//! [`upgrade`]: a connection that goes on in another protocol (RFC 9110, 7.8).

use http_types::{StatusCode, Version};

use super::request::Request;
use super::response::{Response, Upgraded, text};

/// Hands the connection over to `serve`, in the protocol that the peer asks for: WebSocket, for one.
///
/// The response is a 101 (Switching Protocols) that says so; fields which the protocol wants are set on it. Once the
/// handler has returned it and it has been sent, `serve` gets the connection, with all that the peer has sent by then, and
/// when its future is done the connection is closed. Of the server's limits only `write_timeout` holds for it. A server
/// that is told to stop lets it read the end of the stream, and then waits for it as for a request.
///
/// The response is 426 (Upgrade Required) if the request does not ask for `protocol`, and 400 if it has content.
/// What becomes an `http_types::Response` in between forgets the upgrade.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, Response, smol, upgrade};
/// use smol::io::{copy, split};
///
/// async fn handler(req: Request) -> Response {
///     upgrade(&req, "echo", async |io| {
///         let (reader, writer) = split(io);
///         let _ = copy(reader, writer).await;
///     })
/// }
///
/// let response = smol::block_on(micro_smol::respond(&handler, Request::default()));
/// assert_eq!(response.status(), 426);
/// assert_eq!(response["upgrade"], "echo");
/// ```
pub fn upgrade(req: &Request, protocol: &str, serve: impl AsyncFnOnce(Upgraded) + Send + 'static) -> Response {
    let has = |name, element: &str| {
        let lines = req.header(name).into_iter().flatten();
        lines.flat_map(|line| line.as_str().split(',')).any(|found| found.trim().eq_ignore_ascii_case(element))
    };
    let is_asked = has("upgrade", protocol) && has("connection", "upgrade") && req.version() == Version::Http1_1;
    let response = match is_asked {
        false => text(StatusCode::UpgradeRequired, StatusCode::UpgradeRequired.canonical_reason()),
        true if req.len() != Some(0) => return text(StatusCode::BadRequest, "request for an upgrade has content"),
        true => Response::switching(Box::new(|io| Box::pin(serve(io)))),
    };
    response.with_header("upgrade", protocol)
}
