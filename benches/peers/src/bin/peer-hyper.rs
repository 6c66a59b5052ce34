//! hyper 1 on tokio: its current-thread runtime for one thread, its multi-thread runtime for more.

use std::time::Duration;

use futures_util::{TryStreamExt, stream::MapOk};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use micro_smol_peers::{HELLO, TEXT, listener, threads};
use tokio::io::{AsyncReadExt, Repeat, Take};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_util::io::ReaderStream;

type Source = StreamBody<MapOk<ReaderStream<Take<Repeat>>, fn(Bytes) -> Frame<Bytes>>>;
type Content = Either<Full<Bytes>, Source>;

async fn answer(request: Request<Incoming>) -> Result<Response<Content>, hyper::Error> {
    let (content_type, content) = match request.uri().path() {
        "/json" => {
            let value = serde_json::json!({ "hello": "world" });
            ("application/json; charset=utf-8", full(serde_json::to_vec(&value).unwrap()))
        }
        "/echo" => ("application/octet-stream", full(request.into_body().collect().await?.to_bytes())),
        "/sleep" => {
            tokio::time::sleep(Duration::from_millis(10)).await;
            (TEXT, full("Ready!"))
        }
        "/stream" => ("application/octet-stream", Either::Right(source())),
        _ => (TEXT, full(HELLO)),
    };
    Ok(Response::builder().header(CONTENT_TYPE, content_type).body(content).unwrap())
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
