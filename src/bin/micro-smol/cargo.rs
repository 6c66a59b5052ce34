//! Runs cargo, and passes on what it and rustc say, of the user's files in place of generated ones.

use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::path::Path;
use std::process::{Command, Stdio};

use micro_smol::serde_json::{self, Value};

use super::{cache, terminal};

/// Cargo, for what a manifest describes.
pub fn cargo(subcommand: &str, manifest: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).arg("--manifest-path").arg(manifest);
    command
}

/// What cargo tells about a package, without its dependencies. If it cannot read the manifest, it says so of `file`.
pub fn metadata(manifest: &Path, file: &Path) -> Result<Value, String> {
    let mut command = cargo("metadata", manifest);
    command.args(["--no-deps", "--offline", "--format-version", "1"]).current_dir(file.parent().unwrap_or(file));
    let output = command.output().map_err(not_started)?;
    serde_json::from_slice(&output.stdout).map_err(|_| {
        // It names a generated manifest by any path that leads there.
        let end = manifest.strip_prefix(cache::directory()).unwrap_or(manifest).display().to_string();
        let with_file = |word: &str| word.split_once(&end).map(|(_, rest)| format!("{}{rest}", file.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        let words = said.split_inclusive([' ', '`']).map(|word| with_file(word).unwrap_or(word.to_owned()));
        terminal::show(&words.collect::<String>());
        format!("cargo cannot read {}; see above; more: micro-smol explain manifest-invalid", file.display())
    })
}

/// The option of cargo by which [`compile`] hears what rustc says.
pub fn message_format() -> [&'static str; 2] {
    let is_coloured = io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none();
    ["--message-format", if is_coloured { "json-diagnostic-rendered-ansi" } else { "json" }]
}

/// Has rustc compile, and shows what it says, in other words, as soon as it has said it; whether it has, and what it said.
pub fn compile(command: &mut Command, reworded: impl Fn(&str) -> String) -> Result<(bool, Vec<Value>), String> {
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(not_started)?;
    let mut messages = Vec::new();
    for line in child.stdout.take().into_iter().flat_map(|stdout| BufReader::new(stdout).split(b'\n')) {
        let Ok(message) = line.and_then(|line| Ok(serde_json::from_slice::<Value>(&line)?)) else { continue };
        message["message"]["rendered"].as_str().into_iter().for_each(|text| terminal::show(&reworded(text)));
        messages.push(message);
    }
    Ok((child.wait().map_err(not_started)?.success(), messages))
}

fn not_started(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "cargo was not found: install Rust, or add cargo's directory to PATH; more: micro-smol explain cargo-not-found".to_owned(),
        _ => format!("cannot start cargo: {error}"),
    }
}
