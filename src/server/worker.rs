//! The life of a worker: it accepts connections until it is told to stop, then lets them end.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::iter;
use std::mem;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use async_io::Timer;
use futures_lite::FutureExt;
use futures_lite::future::pending;
use smol::LocalExecutor;
use smol::channel::Receiver;
use smol::lock::{Barrier, Semaphore};

use super::super::connection::{Connections, serve_stream, timeout};
use super::super::handler::{Handler, survive};
use super::super::limits::Limits;
use super::super::log::log;
use super::super::request::ConnectionContext;
use super::listener::{Listener, SharedListener};
use super::reactor::Reactor;
use super::socket;
use super::turn::Turn;

/// How long a worker waits after it could not accept a connection, for want of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// How many connections a worker that ends accepts at most: more than a backlog holds.
const LAST_MAX: usize = 65_536;

/// How many tasks a worker polls before it looks at its sockets again.
const TURN_TASKS: usize = 32;

/// What the workers share.
pub(super) struct Shared {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) limits: Limits,
    /// As many as there may be connections.
    pub(super) connection_permits: Semaphore,
    /// Closed when the workers are to accept no more and to let their connections end.
    pub(super) shutdown: Receiver<()>,
    /// Closed when the workers are to end at once.
    pub(super) abort: Receiver<()>,
    /// Where the workers meet when they accept no more.
    pub(super) all_closed: Barrier,
    /// How long an idle connection is kept after shutdown; set before that.
    pub(super) idle_grace: OnceLock<Duration>,
}

/// Serves with a reactor and an executor of its own; returns how many connections were cut.
pub(super) fn run_worker(shared: &Shared, listeners: Vec<SharedListener>) -> io::Result<usize> {
    let (reactor, connections, has_accepted) = (Reactor::new()?, Connections::default(), Cell::new(false));
    let executor = LocalExecutor::new();
    let worker = Worker {
        shared,
        reactor: &reactor,
        connections: &connections,
        executor: &executor,
        has_accepted: &has_accepted,
    };
    let mut serving = pin!(worker.serve(listeners));
    let mut tick = pin!(executor.tick());
    let mut served = Ok(0);
    let mut is_done = |cx: &mut Context<'_>| {
        has_accepted.set(false);
        serving.as_mut().poll(cx).map(|outcome| served = outcome).is_ready()
    };
    reactor.run(&connections, |cx| {
        if is_done(cx) {
            return Turn::Done;
        }
        for _ in 0..TURN_TASKS {
            match tick.as_mut().poll(cx) {
                Poll::Ready(()) => tick.set(executor.tick()),
                // The tasks wait, so the next connection is accepted; the kernel need not be asked for events in between.
                Poll::Pending if has_accepted.get() => {
                    if is_done(cx) {
                        return Turn::Done;
                    }
                }
                Poll::Pending => return Turn::Idle,
            }
            if connections.is_turn_over() {
                break;
            }
        }
        Turn::More
    })?;
    served
}

struct Worker<'a, 'e> {
    shared: &'e Shared,
    reactor: &'e Reactor,
    connections: &'e Connections,
    executor: &'a LocalExecutor<'e>,
    /// Whether to ask for another connection without an event.
    has_accepted: &'e Cell<bool>,
}

impl Worker<'_, '_> {
    async fn serve(&self, listeners: Vec<SharedListener>) -> io::Result<usize> {
        let served = async {
            self.accept_until_shutdown(listeners).await?;
            let idle_grace = self.shared.idle_grace.get().copied().unwrap_or_default();
            let drain = self.connections.drain(idle_grace, self.shared.all_closed.wait());
            timeout(self.shared.limits.drain_timeout, drain).await;
            Ok(self.connections.count())
        };
        let aborted = async {
            // Nothing is sent: it ends when the channel is closed.
            let _ = self.shared.abort.recv().await;
            Ok(self.connections.count())
        };
        served.or(aborted).await
    }

    /// Accepts connections until shutdown; then those that the kernel has accepted already, and closes the sockets.
    async fn accept_until_shutdown(&self, listeners: Vec<SharedListener>) -> io::Result<()> {
        let listeners = listeners.into_iter().map(|listener| Listener::new(self.reactor, listener));
        let listeners = listeners.collect::<io::Result<Vec<_>>>()?;
        let accepting = listeners
            .iter()
            .fold(pending().boxed_local(), |others, listener| others.or(self.accept(listener)).boxed_local());
        let shutdown = async {
            let _ = self.shared.shutdown.recv().await;
        };
        accepting.or(shutdown).await;
        for listener in &listeners {
            for (socket, peer_addr) in iter::from_fn(|| listener.accept_now().ok()).take(LAST_MAX) {
                self.spawn(socket, peer_addr, listener.authority.clone());
            }
        }
        Ok(())
    }

    async fn accept(&self, listener: &Listener<'_>) {
        let mut is_failing = false;
        loop {
            // At the limit, leave connections in the backlog.
            drop(self.shared.connection_permits.acquire().await);
            match listener.accept().await {
                Ok((socket, peer_addr)) => {
                    is_failing = false;
                    self.spawn(socket, peer_addr, listener.authority.clone());
                }
                Err(error) => {
                    if !mem::replace(&mut is_failing, true) {
                        log(format_args!("cannot accept connections: {error}; they wait in the backlog"));
                    }
                    Timer::after(ACCEPT_PAUSE).await;
                }
            }
            // One at a time, so that the other workers get their share. This is polled again with each turn, and when the tasks
            // wait.
            self.has_accepted.set(true);
            let mut has_yielded = false;
            poll_fn(|_| if mem::replace(&mut has_yielded, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        }
    }

    fn spawn(&self, socket: OwnedFd, peer_addr: Option<SocketAddr>, authority: Arc<str>) {
        let Worker { shared, reactor, connections, .. } = *self;
        let context =
            ConnectionContext { peer_addr, authority: Some(authority), stopping: Some(shared.shutdown.clone()) };
        let registration = connections.register();
        let connection = async move {
            let _permit = shared.connection_permits.acquire().await;
            let (stream, _registration) = socket::stream(reactor, socket)?;
            serve_stream(stream, context, &registration, &*shared.handler, &shared.limits).await
        };
        // An error needs no report: the peer is gone, or was told by the way the connection ended. A panic in the reader of a
        // response ends this connection only.
        let mut connection = Box::pin(connection);
        let survived = poll_fn(move |cx| match survive(|| connection.as_mut().poll(cx)) {
            Ok(served) => served.map(drop),
            Err(_) => Poll::Ready(()),
        });
        self.executor.spawn(survived).detach();
    }
}
