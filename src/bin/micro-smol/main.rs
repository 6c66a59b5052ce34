//! The command `micro-smol`: has cargo compile one file or package, and becomes the service.
#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr)]

mod terminal;
mod arguments;
mod pages;
mod env_file;
mod cache;
mod cargo;
mod fingerprint;
mod frontmatter;
mod manifest;
mod vendor;
mod entry;
mod package;
mod build;
mod services;
mod absence;
mod watch;
mod eject;
mod editor;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, ExitCode};
use std::slice;

use lexopt::{Arg, Parser};
use micro_smol::cli::{OPTIONS_HELP, Options, Outcome, exit_code, healthcheck, print_text};

use arguments::{Arguments, nearest};
use build::BuildRequest;

const HELP: &str = "\
Usage: micro-smol [options] [FILE.rs | DIRECTORY] [-- ARGS]; or a command:
    build [options] [--static] [ENTRY] [-o FILE]  compile it to one executable
    check [--offline] [--locked] [--json] [FILE]  only say whether it compiles
    test [--offline] [--locked] FILE [-- ARGS]    run the tests that it has
    editor [--offline] [--locked] FILE            describe it to rust-analyzer
    eject [options] [--force] ENTRY DIRECTORY     turn a file into a package
    vendor [--module] [--force] DIRECTORY         copy this crate's source there
    healthcheck [URI]                             exit 0 if it answers below 500
    cache [clear]                                 list what is in it; empty it
    completions bash|zsh|fish                     complete all this in a shell
    explain [NAME]                                say more about a message

";

const MORE_OPTIONS_HELP: &str = "    -d, --dev           rebuild and restart on change, log requests, show errors
        --env-file FILE     set the variables in it that are not set
        --debug, --offline, --locked                         handed to cargo
    -h, --help, -V, --version                  behind a command: what that does
";

/// Runs a command with the arguments after its name.
type Command = fn(Parser) -> Outcome;

/// All commands; without one, an entry is served.
const COMMANDS: [(&str, Command); 10] = [
    ("build", build),
    ("cache", cache),
    ("check", check),
    ("completions", |parser| pages::print(parser, pages::COMPLETIONS)),
    ("editor", editor::editor),
    ("eject", eject::eject),
    ("explain", |parser| pages::print(parser, pages::PAGES)),
    ("healthcheck", healthcheck),
    ("test", test),
    ("vendor", vendor::vendor),
];

/// Options that may also stand before a command, as they have no value that could be mistaken for one.
const FLAGS: [&str; 8] = ["--debug", "--offline", "--locked", "--silent", "-s", "--static", "--module", "--force"];

/// What makes an executable small, at the price of a longer build.
const SMALL: [&str; 3] = ["lto=true", "codegen-units=1", "strip=true"];

fn main() -> ExitCode {
    let mut args: Vec<OsString> = env::args_os().take_while(|arg| arg != "--").collect();
    if args.get(1).is_some_and(|arg| arg == "help") {
        args.remove(1);
        args.push("--help".into());
    }
    let place = 1 + args.iter().skip(1).take_while(|arg| FLAGS.iter().any(|flag| arg == flag)).count();
    let command = args.get(place).and_then(|arg| COMMANDS.iter().find(|(name, _)| arg == name));
    let Some((name, command)) = command else {
        let help = format!("{HELP}{OPTIONS_HELP}{MORE_OPTIONS_HELP}");
        let outcome = match args.get(place).and_then(|arg| arg.to_str()).and_then(not_a_command) {
            Some(message) => Err(lexopt::Error::from(message).into()),
            None => serve(args),
        };
        return exit_code(with_suggestion(outcome, &help), &help);
    };
    args.remove(place);
    let outcome = match program_args().next() {
        Some(arg) if *name != "test" => Err(lexopt::Error::UnexpectedArgument(arg).into()),
        _ => command(Parser::from_iter(args)),
    };
    let help = pages::manual(name);
    exit_code(with_suggestion(outcome, &help), &help)
}

/// What is wrong with a word that looks like a command, if it is neither one nor a file.
fn not_a_command(word: &str) -> Option<String> {
    if !word.chars().all(char::is_alphabetic) || Path::new(word).exists() {
        return None;
    }
    let file = format!("{word}.rs");
    let advice = match nearest(word, COMMANDS.iter().map(|(name, _)| *name)) {
        _ if Path::new(&file).exists() => format!("did you mean {file}?"),
        Some(near) => format!("did you mean {near}?"),
        None => "`micro-smol FILE.rs` serves a file".to_owned(),
    };
    Some(format!("there is no command or file {word:?}: {advice}"))
}

/// What belongs to the program itself, behind `--`.
fn program_args() -> impl Iterator<Item = OsString> {
    env::args_os().skip_while(|arg| arg != "--")
}

