//! The specification: each test's name is a fact.

mod checks;
mod cli;
mod connection;
mod content;
mod eject;
mod errors;
mod examples;
mod explain;
mod head;
mod healthcheck;
mod limits;
mod message_body;
mod mistakes;
mod process;
mod properties;
mod request;
mod response;
mod server;
mod shells;
mod sse;
mod supervised;
mod support;
mod tidy;
mod upgrade;
mod values;
mod vendor;
