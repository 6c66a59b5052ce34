//! `--dev`: serves, and compiles and serves anew when something changes.
//!
//! The sockets stay here, and each service inherits them, so that none of its clients is refused: a service answers
//! until the next one is ready, and a connection that neither has accepted waits in the kernel. Descriptors are
//! inherited as the standard input and by their numbers; a service says that it is ready as it says it to systemd.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command};
use std::thread;
use std::time::Duration;

use async_signal::{Signal, Signals};
use micro_smol::cli::{BoundListener, Options};
use micro_smol::smol::Timer;
use micro_smol::smol::future::{FutureExt, block_on, yield_now};
use micro_smol::smol::stream::StreamExt;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, kill_process};

use super::build::BuildRequest;
use super::fingerprint;

/// How often we look: often enough to seem immediate, and too seldom to cost anything.
const TICK: Duration = Duration::from_millis(100);

/// How long services may take to stop before they are told again, in ticks.
const PATIENCE_TICKS: usize = 10;

/// Serves until SIGINT or SIGTERM.
pub fn watch(request: &BuildRequest, options: &Options) -> io::Result<()> {
    let mut signals = Signals::new([Signal::Int, Signal::Term])?;
    let mut services = Services::new(options)?;
    let signal = block_on(signals.next().or(services.follow(request)));
    // A terminal has sent its signal to the services, too.
    services.end(matches!(signal, Some(Ok(Signal::Term))))
}

/// The sockets, and who serves them.
struct Services {
    sockets: Vec<BoundListener>,
    /// What tells a service of them.
    args: Vec<OsString>,
    current: Option<Child>,
    /// The one that is not ready yet.
    next: Option<Child>,
    /// Where the next one says that it is ready.
    notices: UnixDatagram,
    notices_path: PathBuf,
}

impl Services {
    fn new(options: &Options) -> io::Result<Self> {
        let sockets = options.bind()?;
        let args = options.inherited(&sockets).to_args();
        let notices_path = env::temp_dir().join(format!("micro-smol-{}", process::id()));
        let notices = UnixDatagram::bind(&notices_path)?;
        notices.set_nonblocking(true)?;
        Ok(Services { sockets, args, current: None, next: None, notices, notices_path })
    }

    /// Compiles and starts, again and again.
    async fn follow<T>(&mut self, request: &BuildRequest) -> T {
        loop {
            let around = request.watch_set();
            let built = request.build();
            // The signal that has ended the build is seen first.
            yield_now().await;
            let started = built.and_then(|(program, inputs)| {
                let failed = |error| format!("cannot start {}: {error}", program.display());
                self.start(&program).map(|()| inputs).map_err(failed)
            });
            let inputs = started.unwrap_or_else(|error| {
                eprintln!("micro-smol: {error}");
                around
            });
            while fingerprint::are_unchanged(&inputs) {
                self.look();
                Timer::after(TICK).await;
            }
            // An editor may not be done with it.
            Timer::after(TICK).await;
        }
    }

    fn start(&mut self, program: &Path) -> io::Result<()> {
        // Two that are not ready could not be told apart.
        self.next.take().map_or(Ok(()), stop)?;
        let mut command = Command::new(program);
        command.args(&self.args).env("MICRO_ENV", "development").env("NOTIFY_SOCKET", &self.notices_path);
        let (first, others) = self.sockets.split_first().ok_or(io::ErrorKind::NotFound)?;
        command.stdin(first.socket.try_clone()?);
        others.iter().try_for_each(|other| fcntl_setfd(&other.socket, FdFlags::empty()))?;
        let spawned = command.spawn();
        others.iter().try_for_each(|other| fcntl_setfd(&other.socket, FdFlags::CLOEXEC))?;
        self.next = Some(spawned?);
        Ok(())
    }

    /// Lets a service that has become ready take over, and reports those that have ended.
    fn look(&mut self) {
        let mut notice = [0; 64];
        while let Ok(length) = self.notices.recv(&mut notice) {
            if notice[..length].starts_with(b"READY=1")
                && let Some(next) = self.next.take()
                && let Some(mut last) = self.current.replace(next)
                && terminate(&last).is_ok()
            {
                // It still answers what it was asked.
                thread::spawn(move || last.wait());
            }
        }
        for service in [&mut self.next, &mut self.current] {
            if let Some(Ok(Some(status))) = service.as_mut().map(Child::try_wait) {
                eprintln!("micro-smol: the service has ended: {status}; the next change starts it again");
                *service = None;
            }
        }
    }

    /// Ends those that have not been told to, by us or, unless we `must_tell`, by who has told us.
    fn end(self, must_tell: bool) -> io::Result<()> {
        let mut services: Vec<Child> = self.current.into_iter().chain(self.next).collect();
        services.iter().filter(|_| must_tell).try_for_each(terminate)?;
        for _ in 0..PATIENCE_TICKS {
            services.retain_mut(is_running);
            thread::sleep(if services.is_empty() { Duration::ZERO } else { TICK });
        }
        let ended = services.into_iter().try_for_each(stop);
        // It is in the directory for what may be lost.
        let _ = fs::remove_file(&self.notices_path);
        ended
    }
}

fn is_running(service: &mut Child) -> bool {
    matches!(service.try_wait(), Ok(None))
}

fn stop(mut service: Child) -> io::Result<()> {
    if is_running(&mut service) {
        terminate(&service)?;
        service.wait()?;
    }
    Ok(())
}

fn terminate(service: &Child) -> io::Result<()> {
    Ok(kill_process(Pid::from_child(service), rustix::process::Signal::TERM)?)
}
