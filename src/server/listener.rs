//! Listening sockets: [`BoundListener`] opens them, [`Listener`] accepts their connections for one worker.

use std::fs::File;
use std::io;
use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use futures_lite::future::poll_fn;
use rustix::fs::FlockOperation;
use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, sockopt};
#[cfg(target_os = "linux")]
use rustix::process::{PidfdFlags, PidfdGetfdFlags};

use super::endpoint::{Endpoint, invalid};
use super::reactor::{IoRegistration, IoSource, Reactor, accept};
use super::turn::{Direction, Next};

/// How many connections the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// When TCP asks whether a silent peer is still there, how often then, and after how many failures it is gone.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_COUNT: u32 = 6;

/// How long the lock of a directory is waited for.
const LOCK_TIME: Duration = Duration::from_secs(1);

/// Whether other processes may listen on the same port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// They may not.
    #[default]
    Exclusive,
    /// Those that agree may, if the user is the same; the kernel spreads the connections.
    Shared,
}

/// An open listening socket, and the file of a Unix socket, which is removed when it is dropped.
#[derive(Debug)]
pub struct BoundListener {
    /// The socket.
    pub socket: OwnedFd,
    pub(super) endpoint: Endpoint,
    pub(super) file: Option<SocketFile>,
}

impl BoundListener {
    /// Opens the sockets of an endpoint: one, but two for `localhost` where there is IPv6.
    pub(super) fn bind(endpoint: &Endpoint, sharing: Sharing) -> io::Result<Vec<Self>> {
        match endpoint {
            Endpoint::Tcp(host, port) => bind_tcp(host, *port, sharing),
            Endpoint::Unix(path) => bind_unix(path).map(|bound| vec![bound]),
            Endpoint::Descriptor(number) => {
                descriptor(*number).and_then(|socket| BoundListener::open(socket, *number)).map(|bound| vec![bound])
            }
        }
        .map_err(|error| {
            io::Error::new(error.kind(), format!("cannot listen on {endpoint}: {}", advice(endpoint, error)))
        })
    }

    /// Opens the sockets of several endpoints.
    ///
    /// # Errors
    ///
    /// One of them cannot be opened.
    pub fn bind_all(endpoints: &[Endpoint], sharing: Sharing) -> io::Result<Vec<Self>> {
        let bound = endpoints.iter().map(|endpoint| BoundListener::bind(endpoint, sharing));
        Ok(bound.collect::<io::Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// Takes over a listening socket that was opened elsewhere, by the number that names it.
    pub(super) fn open(socket: OwnedFd, number: i32) -> io::Result<Self> {
        if !sockopt::socket_acceptconn(&socket).unwrap_or(false) {
            return Err(invalid("it is not a listening socket".to_owned()));
        }
        let endpoint = match local_addr(&socket) {
            Some(address) => {
                set_tcp_options(&socket)?;
                Endpoint::tcp(Some(address.ip().to_string()), Some(address.port()), &[])?
            }
            None => match UnixListener::from(socket.try_clone()?).local_addr()?.as_pathname() {
                Some(path) => Endpoint::Unix(path.to_owned()),
                None => Endpoint::Descriptor(number),
            },
        };
        Ok(BoundListener { socket, endpoint, file: None })
    }

    /// Whether a process that inherits the socket can take it over by its number: not where the system or a filter forbids it.
    pub fn has_number(&self) -> bool {
        duplicate(self.socket.as_raw_fd()).is_ok()
    }

    /// The address, if it is TCP.
    pub(super) fn addr(&self) -> Option<SocketAddr> {
        local_addr(&self.socket)
    }

    /// The socket for a worker of its own, and the authority of a request that names none.
    pub(super) fn share(&self) -> io::Result<SharedListener> {
        Ok((self.socket.try_clone()?, self.endpoint.authority().into()))
    }
}

pub(super) type SharedListener = (OwnedFd, Arc<str>);

fn local_addr(socket: &OwnedFd) -> Option<SocketAddr> {
    SocketAddr::try_from(rustix::net::getsockname(socket).ok()?).ok()
}

/// A listening socket among those of a worker.
pub(super) struct Listener<'a> {
    source: IoSource,
    pub(super) authority: Arc<str>,
    _registration: IoRegistration<'a>,
}

impl<'a> Listener<'a> {
    pub(super) fn new(reactor: &'a Reactor, (socket, authority): SharedListener) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        let (source, _registration) = reactor.register(socket)?;
        Ok(Listener { source, authority, _registration })
    }

    /// Accepts a connection that is still there. Its peer has an address if it is not a Unix socket; one of IPv4 is IPv4 even
    /// if the socket is IPv6.
    pub(super) async fn accept(&self) -> io::Result<(OwnedFd, Option<SocketAddr>)> {
        poll_fn(|cx| self.source.poll_with(cx, Direction::Read, |_| Ok((self.accept_now()?, Next::Ready)))).await
    }

