//! [`upgrade`]: a connection that persists in another protocol (RFC 9110, 7.8).

use http_types::{StatusCode, Version};

use super::request::Request;
use super::response::{Response, Upgraded};

/// Hands the connection over to `serve`, in the protocol that the client asks for, such as WebSocket.
///
/// The response is a 101 (Switching Protocols) with an Upgrade field; set on it the fields that the protocol requires. Once
/// the handler has returned it and it has been sent, `serve` gets the connection, with all that the client has sent by then.
/// When its future is done the connection is closed. Of the server's limits only `write_timeout` applies to it. When the
/// server is told to stop, reads find the end of the stream, and the server waits for the future as it does for a handler.
///
/// The response is 426 (Upgrade Required) if the request does not ask for `protocol`, and 400 if it has content. A response
/// that is converted to an `http_types::Response` forgets the upgrade.
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
/// assert_eq!(response.header("upgrade"), Some("echo"));
/// ```
pub fn upgrade(req: &Request, protocol: &str, serve: impl AsyncFnOnce(Upgraded) + Send + 'static) -> Response {
    let fields = &req.head.fields;
    let is_asked = req.version() == Version::Http1_1
        && fields.has_element("upgrade", protocol)
        && fields.has_element("connection", "upgrade");
    let response = match is_asked {
        false => Response::of_status(StatusCode::UpgradeRequired),
        true if req.len() != Some(0) => {
            return Response::text(StatusCode::BadRequest, "request for an upgrade has content");
        }
        true => Response::switching_protocols(Box::new(|io| Box::pin(serve(io)))),
    };
    response.with_header("upgrade", protocol)
}
