//! The options that a service and the command `micro-smol` have in common, and [`run`], which serves by them.

mod healthcheck;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::num::NonZero;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_io::Timer;
use lexopt::{Arg, Parser, ValueExt};

use super::handler::{Handler, respond};
use super::into_response::send;
use super::limits::Limits;
use super::log::{MODE, Mode, RequestLog, flush_log, print, print_error};
pub use super::log::{is_coloured, is_elsewhere};
use super::request::Request;
pub use super::server::{BoundListener, Variable, urls};
use super::server::{Endpoint, Sharing, invalid, parse_port, serve};
use healthcheck::parse_target;

/// Named once: `vendor --module` replaces it, as a crate into which this source is copied has a version of its own.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The lines of `--help` for [`Options`].
pub const OPTIONS_HELP: &str = "    -p, --port PORT     port to listen on; 0 picks a free one [env PORT, 3000]
    -H, --host HOST     host to listen on                    [env HOST, 0.0.0.0]
    -l, --listen URI    tcp://host:port, unix:/path, fd:N; instead of -p and -H
        --ready-path PATH   answer it with 200, and with 503 after SIGTERM
        --reuse-port, --drain-delay SECS  share ports; serve on after SIGTERM
    -w, --workers N     worker threads                       [one per core]
        --limit NAME=VALUE  a field of Limits: idle_timeout=620s
    -s, --silent        print nothing but errors
";

/// Serves a handler as the command line says, until SIGINT or SIGTERM: the whole `main` of a service.
///
/// The options are those of `micro-smol` that concern a server; `--help` shows them. The exit code is 0 if it has served
/// until a signal, 1 if it failed, 2 if the options are wrong. Without `-l`, `-p` and `-H` it listens on the sockets that
/// systemd passes (`LISTEN_FDS`), if there are any. It sends `READY=1` and `STOPPING=1` to `NOTIFY_SOCKET`.
///
/// With `--reuse-port` several processes may listen on the same TCP port. With `--ready-path` the server itself answers
/// that path: 200, but 503 from the first signal on. With `--drain-delay` it serves for so many seconds after the signal, so
/// that balancers have time to notice; a second signal ends it at once.
///
/// What follows `--` is the program's own: `run` does not read it.
///
/// With the arguments `healthcheck [URI]` it serves nothing, but asks the service at `tcp://host:port`, `unix:/path` or
/// `http://host:port/path`, by default at `HOST` and `PORT`. The exit code is 0 if the service answers below 500 within 2
/// seconds, else 1.
///
/// # Examples
///
/// ```no_run
/// use micro_smol::Request;
/// use std::process::ExitCode;
///
/// async fn handler(_req: Request) -> &'static str {
///     "Hello, world"
/// }
///
/// fn main() -> ExitCode {
///     micro_smol::run(handler)
/// }
/// ```
pub fn run(handler: impl Handler) -> ExitCode {
    let mut parser = Parser::from_iter(env::args_os().take_while(|arg| arg != "--"));
    let path = PathBuf::from(parser.bin_name().unwrap_or_default());
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let first = parser.try_raw_args().and_then(|mut args| args.next_if(|arg| arg == "healthcheck"));
    let outcome = if first.is_some() { healthcheck(parser) } else { serve_by_options(parser, Box::new(handler)) };
    let usage = format!("Usage: {name} [options]\n       {name} healthcheck [URI]\n\n");
    exit_code(outcome, &format!("{usage}{OPTIONS_HELP}    -h, --help, -V, --version\n"))
}

