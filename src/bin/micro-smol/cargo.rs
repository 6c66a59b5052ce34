//! Runs cargo, and passes on what it and rustc say, of the user's files in place of generated ones.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::io;
use std::mem;
use std::path::Path;
use std::process::{Command, Stdio};

use micro_smol::cli::is_coloured;
use micro_smol::serde_json::{self, Value};
use micro_smol::smol::future::zip;
use micro_smol::smol::io::{AsyncRead, AsyncReadExt, BufReader};
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
pub fn unreadable(place: impl Display, said: &str) -> String {
    terminal::show(said);
    format!("cargo cannot read {place}; see above; more: micro-smol explain manifest-invalid")
}

/// Shows a message to a person.
pub fn show(_: &str, message: &Value) {
    rendered(message).into_iter().for_each(terminal::show);
}

/// What rustc says in a message, as text.
pub fn rendered(message: &Value) -> Option<&str> {
    message["message"]["rendered"].as_str()
}

/// The options of cargo by which [`compile`] hears what rustc says.
pub fn message_format() -> [&'static str; 4] {
    let (format, colour) = if is_coloured() { ("json-diagnostic-rendered-ansi", "always") } else { ("json", "auto") };
    ["--message-format", format, "--color", colour]
}

/// How a compilation went.
pub struct Compilation {
    pub is_done: bool,
    /// What rustc has said.
    pub messages: Vec<Value>,
    /// What cargo has said.
    pub text: String,
}

/// Runs cargo, hands each message of rustc, after `reworded`, to `show`, and shows what cargo says itself. Cargo is killed if the
/// future is dropped.
pub async fn compile(
    command: Command,
    reworded: impl Fn(&str) -> String,
    show: impl Fn(&str, &Value),
) -> Result<Compilation, String> {
    let mut command = process::Command::from(command);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().map_err(not_started)?;
    let (stdout, stderr) = child.stdout.take().zip(child.stderr.take()).ok_or("cannot read what cargo says")?;
    let (mut messages, mut text) = (Vec::new(), String::new());
    let of_rustc = each_line(stdout, |line| {
        let line = reworded(line);
        if let Ok(message) = serde_json::from_str(&line) {
            show(&line, &message);
            messages.push(message);
        }
    });
    let of_cargo = each_line(stderr, |line| {
        let line = reworded(line);
        terminal::show(&line);
        text += &line;
    });
    zip(of_rustc, of_cargo).await;
    Ok(Compilation { is_done: child.status().await.map_err(not_started)?.success(), messages, text })
}

/// Hands on each line, and each state of a progress bar, as it comes.
async fn each_line(stream: impl AsyncRead + Unpin, mut hand_on: impl FnMut(&str)) {
    let (mut bytes, mut line) = (BufReader::new(stream).bytes(), Vec::new());
    while let Some(Ok(byte)) = bytes.next().await {
        line.push(byte);
        if matches!(byte, b'\n' | b'\r') {
            hand_on(&String::from_utf8_lossy(&mem::take(&mut line)));
        }
    }
    // What the stream ends with may have no end of its own.
    hand_on(&String::from_utf8_lossy(&line));
}

fn not_started(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "cargo was not found: install Rust, or add cargo's directory to PATH; more: micro-smol explain cargo-not-found".to_owned(),
        _ => format!("cannot start cargo: {error}"),
    }
}
