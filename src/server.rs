//! `serve`, [`Server`], [`Running`]: bind, start workers, stop.

mod turn;
mod reactor;
mod socket;
mod endpoint;
mod listener;
mod worker;

use std::env;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::panic;
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use async_io::Timer;
use async_signal::{Signal, Signals};
use futures_lite::future::block_on;
use futures_lite::{FutureExt, StreamExt};
use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketType, sendto};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smol::channel::{self, Receiver, Sender};
use smol::lock::{Barrier, Semaphore};

use super::handler::{Handler, survive};
use super::limits::Limits;
use super::log::{flush_log, log};
use listener::SocketFile;
use worker::{Shared, run_worker};

pub use endpoint::{Endpoint, Variable, invalid, parse_port};
pub use listener::{BoundListener, Sharing};

/// No more descriptors than this are asked for, even where the system has no limit.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// The stack of a worker: a handler's future is made on it, whatever its size, before it is moved to memory of its own.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// How long an idle connection is kept when the server stops, so that a request that is on its way is answered: after SIGTERM,
/// long enough for clients that are far away.
const IDLE_GRACE: Duration = Duration::from_millis(100);
const IDLE_GRACE_TERM: Duration = Duration::from_secs(2);

/// How long after the first signal another is the same one: a terminal, a shell and `timeout` signal a group of processes, and a
/// process of it may hand the signal on.
const SAME_SIGNAL: Duration = Duration::from_millis(250);

/// How much longer than `drain_timeout` a worker may take to say that it has ended, unless a handler blocks it.
const EXIT_GRACE: Duration = Duration::from_millis(500);

/// Makes a server of a handler; it listens once it is told where, and is started.
///
/// # Examples
///
/// ```no_run
/// use micro_smol::{Request, serve};
///
/// async fn handler(_req: Request) -> &'static str {
///     "Hello, world"
/// }
///
/// serve(handler).listen("tcp://127.0.0.1:3000")?.listen("unix:/tmp/hello.sock")?.run()?;
/// # std::io::Result::Ok(())
/// ```
pub fn serve(handler: impl Handler) -> Server {
    Server { handler: Arc::new(handler), bound: Vec::new(), workers: None, limits: Limits::default() }
}

/// A server that is not running yet; made by [`serve`].
pub struct Server {
    handler: Arc<dyn Handler>,
    bound: Vec<BoundListener>,
    workers: Option<usize>,
    limits: Limits,
}

