//! Has cargo compile the package that is generated for an entry.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use micro_smol::serde_json::{self, Value};

use super::entry::Entry;
use super::package::{generate, path_map};

/// The variable that makes this program rustc: what to replace in paths.
pub const PATH_MAP: &str = "MICRO_SMOL_PATH_MAP";

/// Runs the rustc that cargo names; returns only if it cannot be started.
pub fn rustc(path_map: &OsStr) -> String {
    let mut args = env::args_os().skip(1);
    let rustc = args.next().unwrap_or_default();
    let mut command = Command::new(&rustc);
    // Nobody else uses a service's types: they need not be public because the handler is.
    command.args(args).arg("-Aprivate_interfaces").arg("--remap-path-prefix").arg(path_map);
    let error = command.exec();
    format!("cannot start {}: {error}", rustc.display())
}

/// What cargo tells about a package, without its dependencies.
pub fn metadata(manifest: &Path) -> Result<Value, String> {
    let output = run(cargo("metadata", manifest).args(["--no-deps", "--format-version", "1"]))?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        format!("cargo cannot read {}; see above; more: micro-smol explain manifest-invalid", manifest.display())
    })
}

/// Compiles an entry with these options of cargo and returns the executable's path.
pub fn build(entry: &Entry, options: &[String]) -> Result<PathBuf, String> {
    let wrapper = env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let manifest = generate(entry)?;
    let mut command = cargo("build", &manifest);
    command.args(["--message-format", "json-render-diagnostics"]).args(options);
    command.arg("--target-dir").arg(&entry.target_directory);
    command.env("RUSTC_WORKSPACE_WRAPPER", wrapper).env(PATH_MAP, path_map(entry));
    // The toolchain and the configuration are those of the place where the code is.
    let output = run(command.current_dir(entry.directory()))?;
    let lines = output.stdout.split(|byte| *byte == b'\n');
    let messages: Vec<Value> = lines.flat_map(serde_json::from_slice).collect();
    let executable = messages.iter().find_map(|message| message["executable"].as_str());
    executable
        .map(PathBuf::from)
        .filter(|_| output.status.success())
        .ok_or_else(|| conclude(entry, &manifest, &messages))
}

/// The files that an executable was made of, as rustc has listed them.
pub fn sources(program: &Path) -> Vec<PathBuf> {
    let list = fs::read_to_string(program.with_extension("d")).unwrap_or_default().replace("\\ ", "\0");
    let files = list.split_once(": ").map_or("", |(_, files)| files).split_whitespace();
    files.flat_map(|file| Path::new(&file.replace('\0', " ")).canonicalize()).collect()
}

fn cargo(subcommand: &str, manifest: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).arg("--manifest-path").arg(manifest);
    command
}

fn run(command: &mut Command) -> Result<Output, String> {
    command.stderr(Stdio::inherit()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "cargo was not found: install Rust, or add cargo's directory to PATH; more: micro-smol explain cargo-not-found".to_owned(),
        _ => format!("cannot start cargo: {error}"),
    })
}

/// Concludes what cargo and rustc have said on stderr; cargo has nothing for us before it has all dependencies.
fn conclude(entry: &Entry, manifest: &Path, messages: &[Value]) -> String {
    let (path, file) = (entry.path.display(), entry.file.display());
    if !messages.is_empty() {
        return format!("{path} does not compile; see above");
    }
    let what = match entry.source.opening {
        Some(line) => format!("{file}:{line}: cargo cannot do what this frontmatter asks; see above, by line"),
        None => format!("cargo cannot build {path}; see above"),
    };
    let mut reading = cargo("metadata", manifest);
    let read = reading.args(["--no-deps", "--offline", "--format-version", "1"]).output();
    let is_well_formed = read.is_ok_and(|output| output.status.success());
    let page = if is_well_formed { "dependency-unreachable" } else { "manifest-invalid" };
    format!("{what}; more: micro-smol explain {page}")
}
