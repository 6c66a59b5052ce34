//! Asynchronous HTTP microservices: one function per service, no middleware, just HTTP.
//!
//! A service is an async function from a [`Request`] to a value. [`run`] serves it, with the options of a command line:
//!
//! ```no_run
//! use micro_smol::{Request, run};
//!
//! async fn handler(_req: Request) -> &'static str {
//!     "Hello, world"
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     run(handler)
//! }
//! ```
//!
//! # The way of a request
//!
//! [`Request`] says what was received: method, path, fields. [`json`](json()), [`text`] and [`buffer`] read its content, up to a
//! limit. What the handler returns becomes the response: [`IntoResponse`] has the table. [`send`] gives a value a status,
//! [`stream`] sends what a reader yields, [`upgrade`](upgrade()) hands the connection over. Any error becomes a response with
//! `?`; [`create_error`] makes one whose message the peer may read, and [`Status`] gives any other its status.
//!
//! ```
//! use micro_smol::{Method, Request, Response, Result, create_error, http_types, json, respond, send};
//! use serde_json::Value;
//!
//! async fn handler(mut req: Request) -> Result<Response> {
//!     match (req.method(), req.path()) {
//!         (Method::Get, "/") => send(200, "POST a list of numbers to /sum"),
//!         (Method::Post, "/sum") => {
//!             let numbers: Vec<i64> = json(&mut req).limit("10kb").await?;
//!             send(200, json!({ "sum": numbers.iter().sum::<i64>() }))
//!         }
//!         (_, path) => Err(create_error(404, format_args!("There is no {path}"))),
//!     }
//! }
//!
//! // A test needs no socket.
//! let ask = |method, path: &str, content: &str| {
//!     let mut request = http_types::Request::new(method, format!("http://localhost{path}").as_str());
//!     request.set_body(content);
//!     smol::block_on(respond(&handler, request.into()))
//! };
//! let mut response = ask(Method::Post, "/sum", "[1, 2, 3]");
//! assert_eq!(smol::block_on(response.body_json::<Value>()).unwrap(), json!({ "sum": 6 }));
//! assert_eq!(ask(Method::Post, "/sum", "one").status(), 400);
//! assert_eq!(ask(Method::Get, "/tea", "").status(), 404);
//! ```
//!
//! # Where it runs
//!
//! [`run`] is the whole `main` of a service; [`serve`] is the same as a value, to be told where to listen, with how many
//! workers and within which [`Limits`]; [`listen`] is a server for a test, on a port of its own; [`serve_connection`] serves any
//! stream of bytes, such as TLS.
//!
//! Each worker is a thread with its own executor, and a connection stays on the one that accepted it: a handler's future need
//! not be `Send`, and no lock is shared between workers. In return a handler must not block its thread: what does belongs into
//! [`smol::unblock`]. What the handler captures is shared by all workers, so it is `Send + Sync`; see [`Handler`] for that, and
//! for composition in the place of middleware.
//!
//! # What it stands on
//!
//! Requests and responses are those of [`http_types`], built when they are first used; [`smol`] has timers, files and sockets;
//! [`serde_json`] has values, and its macro is here as [`json!`]. All three are re-exported. `MICRO_ENV=development` shows errors
//! in full and indents JSON; `MICRO_ENV=test` keeps the log silent.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// In the order in which things flow: a file uses only those above it.
mod limits;
mod error;
mod h1;
mod kept;
mod request;
mod response;
mod content;
mod handler;
mod upgrade;
mod deadline;
mod drain;
mod timed;
mod wire;
mod connection;
mod poller;
mod endpoint;
mod server;
mod healthcheck;
#[doc(hidden)]
pub mod cli;
mod testing;

pub use cli::run;
pub use connection::serve_connection;
pub use content::{Content, buffer, json, text};
pub use error::{IntoStatus, Result, Status, create_error, create_error_from};
pub use handler::{Handler, respond};
pub use kept::Limit;
pub use limits::Limits;
pub use request::Request;
pub use response::{IntoResponse, Json, Response, Stream, Upgraded, send, send_error, stream};
pub use server::{Running, Server, serve};
pub use testing::listen;
pub use upgrade::upgrade;

pub use http_types::{self, Body, Error, Method, Mime, StatusCode, Url};
pub use serde_json::{self, json};
pub use smol;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
