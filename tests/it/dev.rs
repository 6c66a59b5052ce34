//! `micro-smol --dev`, as somebody uses it who edits a service.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use micro_smol::cli::is_elsewhere;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use crate::cli::{HANDLER, PROGRAM, cache, directory, files, is_aside, micro_smol};
use crate::test_service::wait_for;

/// Long enough for a build on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(100);

/// The lines of a stream as they come.
struct Lines(Receiver<String>);

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            BufReader::new(stream).lines().map_while(Result::ok).try_for_each(|line| sender.send(line))
        });
        Lines(lines)
    }

    /// Waits for a line with these words in it.
    fn expect(&self, words: &str) -> String {
        self.until(words).pop().unwrap()
    }

    /// All lines up to one with these words in it.
    fn until(&self, words: &str) -> Vec<String> {
        let mut lines = Vec::new();
        while let Ok(line) = self.0.recv_timeout(PATIENCE) {
            lines.push(line);
            if lines.last().is_some_and(|line| line.contains(words)) {
                return lines;
            }
        }
        panic!("{words} is not among {lines:#?}")
    }
}

/// A service that is being developed.
struct Dev {
    child: Child,
    port: u16,
    stdout: Lines,
    stderr: Lines,
    directory: PathBuf,
}

impl Dev {
    /// Starts it and waits until it is said where it listens.
    fn start(test: &str, with: &[(&str, &str)], args: &[&str]) -> Self {
        let directory = files(test, with);
        let mut command = micro_smol(&directory, &["--dev", "--offline", "-l", "tcp://127.0.0.1:0"]);
        let mut dev = Dev::of(command.args(args), directory);
        dev.learn_port();
        dev
    }

    /// Starts it on a Unix socket, whose name is known before there is a service.
    fn start_on_socket(test: &str, with: &[(&str, &str)]) -> Self {
        let directory = files(test, with);
        let mut command = micro_smol(&directory, &["--dev", "--offline", "-l", "unix:s"]);
        Dev::of(&mut command, directory)
    }

    fn of(command: &mut Command, directory: PathBuf) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (stdout, stderr) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        Dev { child, port: 0, stdout: Lines::of(stdout), stderr: Lines::of(stderr), directory }
    }

    fn learn_port(&mut self) {
        let line = self.stdout.expect("micro-smol: Accepting connections on http://127.0.0.1:");
        self.port = line.rsplit(':').next().unwrap().parse().unwrap();
    }

    /// The status line, the fields and the content of the response on the Unix socket, once there is one.
    fn ask_socket(&self) -> String {
        let start = Instant::now();
        loop {
            if let Ok(client) = UnixStream::connect(self.directory.join("s")) {
                return answer(client, "/").unwrap();
            }
            assert!(start.elapsed() < PATIENCE);
        }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.directory.join(name), text).unwrap();
    }

    fn get(&self, target: &str) -> String {
        get(TcpStream::connect(("127.0.0.1", self.port)).unwrap(), target)
    }

    /// Waits until the service answers so.
    fn expect(&self, content: &str) {
        let start = Instant::now();
        while self.get("/") != content {
            assert!(start.elapsed() < PATIENCE, "it does not become {content}");
        }
    }

    /// Ends it, and returns its exit code.
    fn stop(self) -> Option<i32> {
        let port = self.port;
        let code = self.end();
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
        code
    }

    fn end(mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        self.child.wait().unwrap().code()
    }

    /// What it prints until its end, but what depends on other tests.
    fn rest(&self) -> Vec<String> {
        let lines = self.stderr.0.iter().chain(self.stdout.0.iter());
        lines.filter(|line| !is_aside(line)).collect()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // The service ends with it, which it would not if it was killed.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}

/// The whole response, if there is one.
fn answer(mut client: impl Read + Write, target: &str) -> io::Result<String> {
    let mut answer = String::new();
    write!(client, "GET {target} HTTP/1.0\r\n\r\n").and_then(|()| client.read_to_string(&mut answer))?;
    Ok(answer)
}

/// The content of the response, or what came instead of it.
fn get(client: impl Read + Write, target: &str) -> String {
    let answer = answer(client, target);
    let content = answer.as_ref().ok().and_then(|answer| answer.split_once("\r\n\r\n"));
    content.map_or_else(|| format!("{answer:?}"), |(_, content)| content.to_owned())
}

fn answering(content: &str) -> String {
    HANDLER.replace("served", content)
}

/// Ends the client's loop, also when an edit is not served in time.
struct SetOnDrop<'a>(&'a AtomicBool);

