//! Has cargo compile the package that is generated for an entry, if anything has changed since it did.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use micro_smol::cli::Options;
use micro_smol::serde_json::{self, Value};
use micro_smol::smol::future::block_on;
use micro_smol::smol::unblock;

use super::arguments::Arguments;
use super::cache;
use super::cargo::{self, Compilation, cargo};
use super::entry::{self, Entry};
use super::fingerprint::{self, Build, Fingerprint};
use super::manifest::keys;
use super::package::{self, generate};
use super::terminal::say;

/// How the names of variables begin that make another executable of the same code.
const VARIABLES: [&str; 7] =
    ["CARGO_BUILD_", "CARGO_ENCODED_", "CARGO_PROFILE_", "CARGO_TARGET_", "RUSTC", "RUSTFLAGS", "RUSTUP_TOOLCHAIN"];

/// What makes cargo show its progress, although it does not write to the terminal itself.
const PROGRESS: [&str; 2] = ["--config=term.progress.when='always'", "--config=term.progress.width=60"];

/// What to compile, and how.
pub struct BuildRequest {
    /// The file, or the directory.
    pub path: PathBuf,
    /// Where the package is that is generated for it.
    package: PathBuf,
    /// Options of cargo.
    pub cargo: Vec<String>,
    /// An option of rustc, for the service itself.
    rustc: Option<&'static str>,
    pub is_silent: bool,
    /// What must be free before minutes are spent on compiling.
    pub endpoints: Option<Options>,
    /// What is done with each message of rustc: its line, and what that says.
    pub show: fn(&str, &Value),
}

impl BuildRequest {
    /// What the arguments of a command ask for.
    pub fn new(arguments: &Arguments) -> Result<Self, String> {
        let is_debug = arguments.has("--debug") || arguments.has("--dev");
        BuildRequest::of_profile(arguments, if is_debug { "dev" } else { "release" })
    }

    /// The same in a profile of cargo, which has one for tests and one that only checks.
    pub fn of_profile(arguments: &Arguments, profile: &str) -> Result<Self, String> {
        let path = entry::locate(arguments.values.first().map_or(Path::new("."), PathBuf::as_path))?;
        let mut cargo = vec![format!("--profile={profile}")];
        cargo.extend(["--offline", "--locked"].into_iter().filter(|flag| arguments.has(flag)).map(str::to_owned));
        // Requests are logged on the same terminal.
        cargo.extend(arguments.has("--dev").then(|| "--config=term.progress.when='never'".to_owned()));
        let rustc = arguments.has("--static").then_some("-Ctarget-feature=+crt-static");
        let package = cache::directory().join(package::name(&path));
        let is_silent = arguments.has("--silent");
        Ok(BuildRequest { path, package, cargo, rustc, is_silent, endpoints: None, show: cargo::show })
    }

    /// Compiles, unless nothing has changed, and returns the executable and what it was made of.
    pub fn build(&self) -> Result<Build, String> {
        block_on(self.building()).map_err(|error| error.message)
    }

    /// Does so while others do something else. Cargo is killed if the future is dropped.
    pub async fn building(&self) -> Result<Build, BuildError> {
        if let Some(record) = self.current() {
            return Ok(record);
        }
        let _lock = self.lock().await?;
        // The process that held the lock may have compiled it.
        if let Some(record) = self.current() {
            return Ok(record);
        }
        let before = self.watch_set();
        let entry = Entry::find(&self.path)?;
        // A program of its own may listen elsewhere.
        if let Some(options) = self.endpoints.as_ref().filter(|_| !entry.source.has_main()) {
            options.probe().map_err(|error| error.to_string())?;
        }
        let messages = self.compile_telling(&entry).await?;
        let executable = messages.iter().find_map(|message| message["executable"].as_str());
        let program = PathBuf::from(executable.ok_or_else(|| "cargo has made no executable".to_owned())?);
        let mut inputs = fingerprint::of(&program, &self.path, self.sources(&program));
        // What has changed meanwhile is not in the executable.
        inputs.iter_mut().for_each(|(path, time)| *time = *before.get(path).unwrap_or(time));
        let record = (program, inputs);
        cache::write(&self.record(), serde_json::to_string(&record).unwrap_or_default())?;
        // What cannot be removed is no fault of what was compiled.
        cache::remove_unused().unwrap_or_else(say);
        Ok(record)
    }

    /// Has rustc say whether it compiles.
    pub fn check(&self) -> Result<(), String> {
        let checked = async {
            let _lock = self.lock().await?;
            self.compile_telling(&Entry::find(&self.path)?).await
        };
        block_on(checked).map_err(|error: BuildError| error.message)?;
        // There is no executable; but the next time is not the first.
        cache::write(&self.record(), "null")
    }

