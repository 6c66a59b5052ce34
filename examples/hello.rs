//! The smallest service: it answers every request with a line of text.
//!
//! `cargo run --example hello`, or `micro-smol examples/hello.rs`; then `curl localhost:3000`.

use micro_smol::{Request, run};
use std::process::ExitCode;

pub async fn handler(_req: Request) -> &'static str {
    "Hello, world"
}

fn main() -> ExitCode {
    run(handler)
}
