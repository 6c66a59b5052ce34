//! `healthcheck`: asks a service how it is, for images that hold nothing but its executable.
//!
//! It is a process of its own, which asks once: plain blocking sockets are enough.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::str::FromStr;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::endpoint::{Endpoint, invalid};

/// How long it may take in all: to resolve, to connect, and to be answered.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What is asked, and where.
#[derive(Clone, Debug)]
pub struct Target {
    endpoint: Endpoint,
    request_target: String,
}

impl Target {
    /// Expects the service to answer with a status below 500.
    ///
    /// # Errors
    ///
    /// It cannot be reached, does not answer within 2 seconds, or answers with another status.
    pub fn check(self) -> io::Result<()> {
        let (sender, receiver) = mpsc::channel();
        let name = format!("{}{}", self.endpoint.url(), self.request_target);
        // There is no limit for the time that it takes to resolve a name.
        thread::spawn(move || sender.send(self.status()));
        let late = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer within 2 seconds"));
        match receiver.recv_timeout(TIMEOUT).unwrap_or_else(late) {
            Ok(..500) => Ok(()),
            Ok(status) => Err(io::Error::other(format!("{name}: the status is {status}"))),
            Err(error) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
        }
    }

    fn status(&self) -> io::Result<u16> {
        match &self.endpoint {
            Endpoint::Tcp(host, port) => self.ask(TcpStream::connect((connectable(host), *port))?),
            Endpoint::Unix(path) => self.ask(UnixStream::connect(path)?),
            Endpoint::Descriptor(_) => Err(invalid("give tcp://HOST:PORT or unix:/PATH".to_owned())),
        }
    }

    fn ask(&self, mut stream: impl Read + Write) -> io::Result<u16> {
        let authority = self.endpoint.authority();
        write!(stream, "GET {} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n", self.request_target)?;
        let mut start = String::new();
        stream.take("HTTP/1.1 200".len() as u64).read_to_string(&mut start)?;
        let status = start.strip_prefix("HTTP/1.").and_then(|rest| rest.get("1 ".len()..)?.parse().ok());
        status.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it does not speak HTTP/1"))
    }
}

impl From<Endpoint> for Target {
    fn from(endpoint: Endpoint) -> Self {
        Target { endpoint, request_target: "/".to_owned() }
    }
}

impl FromStr for Target {
    type Err = io::Error;

    /// An endpoint, or `http://host:port/path`.
    fn from_str(text: &str) -> io::Result<Self> {
        let Some(rest) = text.strip_prefix("http://") else { return Ok(text.parse::<Endpoint>()?.into()) };
        let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Target { endpoint: format!("tcp://{authority}").parse()?, request_target: format!("/{path}") })
    }
}

/// Where to connect for a host to listen on; without a resolver, which an empty image does not have.
fn connectable(host: &str) -> &str {
    match host {
        "0.0.0.0" | "localhost" => "127.0.0.1",
        "::" => "::1",
        host => host,
    }
}
