//! Services as processes: options, signals, exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use micro_smol::Limits;

use crate::support::{get, without_date};
use crate::test_service::wait_for;

/// The executable of an example, which `cargo test` builds beside the tests.
pub fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let path = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(path.exists(), "{} is missing: build it with `cargo test` or `cargo build --examples`", path.display());
    path
}

/// A service on a free port; it is killed when it is dropped.
pub struct Service {
    pub child: Child,
    pub address: String,
}

impl Service {
    pub fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.strip_prefix("micro-smol: Accepting connections on ").unwrap_or_else(|| panic!("{line:?}"));
        let address = url.trim_end().trim_start_matches("http://").replace("0.0.0.0", "127.0.0.1");
        Service { child, address }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(rustix::process::Pid::from_child(&self.child), signal).unwrap();
    }

    /// Signals until the process has ended, and returns its exit code: signals that come together are one.
    pub fn signal_until_ended(&mut self, signal: rustix::process::Signal) -> Option<i32> {
        let status = wait_for("the end of the process", || {
            self.signal(signal);
            self.child.try_wait().unwrap()
        });
        status.code()
    }

    pub fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

fn read_until(client: &mut TcpStream, end: &str) {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        read.extend(byte);
    }
}

#[test]
fn a_signal_lets_what_is_in_flight_finish() {
    for signal in [rustix::process::Signal::TERM, rustix::process::Signal::INT] {
        let mut service = Service::start(Command::new(example("stream")).args(["-p", "0"]));
        let (mut idle, mut busy) = (service.connect(), service.connect());
        idle.write_all(get("/").as_bytes()).unwrap();
        read_until(&mut idle, "\r\n0\r\n\r\n");
        busy.write_all(get("/").as_bytes()).unwrap();
        read_until(&mut busy, "3\n");
        service.signal(signal);
        assert_eq!(idle.read(&mut [0]).unwrap(), 0);
        read_until(&mut busy, "Lift-off\n\r\n0\r\n\r\n");
        assert_eq!(busy.read(&mut [0]).unwrap(), 0);
        assert_eq!(service.child.wait().unwrap().code(), Some(0));
        assert_eq!(service.stderr(), "");
    }
}

#[test]
fn a_flood_beyond_the_descriptors_is_survived() {
    let hello = example("hello");
    let script = format!("ulimit -n 48; exec {} -p 0 -w 1", hello.display());
    let service = Service::start(Command::new("sh").args(["-c", &script]));
    let mut flood: Vec<_> = (0..200).map(|_| service.connect()).collect();
    for client in &mut flood[..20] {
        client.write_all(get("/").as_bytes()).unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
    }
    flood.drain(..190);
    for client in &mut flood {
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(without_date(&answer).ends_with("Hello, world"));
    }
}

/// A number from a line of a process's status.
fn status(service: &Service, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim_end_matches(" kB").trim_matches([':', '\t', ' ']).parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn ten_thousand_idle_connections_cost_little_memory_and_no_wake_ups() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }).unwrap();
    let count = limit.maximum.map_or(10_000, |descriptors| (descriptors.saturating_sub(1000) / 8 * 7).min(10_000));
    let service = Service::start(Command::new(example("hello")).args(["-p", "0", "-w", "1"]));
    let ask = |client: &mut TcpStream| {
        client.write_all(get("/").as_bytes()).unwrap();
        read_until(client, "Hello, world");
    };
    let mut first = service.connect();
    ask(&mut first);
    let memory = status(&service, "VmRSS");
    let idle: Vec<_> = (0..count)
        .map(|_| {
            let mut client = service.connect();
            ask(&mut client);
            client
        })
        .collect();
    let kib_each = (status(&service, "VmRSS") - memory) / idle.len() as u64;
    assert!(kib_each <= 8, "{kib_each} KiB a connection, in a debug build");
    let wake_ups = status(&service, "voluntary_ctxt_switches");
    ask(&mut first);
    assert!(status(&service, "voluntary_ctxt_switches") - wake_ups < 100);
}

