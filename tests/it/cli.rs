//! The command `micro-smol`, as a user calls it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use micro_smol::serde_json::{self, Value};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::vendor::success;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_micro-smol");
pub const CHECKOUT: &str = env!("CARGO_MANIFEST_DIR");

pub const HANDLER: &str = "pub async fn handler(_: micro_smol::Request) -> &'static str {\n    \"served\"\n}\n";

/// The cache of all these tests, in which the dependencies are those that `cargo test` has compiled.
pub fn cache() -> PathBuf {
    let temporary = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let cache = temporary.join("cli/cache");
    fs::create_dir_all(cache.join("micro-smol")).unwrap();
    // Another test may have been quicker.
    let _ = symlink(temporary.parent().unwrap(), cache.join("micro-smol/target"));
    cache
}

/// An empty directory for one test.
pub fn directory(test: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cli").join(test);
    let _ = fs::remove_dir_all(&directory);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Writes files and returns the directory they are in.
pub fn files(test: &str, files: &[(&str, &str)]) -> PathBuf {
    let directory = directory(test);
    for (name, text) in files {
        let path = directory.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    directory
}

pub fn micro_smol(directory: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(args).current_dir(directory).env("XDG_CACHE_HOME", cache());
    // The default port may be in use, which is found before anything is compiled.
    command.env_remove("HOST").env("PORT", "0").stdin(Stdio::null());
    command
}

/// A service that has started; it is killed when dropped.
pub struct Service {
    pub child: Child,
    pub port: String,
}

impl Service {
    pub fn start(directory: &Path, args: &[&str]) -> Self {
        let mut command = micro_smol(directory, &["--debug", "--offline", "-H", "127.0.0.1", "-p", "0"]);
        Service::of(command.args(args))
    }

    /// Starts a command and reads the line that it prints when its socket is open.
    pub fn of(command: &mut Command) -> Self {
        Service::ready(command.stdout(Stdio::piped()).spawn().unwrap())
    }

    pub fn ready(mut child: Child) -> Self {
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().strip_prefix("micro-smol: Accepting connections on http://127.0.0.1:");
        let port = port.unwrap_or_else(|| panic!("it did not start, but said {line:?}")).to_owned();
        Service { child, port }
    }

    /// The content of the response to `GET /`.
    pub fn get(&self) -> String {
        let mut client = TcpStream::connect(format!("127.0.0.1:{}", self.port)).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        response.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// What a command said, but that it had to wait for another test, and that it compiles.
pub fn alone(stderr: &[u8]) -> String {
    text(stderr).split_inclusive('\n').filter(|line| !is_aside(line)).collect()
}

/// Whether a line depends on what other tests, or these, have done before.
pub fn is_aside(line: &str) -> bool {
    let line = line.strip_prefix("micro-smol: ").unwrap_or_default();
    ["waiting for ", "compiling ", "compiled in "].iter().any(|start| line.starts_with(start))
}

/// Expects a command to fail with this code, and returns what it says.
pub fn failure(command: &mut Command, code: i32) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let stderr = alone(&stderr);
    assert_eq!((status.code(), text(&stdout)), (Some(code), ""), "{stderr}");
    stderr
}

/// Expects a command to fail with this message only.
pub fn assert_fails(command: &mut Command, message: &str) {
    assert_eq!(failure(command, 1), format!("micro-smol: {message}\n"));
}

/// Expects rustc or cargo to complain, in these words, and us to conclude with a message.
fn assert_refused(directory: &Path, file: &str, complaints: &[&str], message: &str) {
    let said = failure(&mut micro_smol(directory, &["--debug", "--offline", file]), 1);
    for complaint in complaints {
        assert!(said.contains(complaint), "{complaint} is not in this:\n{said}");
    }
    assert!(said.ends_with(&format!("\nmicro-smol: {message}\n")), "{message} is not the end of this:\n{said}");
}

#[test]
fn help_and_version_are_on_stdout() {
    for (args, start) in [
        (["--help"], "Usage: micro-smol [options] [FILE.rs | DIRECTORY] [-- ARGS]; or a command:\n    build "),
        (["-h"], "Usage: micro-smol [options] [FILE.rs | DIRECTORY] [-- ARGS]; or a command:\n    build "),
        (["help"], "Usage: micro-smol [options] [FILE.rs | DIRECTORY] [-- ARGS]; or a command:\n    build "),
        (["-V"], concat!("micro-smol ", env!("CARGO_PKG_VERSION"), "\n")),
        (["--version"], concat!("micro-smol ", env!("CARGO_PKG_VERSION"), "\n")),
        (["-v"], concat!("micro-smol ", env!("CARGO_PKG_VERSION"), "\n")),
    ] {
        let Output { status, stdout, stderr } = micro_smol(Path::new("/"), &args).output().unwrap();
        assert_eq!((status.code(), text(&stderr)), (Some(0), ""));
        assert!(text(&stdout).starts_with(start), "{args:?}");
        assert!(text(&stdout).lines().all(|line| line.len() <= 80), "{args:?}");
    }
}

#[test]
fn each_command_says_what_it_does() {
    let help = success(&mut micro_smol(Path::new("/"), &["--help"]));
    let commands = help.lines().skip(1).take_while(|line| !line.is_empty());
    for usage in commands.map(|line| line.trim_start().split("  ").next().unwrap()) {
        let name = usage.split(' ').next().unwrap();
        let said = success(&mut micro_smol(Path::new("/"), &[name, "--help"]));
        assert!(said.starts_with(&format!("Usage: micro-smol {usage}\n\n    ")), "{said}");
        assert!(said.lines().all(|line| line.len() <= 80 && line.trim_end() == line), "{said}");
        assert!(!said.contains(['\\', '\t', '"']) && !said.contains("\n."), "{said}");
        assert_eq!(said.contains("\nOptions: --debug, "), usage.contains("[options]"), "{said}");
        assert_eq!(success(&mut micro_smol(Path::new("/"), &["help", name])), said);
    }
}

#[test]
fn the_tests_in_a_file_are_run() {
    let tests = "
#[cfg(test)]
mod tests {
    use super::*;
    use micro_smol::{Request, respond, smol};

    #[test]
    fn it_serves() {
        let mut response = smol::block_on(respond(&handler, Request::get(\"/\")));
        assert_eq!(smol::block_on(response.body_string()).unwrap(), \"served\");
    }

    #[test]
    fn it_fails() {
        assert_eq!(std::fs::read_to_string(\"expected\").unwrap(), part::FAILURE);
    }
}
";
    let code = format!("---\n---\n#![deny(warnings)]\nmod part;\npub use part::*;\n{HANDLER}{tests}");
    let part = "pub const FAILURE: &str = \"failed\";\n";
    let directory = files("tests", &[("index.rs", &code), ("part.rs", part), ("expected", "failed")]);
    let test = |more: &[&str]| micro_smol(&directory, &[&["test", "--offline", "index.rs"], more].concat());
    let said = success(&mut test(&[]));
    assert!(said.contains("test result: ok. 2 passed; 0 failed; "), "{said}");
    // What has not changed is not compiled again.
    let said = success(test(&["--", "serves", "--quiet"]).env("CARGO", "/missing"));
    assert!(said.contains("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 1 filtered out"), "{said}");
    fs::write(directory.join("part.rs"), part.replace("failed", "passed")).unwrap();
    let output = test(&[]).output().unwrap();
    assert_eq!(output.status.code(), Some(101));
    assert!(text(&output.stdout).contains("test tests::it_fails ... FAILED"));
    let refused = format!("{CHECKOUT} is a directory: `cargo test` tests a package");
    assert_fails(&mut micro_smol(&directory, &["test", CHECKOUT]), &refused);
}

#[test]
fn check_says_whether_it_compiles() {
    let directory = files("check", &[("index.rs", HANDLER), ("wrong.rs", &HANDLER.replace("\"served\"", "3"))]);
    let check = |entry: &str| micro_smol(&directory, &["--offline", "check", entry]);
    for _ in 0..2 {
        assert_eq!(success(&mut check("index.rs")), "");
    }
    let said = failure(&mut check("wrong.rs"), 1);
    let path = directory.display();
    assert!(said.contains(&format!("--> {path}/wrong.rs:2:5\n")), "{said}");
    assert!(said.ends_with(&format!("\nmicro-smol: {path}/wrong.rs does not compile; see above\n")), "{said}");
}

#[test]
fn an_editor_is_told_of_all_crates_and_how_to_check() {
    let wrong = ORDER.replace("count: u8", "count: bool");
    let number = "[package]\nname = \"number\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";
    let directory = files(
        "editor",
        &[
            ("order.rs", &wrong),
            ("name.rs", "pub fn name() -> String {\n    String::new()\n}\n"),
            ("number/Cargo.toml", number),
            ("number/src/lib.rs", "pub fn number() -> u8 {\n    3\n}\n"),
        ],
    );
    let output = micro_smol(&directory, &["editor", "--offline", "order.rs"]).output().unwrap();
    assert!(output.status.success(), "an error in the file is no obstacle: {}", text(&output.stderr));
    let path = directory.join("rust-project.json");
    assert!(text(&output.stdout).starts_with(&format!("{}: ", path.display())));
    let project: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert!(Path::new(project["sysroot"].as_str().unwrap()).join("lib").is_dir());
    let crates = project["crates"].as_array().unwrap();
    for one in crates {
        assert!(Path::new(one["root_module"].as_str().unwrap()).is_file(), "{one}");
        let is_macro = one["is_proc_macro"] == true;
        assert_eq!(
            one["proc_macro_dylib_path"].as_str().is_some_and(|path| Path::new(path).is_file()),
            is_macro,
            "{one}"
        );
        assert!(one["deps"].as_array().unwrap().iter().all(|dep| dep["crate"].as_u64().unwrap() < crates.len() as u64));
    }
    let own = crates.last().unwrap();
    assert_eq!(own["root_module"], directory.join("order.rs").to_str().unwrap());
    assert_eq!((&own["edition"], &own["is_workspace_member"]), (&"2021".into(), &true.into()));
    let mut names: Vec<_> = own["deps"].as_array().unwrap().iter().map(|dep| dep["name"].as_str().unwrap()).collect();
    names.sort();
    assert_eq!(names, ["micro_smol", "number", "serde"]);
    let check = &project["runnables"][0];
    let args = check["args"].as_array().unwrap().iter().map(|arg| arg.as_str().unwrap());
    let mut command = Command::new(check["program"].as_str().unwrap());
    let output = command.args(args).current_dir("/").env("XDG_CACHE_HOME", cache()).output().unwrap();
    let messages: Vec<Value> = text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let span = messages.iter().find_map(|message| message["message"]["spans"].as_array()?.first()).unwrap();
    assert_eq!((&span["file_name"], &span["line_start"]), (&own["root_module"], &21.into()));
}

#[test]
fn a_file_that_was_meant_is_suggested() {
    let directory = files("meant", &[("sleep.rs", HANDLER), ("tea.txt", "")]);
    let not_there = "No such file or directory (os error 2)";
    let cases = [
        ("slep.rs", format!("cannot serve slep.rs: {not_there}; did you mean sleep.rs?")),
        ("./hello.rs", format!("cannot serve ./hello.rs: {not_there}; did you mean ./sleep.rs?")),
        (
            ".",
            format!(
                "there is neither Cargo.toml nor index.rs in {}: name a file, such as {}/sleep.rs; more: micro-smol explain entry-missing",
                directory.display(),
                directory.display()
            ),
        ),
    ];
    for (entry, message) in cases {
        assert_fails(&mut micro_smol(&directory, &[entry]), &message);
    }
    // Neither what is no file, nor a link that leads nowhere, can be meant.
    fs::create_dir(directory.join("sleeq.rs")).unwrap();
    std::os::unix::fs::symlink("nowhere", directory.join("slee.rs")).unwrap();
    let message = format!("cannot serve slee.rs: {not_there}; did you mean sleep.rs?");
    assert_fails(&mut micro_smol(&directory, &["slee.rs"]), &message);
    fs::remove_file(directory.join("slee.rs")).unwrap();
    let said = failure(&mut micro_smol(&directory, &["sleep"]), 2);
    assert_eq!(said, "micro-smol: there is no command or file \"sleep\": did you mean sleep.rs?\n");
    fs::write(directory.join("handle.rs"), HANDLER.replace("handler", "handle")).unwrap();
    let message =
        "exports no handler: did you mean `handle`? Its name has to be `handler`; more: micro-smol explain no-handler";
    assert_fails(&mut micro_smol(&directory, &["handle.rs"]), &format!("{}/handle.rs {message}", directory.display()));
}

#[test]
fn wrong_use_is_reported_before_anything_else() {
    let cases: [(&[&str], &str); 17] = [
        (
            &["--fast", "missing.rs"],
            "invalid option '--fast'; --help shows the options; the program's own stand behind --",
        ),
        (&["missing.rs", "-p"], "missing argument for option '-p'; --help shows the options"),
        (
            &["-p", "65536", "missing.rs"],
            "-p: \"65536\" is not a port: give a number from 0 to 65535; more: micro-smol explain port-invalid",
        ),
        (
            &["--listen", "http://a", "missing.rs"],
            "--listen: \"http://a\" is not an endpoint: give tcp://HOST:PORT, unix:/PATH or fd:N; more: micro-smol explain endpoint-invalid",
        ),
        (&["-p", "1", "healthcheck", "tcp://a:1"], "unexpected argument \"tcp://a:1\"; --help shows the options"),
        (&["missing.rs", "other.rs"], "unexpected argument \"other.rs\"; --help shows the options"),
        (&["explain", "--", "-p"], "unexpected argument \"--\"; --help shows the options"),
        (&["--offine", "missing.rs"], "invalid option '--offine': did you mean --offline?"),
        (&["--offline", "build", "--staic"], "invalid option '--staic': did you mean --static?"),
        (&["vendor", "--moduel", "a"], "invalid option '--moduel': did you mean --module?"),
        (&["--prot", "1"], "invalid option '--prot': did you mean --port?"),
        (&["--static", "missing.rs"], "invalid option '--static': it belongs to `micro-smol build`"),
        (&["explain", "no-handle"], "there is no no-handle; did you mean no-handler?"),
        (&["test"], "missing argument FILE; --help shows the options"),
        (
            &["test", "missing.rs", "--nocapture"],
            "invalid option '--nocapture'; --help shows the options; the program's own stand behind --",
        ),
        (&["buidl"], "there is no command or file \"buidl\": did you mean build?"),
        (&["init", "missing.rs"], "there is no command or file \"init\": `micro-smol FILE.rs` serves a file"),
    ];
    for (args, message) in cases {
        let said = failure(&mut micro_smol(Path::new("/"), args), 2);
        assert_eq!(said, format!("micro-smol: {message}\n"));
    }
}

#[test]
fn a_bad_port_in_the_environment_is_reported_first() {
    let message = "PORT: \"high\" is not a port: give a number from 0 to 65535; more: micro-smol explain port-invalid";
    assert_fails(micro_smol(Path::new("/"), &["missing.rs"]).env("PORT", "high"), message);
}

#[test]
fn a_missing_file_is_named() {
    let message = "cannot serve missing.rs: No such file or directory (os error 2); name a FILE.rs or a directory; more: micro-smol explain entry-not-existent";
    assert_fails(&mut micro_smol(Path::new("/"), &["missing.rs"]), message);
}

#[test]
fn a_path_need_not_be_unicode() {
    use std::os::unix::ffi::OsStrExt;
    let message = "cannot serve \u{fffd}.rs: No such file or directory (os error 2); name a FILE.rs or a directory; more: micro-smol explain entry-not-existent";
    let path = std::ffi::OsStr::from_bytes(b"\xff.rs");
    assert_fails(micro_smol(Path::new("/"), &[]).arg(path), message);
}

#[test]
fn a_file_that_is_not_rust_is_refused() {
    let directory = files("not_rust", &[("page.html", "")]);
    let message = format!(
        "cannot serve {}/page.html: it is no Rust file; name a FILE.rs or a directory; more: micro-smol explain entry-not-rust",
        directory.display()
    );
    assert_fails(&mut micro_smol(&directory, &["page.html"]), &message);
}

#[test]
fn a_file_without_a_handler_is_told_what_to_add() {
    let directory = files("no_handler", &[("index.rs", "async fn handler() {}\n")]);
    let cases = [
        ("async fn handler() {}\n", "make it `pub async fn handler`"),
        ("async fn serve() {}\n", "add `pub async fn handler(req: Request) -> impl IntoResponse`"),
    ];
    for (code, advice) in cases {
        fs::write(directory.join("index.rs"), code).unwrap();
        let message = format!(
            "{}/index.rs exports no handler: {advice}; more: micro-smol explain no-handler",
            directory.display()
        );
        assert_fails(&mut micro_smol(&directory, &[]), &message);
    }
}

#[test]
fn a_directory_without_a_service_is_told_what_to_do() {
    let directory = directory("empty");
    let message = format!(
        "there is neither Cargo.toml nor index.rs in {}: name a file, such as hello.rs; more: micro-smol explain entry-missing",
        directory.display()
    );
    assert_fails(&mut micro_smol(&directory, &[]), &message);
}

#[test]
fn malformed_frontmatter_is_named_with_its_line() {
    let cases = [
        ("\n---\n[dependencies]\n", "2: the frontmatter has no end: close it with ---"),
        ("---rust\n---\n", "1: the frontmatter is for cargo: begin it with --- or ---cargo"),
        ("---\n---\n---\n", "3: a second frontmatter: put all into the first"),
        ("---\n\n[lib]\n---\n", "3: `lib` belongs to the package that micro-smol makes of the file: remove it"),
    ];
    for (frontmatter, message) in cases {
        let directory = files("malformed_frontmatter", &[("index.rs", &format!("{frontmatter}{HANDLER}"))]);
        let message =
            format!("{}/index.rs:{message}; more: micro-smol explain frontmatter-invalid", directory.display());
        assert_fails(&mut micro_smol(&directory, &[]), &message);
    }
}

#[test]
fn a_path_may_have_quotes_and_backslashes() {
    let directory = files("quotes", &[("a \"b\\c.rs", HANDLER)]);
    assert_eq!(Service::start(&directory, &["a \"b\\c.rs"]).get(), "served");
}

#[test]
fn a_missing_cargo_is_reported() {
    let directory = files("no_cargo", &[("index.rs", HANDLER)]);
    let mut command = micro_smol(&directory, &[]);
    let message =
        "cargo was not found: install Rust, or add cargo's directory to PATH; more: micro-smol explain cargo-not-found";
    assert_fails(command.env_remove("CARGO").env("PATH", ""), message);
}

#[test]
fn a_cache_that_cannot_be_written_is_reported() {
    let directory = files("no_cache", &[("index.rs", HANDLER)]);
    let said = failure(micro_smol(&directory, &[]).env("XDG_CACHE_HOME", "/dev/null"), 1);
    assert!(said.starts_with("micro-smol: cannot write /dev/null/micro-smol/"), "{said}");
    assert!(
        said.ends_with("; XDG_CACHE_HOME says where the cache is; more: micro-smol explain cache-not-writable\n"),
        "{said}"
    );
}

#[test]
fn a_script_becomes_the_service_and_stops_on_a_signal() {
    let directory = files("script", &[("sleep.rs", &format!("#!/usr/bin/env micro-smol\n{HANDLER}"))]);
    let script = directory.join("sleep.rs");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", Path::new(PROGRAM).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new(&script);
    command.args(["--debug", "--offline", "-H", "127.0.0.1", "-p", "0"]);
    let mut service = Service::of(command.env("PATH", path).env("XDG_CACHE_HOME", cache()));
    assert_eq!(service.get(), "served");
    let signal = Command::new("kill").args(["-TERM", &service.child.id().to_string()]).status().unwrap();
    assert!(signal.success());
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

/// A file with dependencies, a module, and a private type in its handler.
pub const ORDER: &str = r#"---
package.edition = "2021"
[dependencies]
serde = { version = "1", features = ["derive"] }
number = { path = "number" }
---
//! An order.
#![deny(warnings)]

mod name;

use micro_smol::{Json, Request};

#[derive(serde::Serialize)]
struct Order {
    count: u8,
    name: String,
}

pub async fn handler(_: Request) -> Json<Order> {
    Json(Order { count: number::number(), name: name::name() })
}
"#;

#[test]
fn a_file_brings_dependencies_modules_and_private_types() {
    let directory = files(
        "order",
        &[
            ("index.rs", &format!("\n{ORDER}")),
            ("name.rs", "mod part;\npub fn name() -> String {\n    format!(\"a {}\", part::PART)\n}\n"),
            ("name/part.rs", "pub const PART: &str = include_str!(\"../part.txt\");\n"),
            ("part.txt", "pie"),
            ("number/Cargo.toml", "[package]\nname = \"number\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
            ("number/src/lib.rs", "pub fn number() -> u8 {\n    3\n}\n"),
        ],
    );
    assert_eq!(Service::start(&directory, &[]).get(), r#"{"count":3,"name":"a pie"}"#);
    fs::write(directory.join("part.txt"), "cake").unwrap();
    assert_eq!(Service::start(&directory, &[]).get(), r#"{"count":3,"name":"a cake"}"#);
    fs::write(directory.join("index.rs"), ORDER.replace("number::number()", "4")).unwrap();
    assert_eq!(Service::start(&directory, &["."]).get(), r#"{"count":4,"name":"a cake"}"#);
}

#[test]
fn a_file_can_use_what_stands_above_it() {
    let index =
        format!("#[path = \"../../common.rs\"]\nmod common;\n{}", HANDLER.replace("\"served\"", "common::TEXT"));
    let common = "pub const TEXT: &str = include_str!(\"text.txt\");\n";
    let directory = files("above", &[("a/b/index.rs", &index), ("common.rs", common), ("text.txt", "above")]);
    let index = index.replace("mod common;", "mod common;\nconst _: &str = include_str!(\"../../text.txt\");");
    fs::write(directory.join("a/b/index.rs"), index).unwrap();
    assert_eq!(Service::start(&directory, &["a/b"]).get(), "above");
}

#[test]
fn rust_scripts_comment_is_a_manifest_too() {
    let head = "//! Tea.\n//!\n//! ```cargo\n//! [dependencies]\n//! serde_json = \"1\"\n//! ```\n";
    let code = HANDLER.replace("\"served\"", "{ serde_json::json!(1); \"tea\" }");
    let directory = files("comment", &[("tea.rs", &format!("{head}{code}"))]);
    assert_eq!(Service::start(&directory, &["tea.rs"]).get(), "tea");
}

#[test]
fn messages_of_rustc_name_the_users_file_and_line() {
    let directory = files(
        "message",
        &[
            ("index.rs", &format!("---\n---\nmod other;\n{HANDLER}fn three() -> u8 {{\n    \"3\"\n}}\n")),
            ("other.rs", "\nconst FOUR: u8 = \"4\";\n"),
        ],
    );
    let path = directory.display();
    let complaints = [format!("--> {path}/index.rs:8:5\n"), format!("--> {path}/other.rs:2:18\n")];
    let complaints: Vec<&str> = complaints.iter().map(String::as_str).collect();
    assert_refused(&directory, ".", &complaints, &format!("{path}/index.rs does not compile; see above"));
}

#[test]
fn a_handler_of_the_wrong_type_is_shown_in_its_file() {
    let directory = files("wrong_type", &[("index.rs", "\npub async fn handler(_: u8) {}\n")]);
    let path = directory.display();
    let shown = [
        &*format!("--> {path}/index.rs:2:14\n"),
        "2 | pub async fn handler(_: u8) {}\n",
        "          run(handler) // micro-smol explain handler-type\n",
    ];
    let more = "more: micro-smol explain handler-type";
    assert_refused(&directory, "index.rs", &shown, &format!("{path}/index.rs does not compile; see above; {more}"));
}

#[test]
fn what_has_no_end_is_shown_in_the_users_lines() {
    let open = HANDLER.trim_end().strip_suffix('}').unwrap();
    let cases = [
        (open.to_owned(), "error: this file contains an unclosed delimiter\n"),
        (format!("{HANDLER}/* tea"), "error[E0758]: unterminated block comment\n"),
        (format!("{HANDLER}const TEA: &str = \"oolong;\n"), "error[E0765]: unterminated double quote string\n"),
    ];
    for (code, error) in cases {
        let directory = files("no_end", &[("index.rs", &code)]);
        let said = failure(&mut micro_smol(&directory, &["--debug", "--offline"]), 1);
        assert!(said.contains(error) && !said.contains("include!") && !said.contains("could not compile"), "{said}");
        let place = said.rsplit_once(" --> ").unwrap().1;
        let line: usize = place.split(':').nth(1).unwrap().parse().unwrap();
        assert!(line <= code.lines().count(), "{said}");
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_file() {
    let directory = files("mark", &[("index.rs", &format!("\u{feff}---\n[shop]\n---\n{HANDLER}"))]);
    let message = "cargo knows no table `shop`; more: micro-smol explain frontmatter-invalid";
    assert_fails(&mut micro_smol(&directory, &[]), &format!("{}/index.rs:2: {message}", directory.display()));
}

#[test]
fn a_file_that_is_not_utf_8_is_named_with_its_line() {
    let directory = files("not_utf_8", &[]);
    fs::write(directory.join("index.rs"), b"\n\n// \xff\n").unwrap();
    assert_fails(&mut micro_smol(&directory, &[]), &format!("{}/index.rs:3: this is not UTF-8", directory.display()));
}

#[test]
fn a_handler_of_the_wrong_type_is_shown_in_its_library() {
    let library = ("src/lib.rs", "//! A shop.\npub async fn handler() {}\n");
    let directory = files("wrong_library", &[("Cargo.toml", &manifest("")), library]);
    let path = directory.display();
    let shown = [&*format!("--> {path}/src/lib.rs:2:"), "run(my_shop::handler) // micro-smol explain handler-type\n"];
    let message = format!("{path} does not compile; see above; more: micro-smol explain handler-type");
    assert_refused(&directory, ".", &shown, &message);
}

#[test]
fn a_handler_that_is_not_exported_is_told_from_one_of_the_wrong_type() {
    let directory = files("inner", &[("index.rs", &format!("mod inner {{ {} }}\n", HANDLER.trim()))]);
    let path = directory.display();
    let said = failure(&mut micro_smol(&directory, &["--debug", "--offline"]), 1);
    let end = format!("{path}/index.rs does not compile; see above; more: micro-smol explain no-handler\n");
    assert!(said.ends_with(&end), "{said}");
    let private = ("src/lib.rs", "//! A shop.\nasync fn handler() {}\n");
    let directory = files("private_library", &[("Cargo.toml", &manifest("")), private]);
    let advice = "make it `pub async fn handler`; more: micro-smol explain no-handler";
    let message = format!("{}/src/lib.rs exports no handler: {advice}", directory.display());
    assert_fails(&mut micro_smol(&directory, &[]), &message);
}

#[test]
fn what_rustc_does_not_find_is_named_beside_the_users_file() {
    let text = format!("mod missing;\nconst _: &str = include_str!(\"missing.txt\");\n{HANDLER}");
    let directory = files("not_found", &[("index.rs", &text)]);
    let path = directory.display();
    let said = failure(&mut micro_smol(&directory, &["--debug", "--offline"]), 1);
    for complaint in [
        format!("create file \"{path}/missing.rs\" or \"{path}/missing/mod.rs\"\n"),
        format!("couldn't read `{path}/missing.txt`: "),
    ] {
        assert!(said.contains(&complaint), "{complaint} is not in this:\n{said}");
    }
    assert!(!said.contains("copy/"), "{said}");
}

#[test]
fn what_cargo_cannot_read_in_frontmatter_is_named_by_file_and_line() {
    // The last two have no end.
    for line in ["serde = 1\"", "serde.version = 1", "serde = { version = \"1\"", "serde = ["] {
        let frontmatter = format!("\n---\n[dependencies]\n{line}\n---\n");
        let directory = files("bad_manifest", &[("index.rs", &format!("{frontmatter}{HANDLER}"))]);
        let path = directory.display();
        let complaint = format!(" --> {path}/index.rs:4:");
        let message =
            format!("cargo cannot read {path}/index.rs; see above; more: micro-smol explain manifest-invalid");
        // The second time, the manifest is not new.
        for _ in 0..2 {
            assert_refused(&directory, "index.rs", &[&complaint], &message);
        }
    }
}

#[test]
fn a_dependency_that_cargo_cannot_read_is_named_by_file_and_line() {
    for line in ["serde = { verzion = \"1\" }", "number.path = \"missing\""] {
        let frontmatter = format!("---\npackage.edition = \"2024\"\n[dependencies]\n{line}\n---\n");
        let directory = files("bad_dependency", &[("index.rs", &format!("{frontmatter}{HANDLER}"))]);
        let place = format!("{}/index.rs:4", directory.display());
        let message = format!("cargo cannot read {place}; see above; more: micro-smol explain manifest-invalid");
        assert_refused(&directory, "index.rs", &[], &message);
    }
}

#[test]
fn a_dependency_that_does_not_exist_is_named_by_file_and_line() {
    let cases = [
        ("no-such-crate-for-micro-smol = \"1\"", "no matching package named `no-such-crate-for-micro-smol` found"),
        ("serde = \"99\"", "failed to select a version for the requirement `serde = \"^99\"`"),
        ("serde = { version = \"1\", features = [\"tea\"] }", "` depends on `serde` with feature `tea`"),
    ];
    for (line, complaint) in cases {
        let frontmatter = format!("\n---\n[dependencies]\n\n{line}\n---\n");
        let directory = files("no_such_crate", &[("index.rs", &format!("{frontmatter}{HANDLER}"))]);
        let file = format!("{}/index.rs", directory.display());
        let what =
            "cargo cannot do what this frontmatter asks; see above; more: micro-smol explain dependency-unreachable";
        let required = format!("required by package `{file}`\n");
        assert_refused(&directory, "index.rs", &[complaint, &required], &format!("{file}:5: {what}"));
    }
}

#[test]
fn a_crate_that_is_not_declared_is_told_where_to_stand() {
    let code = format!("use serde::Serialize;\n#[derive(Serialize)]\nstruct Tea;\n{HANDLER}");
    let directory =
        files("undeclared", &[("index.rs", &code), ("rand.rs", &HANDLER.replace("\"served\"", "rand::r()"))]);
    let cases = [("index.rs", "serde", r#"{ version = "1", features = ["derive"] }"#), ("rand.rs", "rand", r#""*""#)];
    for (file, name, value) in cases {
        let what = format!("{}/{file} declares no crate `{name}`", directory.display());
        let how = format!("put `{name} = {value}` below `[dependencies]`, between `---` lines at the top of the file");
        let message = format!("{what}: {how}; more: micro-smol explain dependency-undeclared");
        assert_refused(&directory, file, &["use of unresolved module or unlinked crate"], &message);
    }
    let line = r#"serde = { version = "1", features = ["derive"] }"#;
    fs::write(directory.join("index.rs"), format!("---\n[dependencies]\n{line}\n---\n#![allow(unused)]\n{code}"))
        .unwrap();
    assert_eq!(Service::start(&directory, &[]).get(), "served");
}

#[test]
#[cfg(target_os = "linux")]
fn what_cannot_be_written_to_stdout_is_a_failure() {
    for args in [&["--help"][..], &["--version"], &["explain"], &["build", "--help"]] {
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = micro_smol(Path::new("/"), args).stdout(full).output().unwrap();
        let message = "micro-smol: cannot write to stdout: No space left on device (os error 28)\n";
        assert_eq!((output.status.code(), text(&output.stderr)), (Some(1), message), "{args:?}");
    }
}

#[test]
fn a_closed_pipe_changes_no_exit_code() {
    let directory = files("closed_pipe", &[("index.rs", &format!("{HANDLER}fn three() -> u8 {{\n    \"3\"\n}}\n"))]);
    let codes = |args: &[&str], code: i32| {
        // Both ends are closed before it starts.
        let closed = || Stdio::from(std::io::pipe().unwrap().1);
        let status = micro_smol(&directory, args).stdout(closed()).stderr(closed()).status().unwrap();
        assert_eq!(status.code(), Some(code), "{args:?}");
    };
    for args in [&["--help"][..], &["cache"], &["explain"], &["vendor", "vendored"]] {
        codes(args, 0);
    }
    codes(&["--debug", "--offline"], 1);
    codes(&["missing.rs"], 1);
    codes(&["--fast"], 2);
}

#[test]
fn a_program_is_compiled_as_it_is() {
    let main = "fn main() {\n    println!(\"{:?}\", std::env::args().skip(1).collect::<Vec<_>>());\n}\n";
    let directory = files("program", &[("program.rs", &format!("{HANDLER}{main}"))]);
    let args = ["--debug", "--offline", "--locked", "-w", "2", "program.rs", "-s", "-l", "unix:/a b"];
    let options = r#""--listen", "unix:/a b", "--workers", "2", "--silent""#;
    for (more, printed) in [(&[][..], ""), (&["--", "-w", "--", "tea"], r#", "--", "-w", "--", "tea""#)] {
        let Output { status, stdout, stderr } = micro_smol(&directory, &args).args(more).output().unwrap();
        assert_eq!(alone(&stderr), "");
        assert_eq!(text(&stdout), format!("[{options}{printed}]\n"));
        assert!(status.success());
    }
}

#[test]
fn an_env_file_sets_what_is_not_set() {
    let main = "fn main() {\n    let variable = |name| std::env::var(name).unwrap_or_default();\n    println!(\"{:?}\", [\"A\", \"B\", \"C\", \"PORT\"].map(variable));\n    println!(\"{:?}\", std::env::args().skip(1).collect::<Vec<_>>());\n}\n";
    let one = "# One\nA=1\nB = \"two # 2\" # x\nPORT=7\n";
    let directory =
        files("env_file", &[("main.rs", main), ("one", one), ("two", "A=3\nC=d\nHOST=\n"), ("wrong", "\n\nA\n")]);
    let start = |more: &[&str]| {
        let mut command = micro_smol(&directory, &[&["--debug", "--offline", "main.rs"], more].concat());
        command.env_remove("PORT");
        command
    };
    let both = ["--env-file", "one", "--env-file=two"];
    let listen = r#"["--listen", "tcp://0.0.0.0:7"]"#;
    let said = success(start(&both).env("C", "set"));
    assert_eq!(said, format!("[\"3\", \"two # 2\", \"set\", \"7\"]\n{listen}\n"));
    // An option says otherwise, and so does what is set.
    assert!(success(start(&both).args(["-p", "8"])).contains("tcp://0.0.0.0:8"));
    assert!(success(start(&both).env("PORT", "9")).ends_with("\"9\"]\n[]\n"));
    assert!(
        success(start(&both).args(["-l", "tcp://[::1]:8"])).ends_with("\"7\"]\n[\"--listen\", \"tcp://[::1]:8\"]\n")
    );
    let refused = "wrong:3: this is not NAME=value, a comment or a blank line";
    assert_fails(&mut start(&["--env-file", "wrong"]), refused);
    fs::write(directory.join("port"), "PORT=high\n").unwrap();
    let refused = "PORT: \"high\" is not a port: give a number from 0 to 65535; more: micro-smol explain port-invalid";
    assert_fails(&mut start(&["--env-file", "port"]), refused);
    assert_fails(&mut start(&["--env-file", "none"]), "cannot read none: No such file or directory (os error 2)");
    let said = failure(&mut start(&["--env-file"]), 2);
    assert_eq!(said, "micro-smol: missing argument for option '--env-file'; --help shows the options\n");
    let said = failure(&mut start(&["--env-fil", "one"]), 2);
    assert_eq!(said, "micro-smol: invalid option '--env-fil': did you mean --env-file?\n");
}

#[test]
fn a_service_leaves_what_follows_two_dashes_to_its_program() {
    let code = HANDLER.replace("\"served\"", "std::env::args().last().unwrap().leak()");
    let main = "fn main() -> std::process::ExitCode {\n    micro_smol::run(handler)\n}\n";
    let directory = files("program_args", &[("index.rs", &code), ("main.rs", &format!("{code}{main}"))]);
    for entry in ["index.rs", "main.rs"] {
        assert_eq!(Service::start(&directory, &[entry, "--", "--tea", "--oolong"]).get(), "--oolong");
    }
}

#[test]
fn an_address_in_use_is_reported_before_anything_is_compiled() {
    let directory = files("in_use", &[("index.rs", HANDLER)]);
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let _unix = UnixListener::bind(directory.join("s")).unwrap();
    let tcp = (
        format!("tcp://{}", tcp.local_addr().unwrap()),
        "the address is in use: stop what listens there, or choose another port; more: micro-smol explain address-in-use",
    );
    let unix = (
        "unix:s".to_owned(),
        "a server answers there, or it is no socket: stop it, or choose another path; more: micro-smol explain socket-in-use",
    );
    for (endpoint, message) in [tcp, unix] {
        for mode in ["--debug", "--dev"] {
            let mut command = micro_smol(&directory, &[mode, "--offline", "-l", "tcp://127.0.0.1:0", "-l", &endpoint]);
            assert_fails(command.env("CARGO", "/missing"), &format!("cannot listen on {endpoint}: {message}"));
        }
    }
}

#[test]
fn an_address_that_is_free_is_left_as_it_was_until_the_service_starts() {
    let directory = files("free", &[("index.rs", HANDLER)]);
    let shared = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_reuseport(&shared, true).unwrap();
    rustix::net::bind(&shared, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&shared, 1).unwrap();
    let shared = TcpListener::from(shared);
    let shared = format!("tcp://{}", shared.local_addr().unwrap());
    let assert_compiled = |args: &[&str]| {
        let said = failure(micro_smol(&directory, args).env("CARGO", "/missing"), 1);
        assert!(said.contains("cargo was not found"), "{said}");
    };
    assert_compiled(&["-l", "unix:s", "-l", "tcp://127.0.0.1:0"]);
    assert!(!directory.join("s").exists());
    assert_compiled(&["--reuse-port", "-l", &shared]);
    // It is not said to be used.
    fs::write(directory.join("index.rs"), "fn main() {}\n").unwrap();
    assert_compiled(&["-l", &shared]);
}

/// The manifest of a package that depends on this crate.
pub fn manifest(more: &str) -> String {
    format!("[package]\nname = \"my-shop\"\nedition = \"2024\"\n[dependencies]\nmicro-smol.path = {CHECKOUT:?}\n{more}")
}

#[test]
fn a_package_is_served_by_its_library() {
    let directory = files("library", &[("Cargo.toml", &manifest("")), ("src/lib.rs", HANDLER)]);
    assert_eq!(Service::start(&directory, &[]).get(), "served");
}

#[test]
fn a_package_can_name_the_file_that_serves_it() {
    let directory = files(
        "named_file",
        &[
            ("Cargo.toml", &manifest("[package.metadata.micro-smol]\nmain = \"services/shop.rs\"\n")),
            ("src/lib.rs", "pub const OPEN: &str = \"open\";\n"),
            ("services/shop.rs", &HANDLER.replace("\"served\"", "my_shop::OPEN")),
        ],
    );
    assert_eq!(Service::start(Path::new("/"), &[directory.to_str().unwrap()]).get(), "open");
}

#[test]
fn a_member_of_a_workspace_is_served_with_the_workspaces_lock_file() {
    let workspace =
        format!("[workspace]\nmembers = [\"shop\"]\n[workspace.dependencies]\nmicro-smol.path = {CHECKOUT:?}\n");
    let member = "[package]\nname = \"shop\"\nedition = \"2024\"\n[dependencies]\nmicro-smol.workspace = true\n";
    let directory =
        files("workspace", &[("Cargo.toml", &workspace), ("shop/Cargo.toml", member), ("shop/src/lib.rs", HANDLER)]);
    fs::copy(Path::new(CHECKOUT).join("Cargo.lock"), directory.join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    let cargo = cargo.args(["update", "--workspace", "--offline"]).current_dir(&directory).output().unwrap();
    assert!(cargo.status.success(), "{}", text(&cargo.stderr));
    assert_eq!(Service::start(&directory, &["--locked", "shop"]).get(), "served");
}

#[test]
fn a_package_that_cannot_be_served_is_told_why() {
    let plain = "[package]\nname = \"shop\"\nedition = \"2024\"\n";
    let newer = "[package]\nname = \"shop\"\nedition = \"2024\"\n[dependencies]\nmicro-smol = \"7.1\"\n";
    let newer_fault = "it wants micro-smol ^7.1, but this command serves 0.1: install the one that it wants";
    let cases = [
        (newer, "src/lib.rs", newer_fault),
        (plain, "src/lib.rs", "it does not name micro-smol: add what `micro-smol vendor vendor/micro-smol` prints"),
        (
            plain,
            "src/main.rs",
            "no library could export a handler: add src/lib.rs, or name its program: [package.metadata.micro-smol] main = \"src/main.rs\"",
        ),
        ("[workspace]\n", "src/lib.rs", "this is a workspace: name the directory of a member"),
    ];
    for (manifest, file, message) in cases {
        let directory =
            files("no_package", &[("Cargo.toml", &format!("{manifest}[workspace.metadata]\n")), (file, HANDLER)]);
        let message =
            format!("{}/Cargo.toml: {message}; more: micro-smol explain manifest-invalid", directory.display());
        assert_fails(&mut micro_smol(&directory, &[]), &message);
    }
}

#[test]
fn a_library_without_a_handler_is_told_what_to_export() {
    let directory = files("private", &[("Cargo.toml", &manifest("")), ("src/lib.rs", "pub fn other() {}\n")]);
    let shown = ["cannot find value `handler` in crate `my_shop`", "// micro-smol explain no-handler\n"];
    let message = format!("{} does not compile; see above; more: micro-smol explain no-handler", directory.display());
    assert_refused(&directory, ".", &shown, &message);
}

#[test]
fn the_checkout_is_served_by_its_example() {
    assert_eq!(Service::start(Path::new(CHECKOUT), &[]).get(), "Hello, world");
}

#[test]
fn every_example_is_served() {
    let examples = fs::read_dir(Path::new(CHECKOUT).join("examples")).unwrap();
    let mut names: Vec<_> = examples.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".rs"));
    names.sort();
    assert_eq!(names.len(), 13);
    for name in names.iter().filter(|name| *name != "unix.rs") {
        Service::start(Path::new(CHECKOUT), &[&format!("examples/{name}")]).get();
    }
    let directory = directory("unix_example");
    let mut command = micro_smol(Path::new(CHECKOUT), &["--debug", "--offline", "examples/unix.rs"]);
    let mut child = command.env("TMPDIR", &directory).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(line, format!("Listening on {}/hello.sock\n", directory.display()));
}
