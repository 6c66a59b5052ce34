//! [`Endpoint`]: where a server listens, as text and as sockets.

use std::env;
use std::fmt;
use std::io;
use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process;
use std::str::FromStr;
use std::sync::Arc;

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketType, sockopt};
#[cfg(target_os = "linux")]
use rustix::process::{PidfdFlags, PidfdGetfdFlags};

/// How many connections the kernel holds for us until we accept them.
const BACKLOG: i32 = 1024;

/// The number of the first descriptor that is handed over with `LISTEN_FDS`.
const LISTEN_FDS_START: i32 = 3;

/// `tcp://host:port`, `unix:/path`, or `fd:N`, a listening socket that this process was started with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A host name or address, an IPv6 address in its brackets (RFC 3986, 3.2.2), and a port; 0 picks a free one.
    Tcp(String, u16),
    /// The path of a socket file.
    Unix(PathBuf),
    /// The number of a descriptor: 0, the standard input, or on Linux any.
    Descriptor(i32),
}

/// Whether other processes may listen on the same port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// They may not.
    #[default]
    Exclusive,
    /// Those that agree may, if the user is the same; the kernel spreads the connections.
    Shared,
}

impl Endpoint {
    /// Where to listen if nothing else was said: on the sockets that systemd has opened for us, or on a TCP endpoint.
    ///
    /// # Errors
    ///
    /// `PORT` is not a port number.
    pub fn defaults() -> io::Result<Vec<Self>> {
        let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
        match number("LISTEN_FDS") {
            Some(count @ 1..) if number("LISTEN_PID") == Some(i64::from(process::id())) => {
                Ok((LISTEN_FDS_START..).zip(0..count).map(|(number, _)| Endpoint::Descriptor(number)).collect())
            }
            _ => Ok(vec![Endpoint::tcp(None, None)?]),
        }
    }

    /// A TCP endpoint; what is not given comes from `HOST` and `PORT`, and else is 0.0.0.0 and 3000.
    ///
    /// # Errors
    ///
    /// `PORT` is not a port number.
    pub fn tcp(host: Option<String>, port: Option<u16>) -> io::Result<Self> {
        let variable = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
        let host = host.or_else(|| variable("HOST")).unwrap_or_else(|| "0.0.0.0".to_owned());
        let port = match (port, variable("PORT")) {
            (Some(port), _) => port,
            (None, None) => 3000,
            (None, Some(text)) => parse_port(&text).map_err(|error| invalid(format!("PORT: {error}")))?,
        };
        let is_bare = host.contains(':') && !host.starts_with('[');
        Ok(Endpoint::Tcp(if is_bare { format!("[{host}]") } else { host }, port))
    }

    /// The URL that a client on this machine would use.
    pub(super) fn url(&self) -> String {
        self.to_string().replacen("tcp://", "http://", 1)
    }

    /// What stands behind `http://` in the URL of a request that names no host.
    pub(super) fn authority(&self) -> String {
        match self {
            Endpoint::Tcp(host, port) => format!("{host}:{port}"),
            Endpoint::Unix(_) | Endpoint::Descriptor(_) => "localhost".to_owned(),
        }
    }

    /// Opens the sockets of the endpoint: one, but two for `localhost` where there is IPv6.
    pub(super) fn bind(&self, sharing: Sharing) -> io::Result<Vec<Bound>> {
        match self {
            Endpoint::Tcp(host, port) => bind_tcp(host, *port, sharing),
            Endpoint::Unix(path) => bind_unix(path).map(|bound| vec![bound]),
            Endpoint::Descriptor(number) => inherit(*number).map(|bound| vec![bound]),
        }
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {self}: {}", advice(self, error))))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Endpoint::Tcp(..) => write!(f, "tcp://{}", self.authority()),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
            Endpoint::Descriptor(number) => write!(f, "fd:{number}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        if let Some(path) = text.strip_prefix("unix:").filter(|path| !path.is_empty()) {
            return Ok(Endpoint::Unix(path.into()));
        }
        if let Some(Ok(number @ 0..)) = text.strip_prefix("fd:").map(str::parse) {
            return Ok(Endpoint::Descriptor(number));
        }
        let tcp = text.strip_prefix("tcp://").and_then(|rest| rest.trim_end_matches('/').rsplit_once(':'));
        match tcp {
            Some((host, port)) if is_host(host) => {
                let port = parse_port(port).map_err(|error| invalid(format!("{text}: {error}")))?;
                Ok(Endpoint::Tcp(host.to_owned(), port))
            }
            _ => Err(invalid(format!(
                "{text:?} is not an endpoint: give tcp://HOST:PORT, unix:/PATH or fd:N; \
                 more: micro-smol explain endpoint-invalid"
            ))),
        }
    }
}

