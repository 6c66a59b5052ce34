//! axum on tokio's current-thread runtime; `axum::serve` has no switch for hyper's `pipeline_flush`.

use axum::extract::Query;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Result};
use axum::routing::{get, post};
use axum::{Json, Router, serve};
use micro_smol_peers::order::{Order, Receipt, Terms};
use micro_smol_peers::{HELLO, listener};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

async fn order(
    Query(terms): Query<Terms>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Result<impl IntoResponse, StatusCode> {
    let user = headers.get("x-user").and_then(|user| user.to_str().ok()).ok_or(StatusCode::UNAUTHORIZED)?;
    let receipt = Receipt::new(order, terms, user);
    Ok((StatusCode::CREATED, [(LOCATION, receipt.location())], Json(receipt)))
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener()).unwrap();
        let router = Router::new().route("/", get(async || HELLO)).route("/order", post(order));
        serve(listener, router).await.unwrap();
    });
}
