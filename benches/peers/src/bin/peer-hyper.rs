//! hyper 1 on tokio: one thread (`1`) or its multi-thread runtime.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;


async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (content_type, content) = match request.uri().path() {
        "/json" => ("application/json; charset=utf-8", serde_json::to_vec(&serde_json::json!({ "hello": "world" })).unwrap().into()),
        "/echo" => ("application/octet-stream", request.into_body().collect().await?.to_bytes()),
        "/sleep" => {
            tokio::time::sleep(Duration::from_millis(10)).await;
            ("text/plain; charset=utf-8", Bytes::from_static(b"Ready!"))
        }
        _ => ("text/plain; charset=utf-8", Bytes::from_static(b"Hello, world")),
    };
    Ok(Response::builder().header(CONTENT_TYPE, content_type).body(Full::new(content)).unwrap())
}

async fn serve(address: String) {
    let listener = TcpListener::bind(address).await.unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        stream.set_nodelay(true).unwrap();
        tokio::spawn(async move {
            let mut http = hyper::server::conn::http1::Builder::new();
            http.pipeline_flush(true);
            let _ = http.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

fn main() {
    let mut args = std::env::args().skip(1);
    let (address, threads) = (args.next().unwrap(), args.next().unwrap().parse::<usize>().unwrap());
    let runtime = match threads {
        1 => tokio::runtime::Builder::new_current_thread().enable_all().build(),
        _ => tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    runtime.unwrap().block_on(serve(address));
}
