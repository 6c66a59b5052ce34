//! hyper 1 on tokio's current-thread runtime, as hyper sets it up by itself; it answers what fairness-micro-smol does.

use std::io;

use futures_util::{TryStreamExt, stream::MapOk};
use http_body_util::{BodyExt, Either, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use micro_smol_peers::{HELLO, TEXT, listener, work};
use tokio::io::Repeat;
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio_util::io::ReaderStream;

const BINARY: &str = "application/octet-stream";

type Source = StreamBody<MapOk<ReaderStream<Repeat>, fn(Bytes) -> Frame<Bytes>>>;
type Content = Either<Full<Bytes>, Either<Incoming, Source>>;

async fn answer(request: Request<Incoming>) -> Result<Response<Content>, hyper::Error> {
    let (content_type, content) = match request.uri().path() {
        "/buffer" => {
            let content = request.into_body().collect().await?.to_bytes();
            (TEXT, full(content.len().to_string()))
        }
        "/echo-stream" => (BINARY, Either::Right(Either::Left(request.into_body()))),
        "/endless" => (BINARY, Either::Right(Either::Right(source()))),
        "/work" => (TEXT, full(work())),
        _ => (TEXT, full(HELLO)),
    };
    Ok(Response::builder().header(CONTENT_TYPE, content_type).body(content).unwrap())
}

fn full(content: impl Into<Bytes>) -> Content {
    Either::Left(Full::new(content.into()))
}

/// An endless reader, 64 KiB at a time.
fn source() -> Source {
    let reader = ReaderStream::with_capacity(tokio::io::repeat(b'x'), 1 << 16);
    StreamBody::new(reader.map_ok(Frame::data))
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::from_std(listener())?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
    }
}

fn main() -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // As a task of the runtime, like the connections.
    runtime.block_on(async { tokio::spawn(serve()).await? })
}
