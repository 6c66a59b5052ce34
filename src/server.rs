//! `serve`, [`Server`], [`Running`]: bind, accept, workers, graceful shutdown.

use std::env;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_io::Timer;
use async_signal::{Signal, Signals};
use futures_lite::future::{block_on, pending, poll_once, yield_now};
use futures_lite::{FutureExt, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smol::LocalExecutor;
use smol::channel::{self, Receiver, Sender};
use smol::lock::{Barrier, Semaphore};

use super::connection::serve_peer;
use super::deadline::within;
use super::drain::Connections;
use super::endpoint::{Bound, Door, Endpoint, Sharing, SocketFile, bind_all};
use super::error::log;
use super::handler::Handler;
use super::limits::Limits;
use super::poller::{Listener, Poller, Socket};
use super::request::Peer;

/// How long a worker waits after it could not accept a connection, for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How often a worker that ends asks the kernel what has come: enough for any backlog, but not without end.
const LAST_LOOKS: usize = 64;

/// More descriptors than this are not asked for, even where the system knows no limit.
const DESCRIPTORS_MAX: u64 = 1 << 20;

/// Makes a server of a handler; it listens once it is told where, and started.
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
pub fn serve<H: Handler>(handler: H) -> Server<H> {
    Server { handler, bound: Vec::new(), workers: None, limits: Limits::default() }
}

/// A server that is not running yet; made by [`serve`].
pub struct Server<H> {
    pub(super) handler: H,
    pub(super) bound: Vec<Bound>,
    pub(super) workers: Option<usize>,
    pub(super) limits: Limits,
}

impl<H: Handler> Server<H> {
    /// Opens an endpoint: `tcp://host:port`, `unix:/path`, or `fd:N` for a socket that the process has inherited.
    ///
    /// May be called again for more of them. Port 0 picks a free port. Without any, the server listens on the sockets that
    /// systemd hands over (`LISTEN_FDS`), else on `HOST` and `PORT` of the environment, else on 0.0.0.0 and 3000. The socket file of a server that is gone is replaced.
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
    pub fn listen(mut self, endpoint: &str) -> io::Result<Self> {
        self.bound.extend(endpoint.parse::<Endpoint>()?.bind(Sharing::Exclusive)?);
        Ok(self)
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

    /// Sets what one peer may take.
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

    /// Serves until SIGINT or SIGTERM, then answers what has been asked and returns.
    ///
    /// A second signal makes it return at once.
    ///
    /// # Errors
    ///
    /// The default endpoint cannot be opened, or a thread not be started; `Interrupted` after a second signal.
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

    /// Runs, and says where as soon as a signal would be heeded; after that signal, serves on until `told` is done.
    pub(super) fn run_with(self, say: impl FnOnce(&[String]), told: impl Future<Output = ()>) -> io::Result<()> {
        let mut signals = Signals::new([Signal::Int, Signal::Term])?;
        let mut running = self.start()?;
        say(running.urls());
        notify("READY=1");
        let served = block_on(async {
            let signalled = async {
                signals.next().await;
                Ok(())
            };
            // Before they are told to stop, workers only end if they fail.
            let failed = async { running.ends.recv().await.map_err(io::Error::other)? };
            signalled.or(failed).await?;
            notify("STOPPING=1");
            let drained = async {
                told.await;
                running.drain().await
            };
            let signalled_again = async {
                signals.next().await;
                Err(io::ErrorKind::Interrupted.into())
            };
            drained.or(signalled_again).await
        });
        // The process ends anyway, so nobody waits for them.
        running.threads.clear();
        served
    }

    /// Serves from threads of its own, and returns.
    ///
    /// # Errors
    ///
    /// The default endpoint cannot be opened, or a thread not be started.
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
            self.bound = bind_all(&Endpoint::defaults()?, Sharing::Exclusive)?;
        }
        let mut urls: Vec<_> = self.bound.iter().map(|bound| bound.endpoint.url()).collect();
        // `localhost` may be two sockets, but is one endpoint.
        urls.dedup();
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let workers = self.workers.unwrap_or_else(cores);
        let (stop, stops) = channel::bounded(workers);
        let (end, ends) = channel::bounded(workers);
        let places = Semaphore::new(self.limits.connections_max.min(descriptors_max()));
        let all_closed = Barrier::new(workers);
        let service = Arc::new(Service { handler: self.handler, limits: self.limits, places, stops, all_closed });
        let mut running = Running { urls, stop, ends, threads: Vec::new(), _files: Vec::new() };
        for number in 0..workers {
            let doors = self.bound.iter().map(Bound::door).collect::<io::Result<Vec<_>>>()?;
            let (service, end) = (service.clone(), end.clone());
            let thread = thread::Builder::new().name(format!("micro-smol-{number}"));
            // It fails if nobody waits for it.
            running.threads.push(thread.spawn(move || drop(end.try_send(work(&service, doors))))?);
        }
        running._files = self.bound.into_iter().filter_map(|bound| bound.file).collect();
        Ok(running)
    }
}

