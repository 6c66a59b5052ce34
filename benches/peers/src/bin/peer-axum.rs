//! axum on tokio's current-thread runtime; `axum::serve` has no switch for hyper's `pipeline_flush`.

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Result};
use axum::routing::{get, post};
use axum::{Json, Router, serve};
use futures_util::TryStreamExt;
use micro_smol_peers::catalog::{Catalog, Multiplier};
use micro_smol_peers::order::{Order, Receipt, Terms};
use micro_smol_peers::{HELLO, listener, sum};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_util::io::ReaderStream;

async fn fields() -> impl IntoResponse {
    let fields = [
        (CACHE_CONTROL, "no-cache"),
        (ETAG, "\"7f3a\""),
        (VARY, "accept-encoding"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (HeaderName::from_static("x-request-id"), "6f1d2c3b4a59687f"),
    ];
    (fields, HELLO)
}

async fn json() -> impl IntoResponse {
    Json(serde_json::json!({ "hello": "world" }))
}

async fn order(
    Query(terms): Query<Terms>,
    headers: HeaderMap,
    Json(order): Json<Order>,
) -> Result<impl IntoResponse, StatusCode> {
    let user = headers.get("x-user").and_then(|user| user.to_str().ok()).ok_or(StatusCode::UNAUTHORIZED)?;
    let receipt = Receipt::new(order, terms, user);
    Ok((StatusCode::CREATED, [(LOCATION, receipt.location())], Json(receipt)))
}

async fn sum(Query(terms): Query<sum::Terms>, content: String) -> Result<String, StatusCode> {
    terms.sum(&content).map(|sum| sum.to_string()).ok_or(StatusCode::BAD_REQUEST)
}

async fn catalog(Path(count): Path<usize>, Query(multiplier): Query<Multiplier>) -> Json<Catalog> {
    Json(Catalog::new(count, multiplier))
}

async fn upload(body: Body) -> Result<String, StatusCode> {
    let (mut pieces, mut total) = (body.into_data_stream(), 0);
    while let Some(piece) = pieces.try_next().await.map_err(|_| StatusCode::BAD_REQUEST)? {
        total += piece.len();
    }
    Ok(total.to_string())
}

async fn echo(content: Bytes) -> Bytes {
    content
}

async fn stream() -> impl IntoResponse {
    let reader = tokio::io::repeat(b'x').take(1 << 20);
    let pieces = ReaderStream::with_capacity(reader, 1 << 16);
    ([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(pieces))
}

fn router() -> Router {
    Router::new()
        .route("/", get(async || HELLO))
        .route("/fields", get(fields))
        .route("/json", get(json))
        .route("/order", post(order))
        .route("/sum", get(sum).post(sum))
        .route("/catalog/{count}", get(catalog))
        .route("/upload", post(upload))
        .route("/echo", post(echo))
        .route("/stream", get(stream))
}

fn main() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener()).unwrap();
        serve(listener, router()).await.unwrap();
    });
}
