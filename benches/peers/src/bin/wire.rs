//! The wire path alone: as many keep-alive GETs as the argument says, over a stream in memory, for callgrind to count.

#[path = "../../../../tests/allocations/src/peer.rs"]
mod peer;

use std::io;

use micro_smol::{Limits, Request, serve_connection, smol};
use peer::{GET, Peer};

async fn handler(_req: Request) -> &'static str {
    "Hello, world"
}

fn main() -> io::Result<()> {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1000);
    smol::future::block_on(serve_connection(Peer::new(GET, count), &handler, &Limits::default()))
}