/// Opens the sockets of several endpoints.
pub(super) fn bind_all(endpoints: &[Endpoint], sharing: Sharing) -> io::Result<Vec<Bound>> {
    let bound = endpoints.iter().map(|endpoint| endpoint.bind(sharing)).collect::<io::Result<Vec<_>>>()?;
    Ok(bound.into_iter().flatten().collect())
}

/// Parses a port number.
///
/// # Errors
///
/// The text is not a number from 0 to 65535.
pub fn parse_port(text: &str) -> io::Result<u16> {
    let advice = "give a number from 0 to 65535; more: micro-smol explain port-invalid";
    text.parse().map_err(|_| invalid(format!("{text:?} is not a port: {advice}")))
}

fn is_host(host: &str) -> bool {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        // It may name an interface: fe80::1%eth0.
        Some(address) => address.split('%').next().is_some_and(|address| address.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && !host.contains([':', '/', '[', ']']),
    }
}

pub(super) fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}

/// What to do about an error of an endpoint, where the error does not say.
fn advice(endpoint: &Endpoint, error: io::Error) -> String {
    let (what, page) = match (error.kind(), endpoint) {
        (io::ErrorKind::AddrInUse, Endpoint::Unix(_)) => {
            ("a server answers there, or it is no socket: stop it, or choose another path", "socket-in-use")
        }
        (io::ErrorKind::AddrInUse, _) => {
            ("the address is in use: stop what listens there, or choose another port", "address-in-use")
        }
        (io::ErrorKind::PermissionDenied, Endpoint::Tcp(..)) => ("ports below 1024 need privileges", "port-privileged"),
        (io::ErrorKind::AddrNotAvailable, _) => return "this machine does not have the address".to_owned(),
        _ => return error.to_string(),
    };
    format!("{what}; more: micro-smol explain {page}")
}

/// An open listening socket, and the file of a Unix socket, which is removed when it is dropped.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub socket: OwnedFd,
    pub(super) endpoint: Endpoint,
    pub(super) file: Option<SocketFile>,
}

/// A listening socket for a worker of its own, and the authority of a request that names none.
pub(super) type Door = (OwnedFd, Arc<str>);

impl Bound {
    pub(super) fn door(&self) -> io::Result<Door> {
        Ok((self.socket.try_clone()?, self.endpoint.authority().into()))
    }
}

/// Takes over a socket that somebody else has opened.
fn inherit(number: i32) -> io::Result<Bound> {
    let socket = descriptor(number)?;
    if !sockopt::socket_acceptconn(&socket).unwrap_or(false) {
        return Err(invalid("it is not a listening socket".to_owned()));
    }
    let endpoint = match TcpListener::from(socket.try_clone()?).local_addr() {
        Ok(address) => {
            sockopt::set_tcp_nodelay(&socket, true)?;
            Endpoint::tcp(Some(address.ip().to_string()), Some(address.port()))?
        }
        Err(_) => match UnixListener::from(socket.try_clone()?).local_addr()?.as_pathname() {
            Some(path) => Endpoint::Unix(path.to_owned()),
            None => Endpoint::Descriptor(number),
        },
    };
    Ok(Bound { socket, endpoint, file: None })
}

/// Another for a descriptor of which only the number is known: taken from ourselves as from any process, because that
/// needs no unsafe code.
fn descriptor(number: i32) -> io::Result<OwnedFd> {
    #[cfg(target_os = "linux")]
    if number > 0 {
        let ourselves = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
        return Ok(rustix::process::pidfd_getfd(ourselves, number, PidfdGetfdFlags::empty())?);
    }
    match number {
        0 => io::stdin().as_fd().try_clone_to_owned(),
        _ => Err(io::ErrorKind::Unsupported.into()),
    }
}

fn bind_tcp(host: &str, port: u16, sharing: Sharing) -> io::Result<Vec<Bound>> {
    let bind = |address: SocketAddr| bind_address(address, host, sharing);
    if host != "localhost" {
        let none = Err(io::ErrorKind::AddrNotAvailable.into());
        let addresses = (host.trim_matches(['[', ']']), port).to_socket_addrs()?;
        return Ok(vec![addresses.fold(none, |bound, address| bound.or_else(|_| bind(address)))?]);
    }
    // It needs no resolver, which an empty image does not have.
    let first = bind((Ipv4Addr::LOCALHOST, port).into())?;
    let Endpoint::Tcp(_, port) = first.endpoint else { return Ok(vec![first]) };
    match bind((Ipv6Addr::LOCALHOST, port).into()) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(error),
        second => Ok(iter::once(first).chain(second).collect()),
    }
}

fn bind_address(address: SocketAddr, host: &str, sharing: Sharing) -> io::Result<Bound> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if sharing == Sharing::Shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    // On Linux the accepted sockets inherit it.
    sockopt::set_tcp_nodelay(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let port = SocketAddr::try_from(rustix::net::getsockname(&socket)?)?.port();
    Ok(Bound { socket, endpoint: Endpoint::Tcp(host.to_owned(), port), file: None })
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
