//! Composition instead of middleware: functions from handler to handler.
//!
//! `cargo run --example compose`, or `micro-smol examples/compose.rs`; then `curl -i localhost:3000/missing`.

use micro_smol::{Handler, Request, Response, Result, create_error, json, run, send};
use std::process::ExitCode;
use std::time::Instant;

pub async fn greet(req: Request) -> Result<&'static str> {
    match req.path() {
        "/" => Ok("Hello, world"),
        _ => Err(create_error(404, "There is only /")),
    }
}

/// Answers errors in JSON.
pub fn errors_as_json(handler: impl Handler) -> impl Handler {
    async move |req: Request| {
        let response = handler.call(req).await;
        response.or_else(|error| send(error.status(), json!({ "error": error.to_string() })))
    }
}

/// Says how long the handler took.
pub fn timed(handler: impl Handler) -> impl Handler {
    async move |req: Request| -> Result<Response> {
        let start = Instant::now();
        let response = handler.call(req).await?;
        Ok(response.with_header("server-timing", format!("handler;dur={}", start.elapsed().as_millis())))
    }
}

fn main() -> ExitCode {
    run(timed(errors_as_json(greet)))
}
