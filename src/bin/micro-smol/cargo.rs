//! Runs cargo, and passes on what it and rustc say, of the user's files in place of generated ones.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use micro_smol::cli::is_coloured;
use micro_smol::serde_json::{self, Value};
use micro_smol::smol::io::{AsyncBufReadExt, BufReader};
use micro_smol::smol::process;
use micro_smol::smol::stream::StreamExt;

use super::{cache, terminal};

/// Cargo, for what a manifest describes.
pub fn cargo(subcommand: &str, manifest: &Path) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.arg(subcommand).arg("--manifest-path").arg(manifest);
    command
}

/// What cargo tells about a package, or what it says of a manifest that it cannot read, of `file` in its place. The outer error is
/// that cargo cannot be started.
pub fn metadata<T: AsRef<OsStr>>(
    manifest: &Path,
    file: &Path,
    options: impl IntoIterator<Item = T>,
) -> Result<Result<Value, String>, String> {
    let mut command = cargo("metadata", manifest);
    command.args(["--format-version", "1"]).args(options).current_dir(file.parent().unwrap_or(file));
    let output = command.output().map_err(not_started)?;
    Ok(serde_json::from_slice(&output.stdout).map_err(|_| {
        // It names a generated manifest by any path that leads there.
        let end = manifest.strip_prefix(cache::directory()).unwrap_or(manifest).display().to_string();
        let with_file = |word: &str| word.split_once(&end).map(|(_, rest)| format!("{}{rest}", file.display()));
        let said = String::from_utf8_lossy(&output.stderr);
        said.split_inclusive([' ', '`']).map(|word| with_file(word).unwrap_or(word.to_owned())).collect()
    }))
}

/// Shows what cargo says of a manifest that it cannot read, and says so.
pub fn unreadable(file: &Path, said: &str) -> String {
    terminal::show(said);
    format!("cargo cannot read {}; see above; more: micro-smol explain manifest-invalid", file.display())
}

/// Shows a message to a person.
pub fn show(_: &str, message: &Value) {
    rendered(message).into_iter().for_each(terminal::show);
}

/// What rustc says in a message, as text.
pub fn rendered(message: &Value) -> Option<&str> {
    message["message"]["rendered"].as_str()
}

/// The option of cargo by which [`compile`] hears what rustc says.
pub fn message_format() -> [&'static str; 2] {
    ["--message-format", if is_coloured() { "json-diagnostic-rendered-ansi" } else { "json" }]
}

/// Runs cargo and hands each message of rustc, after `reworded`, to `show`. Returns whether cargo succeeded, and all messages.
/// Cargo is killed if the future is dropped.
pub async fn compile(
    command: Command,
    reworded: impl Fn(&str) -> String,
    show: impl Fn(&str, &Value),
) -> Result<(bool, Vec<Value>), String> {
    let mut command = process::Command::from(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).kill_on_drop(true);
    let mut child = command.spawn().map_err(not_started)?;
    let stdout = child.stdout.take().ok_or("cannot read what cargo says")?;
    let (mut lines, mut messages) = (BufReader::new(stdout).split(b'\n'), Vec::new());
    while let Some(line) = lines.next().await {
        let line = reworded(&String::from_utf8_lossy(&line.unwrap_or_default()));
        let Ok(message) = serde_json::from_str(&line) else { continue };
        show(&line, &message);
        messages.push(message);
    }
    Ok((child.status().await.map_err(not_started)?.success(), messages))
}

fn not_started(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "cargo was not found: install Rust, or add cargo's directory to PATH; more: micro-smol explain cargo-not-found".to_owned(),
        _ => format!("cannot start cargo: {error}"),
    }
}
