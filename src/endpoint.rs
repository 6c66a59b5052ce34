//! [`Endpoint`]: where a server listens, as text and as sockets.

use std::fmt;
use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::net::sockopt;

/// How many connections the kernel holds for us until we accept them.
const BACKLOG: i32 = 1024;

/// `tcp://host:port`, `unix:/path` or `fd:0`, a listening socket that this process was started with as its stdin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A host name or address, an IPv6 address without its brackets, and a port; 0 picks a free one.
    Tcp(String, u16),
    /// The path of a socket file.
    Unix(PathBuf),
    /// The standard input.
    Stdin,
}

impl Endpoint {
    /// A TCP endpoint; what is not given comes from `HOST` and `PORT`, and else is 0.0.0.0 and 3000.
    ///
    /// # Errors
    ///
    /// `PORT` is not a port number.
    pub fn tcp(host: Option<String>, port: Option<u16>) -> io::Result<Self> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let host = host.or_else(|| variable("HOST")).unwrap_or_else(|| "0.0.0.0".to_owned());
        let port = match (port, variable("PORT")) {
            (Some(port), _) => port,
            (None, None) => 3000,
            (None, Some(text)) => parse_port(&text).map_err(|error| invalid(format!("PORT: {error}")))?,
        };
        Ok(Endpoint::Tcp(host.trim_matches(['[', ']']).to_owned(), port))
    }

    /// The URL that a client on this machine would use.
    pub(super) fn url(&self) -> String {
        self.to_string().replacen("tcp://", "http://", 1)
    }

    /// What stands behind `http://` in the URL of a request that names no host.
    pub(super) fn authority(&self) -> String {
        match self {
            Endpoint::Tcp(host, port) => format!("{}:{port}", bracketed(host)),
            Endpoint::Unix(_) | Endpoint::Stdin => "localhost".to_owned(),
        }
    }

    /// Opens the sockets of the endpoint: one, but two for `localhost` where there is IPv6.
    pub(super) fn bind(&self) -> io::Result<Vec<Bound>> {
        let failed =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot listen on {self}: {}", advice(error)));
        match self {
            Endpoint::Tcp(host, port) => bind_tcp(host, *port),
            Endpoint::Unix(path) => bind_unix(path).map(|bound| vec![bound]),
            Endpoint::Stdin => Bound::inherited(io::stdin().as_fd().try_clone_to_owned()).map(|bound| vec![bound]),
        }
        .map_err(failed)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(..) => write!(f, "tcp://{}", self.authority()),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
            Endpoint::Stdin => f.write_str("fd:0"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Endpoint::Unix(path.into()));
        }
        if text == "fd:0" {
            return Ok(Endpoint::Stdin);
        }
        let tcp = text.strip_prefix("tcp://").and_then(|rest| rest.trim_end_matches('/').rsplit_once(':'));
        match tcp {
            Some((host, port)) if is_host(host) => {
                let port = parse_port(port).map_err(|error| invalid(format!("{text}: {error}")))?;
                Ok(Endpoint::Tcp(host.trim_matches(['[', ']']).to_owned(), port))
            }
            _ => Err(invalid(format!("{text:?} is not an endpoint: give tcp://HOST:PORT, unix:/PATH or fd:0"))),
        }
    }
}

/// Parses a port number.
///
/// # Errors
///
/// The text is not a number from 0 to 65535.
pub fn parse_port(text: &str) -> io::Result<u16> {
    text.parse().map_err(|_| invalid(format!("{text:?} is not a port: give a number from 0 to 65535")))
}

/// A host with colons in it is an IPv6 address and stands in brackets (RFC 3986, 3.2.2).
fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => !host.is_empty() && !host.contains([':', '/', '[', ']']),
    }
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// What to do about an error, where the error does not say.
fn advice(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "the address is in use: stop what listens there, or choose another port".to_owned(),
        io::ErrorKind::PermissionDenied => format!("{error}: ports below 1024 and foreign directories need privileges"),
        io::ErrorKind::AddrNotAvailable => "this machine does not have the address".to_owned(),
        _ => error.to_string(),
    }
}

/// An open listening socket, and the file of a Unix socket, which is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) socket: OwnedFd,
    pub(super) endpoint: Endpoint,
    pub(super) file: Option<SocketFile>,
}

impl Bound {
    /// Takes over a socket that somebody else has opened.
    fn inherited(socket: io::Result<OwnedFd>) -> io::Result<Self> {
        let socket = socket?;
        if !sockopt::socket_acceptconn(&socket).unwrap_or(false) {
            return Err(invalid("it is not a listening socket".to_owned()));
        }
        let address = SocketAddr::try_from(rustix::net::getsockname(&socket)?).ok();
        let endpoint =
            address.map_or(Endpoint::Stdin, |address| Endpoint::Tcp(address.ip().to_string(), address.port()));
        Ok(Bound { socket, endpoint, file: None })
    }
}

/// `localhost` needs no resolver, which an empty image does not have.
fn bind_tcp(host: &str, port: u16) -> io::Result<Vec<Bound>> {
    if host != "localhost" {
        return Ok(vec![bind_address((host, port), host)?]);
    }
    let first = bind_address(("127.0.0.1", port), host)?;
    let Endpoint::Tcp(_, port) = first.endpoint else { return Ok(vec![first]) };
    match bind_address(("::1", port), host) {
        Ok(second) => Ok(vec![first, second]),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        Err(_) => Ok(vec![first]),
    }
}

fn bind_address(address: impl ToSocketAddrs, host: &str) -> io::Result<Bound> {
    let listener = TcpListener::bind(address)?;
    let port = listener.local_addr()?.port();
    rustix::net::listen(&listener, BACKLOG)?;
    // On Linux the accepted sockets inherit it.
    sockopt::set_tcp_nodelay(&listener, true)?;
    Ok(Bound { socket: listener.into(), endpoint: Endpoint::Tcp(host.to_owned(), port), file: None })
}

/// Replaces the file of a server that is gone, but not of one that answers, nor a file that is no socket.
fn bind_unix(path: &Path) -> io::Result<Bound> {
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket && UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile { path: path.to_owned(), inode: path.symlink_metadata()?.ino() };
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(Bound { socket: listener.into(), endpoint: Endpoint::Unix(path.to_owned()), file: Some(file) })
}

/// The file of our Unix socket, as long as nobody has put another in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.path.symlink_metadata().is_ok_and(|metadata| metadata.ino() == self.inode) {
            // It is on our way out: if the file cannot be removed, the next start will try again.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
