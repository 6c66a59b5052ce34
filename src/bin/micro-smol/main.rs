//! The command `micro-smol`: has cargo compile one file or package, and becomes the service.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arguments;
mod build;
mod cache;
mod eject;
mod entry;
mod package;
mod source;
mod texts;
mod vendor;

use std::convert::Infallible;
use std::env;
use std::io::{self, IsTerminal};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use lexopt::{Arg, Parser};
use micro_smol::cli::{Exit, OPTIONS_HELP, OptionName, Options, healthcheck, report};

use entry::Entry;

const HELP: &str = "\
Usage: micro-smol [options] [FILE.rs | DIRECTORY]

Serves a file, or the package or index.rs of a directory; by default, this one.

    build [options] [--static] [ENTRY] -o FILE    compile it to one executable
    eject [options] ENTRY DIRECTORY               turn a file into a package
    vendor [--module] [--force] DIRECTORY         copy this crate's source there
    healthcheck [URI]                             exit 0 if it answers below 500
    cache [clear]                                 say where it is; empty it
    completions bash|zsh|fish                     complete all this in a shell
    explain [NAME]                                say more about a message

";

const MORE_OPTIONS_HELP: &str = "    -d, --dev           rebuild and restart on change, log requests, show errors
        --debug, --offline, --locked                         handed to cargo
    -h, --help, -v, --version
";

fn main() -> ExitCode {
    let outcome = match env::var_os(build::PATH_MAP) {
        Some(path_map) => Err(build::rustc(&path_map).into()),
        None => run(Parser::from_env()),
    };
    report(outcome, &format!("{HELP}{OPTIONS_HELP}{MORE_OPTIONS_HELP}"))
}

/// Obeys the command line, whose first argument may name a command.
fn run(parser: Parser) -> Result<(), Exit> {
    match env::args().nth(1).as_deref() {
        Some("healthcheck") => healthcheck(parser),
        Some("completions") => texts::print(parser, texts::COMPLETIONS),
        Some("eject") => eject::eject(parser),
        Some("explain") if env::args().len() == 2 => texts::print_names(texts::PAGES),
        Some("explain") => texts::print(parser, texts::PAGES),
        Some("vendor") => vendor::vendor(parser),
        _ => serve(&parse(parser)?).map(|never| match never {}),
    }
}

#[derive(Default)]
struct Arguments {
    entry: Option<PathBuf>,
    options: Options,
    /// Options of `cargo build`.
    cargo: Vec<String>,
}

fn parse(mut parser: Parser) -> Result<Arguments, Exit> {
    let mut arguments = Arguments::default();
    let mut profile = "release";
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Long("debug") => profile = "dev",
            Arg::Long(name @ ("offline" | "locked")) => arguments.cargo.push(format!("--{name}")),
            Arg::Value(path) if arguments.entry.is_none() => arguments.entry = Some(path.into()),
            _ => match OptionName::of(&arg) {
                Some(name) => arguments.options.set(name, &mut parser)?,
                None => return Err(Exit::of(arg)),
            },
        }
    }
    arguments.cargo.push(format!("--profile={profile}"));
    if arguments.options.is_silent() || !io::stderr().is_terminal() {
        arguments.cargo.push("--quiet".to_owned());
    }
    Ok(arguments)
}

/// Returns only if it failed: else this process has become the service, so that signals arrive where they should.
fn serve(arguments: &Arguments) -> Result<Infallible, Exit> {
    arguments.options.endpoints()?;
    let entry = Entry::find(arguments.entry.as_deref())?;
    let program = build::build(&entry, &arguments.cargo)?;
    let error = Command::new(&program).args(arguments.options.to_args()).exec();
    Err(format!("cannot start {}: {error}", program.display()).into())
}
