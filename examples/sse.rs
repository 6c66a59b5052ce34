//! Server-sent events: each leaves at once. The stream ends when the client leaves or the server is told to stop.
//!
//! `cargo run --example sse`, or `micro-smol examples/sse.rs`; then `curl -N localhost:3000/events`, or open `/`.

use micro_smol::smol::stream::{StreamExt, stop_after_future};
use micro_smol::{IntoResponse, Request, Response, Result, chunks, run, smol::Timer};
use std::{io, process::ExitCode, time::Duration};

const PAGE: &str = r#"<!DOCTYPE html><p id="count"></p>
<script>new EventSource("/events").onmessage = event => count.textContent = event.data</script>"#;

pub async fn handler(req: Request) -> Result<Response> {
    if req.path() != "/events" {
        return (200, [("content-type", "text/html; charset=utf-8")], PAGE).into_response();
    }
    let ticks = Timer::interval(Duration::from_secs(1)).enumerate();
    let events = ticks.map(|(count, _)| io::Result::Ok(format!("data: {count}\n\n")));
    // Without this, SIGTERM would wait for the stream for all of `Limits::drain_timeout`.
    let events = stop_after_future(events, req.stopping());
    let fields = [("content-type", "text/event-stream"), ("cache-control", "no-store")];
    (200, fields, chunks(events)).into_response()
}

fn main() -> ExitCode {
    run(handler)
}