/// How a command ends. An error of lexopt means that its arguments are wrong, any other that it failed.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Prints how a command ended, and returns its exit code: 0 if it is done, 1 if it failed, 2 if its arguments are wrong.
///
/// It handles the options that no command has: those for help and the version.
pub fn exit_code(outcome: Outcome, help: &str) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let (advice, code) = match error.downcast_ref() {
        None => ("", 1),
        Some(lexopt::Error::UnexpectedOption(option)) if matches!(&**option, "-h" | "--help") => {
            return exit_code(print_text(help), "");
        }
        Some(lexopt::Error::UnexpectedOption(option)) if matches!(&**option, "-v" | "-V" | "--version") => {
            return exit_code(print_text(&format!("micro-smol {VERSION}\n")), "");
        }
        // Our own messages say what would be right.
        Some(lexopt::Error::Custom(_)) => ("", 2),
        Some(_) => ("; --help shows the options", 2),
    };
    print_error(format_args!("{error}{advice}"));
    flush_log();
    ExitCode::from(code)
}

/// Prints text on stdout.
///
/// # Errors
///
/// It cannot be written. A closed pipe is no error: its reader has read enough.
pub fn print_text(text: &str) -> Outcome {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(format!("cannot write to stdout: {error}").into())
        }
        _ => Ok(()),
    }
}

/// Asks the service at the URI, or else where the environment says, how it is.
///
/// # Errors
///
/// The service is not well, or the command line is wrong.
pub fn healthcheck(mut parser: Parser) -> Outcome {
    let mut uri = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(value) if uri.is_none() => uri = Some(value),
            arg => return Err(arg.unexpected().into()),
        }
    }
    let uri = uri.map_or_else(|| Endpoint::tcp(None, None, &[]).map(|endpoint| endpoint.to_string().into()), Ok)?;
    Ok(healthcheck::check(parse_target(&uri.string()?).map_err(|error| lexopt::Error::from(error.to_string()))?)?)
}

fn serve_by_options(parser: Parser, handler: Box<dyn Handler>) -> Outcome {
    let options = Options::parse(parser, &[], |arg| Err(arg.unexpected()))?;
    let is_logged = *MODE == Mode::Development && !options.silent;
    Ok(options.serve(if is_logged { Box::new(logged(handler)) } else { handler })?)
}

/// Logs each request when it has been answered: the local time, its method, its target, the status, the size of the content if it
/// is known, how long that took, and the client's address if that is another machine's.
pub fn logged(handler: Box<dyn Handler>) -> impl Handler {
    let log = RequestLog::new();
    async move |req: Request| {
        let start = Instant::now();
        let (method, path, query) = (req.method(), req.path(), req.query_string());
        let request = format!("{method} {path}{}{}", if query.is_some() { "?" } else { "" }, query.unwrap_or_default());
        let peer = req.peer_addr().map(|peer| peer.ip()).filter(|ip| is_elsewhere(*ip));
        let response = respond(&handler, req).await;
        let size = response.len().map_or(String::new(), |size| format!(" {size} B"));
        let from = peer.map_or(String::new(), |peer| format!(" from {peer}"));
        log.log(&request, response.status().into(), format_args!("{size} in {:.1?}{from}", start.elapsed()));
        response
    }
}

/// The value of an option, which the message names if it is malformed.
fn parsed<T>(option: &str, parser: &mut Parser, parse: impl FnOnce(&str) -> io::Result<T>) -> Result<T, lexopt::Error> {
    let text = parser.value()?.into_string().map_err(|value| format!("{option}: {value:?} is not Unicode"))?;
    parse(&text).map_err(|error| format!("{option}: {error}").into())
}

/// The options that say how to serve.
#[derive(Clone, Debug, Default)]
pub struct Options {
    endpoints: Vec<Endpoint>,
    sharing: Sharing,
    ready_path: Option<String>,
    drain_delay: Option<Duration>,
    workers: Option<NonZero<usize>>,
    limits: Limits,
    /// The limits that were given, as they were given.
    limit_args: Vec<String>,
    /// Whether nothing but errors is to be printed.
    pub silent: bool,
    /// What is for the program itself, from `--` on.
    pub program_args: Vec<OsString>,
}

