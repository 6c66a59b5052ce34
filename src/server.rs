//! `serve`, [`Server`], [`Running`]: bind, accept, workers, graceful shutdown.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::os::fd::OwnedFd;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_io::Timer;
use async_signal::{Signal, Signals};
use futures_lite::future::{block_on, poll_fn, poll_once, yield_now};
use futures_lite::{FutureExt, StreamExt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use smol::LocalExecutor;
use smol::channel::{self, Receiver, Sender};
use smol::lock::Semaphore;

use super::connection::serve_peer;
use super::drain::Connections;
use super::endpoint::{Bound, Endpoint, SocketFile};
use super::error::log;
use super::handler::Handler;
use super::limits::Limits;
use super::poller::{Entry, Listener, Poller, Socket};
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
    handler: H,
    bound: Vec<Bound>,
    workers: Option<usize>,
    limits: Limits,
}

impl<H: Handler> Server<H> {
    /// Opens an endpoint: `tcp://host:port`, `unix:/path`, or `fd:0` for a socket that is the standard input.
    ///
    /// May be called again for more of them. Port 0 picks a free port. Without any, the server listens on `HOST` and
    /// `PORT` of the environment, and else on 0.0.0.0 and 3000. The socket file of a server that is gone is replaced.
    ///
    /// # Errors
    ///
    /// The endpoint is malformed or cannot be opened.
    pub fn listen(self, endpoint: &str) -> io::Result<Self> {
        self.bind(&endpoint.parse()?)
    }

    pub(super) fn bind(mut self, endpoint: &Endpoint) -> io::Result<Self> {
        self.bound.extend(endpoint.bind()?);
        Ok(self)
    }

    /// Sets the number of threads that serve, at least one; the default is one per core.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers.max(1));
        self
    }

    /// Sets what one peer may take.
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
    pub fn run(self) -> io::Result<()> {
        let mut signals = Signals::new([Signal::Int, Signal::Term])?;
        let mut running = self.start()?;
        block_on(async {
            let stopped = async {
                signals.next().await;
                Ok(())
            };
            let failed = async {
                // Before they are told to stop, workers only end if they fail.
                let _ = running.done.recv().await;
                Err(io::Error::other("no worker could go on"))
            };
            stopped.or(failed).await?;
            running.drain();
            let interrupted = async {
                signals.next().await;
                Err(io::ErrorKind::Interrupted.into())
            };
            let drained = running.drained().or(interrupted).await;
            running.abandon();
            drained
        })
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
            self = self.bind(&Endpoint::tcp(None, None)?)?;
        }
        let cores = || thread::available_parallelism().map_or(1, NonZero::get);
        let workers = self.workers.unwrap_or_else(cores);
        let places = Semaphore::new(self.limits.connections_max.min(descriptors_max()));
        let service = Arc::new(Service { handler: self.handler, limits: self.limits, places });
        let urls = urls(&self.bound);
        let (done_sender, done) = channel::unbounded();
        let mut running = Running { urls, workers: Vec::new(), done, _files: Vec::new() };
        for number in 0..workers {
            let doors = self.bound.iter().map(Door::new).collect::<io::Result<Vec<_>>>()?;
            let (control, commands) = channel::bounded(1);
            let (service, done) = (service.clone(), done_sender.clone());
            let thread = thread::Builder::new().name(format!("micro-smol-{number}"));
            let thread = thread.spawn(move || {
                if let Err(error) = work(&service, doors, &commands, &done) {
                    log(format_args!("a worker failed: {error}"));
                }
            })?;
            running.workers.push(Worker { control, thread });
        }
        running._files = self.bound.into_iter().filter_map(|bound| bound.file).collect();
        Ok(running)
    }

    /// The URLs of the endpoints that are open.
    pub(super) fn urls(&self) -> Vec<String> {
        urls(&self.bound)
    }
}

impl<H> fmt::Debug for Server<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("urls", &urls(&self.bound)).field("limits", &self.limits).finish_non_exhaustive()
    }
}

/// One line for each endpoint; `localhost` may be two sockets, but is one endpoint.
fn urls(bound: &[Bound]) -> Vec<String> {
    let mut urls: Vec<_> = bound.iter().map(|bound| bound.endpoint.url()).collect();
    urls.dedup();
    urls
}

/// A server that is running; made by [`Server::start`] and [`listen`](super::listen()).
///
/// Dropping it closes its sockets and cuts its connections; [`stop`](Self::stop) lets them finish.
#[derive(Debug)]
pub struct Running {
    urls: Vec<String>,
    workers: Vec<Worker>,
    done: Receiver<io::Result<()>>,
    _files: Vec<SocketFile>,
}

#[derive(Debug)]
struct Worker {
    control: Sender<Drain>,
    thread: JoinHandle<()>,
}

/// Asks a worker to accept no more and to end when its connections have. A worker whose control is closed ends at once.
#[derive(Debug)]
struct Drain;

impl Running {
    /// Returns the URL of the first endpoint, without a slash at its end: `http://127.0.0.1:3000`, `unix:/path`.
    pub fn url(&self) -> &str {
        self.urls.first().map_or("", String::as_str)
    }