    /// Returns cargo's metadata for one platform, and the messages of a compilation. The entry itself need not compile.
    pub fn explore(&self, platform: &str) -> Result<(Value, Vec<Value>), String> {
        let explored = async {
            let _lock = self.lock().await?;
            self.ask_rustc(&Entry::find(&self.path)?).await
        };
        let messages = block_on(explored)?.messages;
        // Those of other platforms need not be there.
        let platform = format!("--filter-platform={platform}");
        let options = self.cargo.iter().filter(|option| !option.starts_with("--profile")).chain([&platform]);
        let metadata = cargo::metadata(&self.package.join("Cargo.toml"), &self.path, options)?;
        Ok((metadata.map_err(|said| cargo::unreadable(self.path.display(), &said))?, messages))
    }

    async fn lock(&self) -> Result<File, String> {
        let purpose = format!("compiling {}", self.path.display());
        unblock(move || cache::lock(&purpose)).await
    }

    /// Where an executable of it belongs: beside a file, and in a directory.
    pub fn default_output(&self) -> PathBuf {
        let name = self.path.file_stem().unwrap_or_default();
        if self.path.is_dir() { self.path.join(name) } else { self.path.with_file_name(name) }
    }

    /// Reports the start and the time of a first compilation if stderr is not a terminal, where cargo shows its progress.
    async fn compile_telling(&self, entry: &Entry) -> Result<Vec<Value>, BuildError> {
        if self.is_silent || io::stderr().is_terminal() || self.record().exists() {
            return self.compile(entry).await;
        }
        let profile = if self.cargo.contains(&"--profile=release".to_owned()) { "release" } else { "debug" };
        let are_compiled = entry.target_directory.join(profile).exists();
        let more = if are_compiled { "" } else { "; its dependencies are compiled only once" };
        say(format_args!("compiling {}{more}", self.path.display()));
        let start = Instant::now();
        let compiled = self.compile(entry).await?;
        say(format_args!("compiled in {:.1?}", start.elapsed()));
        Ok(compiled)
    }

    /// The files of which rustc has made an executable.
    pub fn sources(&self, program: &Path) -> Vec<PathBuf> {
        let listed = fingerprint::listed(program).into_iter().map(|path| self.package.join(path));
        listed.map(|path| package::original(path, &self.package)).collect()
    }

    /// The files whose change may make a difference to a build that has failed.
    pub fn watch_set(&self) -> Fingerprint {
        fingerprint::watch_set(fingerprint::read(&self.record()), &self.path)
    }

    fn current(&self) -> Option<Build> {
        cache::touch(&self.package);
        fingerprint::read(&self.record()).filter(|(_, inputs)| fingerprint::are_unchanged(inputs))
    }

    /// The file in which a build of this kind is written down.
    fn record(&self) -> PathBuf {
        let counts =
            |name: &OsString| VARIABLES.iter().any(|start| name.as_encoded_bytes().starts_with(start.as_bytes()));
        let variables: BTreeMap<_, _> = env::vars_os().filter(|(name, _)| counts(name)).collect();
        self.package.join(format!("{}.json", cache::key((&self.cargo, self.rustc, variables))))
    }

    /// Returns what rustc has said, if it has compiled.
    async fn compile(&self, entry: &Entry) -> Result<Vec<Value>, BuildError> {
        let Compilation { is_done, messages, text } = self.ask_rustc(entry).await?;
        if is_done { Ok(messages) } else { Err(BuildError::new(conclude(entry, &messages, &text), &messages)) }
    }

    async fn ask_rustc(&self, entry: &Entry) -> Result<Compilation, String> {
        let compilation = self.run_rustc(entry).await?;
        if compilation.is_done || !compilation.messages.iter().any(|message| entry.is_behind(message)) {
            return Ok(compilation);
        }
        // Something has no end in the file: without a line of ours behind it, rustc shows where it begins.
        self.run_rustc(&Entry { call: None, ..entry.clone() }).await
    }

    async fn run_rustc(&self, entry: &Entry) -> Result<Compilation, String> {
        let manifest = self.generate(entry)?;
        let mut command = cargo("rustc", &manifest);
        let is_quiet = self.is_silent || !io::stderr().is_terminal();
        command.args(if is_quiet { &["--quiet"][..] } else { &PROGRESS });
        command.args(cargo::message_format()).args(&self.cargo);
        // Cargo lists what is in it by the name that it is given, which should be the one that others use.
        let target_directory = entry.target_directory.canonicalize().unwrap_or(entry.target_directory.clone());
        command.arg("--target-dir").arg(target_directory).arg("--").args(package::RUSTC).args(self.rustc);
        // The toolchain and the configuration are those of the place where the code is.
        let reworded = |message: &str| package::with_users_files(message, &self.package, &entry.path);
        command.current_dir(entry.directory());
        // What follows a message of our own line belongs to that message.
        let has_left = Cell::new(false);
        let show = |line: &str, message: &Value| {
            has_left.set(has_left.get() || entry.is_behind(message));
            if !has_left.get() {
                (self.show)(line, message);
            }
        };
        cargo::compile(command, reworded, show).await
    }

