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
//! [`Request`] has what was received: method, path, query, fields. [`json`](json()), [`text`], [`buffer`] and [`form`] read its
//! content, up to a limit. What the handler returns becomes the response: [`IntoResponse`] has the table. [`send`] gives a
//! value a status, [`stream`] and [`chunks`] send content piece by piece, [`upgrade`](upgrade()) hands the connection over. Any
//! error becomes a response with `?`. [`create_error`] makes one whose message the client reads, and [`Status`] gives any other
//! error its status.
//!
//! ```
//! use micro_smol::{Method, Request, Response, Result, create_error, json, respond, send};
//! use serde_json::Value;
//!
//! async fn handler(req: Request) -> Result<Response> {
//!     match (req.method(), req.path()) {
//!         (Method::Get | Method::Head, "/") => send(200, "POST a list of numbers to /sum"),
//!         (Method::Post, "/sum") => {
//!             let numbers: Vec<i64> = json(&req).limit("10kb").await?;
//!             send(200, json!({ "sum": numbers.iter().sum::<i64>() }))
//!         }
//!         (_, path) => Err(create_error(404, format_args!("There is no {path}"))),
//!     }
//! }
//!
//! // A test needs no socket.
//! let ask = |req| smol::block_on(respond(&handler, req));
//! let mut response = ask(Request::post("/sum").with_body("[1, 2, 3]"));
//! assert_eq!(smol::block_on(response.body_json::<Value>()).unwrap(), json!({ "sum": 6 }));
//! assert_eq!(ask(Request::post("/sum").with_body("one")).status(), 400);
//! assert_eq!(ask(Request::get("/tea")).status(), 404);
//! ```
//!
//! # Composition
//!
//! There is no middleware: a wrapper is a function from [`Handler`] to `Handler`. It changes the request or the response, answers
//! errors in its own way, or leaves a value for the handler with [`Request::ext_mut`]. [`respond`] inside a wrapper makes a
//! response of an error, too. `Box<dyn Handler>` is a `Handler`, so a router is a list of them.
//!
//! # Where it runs
//!
//! [`run`] is the whole `main` of a service. [`serve`] makes a server, which listens where it is told, with a number of workers
//! and within [`Limits`]. [`listen`] starts a server for a test, on a free port. [`serve_connection`] serves any stream of bytes,
//! such as TLS.
//!
//! Each worker is a thread with its own executor. A connection stays on the worker that accepted it, so a handler's future need
//! not be `Send`. All workers share the handler, so it is `Send + Sync`. A handler must not block its thread: use
//! [`smol::unblock`] for work that blocks. A worker whose thread is blocked delays the connections that it has; new ones go to the
//! other workers.
//!
//! When the server is told to stop, it answers the requests that have come. An endless stream ends with [`Request::stopping`].
//!
//! # What it stands on
//!
//! [`http_types`] has the vocabulary: [`Method`], [`StatusCode`], [`Version`], [`Mime`], [`Url`], [`Body`], [`Error`] and
//! [`Extensions`]. [`Request`] and [`Response`] are plain structs of this crate; `From` converts them from and to those of
//! http-types, for code that wants that API. [`smol`] has timers, files and sockets. [`serde_json`] has values, and its macro is
//! here as [`json!`]. All three crates are re-exported.
//!
//! With `MICRO_ENV=development` errors are shown in full and JSON is indented; with `MICRO_ENV=test` nothing is logged.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// In the order in which a request flows: a file uses only those above it.
mod log;
mod error;
mod limits;
mod http1;
mod payload;
mod request;
mod response;
mod into_response;
mod content;
mod handler;
mod upgrade;
mod connection;
mod server;
#[doc(hidden)]
pub mod cli;

/// What a simulation of connections needs beside the public API: a list of connections with a time of its own.
#[doc(hidden)]
pub mod simulation {
    pub use super::connection::{Connections, Registration, serve_stream};
    pub use super::request::ConnectionContext;
}

pub use cli::run;
pub use connection::serve_connection;
pub use content::{Content, buffer, form, json, text};
pub use error::{IntoStatus, Result, Status, create_error, create_error_from};
pub use handler::{Answer, Handler, respond};
pub use into_response::{IntoResponse, Json, Streamed, chunks, send, stream};
pub use limits::{Limit, Limits};
pub use request::Request;
pub use response::{Response, Upgraded, send_error};
pub use server::{Running, Server, listen, serve};
pub use upgrade::upgrade;

pub use http_types::{self, Body, Error, Extensions, Method, Mime, StatusCode, Url, Version};
pub use serde_json::{self, json};
pub use smol;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