impl Drop for SetOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn ten_edits_lose_no_request() {
    let dev = Dev::start("edits", &[("index.rs", &answering("edit 0"))], &[]);
    let (port, is_done) = (dev.port, AtomicBool::new(false));
    let (count, lost) = std::thread::scope(|scope| {
        let client = scope.spawn(|| {
            let (mut count, mut lost) = (0, Vec::new());
            while !is_done.load(Ordering::Relaxed) {
                let answer = TcpStream::connect(("127.0.0.1", port)).map(|client| get(client, "/"));
                count += 1;
                lost.extend(answer.map_or_else(
                    |error| Some(error.to_string()),
                    |text| Some(text).filter(|text| !text.starts_with("edit ")),
                ));
            }
            (count, lost)
        });
        let done = SetOnDrop(&is_done);
        for edit in 1..=10 {
            dev.write("index.rs", &answering(&format!("edit {edit}")));
            dev.expect(&format!("edit {edit}"));
        }
        drop(done);
        client.join().unwrap()
    });
    assert_eq!(lost, Vec::<String>::new(), "of {count}");
    assert!(count > 100, "{count}");
    assert_eq!(dev.stop(), Some(0));
}

/// The second of the day in UTC.
fn second_of_the_day() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() % (24 * 60 * 60)
}

#[test]
fn a_request_is_logged_with_the_local_time_and_the_size_of_the_answer() {
    let directory = files("logged", &[("index.rs", HANDLER)]);
    let mut command = micro_smol(&directory, &["--dev", "--offline", "-l", "tcp://127.0.0.1:0"]);
    // Three and a half hours ahead of UTC.
    let mut dev = Dev::of(command.env("TZ", "XYZ-03:30"), directory);
    dev.learn_port();
    let before = second_of_the_day();
    assert_eq!(dev.get("/tea?milk=1"), "served");
    let line = dev.stderr.expect("tea");
    let after = second_of_the_day();
    let (time, rest) = line.strip_prefix("micro-smol: ").unwrap().split_once(' ').unwrap();
    assert!(rest.starts_with("GET /tea?milk=1 200 6 B in ") && rest.ends_with('s'), "{line}");
    let numbers: Vec<u64> = time.split(':').map(|number| number.parse().unwrap()).collect();
    assert!(time.len() == 8 && numbers.len() == 3, "{time}");
    let day = 24 * 60 * 60;
    let utc = (numbers[0] * 3600 + numbers[1] * 60 + numbers[2] + day - 12_600) % day;
    assert!((utc + day - before) % day <= (after + day - before) % day, "{time}, but {before} to {after}");
}

#[test]
#[cfg(target_os = "linux")]
fn the_status_of_a_request_is_coloured_in_a_terminal_unless_the_user_has_none() {
    for (variable, status) in [("", "\x1b[32m200\x1b[0m"), ("NO_COLOR=1", "200")] {
        let directory = files(&format!("status{variable}"), &[("index.rs", HANDLER)]);
        let line = format!("{variable} {PROGRAM} --dev --offline -H 127.0.0.1 -p 0");
        in_terminal(&directory, &line, |shown, keys| {
            let url = shown.expect("Accepting connections on http://");
            let port: u16 = url.trim_end().rsplit(':').next().unwrap().parse().unwrap();
            get(TcpStream::connect(("127.0.0.1", port)).unwrap(), "/tea");
            let line = shown.expect("GET /tea");
            assert!(line.contains(&format!(" GET /tea {status} 6 B in ")), "{line:?}");
            keys.write_all(b"\x03").unwrap();
        });
    }
}

#[test]
fn an_address_of_another_machine_is_told_from_ours() {
    for (address, expected) in [("127.0.0.1", false), ("127.1.2.3", false), ("192.0.2.7", true), ("2001:db8::1", true)]
    {
        assert_eq!(is_elsewhere(address.parse().unwrap()), expected, "{address}");
    }
}

