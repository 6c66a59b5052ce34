//! This crate, as a user has it: a handler, and `run`, which reads the command line and prints where it listens.

use std::process::ExitCode;
use std::time::Duration;

use micro_smol::smol::Timer;
use micro_smol::smol::io::{AsyncReadExt, repeat};
use micro_smol::{IntoResponse, Json, Request, Response, Result, Status, buffer, json, run, stream};
use micro_smol_peers::order::{Receipt, Terms};

async fn answer(req: Request) -> Result<Response> {
    match req.path() {
        "/json" => json!({ "hello": "world" }).into_response(),
        "/echo" => buffer(&req).await?.into_response(),
        "/order" => order(&req).await,
        "/sleep" => {
            Timer::after(Duration::from_millis(10)).await;
            "Ready!".into_response()
        }
        "/stream" => stream(repeat(b'x').take(1 << 20)).into_response(),
        _ => "Hello, world".into_response(),
    }
}

async fn order(req: &Request) -> Result<Response> {
    let terms: Terms = req.query()?;
    let user = req.header("x-user").status(401)?;
    let receipt = Receipt::new(json(req).await?, terms, user);
    (201, [("location", receipt.location())], Json(receipt)).into_response()
}

fn main() -> ExitCode {
    run(answer)
}
