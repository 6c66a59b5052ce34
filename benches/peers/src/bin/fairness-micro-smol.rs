//! This crate, for tests/fairness/run: what keeps a worker busy, beside a hello.

use std::process::ExitCode;

use micro_smol::smol::io::repeat;
use micro_smol::{IntoResponse, Request, Response, Result, buffer, run, stream};
use micro_smol_peers::{HELLO, work};

async fn answer(mut req: Request) -> Result<Response> {
    match req.path() {
        "/buffer" => buffer(&req).limit("64mb").await?.len().into_response(),
        "/echo-stream" => stream(req.take_body()).into_response(),
        "/endless" => stream(repeat(b'x')).into_response(),
        "/work" => work().into_response(),
        _ => HELLO.into_response(),
    }
}

fn main() -> ExitCode {
    run(answer)
}
