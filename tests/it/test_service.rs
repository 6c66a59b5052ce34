//! A service with a handler of these tests as a process of its own: this executable once more, which runs one test only.

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use micro_smol::smol::future::pending;
use micro_smol::smol::stream::{self, StreamExt};
use micro_smol::{IntoResponse, Limits, Request, Response, Result, buffer, chunks, serve};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::get;

/// Far longer than anything takes that is waited for. A test that fails must not hang.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again and again until there is an answer.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < end, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A connection that is not waited for without end.
pub fn connect_to(address: SocketAddr) -> TcpStream {
    let client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_write_timeout(Some(PATIENCE)).unwrap();
    client
}

/// Reads until what was read ends so.
pub fn read_until(from: &mut impl Read, end: &str) -> String {
    let mut read = Vec::new();
    while !read.ends_with(end.as_bytes()) {
        let mut byte = [0];
        from.read_exact(&mut byte)
            .unwrap_or_else(|error| panic!("{error} behind {:?}", String::from_utf8_lossy(&read)));
        read.extend(byte);
    }
    String::from_utf8(read).unwrap()
}

/// Reads one response that declares its length, head and content.
pub fn read_response(client: &mut TcpStream) -> String {
    let head = read_until(client, "\r\n\r\n");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut content = vec![0; length.parse().unwrap()];
    client.read_exact(&mut content).unwrap();
    head + std::str::from_utf8(&content).unwrap()
}

/// The content of the response to a request on this connection, which persists.
pub fn ask(client: &mut TcpStream, path: &str) -> String {
    client.write_all(get(path).as_bytes()).unwrap();
    read_response(client).split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// What the message of `/fail` is made of: a line of the log has 4,000 bytes of it.
const FAILURE: &str = "long ";

/// What `/block` prints before it blocks its thread.
const BLOCKED: &str = "blocked";

/// Does, as the path says, what handlers should not do.
async fn misbehave(req: Request) -> Result<Response> {
    match req.path() {
        "/fail" => Err(io::Error::other(FAILURE.repeat(800)).into()),
        "/panic" => panic!("a panic that is part of the test"),
        // For longer than any test.
        "/block" => {
            eprintln!("{BLOCKED}");
            thread::sleep(10 * PATIENCE);
            ().into_response()
        }
        "/wait" => pending().await,
        // Until the content comes, which the client decides.
        "/file" => {
            let _file = File::open("/dev/null")?;
            buffer(&req).await.into_response()
        }
        "/stream" => chunks(stream::once(io::Result::Ok("tick\n")).chain(stream::pending())).into_response(),
        // The sockets that a child inherits, which has the standard input of the service.
        "/child" => {
            let child = Command::new("ls").args(["-l", "/proc/self/fd"]).stdin(Stdio::inherit()).output()?;
            let lines = String::from_utf8_lossy(&child.stdout).into_owned();
            lines.lines().filter(|line| line.contains("socket:")).collect::<String>().into_response()
        }
        _ => "hello".into_response(),
    }
}

/// Not a fact, but the service: it listens on its standard input, unless it is told where.
#[test]
fn the_service_of_these_tests() {
    let number = |name| env::var(name).ok().and_then(|text| text.parse().ok());
    let Some(workers) = number("TEST_SERVICE_WORKERS") else { return };
    let drain_timeout = Duration::from_millis(number("TEST_SERVICE_DRAIN_MS").unwrap_or(8000));
    let limits = Limits { drain_timeout, ..Limits::default() };
    let endpoint = env::var("TEST_SERVICE_ENDPOINT").unwrap_or("fd:0".to_owned());
    let workers = usize::try_from(workers).unwrap();
    let server = serve(misbehave).workers(workers).limits(limits);
    // Without an endpoint, the default is what systemd has handed over.
    let server = if endpoint.is_empty() { server } else { server.listen(&endpoint).unwrap() };
    server.run().unwrap();
}

/// The service as a process; it is killed when this is dropped.
pub struct TestService {
    pub child: Child,
    pub address: SocketAddr,
}

impl TestService {
    /// Starts it with so many workers. The shell's script ends in `exec "$0" "$@"`.
    pub fn start(workers: usize, script: &str, environment: &[(&str, &str)]) -> Self {
        TestService::start_on(TcpListener::bind("127.0.0.1:0").unwrap(), workers, script, environment)
    }

    /// Starts it on a socket, which the caller may have a duplicate of.
    pub fn start_on(listener: TcpListener, workers: usize, script: &str, environment: &[(&str, &str)]) -> Self {
        let address = listener.local_addr().unwrap();
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(env::current_exe().unwrap());
        command.args(["--exact", "test_service::the_service_of_these_tests", "--nocapture"]);
        command.env("TEST_SERVICE_WORKERS", workers.to_string()).env_remove("MICRO_ENV").env_remove("RUST_BACKTRACE");
        command.envs(environment.iter().copied());
        command.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::piped());
        TestService { child: command.spawn().unwrap(), address }
    }

    pub fn connect(&self) -> TcpStream {
        connect_to(self.address)
    }

    /// A connection that has been used. When there is one, the service handles signals.
    pub fn connect_and_ask(&self) -> TcpStream {
        let mut client = self.connect();
        assert_eq!(ask(&mut client, "/"), "hello");
        client
    }

    /// Has a handler block its thread, and waits until it does.
    pub fn block(&mut self, client: &mut TcpStream) {
        client.write_all(get("/block").as_bytes()).unwrap();
        assert_eq!(read_until(self.child.stderr.as_mut().unwrap(), "\n").trim_end(), BLOCKED);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Signals until the process has ended: the signals that come together with the first are one with it.
    pub fn signal_until_ended(&mut self, signal: Signal) -> ExitStatus {
        wait_for("the end of the process", || {
            self.signal(signal);
            self.child.try_wait().unwrap()
        })
    }

    /// Waits until the process has ended.
    pub fn ended(&mut self) -> ExitStatus {
        wait_for("the end of the process", || self.child.try_wait().unwrap())
    }

    /// What it says on stderr until its end.
    pub fn stderr(&mut self) -> String {
        let mut text = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        text
    }
}

impl Drop for TestService {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Who is told when a service is ready and when it stops; its file is removed when it is dropped.
pub struct Supervisor {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Supervisor {
    pub fn new(test: &str) -> Self {
        let path = env::temp_dir().join(format!("micro-smol-{test}-{}", std::process::id()));
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Supervisor { socket, path }
    }

    /// What `NOTIFY_SOCKET` is to be.
    pub fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Waits for this notice.
    pub fn expect(&self, notice: &str) {
        let mut buffer = [0; 64];
        let length = self.socket.recv(&mut buffer).unwrap();
        assert_eq!(std::str::from_utf8(&buffer[..length]), Ok(notice));
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
