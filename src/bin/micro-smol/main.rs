//! The command `micro-smol`: has cargo compile one file or package, and becomes the service.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod arguments;
mod build;
mod cache;
mod cargo;
mod eject;
mod entry;
mod fingerprint;
mod package;
mod frontmatter;
mod pages;
mod terminal;
mod vendor;
mod watch;

use std::env;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use lexopt::{Arg, Parser};
use micro_smol::cli::{OPTIONS_HELP, Options, Outcome, exit_code, healthcheck};

use arguments::Arguments;
use build::BuildRequest;

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

/// What makes an executable small, at the price of a longer build.
const SMALL: [&str; 3] = ["lto=true", "codegen-units=1", "strip=true"];

fn main() -> ExitCode {
    exit_code(run(Parser::from_env()), &format!("{HELP}{OPTIONS_HELP}{MORE_OPTIONS_HELP}"))
}

/// Obeys the command line, whose first argument may name a command.
fn run(mut parser: Parser) -> Outcome {
    let first = env::args_os().nth(1).unwrap_or_default();
    let command: fn(Parser) -> Outcome = match first.to_str() {
        Some("build") => build,
        Some("cache") => cache,
        Some("healthcheck") => healthcheck,
        Some("completions") => |parser| pages::print(parser, pages::COMPLETIONS),
        Some("eject") => eject::eject,
        Some("explain") => |parser| pages::print(parser, pages::PAGES),
        Some("vendor") => vendor::vendor,
        _ => return serve(parser),
    };
    parser.next()?;
    command(parser)
}

/// Returns when it has failed or watched: else this process has become the service, so that signals arrive where they should.
fn serve(parser: Parser) -> Outcome {
    let mut arguments = Arguments::new(1, &["dev", "debug", "offline", "locked"]);
    let options = Options::parse(parser, |arg| match arg {
        Arg::Short('d') => arguments.take(Arg::Long("dev")),
        arg => arguments.take(arg),
    })?;
    options.endpoints()?;
    let mut request = BuildRequest::new(&arguments)?;
    request.is_silent = options.silent;
    if arguments.has("--dev") {
        return Ok(watch::watch(&request, &options)?);
    }
    let (program, _) = request.build()?;
    let error = Command::new(&program).args(options.to_args()).exec();
    Err(format!("cannot start {}: {error}", program.display()).into())
}

/// `build [options] [--static] [ENTRY] -o FILE`
fn build(mut parser: Parser) -> Outcome {
    let mut arguments = Arguments::new(1, &["debug", "offline", "locked", "silent", "static"]);
    let mut output = None;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Short('o') | Arg::Long("output") => output = Some(PathBuf::from(parser.value()?)),
            Arg::Short('s') => arguments.take(Arg::Long("silent"))?,
            arg => arguments.take(arg)?,
        }
    }
    let output = output.ok_or_else(|| lexopt::Error::from("say where to put the executable: -o FILE"))?;
    let mut request = BuildRequest::new(&arguments)?;
    request.cargo.extend(SMALL.map(|setting| format!("--config=profile.release.{setting}")));
    let (program, _) = request.build()?;
    // By way of another file: one that is running cannot be written to.
    let unfinished = PathBuf::from(format!("{}.unfinished", output.display()));
    let copied = fs::copy(&program, &unfinished).and_then(|_| fs::rename(&unfinished, &output));
    copied.map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    terminal::print(&format!("{}: {}\n", output.display(), cache::size(&output)));
    Ok(())
}

/// `cache [clear]`
fn cache(parser: Parser) -> Outcome {
    match Arguments::new(1, &[]).read(parser)?.values.pop() {
        None => {}
        Some(command) if command.as_os_str() == "clear" => cache::clear()?,
        Some(other) => return Err(lexopt::Error::UnexpectedArgument(other.into()).into()),
    }
    let directory = cache::directory();
    terminal::print(&format!("{}: {}\n", directory.display(), cache::size(&directory)));
    Ok(())
}
