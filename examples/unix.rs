//! Listens on a Unix socket, for a proxy on the same machine.
//!
//! `cargo run --example unix`, or `micro-smol examples/unix.rs`; then
//! `curl --unix-socket "${TMPDIR:-/tmp}/hello.sock" http://localhost/`.

use micro_smol::{Request, serve};
use std::{env, io};

pub async fn handler(_req: Request) -> &'static str {
    "Hello, neighbour\n"
}

fn main() -> io::Result<()> {
    let path = env::temp_dir().join("hello.sock");
    println!("Listening on {}", path.display());
    serve(handler).listen(&format!("unix:{}", path.display()))?.run()
}
