//! The command `micro-smol`: has cargo compile one file or package, and becomes the service.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod build;
mod cache;
mod entry;
mod package;
mod source;
mod vendor;

use std::convert::Infallible;
use std::env;
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use lexopt::{Arg, Parser};
use micro_smol::cli::{OPTIONS_HELP, OptionName, Options};

use entry::Entry;

const USAGE: &str = "\
Usage: micro-smol [options] [FILE.rs | DIRECTORY]

Compiles and serves a file or package that exports a handler; by default the
package in this directory, else ./index.rs.

";

const MORE_OPTIONS_HELP: &str = "        --debug, --offline, --locked                         handed to cargo
    -h, --help   -v, --version
";

fn main() -> ExitCode {
    if let Some(path_map) = env::var_os(build::PATH_MAP) {
        return failure(&build::rustc(&path_map));
    }
    match parse(Parser::from_env()) {
        Ok(Some(arguments)) => {
            let Err(error) = serve(&arguments);
            failure(&error)
        }
        Ok(None) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("micro-smol: {error}; --help shows the options");
            ExitCode::from(2)
        }
    }
}

fn failure(error: &str) -> ExitCode {
    eprintln!("micro-smol: {error}");
    ExitCode::FAILURE
}

#[derive(Default)]
struct Arguments {
    entry: Option<PathBuf>,
    options: Options,
    /// Options of `cargo build`.
    cargo: Vec<String>,
}

/// Reads the command line, or answers it if it asks for help or the version.
fn parse(mut parser: Parser) -> Result<Option<Arguments>, lexopt::Error> {
    let mut arguments = Arguments::default();
    let mut profile = "release";
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('h') | Arg::Long("help") => {
                print!("{USAGE}{OPTIONS_HELP}{MORE_OPTIONS_HELP}");
                return Ok(None);
            }
            Arg::Short('v') | Arg::Long("version") => {
                println!("micro-smol {}", env!("CARGO_PKG_VERSION"));
                return Ok(None);
            }
            Arg::Long("debug") => profile = "dev",
            Arg::Long(name @ ("offline" | "locked")) => arguments.cargo.push(format!("--{name}")),
            Arg::Value(path) if arguments.entry.is_none() => arguments.entry = Some(path.into()),
            _ => match OptionName::of(&arg) {
                Some(name) => arguments.options.set(name, &mut parser)?,
                None => return Err(arg.unexpected()),
            },
        }
    }
    arguments.cargo.push(format!("--profile={profile}"));
    if arguments.options.is_silent() || !io::stderr().is_terminal() {
        arguments.cargo.push("--quiet".to_owned());
    }
    Ok(Some(arguments))
}

/// Returns only if it failed: else this process has become the service, so that signals arrive where they should.
fn serve(arguments: &Arguments) -> Result<Infallible, String> {
    arguments.options.endpoints().map_err(|error| error.to_string())?;
    let entry = Entry::find(arguments.entry.as_deref())?;
    let program = build::build(&entry, &arguments.cargo)?;
    let error = Command::new(&program).args(arguments.options.to_args()).exec();
    Err(format!("cannot start {}: {error}", program.display()))
}
