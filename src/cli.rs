//! The options that a service and the command `micro-smol` have in common, and [`run`], which obeys them.

use std::env;
use std::ffi::OsString;
use std::io::{self, Write};
use std::num::NonZero;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lexopt::{Arg, Parser, ValueExt};

pub use super::endpoint::Bound;
use super::endpoint::{Endpoint, Sharing, invalid, parse_port};
use super::error::{MODE, Mode, log};
use super::handler::{Handler, respond};
use super::healthcheck::Target;
use super::request::Request;
use super::server::{Server, serve};

/// Named here, and once, because a crate into which this source is copied has a version of its own.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The lines of `--help` for [`Options`].
pub const OPTIONS_HELP: &str = "    -p, --port PORT     port to listen on; 0 picks a free one [env PORT, 3000]
    -H, --host HOST     host to listen on                    [env HOST, 0.0.0.0]
    -l, --listen URI    tcp://host:port, unix:/path, fd:N; may be repeated;
                        replaces -p and -H
        --reuse-port    share TCP ports with other processes that do
        --ready-path PATH   answer it with 200, and with 503 after SIGTERM
        --drain-delay SECS  after SIGTERM, serve on for so long [0]
    -w, --workers N     worker threads                       [one per core]
    -s, --silent        print nothing but errors
";

/// Serves a handler as the command line says, until SIGINT or SIGTERM: the whole `main` of a service.
///
/// The options are those of `micro-smol` that concern a server; `--help` shows them. The exit code is 0 when done, 1 if it
/// failed, 2 if it was used wrongly. Without `-l`, `-p` and `-H` the sockets that systemd hands over (`LISTEN_FDS`) are
/// used, if there are any. Whom `NOTIFY_SOCKET` names hears `READY=1` and `STOPPING=1`.
///
/// With `--reuse-port` several processes may listen on the same TCP port. With `--ready-path` the server itself answers
/// that path, in the handler's stead: 200, but 503 from the first signal on. With `--drain-delay` it goes on for so many
/// seconds after the signal, so that balancers have time to see that; a second signal ends it at once.
///
/// With the arguments `healthcheck [URI]` it serves nothing but asks the service at `tcp://host:port`, `unix:/path` or
/// `http://host:port/path`, by default where `HOST` and `PORT` say: 0 if it answers below 500 within 2 seconds, else 1.
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
    let parser = Parser::from_env();
    let path = PathBuf::from(parser.bin_name().unwrap_or_default());
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let is_healthcheck = env::args_os().nth(1).is_some_and(|argument| argument == "healthcheck");
    let outcome = if is_healthcheck { healthcheck(parser) } else { serve_as_told(parser, handler) };
    let more_help = "    -h, --help, -v, --version\n";
    report(outcome, &format!("Usage: {name} [options]\n       {name} healthcheck [URI]\n\n{OPTIONS_HELP}{more_help}"))
}

/// What ends a command before it is done, or instead.
#[derive(Debug)]
pub enum Exit {
    /// It was asked for help.
    Help,
    /// It was asked for the version.
    Version,
    /// It was used wrongly.
    Misuse(lexopt::Error),
    /// It failed.
    Failure(String),
}

impl Exit {
    /// What an argument means that is none of a command's own.
    pub fn of(arg: Arg<'_>) -> Self {
        match arg {
            Arg::Short('h') | Arg::Long("help") => Exit::Help,
            Arg::Short('v') | Arg::Long("version") => Exit::Version,
            _ => Exit::Misuse(arg.unexpected()),
        }
    }
}

impl From<lexopt::Error> for Exit {
    fn from(error: lexopt::Error) -> Self {
        Exit::Misuse(error)
    }
}

impl From<io::Error> for Exit {
    fn from(error: io::Error) -> Self {
        Exit::Failure(error.to_string())
    }
}

impl From<String> for Exit {
    fn from(error: String) -> Self {
        Exit::Failure(error)
    }
}

