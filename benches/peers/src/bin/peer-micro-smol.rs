//! This crate.

use std::time::Duration;

use micro_smol::smol::Timer;
use micro_smol::{IntoResponse, Request, Response, Result, buffer, json, serve};

async fn answer(mut req: Request) -> Result<Response> {
    match req.path() {
        "/json" => json!({ "hello": "world" }).into_response(),
        "/echo" => buffer(&mut req).limit("16mb").await?.into_response(),
        "/sleep" => {
            Timer::after(Duration::from_millis(10)).await;
            "Ready!".into_response()
        }
        _ => "Hello, world".into_response(),
    }
}

fn main() -> std::io::Result<()> {
    let mut args = std::env::args().skip(1);
    let (address, threads) = (args.next().unwrap_or_default(), args.next().unwrap_or_default());
    serve(answer).listen(&format!("tcp://{address}"))?.workers(threads.parse().unwrap_or(1)).run()
}
