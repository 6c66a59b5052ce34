//! hyper 1 on tokio: its current-thread runtime for one thread, its multi-thread runtime for more.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::{TryStreamExt, stream::MapOk};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, LOCATION, VARY, X_CONTENT_TYPE_OPTIONS};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use micro_smol_peers::catalog::Catalog;
use micro_smol_peers::order::{Receipt, Terms};
use micro_smol_peers::{HELLO, TEXT, listener, sum, threads};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, Repeat, Take};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_util::io::ReaderStream;

type Source = StreamBody<MapOk<ReaderStream<Take<Repeat>>, fn(Bytes) -> Frame<Bytes>>>;
type Content = Either<Full<Bytes>, Source>;

const JSON: &str = "application/json; charset=utf-8";
const BYTES: &str = "application/octet-stream";

async fn answer(request: Request<Incoming>) -> Result<Response<Content>, Infallible> {
    let answered = match request.uri().path() {
        "/fields" => fields(),
        "/json" => {
            let value = serde_json::json!({ "hello": "world" });
            respond(JSON, full(serde_json::to_vec(&value).unwrap()))
        }
        "/order" => order(request).await,
        "/sum" => sum(request).await,
        "/upload" => upload(request.into_body()).await,
        "/echo" => collect(request.into_body()).await.and_then(|content| respond(BYTES, full(content))),
        "/sleep" => {
            tokio::time::sleep(Duration::from_millis(10)).await;
            respond(TEXT, full("Ready!"))
        }
        "/stream" => respond(BYTES, Either::Right(source())),
        path => match path.strip_prefix("/catalog/") {
            Some(count) => catalog(count, request.uri()),
            None => respond(TEXT, full(HELLO)),
        },
    };
    Ok(answered.unwrap_or_else(|status| Response::builder().status(status).body(full("")).unwrap()))
}

fn respond(content_type: &'static str, content: Content) -> Result<Response<Content>, StatusCode> {
    Ok(Response::builder().header(CONTENT_TYPE, content_type).body(content).unwrap())
}

fn fields() -> Result<Response<Content>, StatusCode> {
    let response = Response::builder()
        .header(CONTENT_TYPE, TEXT)
        .header(CACHE_CONTROL, "no-cache")
        .header(ETAG, "\"7f3a\"")
        .header(VARY, "accept-encoding")
        .header(X_CONTENT_TYPE_OPTIONS, "nosniff")
        .header("x-request-id", "6f1d2c3b4a59687f");
    Ok(response.body(full(HELLO)).unwrap())
}

async fn order(request: Request<Incoming>) -> Result<Response<Content>, StatusCode> {
    let (head, body) = request.into_parts();
    let terms: Terms = query(&head.uri)?;
    let user = head.headers.get("x-user").and_then(|user| user.to_str().ok()).ok_or(StatusCode::UNAUTHORIZED)?;
    let order = serde_json::from_slice(&collect(body).await?).map_err(|_| StatusCode::BAD_REQUEST)?;
    let receipt = Receipt::new(order, terms, user);
    let response = Response::builder().status(StatusCode::CREATED).header(CONTENT_TYPE, JSON);
    Ok(response.header(LOCATION, receipt.location()).body(full(serde_json::to_vec(&receipt).unwrap())).unwrap())
}

async fn sum(request: Request<Incoming>) -> Result<Response<Content>, StatusCode> {
    let (head, body) = request.into_parts();
    let terms: sum::Terms = query(&head.uri)?;
    let content = collect(body).await?;
    let content = str::from_utf8(&content).map_err(|_| StatusCode::BAD_REQUEST)?;
    let sum = terms.sum(content).ok_or(StatusCode::BAD_REQUEST)?;
    respond(TEXT, full(sum.to_string()))
}

fn catalog(count: &str, uri: &Uri) -> Result<Response<Content>, StatusCode> {
    let count = count.parse().map_err(|_| StatusCode::BAD_REQUEST)?;
    respond(JSON, full(serde_json::to_vec(&Catalog::new(count, query(uri)?)).unwrap()))
}

async fn upload(mut body: Incoming) -> Result<Response<Content>, StatusCode> {
    let mut total = 0;
    while let Some(frame) = body.frame().await {
        total += frame.map_err(|_| StatusCode::BAD_REQUEST)?.data_ref().map_or(0, Bytes::len);
    }
    respond(TEXT, full(total.to_string()))
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, StatusCode> {
    serde_urlencoded::from_str(uri.query().unwrap_or_default()).map_err(|_| StatusCode::BAD_REQUEST)
}

async fn collect(body: Incoming) -> Result<Bytes, StatusCode> {
    Ok(body.collect().await.map_err(|_| StatusCode::BAD_REQUEST)?.to_bytes())
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