    /// Accepts a connection that has come.
    pub(super) fn accept_now(&self) -> Result<(OwnedFd, Option<SocketAddr>), Errno> {
        let (socket, address) = loop {
            match accept(self.source.fd()) {
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                accepted => break accepted?,
            }
        };
        let address = address.and_then(|address| SocketAddr::try_from(address).ok());
        Ok((socket, address.map(|address| (address.ip().to_canonical(), address.port()).into())))
    }
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
        (io::ErrorKind::PermissionDenied, Endpoint::Descriptor(_)) => {
            return "the system forbids pidfd_getfd, as the filter of a container may: pass the socket as standard input, fd:0"
                .to_owned();
        }
        (io::ErrorKind::AddrNotAvailable, _) => return "this machine does not have the address".to_owned(),
        _ => return error.to_string(),
    };
    format!("{what}; more: micro-smol explain {page}")
}

/// Takes over a descriptor that this process has inherited. A child of a handler must not inherit the socket, or the port stays
/// taken: the standard input is replaced; another descriptor, and those above it, are close-on-exec from then on.
fn descriptor(number: i32) -> io::Result<OwnedFd> {
    if number == 0 {
        let socket = io::stdin().as_fd().try_clone_to_owned()?;
        rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
        return Ok(socket);
    }
    let socket = duplicate(number)?;
    close_fds::set_fds_cloexec(number, &[]);
    Ok(socket)
}

/// Duplicates a descriptor of which only the number is known: it is taken from this process as from any other, because that
/// needs no unsafe code.
#[cfg(target_os = "linux")]
fn duplicate(number: i32) -> io::Result<OwnedFd> {
    let ourselves = rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    Ok(rustix::process::pidfd_getfd(ourselves, number, PidfdGetfdFlags::empty())?)
}

#[cfg(not(target_os = "linux"))]
fn duplicate(_: i32) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

fn bind_tcp(host: &str, port: u16, sharing: Sharing) -> io::Result<Vec<BoundListener>> {
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

fn bind_address(address: SocketAddr, host: &str, sharing: Sharing) -> io::Result<BoundListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if sharing == Sharing::Shared {
        sockopt::set_socket_reuseport(&socket, true)?;
    }
    set_tcp_options(&socket)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    let port = local_addr(&socket).unwrap_or(address).port();
    Ok(BoundListener { socket, endpoint: Endpoint::Tcp(host.to_owned(), port), file: None })
}

/// Sets what accepted sockets inherit on Linux.
fn set_tcp_options(socket: &OwnedFd) -> io::Result<()> {
    sockopt::set_tcp_nodelay(socket, true)?;
    sockopt::set_socket_keepalive(socket, true)?;
    sockopt::set_tcp_keepidle(socket, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(socket, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(socket, KEEPALIVE_COUNT)?;
    Ok(())
}

/// Replaces the file of a server that is gone, but not of one that answers, nor a file that is no socket.
fn bind_unix(path: &Path) -> io::Result<BoundListener> {
    // Two servers that start at once must not remove each other's file.
    let _lock = lock_directory(path);
    let is_socket = path.symlink_metadata().is_ok_and(|metadata| metadata.file_type().is_socket());
    if is_socket && is_refused(path) {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(path)? };
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(BoundListener { socket: listener.into(), endpoint: Endpoint::Unix(path.to_owned()), file: Some(file) })
}

/// Locks the directory of a path until the lock is dropped. Without it, where it cannot be had in time, a start is as right as
/// long as there is no other.
fn lock_directory(path: &Path) -> Option<OwnedFd> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = OwnedFd::from(File::open(directory).ok()?);
    let is_locked = || rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok();
    let end = Instant::now() + LOCK_TIME;
    while !is_locked() && Instant::now() < end {
        thread::sleep(Duration::from_millis(5));
    }
    Some(directory)
}

/// Whether nobody listens at the path of a socket. It does not wait: a server with a full backlog is there.
fn is_refused(path: &Path) -> bool {
    let connect = || {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::io::ioctl_fionbio(&socket, true)?;
        rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)
    };
    connect() == Err(Errno::CONNREFUSED)
}

/// The file of a Unix socket, unless another has been put in its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    identity: Identity,
}

/// The inode and the time when it was made: another file may have the same inode later.
type Identity = (u64, i64, i64);

fn identity(path: &Path) -> io::Result<Identity> {
    let metadata = path.symlink_metadata()?;
    Ok((metadata.ino(), metadata.mtime(), metadata.mtime_nsec()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _lock = lock_directory(&self.path);
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            // A file that cannot be removed is replaced at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
