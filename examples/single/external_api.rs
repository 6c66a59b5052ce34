---
[dependencies]
ureq = { version = "3", default-features = false } # for https: features = ["rustls"]
---
//! Asks another service. The client blocks, so it runs on smol's thread pool; the worker serves others meanwhile.
//!
//! `micro-smol examples/sleep.rs -p 3001 &`, then `API=http://localhost:3001 micro-smol examples/single/external_api.rs`.

use micro_smol::serde_json::Value;
use micro_smol::smol::unblock;
use micro_smol::{Request, Result, Status, json};
use std::{env, sync::LazyLock, time::Duration};
use ureq::Agent;

/// It keeps connections open for the next request.
static AGENT: LazyLock<Agent> =
    LazyLock::new(|| Agent::config_builder().timeout_global(Some(Duration::from_secs(5))).build().into());

pub async fn handler(_req: Request) -> Result<Value> {
    let api = env::var("API")?;
    // A failure between the two services is a 502; its cause is in the log.
    let answer = unblock(move || fetch(&api)).await.status(502)?;
    Ok(json!({ "answer": answer }))
}

fn fetch(url: &str) -> std::result::Result<String, ureq::Error> {
    AGENT.get(url).call()?.body_mut().with_config().limit(1 << 20).read_to_string()
}