impl Server {
    /// Opens an endpoint: `tcp://host:port`, `unix:/path`, or `fd:N` for a socket that the process has inherited.
    ///
    /// Each call adds one. Port 0 picks a free port. Without any, the server listens on the sockets that systemd passes
    /// (`LISTEN_FDS`), else on `HOST` and `PORT` of the environment, else on 0.0.0.0 and 3000. The socket file of a server
    /// that is gone is replaced.
    ///
    /// # Errors
    ///
    /// The endpoint is malformed or cannot be opened.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, serve};
    ///
    /// async fn handler(_req: Request) -> &'static str {
    ///     "Hello, world"
    /// }
    ///
    /// let server = serve(handler).listen("tcp://127.0.0.1:0")?.listen("tcp://localhost:0")?;
    /// assert_eq!(server.start()?.urls().len(), 2);
    /// assert!(serve(handler).listen("http://127.0.0.1").is_err());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn listen(self, endpoint: &str) -> io::Result<Self> {
        Ok(self.with_bound(BoundListener::bind(&endpoint.parse()?, Sharing::Exclusive)?))
    }

    /// Adds a listening socket that the caller has opened, TCP or Unix: anything that becomes an `OwnedFd`, such as a listener
    /// of the standard library. Duplicate the descriptor of one that does not, such as an async-net listener.
    ///
    /// TCP_NODELAY and keep-alive are set on it. The file of a Unix socket stays the caller's.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if it does not listen.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, serve, smol};
    /// use std::net::TcpListener;
    /// use std::os::fd::AsFd;
    ///
    /// async fn handler(_req: Request) -> &'static str {
    ///     "Hello, world"
    /// }
    ///
    /// let ours = TcpListener::bind("127.0.0.1:0")?;
    /// let another = smol::block_on(smol::net::TcpListener::bind("127.0.0.1:0"))?;
    /// let server = serve(handler).listen_on(ours)?.listen_on(another.as_fd().try_clone_to_owned()?)?;
    /// assert_eq!(server.start()?.urls().len(), 2);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn listen_on(self, socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let socket = socket.into();
        let number = socket.as_raw_fd();
        Ok(self.with_bound([BoundListener::open(socket, number)?]))
    }

    pub(super) fn with_bound(mut self, bound: impl IntoIterator<Item = BoundListener>) -> Self {
        self.bound.extend(bound);
        self
    }

    /// Sets the number of threads that serve, at least one; the default is one per core.
    ///
    /// # Examples
    ///
    /// ```
    /// # use micro_smol::{Request, serve};
    /// # async fn handler(_req: Request) {}
    /// let one_thread = serve(handler).workers(1);
    /// ```
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.max(1));
        self
    }

    /// Sets how much of the server one connection may use.
    ///
    /// # Examples
    ///
    /// ```
    /// # use micro_smol::{Limits, Request, serve};
    /// # async fn handler(_req: Request) {}
    /// let server = serve(handler).limits(Limits { connections_max: 1000, ..Limits::default() });
    /// ```
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Serves until SIGINT or SIGTERM, then answers the requests that have come and returns.
    ///
    /// A second signal cuts them, unless it comes within 250 ms of the first: those are one, sent to a group of processes. How many
    /// connections were cut, then or at the end of `drain_timeout`, is logged. So is a panic, by a panic hook that replaces any
    /// other.
    ///
    /// # Errors
    ///
    /// The default endpoint cannot be opened, or a worker cannot be started or fails.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # use micro_smol::{Request, serve};
    /// # async fn handler(_req: Request) {}
    /// serve(handler).listen("tcp://127.0.0.1:3000")?.run()
    /// # ; std::io::Result::Ok(())
    /// ```
    pub fn run(self) -> io::Result<()> {
        self.run_with(|_| (), async {})
    }

    /// Runs, and calls `on_ready` as soon as a signal would be handled; after that signal, serves until `on_shutdown` is done.
    pub(super) fn run_with(
        self,
        on_ready: impl FnOnce(&[String]),
        on_shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        // The hook of the standard library would wait for a full pipe.
        panic::set_hook(Box::new(|panic| log(panic)));
        // async-io panics where the system has no descriptor or no thread for it.
        let ended = survive(|| self.run_until_signalled(on_ready, on_shutdown));
        flush_log();
        ended.unwrap_or_else(|_| Err(io::Error::other("the server has panicked")))
    }

    fn run_until_signalled(
        self,
        on_ready: impl FnOnce(&[String]),
        on_shutdown: impl Future<Output = ()>,
    ) -> io::Result<()> {
        let mut signals = Signals::new([Signal::Int, Signal::Term])?;
        let supervisor = Supervisor::of_environment();
        let mut running = self.start()?;
        on_ready(running.urls());
        supervisor.notify("READY=1");
        let ended: io::Result<Ended> = block_on(async {
            let signalled = async { Ok(signals.next().await) };
            // Before they are told to stop, workers only end if they fail.
            let failed = async {
                let exit = running.exits.recv().await.map_err(io::Error::other)?;
                Err(exit.err().unwrap_or_else(|| io::Error::other("a worker has ended")))
            };
            let signal: Option<io::Result<Signal>> = signalled.or(failed).await?;
            supervisor.notify("STOPPING=1");
            let drained = async {
                on_shutdown.await;
                running.drain(if matches!(signal, Some(Ok(Signal::Term))) { IDLE_GRACE_TERM } else { IDLE_GRACE }).await
            };
            let first = Instant::now();
            let signalled_again = async {
                while signals.next().await.is_some() && first.elapsed() < SAME_SIGNAL {}
                running.abort().await
            };
            Ok(running.ended_before(drained.or(signalled_again)).await)
        });
        // The process ends anyway, so the threads are not waited for.
        running.threads.clear();
        ended.map(|ended| match ended {
            Ended { cut: 0, blocked: 0 } => {}
            ended => log(ended),
        })
    }

    /// Serves from threads of its own, and returns.
    ///
    /// # Errors
    ///
    /// The default endpoint cannot be opened, or a thread cannot be started.
    ///
    /// # Examples
    ///
    /// ```
    /// use micro_smol::{Request, serve};
    ///
    /// async fn handler(_req: Request) -> &'static str {
    ///     "Hello, world"
    /// }
    ///
    /// let running = serve(handler).listen("tcp://127.0.0.1:0")?.workers(1).start()?;
    /// assert!(running.url().starts_with("http://127.0.0.1:"));
    /// running.stop()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn start(mut self) -> io::Result<Running> {
        if self.bound.is_empty() {
            self.bound = BoundListener::bind_all(&Endpoint::defaults()?, Sharing::Exclusive)?;
        }
        let workers = self.workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, NonZero::get));
        let (shutdown, abort) = (channel::bounded(1), channel::bounded(1));
        let (exit, exits) = channel::bounded(workers);
        let shared = Arc::new(Shared {
            handler: self.handler,
            connection_permits: Semaphore::new(self.limits.connections_max.clamp(1, descriptors_max().max(1))),
            limits: self.limits,
            shutdown: shutdown.1,
            abort: abort.1,
            all_closed: Barrier::new(workers),
            idle_grace: OnceLock::new(),
        });
        let mut running = Running {
            urls: urls(&self.bound),
            addr: self.bound.iter().find_map(BoundListener::addr),
            shared: shared.clone(),
            shutdown: shutdown.0,
            abort: abort.0,
            exits,
            threads: Vec::new(),
            _files: Vec::new(),
        };
        // Dropped before `running`, which waits until no sender is left.
        let exit = exit;
        for number in 0..workers {
            let listeners = self.bound.iter().map(BoundListener::share).collect::<io::Result<Vec<_>>>()?;
            let (shared, exit) = (shared.clone(), exit.clone());
            let thread = thread::Builder::new().name(format!("micro-smol-{number}")).stack_size(STACK_BYTES);
            let work = move || {
                let ended = survive(|| run_worker(&shared, listeners));
                let ended = ended.unwrap_or_else(|_| Err(io::Error::other("a worker has panicked")));
                if let Err(error) = &ended {
                    log(format_args!("a worker has failed: {error}"));
                }
                // Err only if Running was dropped.
                drop(exit.try_send(ended));
            };
            running.threads.push(thread.spawn(work)?);
        }
        running._files = self.bound.into_iter().filter_map(|bound| bound.file).collect();
        Ok(running)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("bound", &self.bound).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// The URLs of endpoints. `localhost` may be two sockets, but is one endpoint.
