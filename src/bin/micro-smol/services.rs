//! The processes of `--dev`, and the sockets on which they serve.
//!
//! The sockets stay here, and each service inherits them, so that none of its clients is refused: a service answers
//! until the next one is ready, and a connection that neither has accepted waits in the kernel. Descriptors are
//! inherited by their numbers, because the standard input is the user's, or where that cannot be, the first one as the
//! standard input. A service says that it is ready as it says it to systemd.

use std::env;
use std::fs::{self, DirBuilder};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::iter;
use std::mem;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use async_signal::{Signal, Signals};
use micro_smol::cli::{BoundListener, Options, urls};
use micro_smol::smol::Timer;
use micro_smol::smol::future::FutureExt;
use micro_smol::smol::stream::StreamExt;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, kill_process};

use super::env_file::Variables;
use super::terminal::say;

/// How often we look whether those that were told to end have ended.
const TICK: Duration = Duration::from_millis(10);

/// How long clients wait for a service to be ready before they are told that it is not.
const READY_TIME: Duration = Duration::from_secs(5);

/// The sockets, and who serves them.
pub struct Services {
    pub sockets: Vec<BoundListener>,
    pub options: Options,
    current: Option<Service>,
    /// The one that is not ready yet.
    next: Option<Service>,
    /// Those that have been told to end, and still answer what they were asked.
    retired: Vec<Service>,
    directory: PrivateDirectory,
    started: usize,
    /// Whether it has been said where they serve.
    is_announced: bool,
}

/// A process, and where it says that it is ready.
struct Service {
    child: Child,
    notices: UnixDatagram,
    start: Instant,
    /// Whether it was said that it is late.
    is_reported: bool,
}

impl Services {
    pub fn new(options: &Options) -> io::Result<Self> {
        let (sockets, options) = (options.bind()?, options.clone());
        let (retired, directory) = (Vec::new(), PrivateDirectory::new()?);
        let (current, next, started, is_announced) = (None, None, 0, false);
        Ok(Services { sockets, options, current, next, retired, directory, started, is_announced })
    }

    /// Starts the next service; one that was not ready is not needed any more.
    pub fn start(&mut self, program: &Path, variables: Variables) -> io::Result<()> {
        self.started += 1;
        let notices_path = self.directory.0.join(self.started.to_string());
        let notices = UnixDatagram::bind(&notices_path)?;
        notices.set_nonblocking(true)?;
        let mut command = Command::new(program);
        let (options, stdin) = self.options.inherited(&self.sockets);
        command
            .envs(variables)
            .args(options.to_args())
            .env("MICRO_ENV", "development")
            .env("NOTIFY_SOCKET", notices_path);
        if let Some(socket) = stdin {
            command.stdin(socket.try_clone()?);
        }
        self.sockets.iter().try_for_each(|bound| fcntl_setfd(&bound.socket, FdFlags::empty()))?;
        let spawned = command.spawn();
        self.sockets.iter().try_for_each(|bound| fcntl_setfd(&bound.socket, FdFlags::CLOEXEC))?;
        self.promote();
        let unready =
            self.next.replace(Service { child: spawned?, notices, start: Instant::now(), is_reported: false });
        self.retire(unready);
        Ok(())
    }

    /// Lets a service that has become ready take over.
    fn promote(&mut self) {
        if let Some(next) = self.next.take_if(|next| next.is_ready()) {
            let last = self.current.replace(next);
            self.retire(last);
            if !self.announce() && !self.options.silent {
                say("reloaded");
            }
        }
    }

    /// Sees which services are ready, and reports those that have ended. Returns what it has reported last.
    pub fn look(&mut self) -> Option<String> {
        self.promote();
        self.retired.retain_mut(Service::is_running);
        let mut ended = None;
        let no_server = " (does its `main` call `micro_smol::run`?)";
        for (service, hint) in [(&mut self.next, no_server), (&mut self.current, "")] {
            if let Some(Ok(Some(status))) = service.as_mut().map(|service| service.child.try_wait()) {
                let advice = "the next change, or the next request after a second, starts it again";
                let hint = if status.success() { hint } else { "" };
                let text = format!("the service has ended: {status}{hint}; {advice}");
                say(&text);
                (*service, ended) = (None, Some(text));
            }
        }
        ended
    }

    /// Says where they serve, and returns whether it was not said before.
    pub fn announce(&mut self) -> bool {
        let is_first = !mem::replace(&mut self.is_announced, true);
        if is_first {
            self.options.announce(&urls(&self.sockets));
        }
        is_first
    }

    /// Reports a service that is not ready in time, once. Returns what it has reported.
    pub fn look_for_late(&mut self) -> Option<String> {
        let next = self.next.as_mut().filter(|next| next.is_late() && !next.is_reported)?;
        next.is_reported = true;
        let text = format!("the service is not ready after {READY_TIME:?}: does its `main` call `micro_smol::run`?");
        say(&text);
        Some(text)
    }

    /// Whether there is neither a service nor one that may soon be ready.
    pub fn are_gone(&self) -> bool {
        self.current.is_none() && self.next.as_ref().is_none_or(Service::is_late)
    }

    fn retire(&mut self, service: Option<Service>) {
        service.iter().for_each(|service| service.signal(Signal::Term));
        self.retired.extend(service);
    }

    /// Sends a signal to the running services, and each later signal to all, until all have ended. A terminal signals them, too;
    /// a service counts signals that come together as one.
    pub async fn end(mut self, signal: Signal, signals: &mut Signals) {
        self.sockets.clear();
        let serving = self.current.take().into_iter().chain(self.next.take());
        self.retired.extend(serving.inspect(|service| service.signal(signal)));
        while !self.retired.is_empty() {
            let tick = async {
                Timer::after(TICK).await;
                None
            };
            if let Some(Ok(another)) = signals.next().or(tick).await {
                self.retired.iter().for_each(|service| service.signal(another));
            }
            self.retired.retain_mut(Service::is_running);
        }
    }
}

impl Service {
    fn is_ready(&self) -> bool {
        let mut notice = [0; 64];
        let mut notices =
            iter::from_fn(|| self.notices.recv(&mut notice).ok().map(|length| notice[..length] == *b"READY=1"));
        notices.any(|is_ready| is_ready)
    }

    fn is_late(&self) -> bool {
        self.start.elapsed() > READY_TIME
    }

    fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn signal(&self, signal: Signal) {
        let signal = if signal == Signal::Int { rustix::process::Signal::INT } else { rustix::process::Signal::TERM };
        // Err only if it has ended.
        let _ = kill_process(Pid::from_child(&self.child), signal);
    }
}

/// A directory that only this user can enter, and whose name nobody can foresee. It is removed when it is dropped.
struct PrivateDirectory(PathBuf);

impl PrivateDirectory {
    fn new() -> io::Result<Self> {
        let name = format!("micro-smol-{:016x}", RandomState::new().build_hasher().finish());
        let path = env::temp_dir().join(name);
        let failed =
            |error: io::Error| io::Error::new(error.kind(), format!("cannot make {}: {error}", path.display()));
        // What is there already, be it a link, is not used.
        DirBuilder::new().mode(0o700).create(&path).map_err(failed)?;
        Ok(PrivateDirectory(path))
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        // If this fails, it remains in the temporary directory.
        let _ = fs::remove_dir_all(&self.0);
    }
}
