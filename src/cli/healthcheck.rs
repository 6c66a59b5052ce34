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
    // The port of http is 80 (RFC 9110, 4.2.1); that of an IPv6 address stands behind its bracket.
    let has_port = authority.rsplit_once(']').map_or(authority, |(_, port)| port).contains(':');
    let endpoint = format!("tcp://{authority}{}", if has_port { "" } else { ":80" });
    let invalid = |_| invalid(format!("{text:?} is not a URL: give http://HOST:PORT/PATH"));
    Ok((endpoint.parse().map_err(invalid)?, format!("/{path}")))
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
    let mut start = Vec::new();
    stream.take("HTTP/1.1 200 ".len() as u64).read_to_end(&mut start)?;
    match start.strip_prefix(b"HTTP/1.") {
        // The status line of a final response (RFC 9112, 4).
        Some([b'0'..=b'9', b' ', a @ b'2'..=b'5', b @ b'0'..=b'9', c @ b'0'..=b'9', b' ']) => {
            Ok([a, b, c].iter().fold(0, |status, digit| 10 * status + u16::from(*digit - b'0')))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "it does not answer with a status line of HTTP/1")),
    }
}
