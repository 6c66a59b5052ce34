//! hyper 1 on tokio: its current-thread runtime for one thread, its multi-thread runtime for more.

use std::time::Duration;

use futures_util::{TryStreamExt, stream::MapOk};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CONTENT_TYPE, LOCATION};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use micro_smol_peers::order::{Receipt, Terms};
use micro_smol_peers::{HELLO, TEXT, listener, threads};
use tokio::io::{AsyncReadExt, Repeat, Take};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_util::io::ReaderStream;

type Source = StreamBody<MapOk<ReaderStream<Take<Repeat>>, fn(Bytes) -> Frame<Bytes>>>;
const JSON: &str = "application/json; charset=utf-8";

type Content = Either<Full<Bytes>, Source>;

async fn answer(request: Request<Incoming>) -> Result<Response<Content>, hyper::Error> {
    let (content_type, content) = match request.uri().path() {
        "/json" => {
            let value = serde_json::json!({ "hello": "world" });
            (JSON, full(serde_json::to_vec(&value).unwrap()))
        }
        "/echo" => ("application/octet-stream", full(request.into_body().collect().await?.to_bytes())),
        "/order" => {
            let refuse = |status| Response::builder().status(status).body(full("")).unwrap();
            return Ok(order(request).await.unwrap_or_else(refuse));
        }
        "/sleep" => {
            tokio::time::sleep(Duration::from_millis(10)).await;
            (TEXT, full("Ready!"))
        }
        "/stream" => ("application/octet-stream", Either::Right(source())),
        _ => (TEXT, full(HELLO)),
    };
    Ok(Response::builder().header(CONTENT_TYPE, content_type).body(content).unwrap())
}

async fn order(request: Request<Incoming>) -> Result<Response<Content>, StatusCode> {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let terms: Terms = serde_urlencoded::from_str(query).map_err(|_| StatusCode::BAD_REQUEST)?;
    let user = head.headers.get("x-user").and_then(|user| user.to_str().ok()).ok_or(StatusCode::UNAUTHORIZED)?;
    let content = body.collect().await.map_err(|_| StatusCode::BAD_REQUEST)?.to_bytes();
    let order = serde_json::from_slice(&content).map_err(|_| StatusCode::BAD_REQUEST)?;
    let receipt = Receipt::new(order, terms, user);
    let response = Response::builder().status(StatusCode::CREATED).header(CONTENT_TYPE, JSON);
    Ok(response.header(LOCATION, receipt.location()).body(full(serde_json::to_vec(&receipt).unwrap())).unwrap())
}

fn full(content: impl Into<Bytes>) -> Content {
    Either::Left(Full::new(content.into()))
}

/// 1 MiB from a reader, 64 KiB at a time.
fn source() -> Source {
    let reader = tokio::io::repeat(b'x').take(1 << 20);
    StreamBody::new(ReaderStream::with_capacity(reader, 1 << 16).map_ok(Frame::data))
}

async fn serve() {
    let listener = TcpListener::from_std(listener()).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        tokio::spawn(async move {
            let mut http = http1::Builder::new();
            let _ = http.pipeline_flush(true).serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

fn main() {
    let runtime = match threads() {
        1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    let runtime = runtime.unwrap();
    // As a task of the runtime it runs on the threads that serve; the main thread of a multi-thread runtime only waits.
    runtime.block_on(async { tokio::spawn(serve()).await.unwrap() });
}
