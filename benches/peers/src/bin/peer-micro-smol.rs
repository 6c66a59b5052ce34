//! This crate, as a user has it: a handler, and `run`, which reads the command line and prints where it listens.

use std::process::ExitCode;
use std::time::Duration;

use micro_smol::smol::Timer;
use micro_smol::smol::io::{AsyncBufReadExt, AsyncReadExt, repeat};
use micro_smol::{IntoResponse, Json, Request, Response, Result, Status, buffer, json, run, stream, text};
use micro_smol_peers::catalog::Catalog;
use micro_smol_peers::order::{Receipt, Terms};
use micro_smol_peers::{HELLO, sum};

pub async fn answer(req: Request) -> Result<Response> {
    match req.path() {
        "/fields" => {
            let fields = [
                ("cache-control", "no-cache"),
                ("etag", "\"7f3a\""),
                ("vary", "accept-encoding"),
                ("x-content-type-options", "nosniff"),
                ("x-request-id", "6f1d2c3b4a59687f"),
            ];
            (200, fields, HELLO).into_response()
        }
        "/json" => json!({ "hello": "world" }).into_response(),
        "/order" => order(&req).await,
        "/sum" => sum(&req).await,
        "/upload" => upload(req).await,
        "/echo" => buffer(&req).await?.into_response(),
        "/sleep" => {
            Timer::after(Duration::from_millis(10)).await;
            "Ready!".into_response()
        }
        "/stream" => stream(repeat(b'x').take(1 << 20)).into_response(),
        path => match path.strip_prefix("/catalog/") {
            Some(count) => Json(Catalog::new(count.parse().status(400)?, req.query()?)).into_response(),
            None => HELLO.into_response(),
        },
    }
}

async fn order(req: &Request) -> Result<Response> {
    let terms: Terms = req.query()?;
    let user = req.header("x-user").status(401)?;
    let receipt = Receipt::new(json(req).await?, terms, user);
    (201, [("location", receipt.location())], Json(receipt)).into_response()
}

async fn sum(req: &Request) -> Result<Response> {
    let terms: sum::Terms = req.query()?;
    terms.sum(&text(req).await?).status(400)?.to_string().into_response()
}

async fn upload(mut req: Request) -> Result<Response> {
    let (mut body, mut total) = (req.take_body(), 0);
    while let count @ 1.. = body.fill_buf().await?.len() {
        body.consume(count);
        total += count;
    }
    total.to_string().into_response()
}

fn main() -> ExitCode {
    run(answer)
}