/// Tells the user how a command ended: 0 if it did what it was asked, 1 if it failed, 2 if it was used wrongly.
pub fn report(outcome: Result<(), Exit>, help: &str) -> ExitCode {
    match outcome {
        Ok(()) => {}
        Err(Exit::Help) => print!("{help}"),
        Err(Exit::Version) => println!("micro-smol {VERSION}"),
        Err(Exit::Misuse(error)) => {
            // Our own messages say what would be right.
            let advice = if matches!(error, lexopt::Error::Custom(_)) { "" } else { "; --help shows the options" };
            eprintln!("micro-smol: {error}{advice}");
            return ExitCode::from(2);
        }
        Err(Exit::Failure(error)) => {
            eprintln!("micro-smol: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Asks the service at the URI, or else where the environment says, how it is.
///
/// # Errors
///
/// The service is not well, or the command line is wrong.
pub fn healthcheck(mut parser: Parser) -> Result<(), Exit> {
    let mut target = None;
    // The first is the command itself.
    parser.next()?;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(uri) if target.is_none() => target = Some(parsed(uri, str::parse::<Target>)?),
            arg => return Err(Exit::of(arg)),
        }
    }
    let target = target.map_or_else(|| Endpoint::tcp(None, None).map(Target::from), Ok)?;
    Ok(target.check()?)
}

fn serve_as_told(mut parser: Parser, handler: impl Handler) -> Result<(), Exit> {
    let mut options = Options::default();
    while let Some(arg) = parser.next()? {
        match OptionName::of(&arg) {
            Some(name) => options.set(name, &mut parser)?,
            None => return Err(Exit::of(arg)),
        }
    }
    // A release build has no second server in it.
    let is_logged = cfg!(debug_assertions) && *MODE == Mode::Development && !options.silent;
    Ok(if is_logged { options.serve(logged(handler)) } else { options.serve(handler) }?)
}

/// Logs each request when it has been answered: its method, its target, the status and how long that took.
fn logged(handler: impl Handler) -> impl Handler {
    async move |req: Request| {
        let start = Instant::now();
        let (method, path, query) = (req.method(), req.path(), req.query_string());
        let line = format!("{method} {path}{}{}", if query.is_some() { "?" } else { "" }, query.unwrap_or_default());
        let response = respond(&handler, req).await;
        log(format_args!("{line} {} in {:.1?}", u16::from(response.status()), start.elapsed()));
        response
    }
}

/// A value of the command line; if it is malformed, the message is enough.
fn parsed<T>(value: OsString, parse: impl Fn(&str) -> io::Result<T>) -> Result<T, lexopt::Error> {
    parse(&value.string()?).map_err(|error| error.to_string().into())
}

/// The options that say how to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    port: Option<u16>,
    host: Option<String>,
    endpoints: Vec<Endpoint>,
    sharing: Sharing,
    ready_path: Option<String>,
    drain_delay: Option<Duration>,
    workers: Option<NonZero<usize>>,
    silent: bool,
}

/// The name of one of the [`Options`].
#[derive(Clone, Copy, Debug)]
pub enum OptionName {
    /// `-p`, `--port`
    Port,
    /// `-H`, `--host`
    Host,
    /// `-l`, `--listen`
    Listen,
    /// `--reuse-port`
    ReusePort,
    /// `--ready-path`
    ReadyPath,
    /// `--drain-delay`
    DrainDelay,
    /// `-w`, `--workers`
    Workers,
    /// `-s`, `--silent`
    Silent,
}

impl OptionName {
    /// Recognises an argument.
    pub fn of(arg: &Arg<'_>) -> Option<Self> {
        match arg {
            Arg::Short('p') | Arg::Long("port") => Some(OptionName::Port),
            Arg::Short('H') | Arg::Long("host") => Some(OptionName::Host),
            Arg::Short('l') | Arg::Long("listen") => Some(OptionName::Listen),
            Arg::Long("reuse-port") => Some(OptionName::ReusePort),
            Arg::Long("ready-path") => Some(OptionName::ReadyPath),
            Arg::Long("drain-delay") => Some(OptionName::DrainDelay),
            Arg::Short('w') | Arg::Long("workers") => Some(OptionName::Workers),
            Arg::Short('s') | Arg::Long("silent") => Some(OptionName::Silent),
            _ => None,
        }
    }
}

impl Options {
    /// Takes an option's value off the command line.
    ///
    /// # Errors
    ///
    /// The value is missing or malformed.
    pub fn set(&mut self, name: OptionName, parser: &mut Parser) -> Result<(), lexopt::Error> {
        match name {
            OptionName::Port => self.port = Some(parsed(parser.value()?, parse_port)?),
            OptionName::Host => self.host = Some(parser.value()?.string()?),
            OptionName::Listen => self.endpoints.push(parsed(parser.value()?, str::parse)?),
            OptionName::ReusePort => self.sharing = Sharing::Shared,
            OptionName::ReadyPath => self.ready_path = Some(parsed(parser.value()?, parse_path)?),
            OptionName::DrainDelay => self.drain_delay = Some(parsed(parser.value()?, parse_delay)?),
            OptionName::Workers => self.workers = Some(parser.value()?.parse()?),
            OptionName::Silent => self.silent = true,
        }
        Ok(())
    }

    /// Whether nothing but errors is to be printed.
    pub fn is_silent(&self) -> bool {
        self.silent
    }

    /// The arguments that say the same.
    pub fn to_args(&self) -> Vec<OsString> {
        let mut args = Vec::new();
        let mut push = |name: &str, value: String| args.extend([name.into(), value.into()]);
        self.port.iter().for_each(|port| push("--port", port.to_string()));
        self.host.iter().for_each(|host| push("--host", host.clone()));
        self.endpoints.iter().for_each(|endpoint| push("--listen", endpoint.to_string()));
        self.ready_path.iter().for_each(|path| push("--ready-path", path.clone()));
        self.drain_delay.iter().for_each(|delay| push("--drain-delay", delay.as_secs_f64().to_string()));
        self.workers.iter().for_each(|workers| push("--workers", workers.to_string()));
        args.extend((self.sharing == Sharing::Shared).then(|| "--reuse-port".into()));
        args.extend(self.silent.then(|| "--silent".into()));
        args
    }

    /// Opens the sockets of the endpoints.
    ///
    /// # Errors
    ///
    /// `PORT` is not a port number, or an endpoint cannot be opened.
    pub fn bind(&self) -> io::Result<Vec<Bound>> {
        let endpoints = self.endpoints()?;
        let bound = endpoints.iter().map(|endpoint| endpoint.bind(self.sharing)).collect::<io::Result<Vec<_>>>()?;
        Ok(bound.into_iter().flatten().collect())
    }

    /// The same options for a process that inherits sockets: the first as its standard input, others by their numbers.
    pub fn inherited(&self, sockets: &[Bound]) -> Self {
        let number = |(index, bound): (usize, &Bound)| if index == 0 { 0 } else { bound.socket.as_raw_fd() };
        let endpoints = sockets.iter().enumerate().map(number).map(Endpoint::Descriptor).collect();
        Options { port: None, host: None, endpoints, ..self.clone() }
    }

    fn serve(self, handler: impl Handler) -> io::Result<()> {
        let server = Server {
            bound: self.bind()?,
            workers: self.workers.map(NonZero::get),
            ready_path: self.ready_path,
            drain_delay: self.drain_delay.unwrap_or_default(),
            ..serve(handler)
        };
        server.run_and_say(|urls| {
            for url in urls.iter().filter(|_| !self.silent) {
                // Nobody need be there to read it.
                let _ = writeln!(io::stdout(), "micro-smol: Accepting connections on {url}");
            }
        })
    }

    /// Where to listen, with what the environment says.
    ///
    /// # Errors
    ///
    /// `PORT` is not a port number.
    pub fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        match (self.endpoints.as_slice(), &self.host, self.port) {
            ([], None, None) => Endpoint::defaults(),
            ([], ..) => Ok(vec![Endpoint::tcp(self.host.clone(), self.port)?]),
            (endpoints, ..) => Ok(endpoints.to_vec()),
        }
    }
}

fn parse_path(text: &str) -> io::Result<String> {
    let path = text.starts_with('/').then(|| text.to_owned());
    path.ok_or_else(|| invalid(format!("{text:?} is not a path: it begins with /")))
}

fn parse_delay(text: &str) -> io::Result<Duration> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| invalid(format!("{text:?} is not a time: give a number of seconds")))
}