    /// Writes the package. Cargo reads a new manifest once before it compiles, for its errors to name the user's file.
    fn generate(&self, entry: &Entry) -> Result<PathBuf, String> {
        let manifest = self.package.join("Cargo.toml");
        let before = fs::read(&manifest).ok();
        generate(entry, &self.package)?;
        let read = || cargo::metadata(&manifest, &entry.file, ["--no-deps", "--offline"]);
        if fs::read(&manifest).ok() != before
            && let Err(mut said) = read()?
        {
            let lines = entry.source.manifest.lines().count();
            if located(&said, &entry.file).is_some_and(|line| line > lines) {
                // Something has no end in the frontmatter: without lines of ours behind it, cargo shows where it begins.
                cache::write(&manifest, &entry.source.manifest)?;
                said = read()?.err().unwrap_or(said);
            }
            // The next time it is new again.
            let _ = fs::remove_file(&manifest);
            return Err(cargo::unreadable(place(entry, &said, None), &said));
        }
        Ok(manifest)
    }
}

/// Why there is no executable.
pub struct BuildError {
    pub message: String,
    /// The first error of rustc.
    diagnostic: Option<String>,
}

impl BuildError {
    fn new(message: String, messages: &[Value]) -> Self {
        let mut errors = messages.iter().filter(|message| message["message"]["level"] == "error");
        BuildError { message, diagnostic: errors.find_map(cargo::rendered).map(str::to_owned) }
    }

    /// The message for a client, without terminal colours.
    pub fn plain(&self) -> String {
        let text = self.diagnostic.as_ref().unwrap_or(&self.message);
        // A colour is ESC [ numbers m.
        let mut parts = text.split("\x1b[");
        let first = parts.next().unwrap_or_default().to_owned();
        first + &parts.filter_map(|part| part.split_once('m')).map(|(_, text)| text).collect::<String>()
    }
}

impl From<String> for BuildError {
    fn from(message: String) -> Self {
        BuildError { message, diagnostic: None }
    }
}

/// The line of a file that cargo speaks of.
fn located(said: &str, file: &Path) -> Option<usize> {
    let (_, place) = said.split_once(&format!("--> {}:", file.display()))?;
    place.split(':').next()?.parse().ok()
}

/// The file, and the line of the dependency that cargo names, in backticks or in parentheses, or else another one.
fn place(entry: &Entry, said: &str, otherwise: Option<usize>) -> String {
    let named: Vec<&str> = said.split(['`', '(', ')']).filter_map(|part| part.split(' ').next()).collect();
    let is_named = |name: &str| !name.is_empty() && named.contains(&name);
    let line = (1..).zip(keys(&entry.source.manifest)).find(|(_, key)| key.split('.').any(is_named));
    let line = line.map(|(line, _)| line).or(otherwise).map_or(String::new(), |line| format!(":{line}"));
    format!("{}{line}", entry.file.display())
}

/// Concludes what cargo and rustc have said on stderr; rustc has said nothing before cargo has all dependencies.
fn conclude(entry: &Entry, messages: &[Value], said: &str) -> String {
    let path = entry.path.display();
    if let Some(refusal) = cache::full(&entry.target_directory) {
        return refusal;
    }
    if let Some(name) = undeclared(messages).filter(|_| entry.path == entry.file) {
        let value = if name == "serde" { r#"{ version = "1", features = ["derive"] }"# } else { r#""*""# };
        let advice =
            format!("put `{name} = {value}` below `[dependencies]`, between `---` lines at the top of the file");
        return format!("{path} declares no crate `{name}`: {advice}; more: micro-smol explain dependency-undeclared");
    }
    if !messages.is_empty() {
        let texts =
            || messages.iter().filter_map(cargo::rendered).filter(|text| text.contains("// micro-smol explain "));
        let is_found =
            |text: &str| !text.contains("cannot find") && !text.contains("unresolved") && !text.contains("is private");
        let more = match (texts().next(), texts().all(is_found)) {
            (None, _) => "",
            (_, true) => "; more: micro-smol explain handler-type",
            (_, false) => "; more: micro-smol explain no-handler",
        };
        return format!("{path} does not compile; see above{more}");
    }
    let what = match entry.source.opening {
        None => format!("cargo cannot build {path}"),
        opening => format!("{}: cargo cannot do what this frontmatter asks", place(entry, said, opening)),
    };
    format!("{what}; see above; more: micro-smol explain dependency-unreachable")
}

/// The first name that rustc takes for that of a crate, and does not know.
fn undeclared(messages: &[Value]) -> Option<&str> {
    let texts = messages.iter().filter_map(cargo::rendered);
    texts.filter_map(|text| text.split_once("unlinked crate `")).find_map(|(_, rest)| rest.split('`').next())
}
