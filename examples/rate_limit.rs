//! State that outlives a request: each client address may send ten requests a minute.
//!
//! `cargo run --example rate_limit`, or `micro-smol examples/rate_limit.rs`; then `curl localhost:3000` eleven times.

use micro_smol::{Handler, Request, create_error, run};
use std::collections::HashMap;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const WINDOW: Duration = Duration::from_secs(60);
const REQUESTS_MAX: u32 = 10;

async fn hello(_req: Request) -> &'static str {
    "Hello, world\n"
}

pub fn rate_limit(handler: impl Handler) -> impl Handler {
    let counts = Mutex::new(HashMap::new());
    async move |req: Request| {
        let count = {
            let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
            counts.retain(|_, (since, _): &mut (Instant, u32)| since.elapsed() < WINDOW);
            let (_, count) = counts.entry(req.peer_addr().map(|peer| peer.ip())).or_insert((Instant::now(), 0));
            *count += 1;
            *count
        };
        match count {
            0..=REQUESTS_MAX => handler.call(req).await,
            _ => Err(create_error(429, "Rate limit exceeded")),
        }
    }
}

fn main() -> ExitCode {
    run(rate_limit(hello))
}
