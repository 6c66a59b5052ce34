//! Reads JSON and answers with JSON.
//!
//! `cargo run --example json`, or `micro-smol examples/json.rs`; then
//! `curl localhost:3000 -d '{ "price": 6, "count": 7 }'`.

use micro_smol::serde_json::Value;
use micro_smol::{Request, Response, Result, json, run, send};
use std::process::ExitCode;

pub async fn handler(req: Request) -> Result<Response> {
    let order: Value = json(&req).limit("10kb").await?;
    match (order["price"].as_u64(), order["count"].as_u64()) {
        (Some(price), Some(count)) => send(200, json!({ "total": price.saturating_mul(count) })),
        _ => send(422, json!({ "error": "price and count must be whole numbers" })),
    }
}

fn main() -> ExitCode {
    run(handler)
}
