//! `listen`: a server for a test, on a port of its own.

use std::io;

use super::handler::Handler;
use super::server::{Running, serve};

/// Starts a server on a free port of this machine, with one worker; it stops when it is dropped.
///
/// # Errors
///
/// There is no free port, or a thread cannot be started.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, listen, smol};
/// use smol::io::{AsyncReadExt, AsyncWriteExt};
///
/// async fn handler(_req: Request) -> &'static str {
///     "Hello, world"
/// }
///
/// let server = listen(handler)?;
/// let address = server.url().trim_start_matches("http://");
/// let answer = smol::block_on(async {
///     let mut client = smol::net::TcpStream::connect(address).await?;
///     client.write_all(b"GET / HTTP/1.0\r\n\r\n").await?;
///     let mut answer = String::new();
///     client.read_to_string(&mut answer).await?;
///     std::io::Result::Ok(answer)
/// })?;
/// assert!(answer.ends_with("Hello, world"));
/// # std::io::Result::Ok(())
/// ```
pub fn listen(handler: impl Handler) -> io::Result<Running> {
    serve(handler).listen("tcp://127.0.0.1:0")?.workers(1).start()
}
