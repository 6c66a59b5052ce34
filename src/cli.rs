//! The options that a service and the command `micro-smol` have in common, and [`run`], which obeys them.

use std::ffi::OsString;
use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::process::ExitCode;

use lexopt::{Arg, Parser, ValueExt};

use super::endpoint::{Endpoint, parse_port};
use super::handler::Handler;
use super::server::serve;

/// The lines of `--help` for [`Options`].
pub const OPTIONS_HELP: &str = "    -p, --port PORT     port to listen on; 0 picks a free one [env PORT, 3000]
    -H, --host HOST     host to listen on                    [env HOST, 0.0.0.0]
    -l, --listen URI    tcp://host:port, unix:/path, fd:0; may be repeated;
                        replaces -p and -H
    -w, --workers N     worker threads                       [one per core]
    -s, --silent        print nothing but errors
";

/// Serves a handler as the command line says, until SIGINT or SIGTERM: the whole `main` of a service.
///
/// The options are those of `micro-smol` that concern a server: `-p`, `-H`, `-l`, `-w`, `-s`, `-h` and `-v`. The exit
/// code is 0 when done, 1 if it failed, 2 if it was used wrongly.
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
    let parsed = match parse(Parser::from_env()) {
        Ok(Command::Serve(options)) => options,
        Ok(Command::Help(name)) => {
            print!("Usage: {name} [options]\n\n{OPTIONS_HELP}    -h, --help   -v, --version\n");
            return ExitCode::SUCCESS;
        }
        Ok(Command::Version) => {
            println!("micro-smol {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("micro-smol: {error}; --help shows the options");
            return ExitCode::from(2);
        }
    };
    match parsed.serve(handler) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("micro-smol: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a service was started for.
#[derive(Debug)]
enum Command {
    Serve(Options),
    Help(String),
    Version,
}

fn parse(mut parser: Parser) -> Result<Command, lexopt::Error> {
    let mut options = Options::default();
    let path = PathBuf::from(parser.bin_name().unwrap_or_default());
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => return Ok(Command::Help(name)),
            Arg::Short('v') | Arg::Long("version") => return Ok(Command::Version),
            _ => match OptionName::of(&arg) {
                Some(name) => options.set(name, &mut parser)?,
                None => return Err(arg.unexpected()),
            },
        }
    }
    Ok(Command::Serve(options))
}

/// The options that say how to serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    port: Option<u16>,
    host: Option<String>,
    endpoints: Vec<Endpoint>,
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
            OptionName::Port => self.port = Some(parser.value()?.parse_with(parse_port)?),
            OptionName::Host => self.host = Some(parser.value()?.string()?),
            OptionName::Listen => self.endpoints.push(parser.value()?.parse()?),
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
        self.workers.iter().for_each(|workers| push("--workers", workers.to_string()));
        args.extend(self.silent.then(|| "--silent".into()));
        args
    }

    fn serve(self, handler: impl Handler) -> io::Result<()> {
        let mut server = serve(handler);
        for endpoint in self.endpoints()? {
            server = server.bind(&endpoint)?;
        }
        if let Some(workers) = self.workers {
            server = server.workers(workers.get());
        }
        if !self.silent {
            for url in server.urls() {
                // Nobody need be there to read it.
                let _ = writeln!(io::stdout(), "micro-smol: Accepting connections on {url}");
            }
        }
        server.run()
    }

    /// Where to listen, with what the environment says.
    ///
    /// # Errors
    ///
    /// `PORT` is not a port number.
    pub fn endpoints(&self) -> io::Result<Vec<Endpoint>> {
        match self.endpoints.as_slice() {
            [] => Endpoint::tcp(self.host.clone(), self.port).map(|endpoint| vec![endpoint]),
            endpoints => Ok(endpoints.to_vec()),
        }
    }
}
