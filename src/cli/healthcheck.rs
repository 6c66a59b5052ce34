//! `healthcheck`: asks a service how it is, for images that hold nothing but its executable.
//!
//! It is a process of its own, which asks once: plain blocking sockets are enough.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::super::server::{Endpoint, invalid};

/// How long it may take in all: to resolve, to connect, and to be answered.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Where a service is, and the request target that tells how it is.
pub type Target = (Endpoint, String);

/// Reads an endpoint, or `http://host:port/path`.
///
/// # Errors
///
/// It is neither.
pub fn parse_target(text: &str) -> io::Result<Target> {
    let Some(rest) = text.strip_prefix("http://") else { return Ok((text.parse()?, "/".to_owned())) };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    Ok((format!("tcp://{authority}").parse()?, format!("/{path}")))
}

/// Expects the service to answer with a status below 500.
///
/// # Errors
///
/// It cannot be reached, does not answer within 2 seconds, or answers with another status.
pub fn check((endpoint, request_target): Target) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel();
    let name = format!("{}{request_target}", endpoint.url());
    // There is no limit for the time that it takes to resolve a name.
    thread::spawn(move || sender.send(status(&endpoint, &request_target)));
    let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 2 seconds"));
    match receiver.recv_timeout(TIMEOUT).unwrap_or_else(late) {
        Ok(..500) => Ok(()),
        Ok(status) => Err(io::Error::other(format!("{name}: the status is {status}"))),
        Err(error) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
    }
}

fn status(endpoint: &Endpoint, request_target: &str) -> io::Result<u16> {
    let request =
        format!("GET {request_target} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", endpoint.authority());
    match endpoint {
        Endpoint::Tcp(host, port) => {
            // It needs no resolver, which an empty image does not have.
            let host = if host == "localhost" { "127.0.0.1" } else { host.trim_matches(['[', ']']) };
            ask(TcpStream::connect((host, *port))?, &request)
        }
        Endpoint::Unix(path) => ask(UnixStream::connect(path)?, &request),
        Endpoint::Descriptor(_) => Err(invalid("give tcp://HOST:PORT or unix:/PATH".to_owned())),
    }
}

fn ask(mut stream: impl Read + Write, request: &str) -> io::Result<u16> {
    stream.write_all(request.as_bytes())?;
    let mut start = String::new();
    stream.take("HTTP/1.1 200".len() as u64).read_to_string(&mut start)?;
    let status = start.strip_prefix("HTTP/1.").and_then(|rest| rest.get("1 ".len()..)?.parse().ok());
    status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/1"))
}