impl<H> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("bound", &self.bound).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// Tells whoever started this process how it is, if that wants to know, as systemd does (sd_notify).
fn notify(state: &str) {
    let Some(path) = env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = UnixDatagram::unbound().and_then(|socket| socket.send_to(state.as_bytes(), path)) {
        log(format_args!("cannot notify of {state}: {error}"));
    }
}

/// A server that is running; made by [`Server::start`] and [`listen`](super::listen()).
///
/// Dropping it closes its sockets and cuts its connections; [`stop`](Self::stop) lets them finish.
#[derive(Debug)]
pub struct Running {
    urls: Vec<String>,
    /// Asks a worker to accept no more and to end when its connections have. When it is closed they end at once.
    stop: Sender<()>,
    /// How each worker ended.
    ends: Receiver<io::Result<()>>,
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

    /// Accepts no more connections, answers the requests that have come, and returns when that is done.
    ///
    /// # Errors
    ///
    /// `TimedOut` if some were not done within `drain_timeout`; they are cut.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn handler(_req: micro_smol::Request) {}
    /// let server = micro_smol::listen(handler)?;
    /// server.stop()?;
    /// # std::io::Result::Ok(())
    /// ```
    pub fn stop(self) -> io::Result<()> {
        block_on(self.drain())
    }

    async fn drain(&self) -> io::Result<()> {
        while self.stop.try_send(()).is_ok() {}
        let mut outcome = Ok(());
        while let Ok(ended) = self.ends.recv().await {
            outcome = outcome.and(ended);
        }
        outcome
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.close();
        let threads = self.threads.drain(..);
        for thread in threads.filter(|thread| thread.thread().id() != thread::current().id()) {
            // A worker that panicked has said so.
            let _ = thread.join();
        }
    }
}

/// What the workers share.
struct Service<H> {
    handler: H,
    limits: Limits,
    /// As many as there may be connections.
    places: Semaphore,
    /// One for each worker.
    stops: Receiver<()>,
    /// Where they meet when they accept no more.
    all_closed: Barrier,
}

/// How many descriptors connections may use, with the limit raised as far as we may.
fn descriptors_max() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let maximum = limit.maximum.unwrap_or(DESCRIPTORS_MAX).min(DESCRIPTORS_MAX);
    let wanted = limit.current.map(|current| current.max(maximum));
    // Where it is refused, the old one holds.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: wanted, ..limit });
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(DESCRIPTORS_MAX);
    usize::try_from(descriptors - descriptors / 8).unwrap_or(usize::MAX)
}

