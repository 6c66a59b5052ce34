//! This crate, as a user has it: a handler, and `run`, which reads the command line and prints where it listens.

use std::process::ExitCode;
use std::time::Duration;

use micro_smol::smol::Timer;
use micro_smol::smol::io::{AsyncReadExt, repeat};
use micro_smol::{IntoResponse, Request, Response, Result, buffer, json, run, stream};

async fn answer(mut req: Request) -> Result<Response> {
    match req.path() {
        "/json" => json!({ "hello": "world" }).into_response(),
        "/echo" => buffer(&mut req).await?.into_response(),
        "/sleep" => {
            Timer::after(Duration::from_millis(10)).await;
            "Ready!".into_response()
        }
        "/stream" => stream(repeat(b'x').take(1 << 20)).into_response(),
        _ => "Hello, world".into_response(),
    }
}

fn main() -> ExitCode {
    run(answer)
}
