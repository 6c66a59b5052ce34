//! actix-web: one worker a core, without compression, cookies and HTTP/2.

use actix_web::http::header::CONTENT_TYPE;
use actix_web::rt::System;
use actix_web::{App, HttpResponse, HttpServer, web};
use micro_smol_peers::{HELLO, TEXT, listener, threads};

async fn hello() -> HttpResponse {
    HttpResponse::Ok().insert_header((CONTENT_TYPE, TEXT)).body(HELLO)
}

fn main() {
    let app = || App::new().route("/", web::get().to(hello));
    System::new().block_on(HttpServer::new(app).workers(threads()).listen(listener()).unwrap().run()).unwrap();
}