#[test]
fn options_say_where_to_listen() {
    let directory = std::env::temp_dir().join(format!("micro-smol-process-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let listen = format!("unix:{}", directory.join("socket").display());
    let service = Service::start(Command::new(example("hello")).args(["-l", &listen, "-l", "tcp://localhost:0"]));
    assert_eq!(service.address, listen);
    drop(service);
    let service = Service::start(Command::new(example("hello")).env("PORT", "0").env("HOST", "127.0.0.1"));
    assert!(service.address.starts_with("127.0.0.1:"));
    let service =
        Service::start(Command::new(example("hello")).env("PORT", "1").args(["--port=0", "--host", "localhost"]));
    assert!(service.address.starts_with("localhost:"));
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn a_socket_can_be_inherited_as_stdin() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let stdin = std::os::fd::OwnedFd::from(listener);
    let service = Service::start(Command::new(example("hello")).args(["-l", "fd:0"]).stdin(stdin));
    assert_eq!(service.address, address);
    let mut client = service.connect();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("Hello, world"));
}

#[test]
fn wrong_use_is_named_and_exits_with_2() {
    let table: &[(&[&str], &str)] = &[
        (&["--frobnicate"], "invalid option '--frobnicate'"),
        (&["-x"], "invalid option '-x'"),
        (&["tea"], "unexpected argument \"tea\""),
        (&["-p"], "missing argument for option '-p'"),
        (&["-p", "tea"], "-p: \"tea\" is not a port: give a number from 0 to 65535"),
        (&["--port", "65536"], "--port: \"65536\" is not a port: give a number from 0 to 65535"),
        (&["-H", "a:b:c:"], "-H: \"[a:b:c:]\" is not a host: give a name or an address"),
        (&["-l", "tea"], "-l: \"tea\" is not an endpoint: give tcp://HOST:PORT, unix:/PATH or fd:N"),
        (&["--listen=fd:x"], "--listen: \"fd:x\" is not an endpoint"),
        (&["--ready-path", "ready"], "--ready-path: \"ready\" is not a path: it begins with /"),
        (&["--drain-delay", "-1"], "--drain-delay: \"-1\" is not a time: give a number of seconds"),
        (&["-w", "0"], "-w: \"0\" is not a number of threads: give one from 1 on"),
        (&["--workers", "many"], "--workers: \"many\" is not a number of threads"),
        (&["--limit"], "missing argument for option '--limit'"),
        (&["--limit", "idle_timeout"], "--limit: \"idle_timeout\" is not a limit: give NAME=VALUE"),
        (&["--limit", "idle-timeout=1s"], "there is no limit \"idle-timeout\""),
        (
            &["--limit", "idle_timeout=soon"],
            "--limit: idle_timeout: \"soon\" cannot be read: give a time like 620s or 500ms",
        ),
        (&["--limit", "idle_timeout="], "idle_timeout: \"\" cannot be read"),
        (&["--limit", "idle_timeout=-1s"], "idle_timeout: \"-1s\" cannot be read"),
        (&["--limit", "head_timeout=1d"], "head_timeout: \"1d\" cannot be read"),
        (&["--limit", "body_timeout=1s1ms"], "body_timeout: \"1s1ms\" cannot be read"),
        (&["--limit", "write_timeout=1.2.3s"], "write_timeout: \"1.2.3s\" cannot be read"),
        (&["--limit", "drain_timeout=1 s"], "drain_timeout: \"1 s\" cannot be read"),
        (&["--limit", "head_bytes_max=32x"], "head_bytes_max: \"32x\" cannot be read: give a size like 32kb"),
        (&["--limit", "request_line_bytes_max=-1"], "request_line_bytes_max: \"-1\" cannot be read"),
        (&["--limit", "unread_bytes_max=kb"], "unread_bytes_max: \"kb\" cannot be read"),
        (&["--limit", "field_lines_max=1kb"], "field_lines_max: \"1kb\" cannot be read: give a number"),
        (&["--limit", "connections_max=many"], "connections_max: \"many\" cannot be read: give a number"),
        (&["-s=yes"], "yes"),
        (&["-l", "fd:0", "-p", "0"], "give -l, or -p and -H"),
        (&["-H", "localhost", "-l", "fd:0"], "give -l, or -p and -H"),
    ];
    for (args, message) in table {
        let output = run(Command::new(example("hello")).args(*args));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(stderr.starts_with("micro-smol: ") && stderr.contains(message), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn every_limit_can_be_an_option() {
    let limits = [
        "request_line_bytes_max=4kb",
        "head_bytes_max=32KB",
        "field_lines_max=50",
        "head_timeout=5s",
        "idle_timeout=620s",
        "body_timeout=0.5m",
        "unread_bytes_max=1.5mb",
        "write_timeout=500ms",
        "drain_timeout=1",
        "connections_max=100",
    ];
    // A field that is added must be added here.
    let Limits {
        request_line_bytes_max: _,
        head_bytes_max: _,
        field_lines_max: _,
        head_timeout: _,
        idle_timeout: _,
        body_timeout: _,
        unread_bytes_max: _,
        write_timeout: _,
        drain_timeout: _,
        connections_max: _,
    } = Limits::default();
    let options = limits.iter().flat_map(|limit| ["--limit", limit]);
    let service = Service::start(Command::new(example("hello")).args(["-p", "0"]).args(options));
    let mut client = service.connect();
    client.write_all(get("/").as_bytes()).unwrap();
    read_until(&mut client, "Hello, world");
    // The message about another name lists them.
    let names: Vec<_> = limits.iter().filter_map(|limit| limit.split('=').next()).collect();
    let output = run(Command::new(example("hello")).args(["--limit", "tea=1"]));
    let message = format!("micro-smol: --limit: there is no limit \"tea\": the limits are {}\n", names.join(", "));
    assert_eq!(String::from_utf8_lossy(&output.stderr), message);
}

/// What a service with these limits answers until it closes the connection.
fn answer_within(limits: &[&str], input: &str) -> String {
    let options = limits.iter().flat_map(|limit| ["--limit", limit]);
    let service = Service::start(Command::new(example("hello")).args(["-p", "0"]).args(options));
    let mut client = service.connect();
    client.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    client.write_all(input.as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn limits_of_the_command_line_are_kept() {
    let answer = answer_within(&["idle_timeout=50ms"], &get("/"));
    assert!(answer.ends_with("Hello, world") && !answer.contains("close"), "{answer}");
    let head = |length: usize| {
        let rest = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: \r\n\r\n".len();
        format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx: {}\r\n\r\n", "y".repeat(length - rest))
    };
    for (length, status) in [(1023, "200"), (1024, "200"), (1025, "431")] {
        let answer = answer_within(&["head_bytes_max=1kb"], &head(length));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{length}: {answer}");
    }
    let answer = answer_within(&["head_timeout=50ms"], "GET / HT");
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // The last one counts.
    let answer = answer_within(&["field_lines_max=9", "field_lines_max=1"], &head(100));
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[test]
fn a_host_of_the_environment_that_is_none_is_said_to_be_from_there() {
    for host in ["http://localhost", "a/b", "[x]"] {
        let said = |code: i32, command: &mut Command| {
            let output = run(command.env_remove("PORT"));
            let stderr = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(code), "{host}: {stderr}");
            assert!(stderr.contains(host), "{stderr}");
            stderr
        };
        for args in [&[][..], &["-p", "0"]] {
            let stderr = said(1, Command::new(example("hello")).env("HOST", host).args(args));
            assert!(stderr.contains("HOST") && stderr.lines().count() == 1, "{host}: {stderr}");
        }
        let stderr = said(2, Command::new(example("hello")).env("HOST", "localhost").args(["-p", "0", "-H", host]));
        assert!(!stderr.contains("HOST"), "{host}: {stderr}");
    }
}

#[test]
fn failing_is_named_and_exits_with_1() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let output = run(Command::new(example("hello")).args(["-H", "127.0.0.1", "-p", &port]));
    assert_eq!(output.status.code(), Some(1));
    let advice = "the address is in use: stop what listens there, or choose another port; more: micro-smol explain address-in-use";
    let message = format!("micro-smol: cannot listen on tcp://127.0.0.1:{port}: {advice}\n");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), message);
    let output = run(Command::new(example("hello")).env("PORT", "tea"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "micro-smol: PORT: \"tea\" is not a port: give a number from 0 to 65535; more: micro-smol explain port-invalid\n"
    );
}

#[test]
fn help_and_version_are_on_stdout() {
    let help = run(Command::new(example("hello")).arg("--help"));
    assert!(help.status.success() && help.stderr.is_empty());
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.starts_with("Usage: hello [options]\n") && help.lines().all(|line| line.len() <= 80), "{help}");
    let version = run(Command::new(example("hello")).arg("-v"));
    assert_eq!(String::from_utf8(version.stdout).unwrap(), format!("micro-smol {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_silent_service_says_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let stdin = std::os::fd::OwnedFd::from(listener);
    let mut command = Command::new(example("hello"));
    let mut child = command.args(["-s", "-l", "fd:0"]).stdin(stdin).stdout(Stdio::piped()).spawn().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    let mut stdout = String::new();
    child.stdout.take().unwrap().read_to_string(&mut stdout).unwrap();
    assert_eq!((child.wait().unwrap().code(), stdout), (Some(0), String::new()));
}

/// What a service with an error of its own answers and prints, as MICRO_ENV says.
fn answer_and_log(path: &str, mode: &str) -> (String, String) {
    let mut service = Service::start(Command::new(example("errors")).args(["-p", "0"]).env("MICRO_ENV", mode));
    let mut client = service.connect();
    write!(client, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    service.signal(rustix::process::Signal::TERM);
    service.child.wait().unwrap();
    let content = answer.split_once("\r\n\r\n").unwrap().1.to_owned();
    (content, service.stderr())
}

#[test]
fn the_chain_of_an_error_goes_to_the_log_once() {
    let (content, log) = answer_and_log("/number", "");
    assert_eq!(content, "Is it a number?");
    assert_eq!(log, "micro-smol: GET /number: 500: Is it a number?: invalid digit found in string\n");
    let (content, log) = answer_and_log("/secret", "");
    assert_eq!(content, "Internal Server Error");
    assert_eq!(log, "micro-smol: GET /secret: 500: No such file or directory (os error 2)\n");
    assert_eq!(answer_and_log("/teapot", ""), ("Short and stout".into(), String::new()));
}

#[test]
#[cfg(target_os = "linux")]
fn a_log_that_cannot_be_written_is_survived() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(example("errors"));
    let mut child = command.args(["-p", "0"]).stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let port = line.trim_end().rsplit(':').next().unwrap();
    let mut client = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    client.write_all(b"GET /secret HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answer.ends_with("Internal Server Error"), "{answer}");
}

#[test]
fn development_shows_the_chain() {
    let (content, log) = answer_and_log("/number", "development");
    assert!(content.starts_with("Is it a number?\n") && content.contains("invalid digit found in string"), "{content}");
    assert!(log.contains("invalid digit found in string"), "{log}");
    let (content, _) = answer_and_log("/secret", "development");
    assert!(content.contains("No such file or directory"), "{content}");
}

#[test]
fn a_test_is_not_disturbed() {
    assert_eq!(answer_and_log("/secret", "test"), ("Internal Server Error".into(), String::new()));
}