#[test]
fn a_build_that_fails_leaves_the_old_service() {
    let dev = Dev::start("failing", &[("index.rs", HANDLER)], &[]);
    dev.write("index.rs", &format!("mod new;\n{}", HANDLER.replace("\"served\"", "new::TEXT")));
    dev.stderr.expect("file not found for module `new`");
    dev.stderr.expect("micro-smol: ");
    assert_eq!(dev.get("/"), "served");
    dev.write("new.rs", "pub const TEXT: &str = 3;\n");
    dev.stderr.expect("mismatched types");
    assert_eq!(dev.get("/"), "served");
    dev.write("new.rs", "pub const TEXT: &str = \"new\";\n");
    dev.expect("new");
}

#[test]
fn modules_and_dependencies_are_watched_but_data_is_not() {
    let index = "---\n[dependencies]\nnumber.path = \"number\"\n---\nmod other;\n";
    let code =
        HANDLER.replace("&'static str", "String").replace("\"served\"", "format!(\"{} {}\", other::N, number::N)");
    let number = |n: u8| format!("pub const N: u8 = {n};\n");
    let with = [
        ("index.rs", &*format!("{index}{code}")),
        ("other.rs", &number(1)),
        ("number/Cargo.toml", "[package]\nname = \"number\"\nedition = \"2024\"\n"),
        ("number/src/lib.rs", &number(1)),
    ];
    let dev = Dev::start("watched", &with, &[]);
    dev.write("data.json", "{}");
    dev.write("other.rs", &number(2));
    dev.expect("2 1");
    dev.write("number/src/lib.rs", &number(3));
    dev.expect("2 3");
    let edition = "[package]\nname = \"number\"\nedition = \"2021\"\n";
    dev.write("number/Cargo.toml", edition);
    for _ in 0..3 {
        dev.stderr.expect("micro-smol: reloaded");
    }
    assert!(dev.stderr.0.try_recv().is_err(), "it was started more often than changed");
}

/// A handler that can end its process.
const MORTAL: &str = r#"
pub async fn handler(req: micro_smol::Request) -> &'static str {
    match req.path() {
        "/exit" => std::process::exit(3),
        "/abort" => std::process::abort(),
        _ => "served",
    }
}
"#;

#[test]
fn requests_learn_how_the_service_has_ended_until_one_starts_it_again() {
    let dev = Dev::start("mortal", &[("index.rs", MORTAL)], &[]);
    for (path, end) in [("/exit", "exit status: 3"), ("/abort", "signal: 6 (SIGABRT)")] {
        dev.get(path);
        let connect = || TcpStream::connect(("127.0.0.1", dev.port)).unwrap();
        let mut answers: Vec<String> = Vec::new();
        while !answers.last().is_some_and(|last| last.ends_with("\r\n\r\nserved")) {
            answers.push(answer(connect(), "/").unwrap());
        }
        answers.pop();
        assert!(!answers.is_empty());
        for answer in answers {
            assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
            assert!(answer.contains(&format!("\r\n\r\nthe service has ended: {end}")), "{answer}");
        }
        let line = dev.stderr.expect("has ended");
        assert!(line.starts_with(&format!("micro-smol: the service has ended: {end}")), "{line}");
        assert!(line.ends_with("; the next change, or the next request after a second, starts it again"), "{line}");
    }
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn a_service_that_has_ended_is_started_by_the_next_change() {
    let dying = HANDLER.replace("\"served\"", "{ std::process::exit(3) }");
    let dying = format!("#![allow(unreachable_code)]\n{dying}");
    let dev = Dev::start("dying", &[("index.rs", &dying)], &[]);
    dev.get("/");
    dev.stderr.expect("the service has ended: exit status: 3");
    dev.write("index.rs", HANDLER);
    dev.expect("served");
}

#[test]
fn a_main_that_returns_is_answered_for() {
    let dev = Dev::start_on_socket("returning", &[("index.rs", "fn main() {}\n")]);
    // At the second end, a request has started it again.
    let mut ends = 0;
    while ends < 2 {
        let answer = dev.ask_socket();
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        assert!(
            answer
                .contains("\r\n\r\nthe service has ended: exit status: 0 (does its `main` call `micro_smol::run`?); "),
            "{answer}"
        );
        ends += dev.stderr.0.try_iter().filter(|line| line.contains("has ended")).count();
    }
    dev.write("index.rs", HANDLER);
    while !dev.ask_socket().ends_with("\r\n\r\nserved") {}
}

#[test]
fn a_main_that_serves_nothing_is_answered_for_until_it_is_mended() {
    let idle = "fn main() {\n    loop {\n        std::thread::park()\n    }\n}\n";
    let dev = Dev::start_on_socket("idle", &[("index.rs", idle)]);
    let answer = dev.ask_socket();
    let reason = "the service is not ready after 5s: does its `main` call `micro_smol::run`?";
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.ends_with(&format!("\r\n\r\n{reason}")), "{answer}");
    dev.stderr.expect(reason);
    dev.write("index.rs", HANDLER);
    while !dev.ask_socket().ends_with("\r\n\r\nserved") {}
    assert_eq!(dev.end(), Some(0));
}

