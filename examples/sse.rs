//! Server-sent events: each leaves at once, and the stream is dropped when the client has left.
//!
//! `cargo run --example sse`, or `micro-smol examples/sse.rs`; then `curl -N localhost:3000/events`, or open `/`.

use micro_smol::smol::{Timer, io::AsyncRead, ready, stream::Stream, stream::StreamExt};
use micro_smol::{Request, Response, Result, run, send, stream};
use std::task::{Context, Poll};
use std::{io, io::Read, pin::Pin, process::ExitCode, time::Duration};

const PAGE: &str = r#"<!DOCTYPE html><p id="count"></p>
<script>new EventSource("/events").onmessage = event => count.textContent = event.data</script>"#;

pub async fn handler(req: Request) -> Result<Response> {
    if req.path() != "/events" {
        return Ok(send(200, PAGE)?.with_header("content-type", "text/html; charset=utf-8"));
    }
    let ticks = Timer::interval(Duration::from_secs(1)).enumerate();
    let events = Events(ticks.map(|(count, _)| format!("data: {count}\n\n")), Vec::new());
    let response = send(200, stream(events))?.with_header("content-type", "text/event-stream");
    Ok(response.with_header("cache-control", "no-store"))
}

/// Events, and the rest of the last. Where they are rare, let a `:\n\n` come now and then, to notice who has left.
pub struct Events<S>(pub S, pub Vec<u8>);

impl<S: Stream<Item = String> + Unpin> AsyncRead for Events<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.1.is_empty() {
            self.1 = ready!(self.0.poll_next(cx)).unwrap_or_default().into_bytes();
        }
        let count = self.1.as_slice().read(buffer)?;
        self.1.drain(..count);
        Poll::Ready(Ok(count))
    }
}

fn main() -> ExitCode {
    run(handler)
}