/// Says of an option that is not in the help which was meant, or where it belongs.
fn with_suggestion(outcome: Outcome, help: &str) -> Outcome {
    fn words(help: &str) -> impl Iterator<Item = &str> {
        help.split([' ', ',', '[', ']', '\n']).filter(|word| word.starts_with("--"))
    }
    let Err(error) = &outcome else { return outcome };
    let Some(lexopt::Error::UnexpectedOption(option)) = error.downcast_ref() else { return outcome };
    if matches!(&**option, "-h" | "--help" | "-v" | "-V" | "--version") {
        return outcome;
    }
    let has_option = |(name, _): &&(&str, Command)| words(&pages::manual(name)).any(|word| word == option);
    let advice = match (nearest(option, words(help)), COMMANDS.iter().find(has_option)) {
        (Some(near), _) if near != option => format!(": did you mean {near}?"),
        (_, Some((name, _))) => format!(": it belongs to `micro-smol {name}`"),
        _ if help.contains("-- ARGS") => "; --help shows the options; the program's own stand behind --".to_owned(),
        _ => return outcome,
    };
    Err(lexopt::Error::from(format!("invalid option '{option}'{advice}")).into())
}

/// Compiles and serves. It returns if that fails or when `--dev` ends; otherwise this process becomes the service, so that the
/// service gets the signals.
fn serve(mut args: Vec<OsString>) -> Outcome {
    let env_files = env_file::take(&mut args)?;
    let variables = env_file::read(&env_files)?;
    let mut arguments = Arguments::new(1, &["dev", "debug", "offline", "locked"]);
    let mut options = Options::parse(Parser::from_iter(args), &variables, |arg| match arg {
        Arg::Short('d') => arguments.take(Arg::Long("dev")),
        arg => arguments.take(arg),
    })?;
    options.endpoints()?;
    options.program_args = program_args().collect();
    let mut request = BuildRequest::new(&arguments)?;
    request.is_silent = options.silent;
    if arguments.has("--dev") {
        return Ok(watch::watch(&request, &env_files, &options)?);
    }
    request.endpoints = Some(options.clone());
    let (program, _) = request.build()?;
    become_program(process::Command::new(program).envs(variables).args(options.to_args()))
}

/// Returns only if that cannot be.
fn become_program(command: &mut process::Command) -> Outcome {
    let error = command.exec();
    Err(format!("cannot start {}: {error}", command.get_program().display()).into())
}

/// `test [--offline] [--locked] FILE [-- ARGS]`
fn test(parser: Parser) -> Outcome {
    let arguments = Arguments::new(1, &["offline", "locked"]).read(parser)?;
    let [path] = arguments.all(["FILE"])?;
    if path.is_dir() {
        return Err(format!("{} is a directory: `cargo test` tests a package", path.display()).into());
    }
    let (program, _) = BuildRequest::of_profile(&arguments, "test")?.build()?;
    become_program(process::Command::new(program).args(program_args().skip(1)))
}

/// `check [--offline] [--locked] [--json] [FILE]`
fn check(parser: Parser) -> Outcome {
    let arguments = Arguments::new(1, &["offline", "locked", "json"]).read(parser)?;
    let mut request = BuildRequest::of_profile(&arguments, "check")?;
    if arguments.has("--json") {
        // Cargo tells by its exit code whether it compiles, whoever reads this.
        request.show = |line, _| drop(print_text(line));
    }
    Ok(request.check()?)
}

/// `build [options] [--static] [ENTRY] [-o FILE]`
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
    let mut request = BuildRequest::new(&arguments)?;
    let output = output.unwrap_or_else(|| request.default_output());
    refuse_to_overwrite(&output)?;
    request.cargo.extend(SMALL.map(|setting| format!("--config=profile.release.{setting}")));
    let (program, _) = request.build()?;
    // By way of another file: one that is running cannot be written to.
    let unfinished = PathBuf::from(format!("{}.unfinished", output.display()));
    let copied = fs::copy(&program, &unfinished).and_then(|_| fs::rename(&unfinished, &output));
    copied.map_err(|error| format!("cannot write {}: {error}", output.display()))?;
    print_text(&format!("{}: {}\n", output.display(), cache::size(slice::from_ref(&output))))
}

/// Refuses to write where something is that is no executable.
fn refuse_to_overwrite(output: &Path) -> Result<(), String> {
    let refused =
        |what: &str| Err(format!("{} is {what}: say where the executable belongs, with -o FILE", output.display()));
    let directory = output.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."));
    match fs::metadata(output) {
        _ if !directory.is_dir() || output.as_os_str().as_encoded_bytes().ends_with(b"/") && !output.exists() => {
            Err(format!("cannot write {}: there is no such directory", output.display()))
        }
        Ok(metadata) if metadata.is_dir() => refused("a directory"),
        Ok(metadata) if metadata.permissions().mode() & 0o111 == 0 => refused("a file that is no executable"),
        _ => Ok(()),
    }
}

/// `cache [clear]`
fn cache(parser: Parser) -> Outcome {
    match Arguments::new(1, &[]).read(parser)?.values.pop() {
        None => {}
        Some(command) if command.as_os_str() == "clear" => cache::clear()?,
        Some(other) => {
            let message = format!("there is no `cache {}`: `micro-smol cache clear` empties it", other.display());
            return Err(lexopt::Error::from(message).into());
        }
    }
    let directory = cache::directory();
    let (size, list) = (cache::size(slice::from_ref(&directory)), cache::list());
    print_text(&format!("{}: {size}\n{list}", directory.display()))
}
