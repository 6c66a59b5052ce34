//! axum on tokio's current-thread runtime; `axum::serve` has no switch for hyper's `pipeline_flush`.

use axum::routing::get;
use axum::{Router, serve};
use micro_smol_peers::{HELLO, listener};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener()).unwrap();
        serve(listener, Router::new().route("/", get(async || HELLO))).await.unwrap();
    });
}
