//! ntex on its own runtime over io_uring, which its documentation puts first on Linux.

use micro_smol_peers::{HELLO, TEXT, listener, threads};
use ntex::http::header::CONTENT_TYPE;
use ntex::web::{self, App, HttpResponse, HttpServer};

async fn hello() -> HttpResponse {
    HttpResponse::Ok().header(CONTENT_TYPE, TEXT).body(HELLO)
}

#[ntex::main]
async fn main() -> std::io::Result<()> {
    let app = async || App::new().route("/", web::get().to(hello));
    HttpServer::new(app).workers(threads()).listen(listener())?.run().await
}
