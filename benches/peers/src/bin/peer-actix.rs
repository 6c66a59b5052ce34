//! actix-web: one worker a core, without compression, cookies and HTTP/2.

use actix_web::error::ErrorUnauthorized;
use actix_web::http::header::{CONTENT_TYPE, LOCATION};
use actix_web::rt::System;
use actix_web::{App, HttpRequest, HttpResponse, HttpServer, Result, web};
use micro_smol_peers::order::{Order, Receipt, Terms};
use micro_smol_peers::{HELLO, TEXT, listener, threads};

async fn hello() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT)).body(HELLO)
}

async fn order(terms: web::Query<Terms>, request: HttpRequest, order: web::Json<Order>) -> Result<HttpResponse> {
    let user = request.headers().get("x-user").and_then(|user| user.to_str().ok());
    let user = user.ok_or_else(|| ErrorUnauthorized("Unauthorized"))?;
    let receipt = Receipt::new(order.into_inner(), terms.into_inner(), user);
    Ok(HttpResponse::Created().insert_header((LOCATION, receipt.location())).json(receipt))
}

fn main() {
    let app = || App::new().route("/", web::get().to(hello)).route("/order", web::post().to(order));
    System::new().block_on(HttpServer::new(app).workers(threads()).listen(listener()).unwrap().run()).unwrap();
}