#[test]
fn it_is_said_where_it_listens_also_if_the_first_compile_fails() {
    let failing = HANDLER.replace("\"served\"", "first()");
    let dev = Dev::start("announced", &[("index.rs", &failing)], &[]);
    let answer = dev.get("/");
    assert!(answer.starts_with("error[E0425]: "), "{answer}");
    dev.write("index.rs", HANDLER);
    dev.stderr.expect("reloaded");
}

#[test]
fn requests_learn_the_compilers_first_error_until_there_is_a_service() {
    let failing = HANDLER.replace("\"served\"", "first()");
    let dev = Dev::start_on_socket("first_error", &[("index.rs", &failing)]);
    let answer = dev.ask_socket();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.contains("\r\ncontent-type: text/plain; charset=utf-8\r\n"), "{answer}");
    let content = answer.split_once("\r\n\r\n").unwrap().1;
    assert!(content.starts_with("error[E0425]: cannot find function `first` in this scope\n"), "{content}");
    assert!(content.contains(&format!("--> {}/index.rs:2:5\n", dev.directory.display())), "{content}");
    // It waits for the service while that is compiled.
    dev.write("index.rs", HANDLER);
    while !dev.ask_socket().ends_with("\r\n\r\nserved") {}
    assert_eq!(dev.end(), Some(0));
}

#[test]
fn what_is_planted_or_left_in_the_temporary_directory_is_neither_used_nor_an_obstacle() {
    let directory = files("planted", &[("index.rs", HANDLER)]);
    let (temporary, elsewhere) = (directory.join("temporary"), directory.join("elsewhere"));
    fs::create_dir(&temporary).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let script = "ln -s ../elsewhere \"$TMPDIR/micro-smol-$$\" && exec \"$0\" \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, PROGRAM, "--dev", "--offline", "-l", "tcp://127.0.0.1:0"]).current_dir(&directory);
    command.env("TMPDIR", &temporary).env("XDG_CACHE_HOME", cache()).stdin(Stdio::null());
    let mut dev = Dev::of(&mut command, directory);
    dev.learn_port();
    let planted = format!("micro-smol-{}", dev.child.id());
    let others = || {
        let entries = fs::read_dir(&temporary).unwrap().map(|entry| entry.unwrap());
        entries.filter(|entry| *entry.file_name() != *planted).map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let ours = others();
    assert_eq!(ours.len(), 1, "{ours:?}");
    let metadata = ours[0].symlink_metadata().unwrap();
    assert!(metadata.is_dir());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o700);
    assert_eq!(dev.stop(), Some(0));
    assert_eq!(others(), Vec::<PathBuf>::new());
    assert!(temporary.join(&planted).is_symlink());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
}

#[test]
#[cfg(target_os = "linux")]
fn the_standard_input_is_the_users() {
    let line = "{ let mut line = String::new(); std::io::stdin().read_line(&mut line).unwrap(); line }";
    let reading = HANDLER.replace("&'static str", "String").replace("\"served\"", line);
    let directory = files("stdin", &[("index.rs", &reading)]);
    let mut command = micro_smol(&directory, &["--dev", "--offline", "-l", "tcp://127.0.0.1:0"]);
    let mut dev = Dev::of(command.stdin(Stdio::piped()), directory);
    dev.learn_port();
    let mut stdin = dev.child.stdin.take().unwrap();
    for (edit, line) in ["first\n", "second\n"].into_iter().enumerate() {
        stdin.write_all(line.as_bytes()).unwrap();
        assert_eq!(dev.get("/"), line);
        dev.write("index.rs", &format!("{reading}// {edit}\n"));
        dev.stderr.expect("reloaded");
    }
}

