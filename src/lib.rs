//! Asynchronous HTTP microservices: one function per service, no middleware, just HTTP.
#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[doc(hidden)]
pub mod cli;
mod connection;
mod content;
mod deadline;
mod drain;
mod endpoint;
mod error;
mod h1;
mod handler;
mod limits;
mod poller;
mod request;
mod response;
mod server;
mod testing;
mod upgrade;
mod wire;

pub use cli::run;
pub use connection::serve_connection;
pub use content::{Content, Limit, buffer, json, text};
pub use error::{IntoStatus, Result, Status, create_error, create_error_from, send_error};
pub use handler::{Handler, respond};
pub use limits::Limits;
pub use request::Request;
pub use response::{IntoResponse, Json, Response, Stream, send, stream};
pub use server::{Running, Server, serve};
pub use testing::listen;
pub use upgrade::{Upgraded, upgrade};

pub use http_types::{self, Body, Error, Method, Mime, StatusCode, Url};
pub use serde_json::{self, json};
pub use smol;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
