//! The smallest service on hyper, for its size: what `examples/hello.rs` is for micro-smol.

use http_body_util::Full;
use hyper::Response;
use hyper::body::Bytes;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use micro_smol_peers::{HELLO, TEXT, listener};
use tokio::net::TcpListener;
use tokio::runtime::Builder;

async fn serve() {
    let listener = TcpListener::from_std(listener()).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(http1::Builder::new().serve_connection(
            TokioIo::new(stream),
            service_fn(async |_| {
                Response::builder().header(CONTENT_TYPE, TEXT).body(Full::new(Bytes::from_static(HELLO.as_bytes())))
            }),
        ));
    }
}

fn main() {
    Builder::new_multi_thread().enable_all().build().unwrap().block_on(serve());
}