impl Options {
    /// Reads a command line; what is none of these options is for `other`. The `HOST` and the `PORT` of `variables` are used as if
    /// they were set.
    ///
    /// # Errors
    ///
    /// A value is missing or malformed, `-l` stands beside `-p` or `-H`, or `PORT` is not a port number.
    pub fn parse(
        mut parser: Parser,
        variables: &[Variable],
        mut other: impl FnMut(Arg<'_>) -> Result<(), lexopt::Error>,
    ) -> Outcome<Self> {
        let (mut options, mut host, mut port) = (Options::default(), None, None);
        while let Some(arg) = parser.next()? {
            let of = match arg {
                Arg::Short(letter) => format!("-{letter}"),
                Arg::Long(word) => format!("--{word}"),
                Arg::Value(_) => String::new(),
            };
            match arg {
                Arg::Short('p') | Arg::Long("port") => port = Some(parsed(&of, &mut parser, parse_port)?),
                Arg::Short('H') | Arg::Long("host") => host = Some(parsed(&of, &mut parser, parse_host)?),
                Arg::Short('l') | Arg::Long("listen") => options.endpoints.push(parsed(&of, &mut parser, str::parse)?),
                Arg::Long("reuse-port") => options.sharing = Sharing::Shared,
                Arg::Long("ready-path") => options.ready_path = Some(parsed(&of, &mut parser, parse_path)?),
                Arg::Long("drain-delay") => options.drain_delay = Some(parsed(&of, &mut parser, parse_delay)?),
                Arg::Short('w') | Arg::Long("workers") => {
                    options.workers = Some(parsed(&of, &mut parser, parse_workers)?)
                }
                Arg::Long("limit") => parsed(&of, &mut parser, |text| options.set_limit(text))?,
                Arg::Short('s') | Arg::Long("silent") => options.silent = true,
                arg => other(arg)?,
            }
        }
        let is_given = host.is_some() || port.is_some();
        if is_given && !options.endpoints.is_empty() {
            return Err(lexopt::Error::from("give -l, or -p and -H").into());
        }
        let is_set = |(name, value): &Variable| matches!(&**name, "HOST" | "PORT") && !value.is_empty();
        if is_given || options.endpoints.is_empty() && variables.iter().any(is_set) {
            options.endpoints.push(Endpoint::tcp(host, port, variables)?);
        }
        Ok(options)
    }

    fn set_limit(&mut self, text: &str) -> io::Result<()> {
        let limit = text.split_once('=').ok_or_else(|| invalid(format!("{text:?} is not a limit: give NAME=VALUE")));
        limit.and_then(|(name, value)| self.limits.set(name, value).map_err(invalid))?;
        self.limit_args.push(text.to_owned());
        Ok(())
    }

    /// The options as arguments, for another process.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        let mut push = |name: &str, value: String| args.extend([name.into(), value.into()]);
        self.endpoints.iter().for_each(|endpoint| push("--listen", endpoint.to_string()));
        self.ready_path.iter().for_each(|path| push("--ready-path", path.clone()));
        self.drain_delay.iter().for_each(|delay| push("--drain-delay", delay.as_secs_f64().to_string()));
        self.workers.iter().for_each(|workers| push("--workers", workers.to_string()));
        self.limit_args.iter().for_each(|limit| push("--limit", limit.clone()));
        args.extend((self.sharing == Sharing::Shared).then(|| "--reuse-port".into()));
        args.extend(self.silent.then(|| "--silent".into()));
        args.extend(self.program_args.clone());
        args
    }

