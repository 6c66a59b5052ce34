//! Waits without blocking its thread: other requests are answered meanwhile.
//!
//! `cargo run --example sleep`, or `micro-smol examples/sleep.rs`; then `curl localhost:3000`.

use micro_smol::{Request, run, smol::Timer};
use std::{process::ExitCode, time::Duration};

/// Waits before responding, without blocking.
pub async fn handler(_req: Request) -> &'static str {
    Timer::after(Duration::from_millis(500)).await;
    "Ready!"
}

fn main() -> ExitCode {
    run(handler)
}
