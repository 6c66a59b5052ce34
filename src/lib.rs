//! Asynchronous HTTP microservices: one function per service, no middleware, just HTTP.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// In the order in which things flow: a file uses only those above it.
mod limits;
mod error;
mod h1;
mod kept;
mod duplex;
mod request;
mod response;
mod content;
mod handler;
mod upgrade;
mod deadline;
mod drain;
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
pub use duplex::Upgraded;
pub use error::{IntoStatus, Result, Status, create_error, create_error_from};
pub use handler::{Handler, respond};
pub use kept::Limit;
pub use limits::Limits;
pub use request::Request;
pub use response::{IntoResponse, Json, Response, Stream, send, send_error, stream};
pub use server::{Running, Server, serve};
pub use testing::listen;
pub use upgrade::upgrade;

pub use http_types::{self, Body, Error, Method, Mime, StatusCode, Url};
pub use serde_json::{self, json};
pub use smol;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