    /// Returns the URLs of all endpoints, in the order in which they were given.
    pub fn urls(&self) -> &[String] {
        &self.urls
    }

    /// Accepts no more connections, answers the requests that have come, and returns when that is done.
    ///
    /// # Errors
    ///
    /// `TimedOut` if some were not done within `drain_timeout`; they are cut.
    pub fn stop(self) -> io::Result<()> {
        self.drain();
        block_on(self.drained())
    }

    fn drain(&self) {
        for worker in &self.workers {
            // It fails if the worker has been asked already.
            let _ = worker.control.try_send(Drain);
        }
    }

    async fn drained(&self) -> io::Result<()> {
        let mut outcome = Ok(());
        for _ in &self.workers {
            outcome = outcome.and(self.done.recv().await.unwrap_or(Ok(())));
        }
        outcome
    }

    /// Lets the threads be, for a process that ends anyway.
    fn abandon(&mut self) {
        self.workers.clear();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let (controls, threads): (Vec<_>, Vec<_>) =
            self.workers.drain(..).map(|worker| (worker.control, worker.thread)).unzip();
        drop(controls);
        for thread in threads.into_iter().filter(|thread| thread.thread().id() != thread::current().id()) {
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
}

/// How many descriptors connections may use, with the limit raised as far as we may.
fn descriptors_max() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(DESCRIPTORS_MAX).min(DESCRIPTORS_MAX);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit { current: Some(wanted), ..limit };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let descriptors = limit.current.unwrap_or(wanted);
    usize::try_from(descriptors - descriptors / 8).unwrap_or(usize::MAX)
}

/// A listening socket for a worker of its own, and what its connections should know of it.
struct Door {
    socket: OwnedFd,
    authority: Arc<str>,
}

impl Door {
    fn new(bound: &Bound) -> io::Result<Self> {
        Ok(Door { socket: bound.socket.try_clone()?, authority: bound.endpoint.authority().into() })
    }
}

/// The life of a worker: accept until told to stop, then let the connections end.
fn work<H: Handler>(
    service: &Service<H>,
    doors: Vec<Door>,
    commands: &Receiver<Drain>,
    done: &Sender<io::Result<()>>,
) -> io::Result<()> {
    let (poller, connections) = (Poller::new()?, Connections::default());
    let executor = LocalExecutor::new();
    let host = Host { service, poller: &poller, connections: &connections, executor: &executor };
    poller.block_on(
        &connections.timers,
        executor.run(async {
            if host.accept_until(commands.recv(), doors).await?.is_err() {
                return Ok(());
            }
            let time_out = async {
                Timer::after(service.limits.drain_timeout).await;
                Err(io::Error::new(io::ErrorKind::TimedOut, "some connections were cut"))
            };
            let drained = async {
                connections.drain().await;
                Ok(())
            };
            // It fails if nobody waits for it.
            let _ = done.try_send(drained.or(time_out).await);
            Ok(())
        }),
    )?
}

/// Resets a connection that is dropped before it is done, by a panic or by a server that ends: to a peer of HTTP/1.0 an
/// ordinary end would say that it has the whole response.
struct Cut(Option<Socket>);

impl Cut {
    /// Lets the connection end in the ordinary way.
    fn spare(mut self) {
        self.0 = None;
    }
}

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
        let open = |door: Door| Ok((Listener::new(self.poller, door.socket)?, door.authority));
        let doors = doors.into_iter().map(open).collect::<io::Result<Vec<_>>>()?;
        let stopped = self.accept_all(&doors).or(stop).await;
        // What has come by now is in flight.
        let _ = (0..LAST_LOOKS).try_for_each(|_| self.poller.look().ok().filter(|count| *count > 0).map(drop));
        for ((listener, _entry), authority) in doors {
            while let Some(Ok((socket, peer_addr))) = poll_once(listener.accept()).await {
                self.spawn(socket, peer_addr, &authority);
            }
        }
        Ok(stopped)
    }

    async fn accept_all<T>(&self, doors: &[((Listener, Entry<'_>), Arc<str>)]) -> T {
        let doors = doors.iter();
        let mut accepting: Vec<_> =
            doors.map(|((door, _), authority)| Box::pin(self.accept(door, authority))).collect();
        poll_fn(|cx| {
            for accept in &mut accepting {
                let _ = accept.as_mut().poll(cx);
            }
            Poll::Pending
        })
        .await
    }

    async fn accept(&self, listener: &Listener, authority: &Arc<str>) {
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
            let cut = Cut(Some(socket.clone()));
            let served = serve_peer(socket, peer, &place, &service.handler, &service.limits).await;
            match served.as_ref().map_err(io::Error::kind) {
                Err(io::ErrorKind::ConnectionAborted | io::ErrorKind::TimedOut) => drop(cut),
                _ => cut.spare(),
            }
            served
        };
        // A panic in a response body's reader ends that connection only; the panic hook has reported it. An error does, too:
        // the peer is gone, or was told by the way the connection ended.
        self.executor.spawn(AssertUnwindSafe(connection).catch_unwind()).detach();
    }
}