pub fn urls(bound: &[BoundListener]) -> Vec<String> {
    let mut urls: Vec<_> = bound.iter().map(|bound| bound.endpoint.url()).collect();
    urls.dedup();
    urls
}

/// The service manager, if it asks how this process is, as systemd does (sd_notify): a socket, which is opened while there are
/// descriptors, and where to send.
struct Supervisor(Option<Result<(OwnedFd, SocketAddrUnix), Errno>>);

impl Supervisor {
    fn of_environment() -> Self {
        Supervisor(env::var_os("NOTIFY_SOCKET").map(|path| Supervisor::open(path.as_bytes())))
    }

    fn open(path: &[u8]) -> Result<(OwnedFd, SocketAddrUnix), Errno> {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None)?;
        rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
        // A path that begins with `@` is a name without a file, which Linux has.
        #[cfg(target_os = "linux")]
        if let Some(name) = path.strip_prefix(b"@") {
            return Ok((socket, SocketAddrUnix::new_abstract_name(name)?));
        }
        Ok((socket, SocketAddrUnix::new(path)?))
    }

    fn notify(&self, state: &str) {
        // A supervisor that does not read must not hold up a stop.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let sent = match &self.0 {
            None => return,
            Some(Ok((socket, address))) => sendto(socket, state.as_bytes(), flags, address),
            Some(Err(error)) => Err(*error),
        };
        if let Err(error) = sent {
            log(format_args!("cannot notify of {state}: {error}"));
        }
    }
}

/// How many descriptors connections may use. The limit is raised as far as it may be.
fn descriptors_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(DESCRIPTORS_MAX).min(DESCRIPTORS_MAX);
    let wanted = limit.current.map(|current| current.max(maximum));
    // Where it is refused, the old one holds.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: wanted, ..limit });
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(DESCRIPTORS_MAX);
    usize::try_from(descriptors - descriptors / 8).unwrap_or(usize::MAX)
}

/// A server that is running; made by [`Server::start`] and [`listen`].
///
/// Dropping it closes its sockets and cuts its connections; [`stop`](Self::stop) lets them finish.
pub struct Running {
    urls: Vec<String>,
    addr: Option<SocketAddr>,
    shared: Arc<Shared>,
    /// Closed to have the workers accept no more, and end when their connections have.
    shutdown: Sender<()>,
    /// Closed to have the workers end at once.
    abort: Sender<()>,
    /// How each worker has ended: with so many connections cut.
    exits: Receiver<io::Result<usize>>,
    threads: Vec<JoinHandle<()>>,
    _files: Vec<SocketFile>,
}

impl Running {
    /// Returns the URL of the first endpoint, without a slash at its end: `http://127.0.0.1:3000`, `unix:/path`.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn handler(_req: micro_smol::Request) {}
    /// let server = micro_smol::listen(handler)?;
    /// assert!(server.url().starts_with("http://127.0.0.1:"));
    /// # std::io::Result::Ok(())
    /// ```
    pub fn url(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }

