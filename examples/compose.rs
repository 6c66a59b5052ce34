//! Composition instead of middleware: functions from handler to handler.
//!
//! `cargo run --example compose`, or `micro-smol examples/compose.rs`; then `curl -i localhost:3000/missing`.

use micro_smol::{Handler, Request, Result, create_error, json, respond, run, send, send_error};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};

pub async fn greet(req: Request) -> Result<&'static str> {
    match req.path() {
        "/" => Ok("Hello, world"),
        _ => Err(create_error(404, "There is only /")),
    }
}

/// Answers errors in JSON. `send_error` decides how much of an error the client may read.
pub fn errors_as_json(handler: impl Handler) -> impl Handler {
    async move |req: Request| match handler.call(req).await {
        Ok(response) => Ok(response),
        Err(error) => {
            let mut response = send_error(error);
            let message = response.body_string().await?;
            send(response.status(), json!({ "error": message }))
        }
    }
}

/// Numbers the responses. `respond` also makes a response of an error or a panic, so every response gets a number.
pub fn with_request_id(handler: impl Handler) -> impl Handler {
    let count = AtomicU64::new(0);
    async move |req: Request| {
        let id = count.fetch_add(1, Ordering::Relaxed);
        respond(&handler, req).await.with_header("x-request-id", id.to_string())
    }
}

fn main() -> ExitCode {
    run(with_request_id(errors_as_json(greet)))
}