#[test]
fn what_follows_two_dashes_is_the_services() {
    let args = "std::env::args().skip_while(|arg| arg != \"--\").collect::<Vec<_>>().join(\" \")";
    let code = HANDLER.replace("&'static str", "String").replace("\"served\"", args);
    let dev = Dev::start("own_arguments", &[("index.rs", &code)], &["--", "tea", "--milk"]);
    assert_eq!(dev.get("/"), "-- tea --milk");
}

#[test]
fn several_endpoints_are_kept() {
    let directory = directory("endpoint");
    let socket = directory.join("s");
    let unix = format!("unix:{}", socket.display());
    let dev = Dev::start("endpoints", &[("index.rs", &answering("1"))], &["-l", &unix, "-l", "tcp://localhost:0"]);
    dev.stdout.expect(&unix);
    for edit in ["1", "2"] {
        dev.write("index.rs", &answering(edit));
        dev.expect(edit);
        while get(UnixStream::connect(&socket).unwrap(), "/") != edit {}
    }
    assert_eq!(dev.stop(), Some(0));
    assert!(!socket.exists());
}

/// A handler that says by a file that it has begun, and waits for another one.
const GATED: &str = r#"
pub async fn handler(_: micro_smol::Request) -> &'static str {
    std::fs::write("begun", "").unwrap();
    while !std::path::Path::new("go").exists() {
        micro_smol::smol::Timer::after(std::time::Duration::from_millis(5)).await;
    }
    "answered"
}
"#;

/// A request that waits for the file, and a connection without one.
struct InFlight {
    request: TcpStream,
    idle: TcpStream,
}

impl InFlight {
    /// Asks a service with that handler, and returns when it has begun.
    fn begin(port: u16, directory: &Path) -> Self {
        let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut request, idle) = (connect(), connect());
        request.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        wait_for("the handler", || directory.join("begun").exists().then_some(()));
        InFlight { request, idle }
    }

    /// Waits until the service has taken a signal, and closes what is idle.
    fn wait_for_signal(&mut self) {
        assert_eq!(self.idle.read(&mut [0]).unwrap_or(0), 0);
    }

    fn finish(mut self, directory: &Path) {
        self.wait_for_signal();
        fs::write(directory.join("go"), "").unwrap();
        let mut answer = String::new();
        self.request.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nanswered"), "{answer}");
    }
}

#[test]
fn one_signal_lets_the_request_in_flight_finish_and_prints_nothing() {
    // `timeout` hands a signal on to the process, and to all of its group.
    for (test, dev, timeout) in [
        ("term", "--dev", &[][..]),
        ("timeout", "--debug", &["timeout", "600"]),
        ("dev_timeout", "--dev", &["timeout", "600"]),
    ] {
        let directory = files(&format!("one_{test}"), &[("index.rs", GATED)]);
        let words = [timeout, &[PROGRAM, dev, "--offline", "-l", "tcp://127.0.0.1:0"]].concat();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]).current_dir(&directory).env("XDG_CACHE_HOME", cache()).stdin(Stdio::null());
        let mut dev = Dev::of(&mut command, directory);
        dev.learn_port();
        let client = InFlight::begin(dev.port, &dev.directory);
        dev.signal(Signal::TERM);
        client.finish(&dev.directory);
        assert_eq!(dev.child.wait().unwrap().code(), Some(0), "{test}");
        let lines = dev.rest();
        assert!(lines.iter().all(|line| line.contains(" GET / 200 ")), "{test}: {lines:?}");
    }
}