    /// Returns the URLs of all endpoints, in the order in which they were given.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn handler(_req: micro_smol::Request) {}
    /// let server = micro_smol::listen(handler)?;
    /// assert_eq!(server.urls(), [server.url()]);
    /// # std::io::Result::Ok(())
    /// ```
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Returns the address of the first TCP endpoint; `None` if there is none.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn handler(_req: micro_smol::Request) {}
    /// let server = micro_smol::listen(handler)?;
    /// assert!(std::net::TcpStream::connect(server.addr().unwrap()).is_ok());
    /// # std::io::Result::Ok(())
    /// ```
    pub fn addr(&self) -> Option<SocketAddr> {
        self.addr
    }

    /// Accepts no more connections, answers the requests that have come, and returns when that is done.
    ///
    /// # Errors
    ///
    /// `TimedOut` if some were not done within `drain_timeout`; they are cut. `Deadlock` in a handler of this server, which
    /// would wait for itself; the server is cut.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn handler(_req: micro_smol::Request) {}
    /// let server = micro_smol::listen(handler)?;
    /// server.stop()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stop(mut self) -> io::Result<()> {
        if self.is_in_worker() {
            self.threads.clear();
            return Err(io::Error::new(io::ErrorKind::Deadlock, "a handler cannot wait for its own server to stop"));
        }
        let ended = block_on(self.ended_before(self.drain(IDLE_GRACE)));
        if ended.blocked > 0 {
            // A worker that a handler blocks is not waited for.
            self.threads.clear();
        }
        match ended {
            Ended { cut: 0, blocked: 0 } => Ok(()),
            ended => Err(io::Error::new(io::ErrorKind::TimedOut, ended.to_string())),
        }
    }

    /// Whether the caller is in a handler of this server.
    fn is_in_worker(&self) -> bool {
        self.threads.iter().any(|thread| thread.thread().id() == thread::current().id())
    }

    /// Has the workers let their connections end; an idle one is kept for `idle_grace`. When the timer fires, they are late.
    fn drain(&self, idle_grace: Duration) -> Timer {
        let drain_timeout = self.shared.limits.drain_timeout;
        self.shared.idle_grace.get_or_init(|| idle_grace.min(drain_timeout / 2));
        self.shutdown.close();
        Timer::after(drain_timeout.saturating_add(EXIT_GRACE))
    }

    /// Has the workers cut their connections. When the timer fires, they are late.
    fn abort(&self) -> Timer {
        self.abort.close();
        Timer::after(EXIT_GRACE)
    }

    /// Waits until the workers have ended, or are late.
    async fn ended_before<T>(&self, late: impl Future<Output = T>) -> Ended {
        let mut cut = 0;
        let exits = async {
            while let Ok(exit) = self.exits.recv().await {
                cut += exit.unwrap_or(0);
            }
        };
        exits.or(async { drop(late.await) }).await;
        // A worker that has ended has dropped its sender.
        Ended { cut, blocked: self.exits.sender_count() }
    }
}

/// What was left when the workers ended.
struct Ended {
    /// How many connections were cut.
    cut: usize,
    /// How many workers a handler blocks.
    blocked: usize,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (s, were) = if self.cut == 1 { ("", "was") } else { ("s", "were") };
        write!(f, "{} connection{s} {were} cut", self.cut)?;
        match self.blocked {
            0 => Ok(()),
            1 => f.write_str(", and those of 1 worker that a handler blocks"),
            blocked => write!(f, ", and those of {blocked} workers that a handler blocks"),
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("urls", &self.urls).finish_non_exhaustive()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.close();
        // A worker that a handler blocks, also this one, is not waited for.
        if self.threads.is_empty() || self.is_in_worker() || block_on(self.ended_before(self.abort())).blocked > 0 {
            self.abort.close();
            return;
        }
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// Starts a server on a free port of this machine, with one worker, for a test; it stops when it is dropped.
///
/// # Errors
///
/// There is no free port, or a thread cannot be started.
///
/// # Examples
///
/// ```
/// use micro_smol::{Request, listen};
/// use std::io::{Read, Write};
/// use std::net::TcpStream;
///
/// async fn handler(_req: Request) -> &'static str {
///     "Hello, world"
/// }
///
/// let server = listen(handler)?;
/// let mut client = TcpStream::connect(server.addr().unwrap())?;
/// client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
/// let mut response = String::new();
/// client.read_to_string(&mut response)?;
/// assert!(response.ends_with("Hello, world"));
/// # std::io::Result::Ok(())
/// ```
pub fn listen(handler: impl Handler) -> io::Result<Running> {
    serve(handler).listen("tcp://127.0.0.1:0")?.workers(1).start()
}