    /// Where to listen, with what the environment says.
    ///
    /// # Errors
    ///
    /// `PORT` is not a port number.
    pub fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        if self.endpoints.is_empty() { Endpoint::defaults() } else { Ok(self.endpoints.clone()) }
    }

    /// Opens the sockets of the endpoints.
    ///
    /// # Errors
    ///
    /// `PORT` is not a port number, or an endpoint cannot be opened.
    pub fn bind(&self) -> io::Result<Vec<BoundListener>> {
        BoundListener::bind_all(&self.endpoints()?, self.sharing)
    }

    /// Checks that the endpoints can be opened, then closes them. It skips inherited sockets, which can be taken only once, and
    /// shared ports, where another process would miss connections.
    ///
    /// # Errors
    ///
    /// Those of [`bind`](Self::bind).
    pub fn probe(&self) -> io::Result<()> {
        let mut endpoints = self.endpoints()?;
        let is_shared = self.sharing == Sharing::Shared;
        endpoints.retain(|endpoint| !is_shared && !matches!(endpoint, Endpoint::Descriptor(_)));
        BoundListener::bind_all(&endpoints, self.sharing).map(drop)
    }

    /// The same options for a process that inherits sockets by their numbers. Where it could not take them, the first is to be its
    /// standard input, and is returned.
    pub fn inherited<'a>(&self, sockets: &'a [BoundListener]) -> (Self, Option<&'a OwnedFd>) {
        let stdin = sockets.first().filter(|first| !first.has_number()).map(|first| &first.socket);
        let number = |(index, bound): (usize, &BoundListener)| match (index, stdin) {
            (0, Some(_)) => 0,
            _ => bound.socket.as_raw_fd(),
        };
        let endpoints = sockets.iter().enumerate().map(number).map(Endpoint::Descriptor).collect();
        (Options { endpoints, ..self.clone() }, stdin)
    }

    /// Says where it listens, unless it is to be silent.
    pub fn announce(&self, urls: &[String]) {
        urls.iter().filter(|_| !self.silent).for_each(|url| print(format_args!("Accepting connections on {url}")));
    }

    fn serve(self, handler: Box<dyn Handler>) -> io::Result<()> {
        let is_stopping = Arc::new(AtomicBool::new(false));
        let bound = self.bind()?;
        let server = match &self.ready_path {
            Some(path) => serve(with_ready_path(handler, path.clone(), is_stopping.clone())),
            None => serve(handler),
        };
        let server = server.with_bound(bound).limits(self.limits.clone());
        let server = self.workers.iter().fold(server, |server, workers| server.workers(workers.get()));
        // In development, the process that opened the sockets has printed where they are: `--dev` starts one service after the
        // other.
        let was_announced = *MODE == Mode::Development && matches!(self.endpoints[..], [Endpoint::Descriptor(_), ..]);
        let on_ready = |urls: &[String]| {
            if !was_announced {
                self.announce(urls)
            }
        };
        server.run_with(on_ready, async {
            is_stopping.store(true, Ordering::Relaxed);
            Timer::after(self.drain_delay.unwrap_or_default()).await;
        })
    }
}

/// Answers a path in place of the handler: whether more requests are welcome.
fn with_ready_path(handler: Box<dyn Handler>, path: String, is_stopping: Arc<AtomicBool>) -> impl Handler {
    async move |req: Request| match req.path() == path {
        false => handler.call(req).await,
        true if is_stopping.load(Ordering::Relaxed) => send(503, "Stopping"),
        true => send(200, "Ready"),
    }
}

fn parse_host(text: &str) -> io::Result<String> {
    Endpoint::tcp(Some(text.to_owned()), Some(0), &[]).map(|_| text.to_owned())
}

fn parse_workers(text: &str) -> io::Result<NonZero<usize>> {
    text.parse().map_err(|_| invalid(format!("{text:?} is not a number of threads: give one from 1 on")))
}

fn parse_path(text: &str) -> io::Result<String> {
    let path = text.starts_with('/').then(|| text.to_owned());
    path.ok_or_else(|| invalid(format!("{text:?} is not a path: it begins with /")))
}

fn parse_delay(text: &str) -> io::Result<Duration> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| invalid(format!("{text:?} is not a time: give a number of seconds")))
}