#[test]
fn a_second_signal_cuts_and_says_how_many() {
    let mut dev = Dev::start("second_signal", &[("index.rs", GATED)], &[]);
    let mut client = InFlight::begin(dev.port, &dev.directory);
    dev.signal(Signal::TERM);
    client.wait_for_signal();
    let status = wait_for("the end", || {
        dev.signal(Signal::TERM);
        dev.child.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
    assert_eq!(client.request.read(&mut [0]).unwrap_or(0), 0);
    assert_eq!(dev.rest(), ["micro-smol: 1 connection was cut"]);
}

#[test]
fn a_signal_ends_a_build() {
    let script = "#!/bin/sh\n[ $1 = rustc ] || exec $REAL_CARGO \"$@\"\necho $$ > pid\nexec sleep 600\n";
    let directory = files("endless", &[("index.rs", HANDLER), ("cargo", script)]);
    let cargo = directory.join("cargo");
    fs::set_permissions(&cargo, fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = micro_smol(&directory, &["--dev", "-l", "unix:s"]);
    command.env("CARGO", &cargo).env("REAL_CARGO", env!("CARGO")).env("XDG_CACHE_HOME", directory.join("cache"));
    let dev = Dev::of(&mut command, directory);
    let pid = wait_for("a build", || fs::read_to_string(dev.directory.join("pid")).ok()?.trim().parse().ok());
    assert_eq!(dev.end(), Some(0));
    wait_for("the end of cargo", || test_kill_process(Pid::from_raw(pid).unwrap()).err());
}

/// Runs a shell's command line in a terminal of its own, types, and returns what it has shown.
/// The shell survives Ctrl-C: bash would by itself, dash does not.
#[cfg(target_os = "linux")]
fn in_terminal(directory: &Path, line: &str, mut use_it: impl FnMut(&Lines, &mut dyn Write)) -> Vec<String> {
    let mut command = Command::new("script");
    let line = format!("trap : INT; {line}");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(directory);
    command.env("SHELL", "/bin/sh").env("XDG_CACHE_HOME", cache()).env("TERM", "xterm");
    command.env_remove("NO_COLOR").env_remove("CARGO_TERM_COLOR");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keys, shown) = (child.stdin.take().unwrap(), Lines::of(child.stdout.take().unwrap()));
    use_it(&shown, &mut keys);
    let rest = std::iter::from_fn(|| shown.0.recv_timeout(PATIENCE).ok()).map(|line| line.trim_end().to_owned());
    let rest = rest.collect();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    rest
}

#[test]
#[cfg(target_os = "linux")]
fn ctrl_c_ends_both_and_leaves_the_terminal_as_it_was() {
    let directory = files("terminal", &[("index.rs", HANDLER)]);
    let line = format!("stty -g; {PROGRAM} --dev --offline -H 127.0.0.1 -p 0; echo code $?; stty -g");
    let (mut before, mut port) = (String::new(), String::new());
    let rest = in_terminal(&directory, &line, |shown, keys| {
        before = shown.expect(":").trim_end().to_owned();
        let url = shown.expect("Accepting connections on http://127.0.0.1:");
        port = url.trim_end().rsplit(':').next().unwrap().to_owned();
        keys.write_all(b"\x03").unwrap();
    });
    assert_eq!(rest, ["^Ccode 0", &before]);
    assert!(TcpStream::connect(format!("127.0.0.1:{port}")).is_err());
}

#[test]
#[cfg(target_os = "linux")]
fn one_ctrl_c_lets_the_request_in_flight_finish_and_prints_nothing() {
    let directory = files("one_ctrl_c", &[("index.rs", GATED)]);
    let line = format!("{PROGRAM} --dev --offline -H 127.0.0.1 -p 0; echo code $?");
    let rest = in_terminal(&directory, &line, |shown, keys| {
        let url = shown.expect("Accepting connections on http://127.0.0.1:");
        let port = url.trim_end().rsplit(':').next().unwrap().parse().unwrap();
        let client = InFlight::begin(port, &directory);
        keys.write_all(b"\x03").unwrap();
        client.finish(&directory);
    });
    assert!(rest[0].starts_with("^Cmicro-smol: ") && rest[0].contains(" GET / \x1b[32m200\x1b[0m 8 B in "), "{rest:?}");
    assert_eq!(rest[1..], ["code 0"]);
}

#[test]
#[cfg(target_os = "linux")]
fn a_reload_in_a_terminal_shows_no_progress_bar_and_no_second_address() {
    let directory = files("progress", &[("index.rs", HANDLER)]);
    let line = format!("{PROGRAM} --dev --offline -H 127.0.0.1 -p 0");
    in_terminal(&directory, &line, |shown, keys| {
        let first = shown.until("Accepting connections on ");
        fs::write(directory.join("index.rs"), answering("other")).unwrap();
        let lines = [first, shown.until("micro-smol: reloaded")].concat();
        assert!(lines.iter().any(|line| line.contains("Compiling")), "{lines:?}");
        assert!(lines.iter().all(|line| !line.contains("Building")), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.contains("Accepting")).count(), 1, "{lines:?}");
        keys.write_all(b"\x03").unwrap();
    });
}

#[test]
#[cfg(target_os = "linux")]
fn a_compilation_in_a_terminal_shows_a_progress_bar_and_the_users_file() {
    let code = format!("---\npackage.tea = 1\n---\n{}", HANDLER.replace("\"served\"", "3"));
    let directory = files("bar", &[("index.rs", &code)]);
    let file = directory.join("index.rs").display().to_string();
    let line = format!("{PROGRAM} check --offline; true");
    let shown = in_terminal(&directory, &line, |_, _| {}).join("\n");
    assert!(shown.contains("Building") && shown.contains(&format!("Checking\x1b[0m {file}\n")), "{shown}");
    assert!(shown.contains(&format!("{file}: unused manifest key: package.tea\n")), "{shown}");
    assert!(shown.ends_with(&format!("\r\x1b[Kmicro-smol: {file} does not compile; see above")), "{shown}");
    assert!(!shown.contains("could not compile"), "{shown}");
}

#[test]
fn a_line_is_written_in_one_piece() {
    let directory = files("pieces", &[("index.rs", MORTAL)]);
    // What is written at once to such a socket is read at once.
    let (stderr, written) = UnixDatagram::pair().unwrap();
    written.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = micro_smol(&directory, &["--dev", "--offline", "-l", "tcp://127.0.0.1:0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(OwnedFd::from(stderr)).spawn().unwrap();
    let stdout = Lines::of(child.stdout.take().unwrap());
    let mut dev = Dev { child, port: 0, stdout, stderr: Lines::of(io::empty()), directory };
    let expect = |words: &str| {
        let mut piece = [0; 10_000];
        loop {
            let length = written.recv(&mut piece).unwrap();
            let text = std::str::from_utf8(&piece[..length]).unwrap();
            if text.contains(words) {
                assert!(text.starts_with("micro-smol: ") && text.ends_with('\n'), "{text:?}");
                return;
            }
        }
    };
    dev.learn_port();
    dev.get("/served");
    expect("GET /served 200");
    dev.get("/exit");
    expect("the service has ended: exit status: 3");
    dev.write("index.rs", HANDLER);
    expect("reloaded");
    dev.write("index.rs", &HANDLER.replace("\"served\"", "3"));
    expect("does not compile; see above");
}

#[test]
#[cfg(target_os = "linux")]
fn messages_are_coloured_in_a_terminal() {
    let directory = files("colour", &[("index.rs", &HANDLER.replace("\"served\"", "3"))]);
    let line = format!("{PROGRAM} --dev --offline -H 127.0.0.1 -p 0");
    in_terminal(&directory, &line, |shown, keys| {
        let message = shown.expect("mismatched types");
        assert!(message.contains("\x1b["), "{message:?}");
        shown.expect("does not compile");
        keys.write_all(b"\x03").unwrap();
    });
}

#[test]
fn a_change_of_an_env_file_restarts_the_service() {
    let code = HANDLER.replace("\"served\"", "std::env::var(\"TEA\").unwrap_or_default().leak()");
    let dev = Dev::start("env_file", &[("index.rs", &code), (".env", "TEA=oolong\n")], &["--env-file", ".env"]);
    assert_eq!(dev.get("/"), "oolong");
    dev.write(".env", "TEA\n");
    dev.stderr.expect(".env:1: this is not NAME=value");
    assert_eq!(dev.get("/"), "oolong");
    dev.write(".env", "TEA='black tea'\n");
    dev.expect("black tea");
    assert_eq!(dev.stop(), Some(0));
}

#[test]
fn what_follows_two_dashes_is_for_a_program_that_is_developed() {
    let code = HANDLER.replace("\"served\"", "std::env::args().last().unwrap().leak()");
    let dev = Dev::start("dev_args", &[("index.rs", &code)], &["--", "--tea"]);
    assert_eq!(dev.get("/"), "--tea");
    assert_eq!(dev.stop(), Some(0));
}