/// The life of a worker: accept until told to stop, then let the connections end.
fn work<H: Handler>(service: &Service<H>, doors: Vec<Door>) -> io::Result<()> {
    let (poller, connections) = (Poller::new()?, Connections::default());
    let executor = LocalExecutor::new();
    let host = Host { service, poller: &poller, connections: &connections, executor: &executor };
    let served = async {
        if host.accept_until(service.stops.recv(), doors).await?.is_err() {
            return Ok(());
        }
        let drain = connections.drain(service.all_closed.wait());
        let drained = within(service.limits.drain_timeout, drain).await;
        drained.ok_or_else(|| io::Error::new(io::ErrorKind::TimedOut, "some connections were cut"))
    };
    poller.block_on(&connections.timers, executor.run(served))?
}

/// Resets a connection that is dropped before it is done, by a panic or by a server that ends: to a peer of HTTP/1.0 an
/// ordinary end would say that it has the whole response.
struct Cut(Option<Socket>);

impl Drop for Cut {
    fn drop(&mut self) {
        // It fails if the peer is gone, and then it need not be told.
        let _ = self.0.as_ref().map(Socket::reset);
    }
}

/// What it takes to serve the connections of a worker.
struct Host<'a, 'e, H> {
    service: &'e Service<H>,
    poller: &'e Poller,
    connections: &'e Connections,
    executor: &'a LocalExecutor<'e>,
}

impl<H: Handler> Host<'_, '_, H> {
    /// Accepts connections until `stop` is ready; then those that the kernel has accepted for us, and closes the sockets.
    async fn accept_until<T>(&self, stop: impl Future<Output = T>, doors: Vec<Door>) -> io::Result<T> {
        let open = |(socket, authority)| Ok((Listener::new(self.poller, socket)?, authority));
        let doors = doors.into_iter().map(open).collect::<io::Result<Vec<_>>>()?;
        let accepting = doors.iter().fold(pending().boxed_local(), |others, ((listener, _), authority)| {
            others.or(self.accept(listener, authority)).boxed_local()
        });
        let stopped = accepting.or(stop).await;
        // What has come by now is in flight.
        for _ in 0..LAST_LOOKS {
            if self.poller.look().unwrap_or(0) == 0 {
                break;
            }
        }
        for ((listener, _entry), authority) in doors {
            while let Some(Ok((socket, peer_addr))) = poll_once(listener.accept()).await {
                self.spawn(socket, peer_addr, &authority);
            }
        }
        Ok(stopped)
    }

    async fn accept<T>(&self, listener: &Listener, authority: &Arc<str>) -> T {
        loop {
            // At the limit the kernel holds what comes.
            drop(self.service.places.acquire().await);
            match listener.accept().await {
                Ok((socket, peer_addr)) => self.spawn(socket, peer_addr, authority),
                Err(error) => {
                    log(format_args!("cannot accept a connection: {error}"));
                    Timer::after(ACCEPT_PAUSE).await;
                }
            }
            // One at a time, so that the other workers get their share.
            yield_now().await;
        }
    }

    fn spawn(&self, socket: OwnedFd, peer_addr: Option<SocketAddr>, authority: &Arc<str>) {
        let Host { service, poller, connections, .. } = *self;
        let peer = Peer { addr: peer_addr, authority: Some(authority.clone()) };
        let place = connections.enter();
        let connection = async move {
            let _within_limit = service.places.acquire().await;
            let (socket, _entry) = Socket::new(poller, socket)?;
            let mut cut = Cut(Some(socket.clone()));
            let served = serve_peer(socket, peer, &place, &service.handler, &service.limits).await;
            let kind = served.as_ref().map_err(io::Error::kind);
            if !matches!(kind, Err(io::ErrorKind::ConnectionAborted | io::ErrorKind::TimedOut)) {
                cut.0 = None;
            }
            served
        };
        // A panic in a response body's reader ends that connection only; the panic hook has reported it. An error does, too:
        // the peer is gone, or was told by the way the connection ended.
        self.executor.spawn(AssertUnwindSafe(connection).catch_unwind()).detach();
    }
}
