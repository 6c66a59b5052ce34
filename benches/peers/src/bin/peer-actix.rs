//! actix-web: one worker a core, without compression, cookies and HTTP/2.

use actix_web::error::{ErrorBadRequest, ErrorUnauthorized};
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION, VARY, X_CONTENT_TYPE_OPTIONS};
use actix_web::rt::System;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Responder, Result, web};
use futures_util::TryStreamExt;
use micro_smol_peers::catalog::{Catalog, Multiplier};
use micro_smol_peers::order::{Order, Receipt, Terms};
use micro_smol_peers::{HELLO, TEXT, listener, sum, threads};
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

async fn hello() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT)).body(HELLO)
}

async fn fields() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CONTENT_TYPE, TEXT))
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header((ETAG, "\"7f3a\""))
        .insert_header((VARY, "accept-encoding"))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header(("x-request-id", "6f1d2c3b4a59687f"))
        .body(HELLO)
}

async fn json() -> impl Responder {
    web::Json(serde_json::json!({ "hello": "world" }))
}

async fn order(terms: web::Query<Terms>, request: HttpRequest, order: web::Json<Order>) -> Result<HttpResponse> {
    let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
    let user = user.ok_or_else(|| ErrorUnauthorized("Unauthorized"))?;
    let receipt = Receipt::new(order.into_inner(), terms.into_inner(), user);
    Ok(HttpResponse::Created().insert_header((LOCATION, receipt.location())).json(receipt))
}

async fn sum(terms: web::Query<sum::Terms>, content: String) -> Result<String> {
    terms.sum(&content).map(|sum| sum.to_string()).ok_or_else(|| ErrorBadRequest("Bad Request"))
}

async fn catalog(count: web::Path<usize>, multiplier: web::Query<Multiplier>) -> web::Json<Catalog> {
    web::Json(Catalog::new(count.into_inner(), multiplier.into_inner()))
}

async fn upload(mut pieces: web::Payload) -> Result<String> {
    let mut total = 0;
    while let Some(piece) = pieces.try_next().await? {
        total += piece.len();
    }
    Ok(total.to_string())
}

async fn echo(content: web::Bytes) -> web::Bytes {
    content
}

async fn stream() -> HttpResponse {
    let reader = tokio::io::repeat(b'x').take(1 << 20);
    let pieces = ReaderStream::with_capacity(reader, 1 << 16);
    HttpResponse::Ok().insert_header((CONTENT_TYPE, "application/octet-stream")).streaming(pieces)
}

fn routes(config: &mut web::ServiceConfig) {
    config
        // The default is 256 KiB.
        .app_data(web::PayloadConfig::new(2 << 20))
        .route("/", web::get().to(hello))
        .route("/fields", web::get().to(fields))
        .route("/json", web::get().to(json))
        .route("/order", web::post().to(order))
        .route("/sum", web::route().to(sum))
        .route("/catalog/{count}", web::get().to(catalog))
        .route("/upload", web::post().to(upload))
        .route("/echo", web::post().to(echo))
        .route("/stream", web::get().to(stream));
}

fn main() {
    let server = HttpServer::new(|| App::new().configure(routes));
    System::new().block_on(server.workers(threads()).listen(listener()).unwrap().run()).unwrap();
}
