//! Stopping is bounded, what it cuts looks cut, and what it was told to do it has done.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use micro_smol::smol::channel;
use micro_smol::{Limits, Request, Running, listen, serve};
use rustix::process::Signal;

use crate::process::{Service, example};
use crate::support::get;
use crate::test_service::{PATIENCE, Supervisor, TestService, ask, connect_to, read_response, read_until, wait_for};

const SERVE: &str = r#"exec "$0" "$@""#;

const DRAIN: Duration = Duration::from_millis(300);

/// What is at once, also on a machine that is busy otherwise, and far from any other time.
const AT_ONCE: Duration = Duration::from_secs(3);

fn limits() -> Limits {
    Limits { drain_timeout: DRAIN, ..Limits::default() }
}

/// Blocks a thread until the sender is dropped.
fn block(release: &Mutex<mpsc::Receiver<()>>) {
    let _ = release.lock().unwrap().recv_timeout(PATIENCE);
}

#[test]
fn a_handler_that_blocks_its_thread_does_not_hold_a_stop() {
    for workers in [1, 2] {
        let (_release, released) = mpsc::channel();
        let released = Mutex::new(released);
        let (started, starts) = channel::unbounded();
        let server = serve(async move |_req: Request| {
            started.try_send(()).unwrap();
            block(&released);
        });
        let server = server.listen("tcp://127.0.0.1:0").unwrap().workers(workers).limits(limits());
        let running = server.start().unwrap();
        let mut client = connect_to(running.addr().unwrap());
        client.write_all(get("/").as_bytes()).unwrap();
        starts.recv_blocking().unwrap();
        let start = Instant::now();
        let error = running.stop().unwrap_err();
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!(error.to_string().contains("1 worker that a handler blocks"), "{error}");
    }
}

#[test]
fn dropping_a_server_does_not_wait_for_a_handler_that_blocks_its_thread() {
    let server = self_stopping(2);
    let mut client = connect_to(server.address);
    client.write_all(get("/block").as_bytes()).unwrap();
    server.blocks.recv_blocking().unwrap();
    let start = Instant::now();
    drop(server.running.lock().unwrap().take());
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[test]
fn a_handler_that_blocks_its_thread_does_not_hold_a_signal() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut service = TestService::start(2, SERVE, &[("TEST_SERVICE_DRAIN_MS", "300")]);
        let mut client = service.connect_and_ask();
        service.block(&mut client);
        // The other worker serves on.
        drop(service.connect_and_ask());
        let start = Instant::now();
        service.signal(signal);
        assert!(service.ended().success());
        assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
        let log = service.stderr();
        assert!(log.starts_with("micro-smol: ") && log.lines().count() == 1, "{log}");
        assert!(log.contains("1 worker that a handler blocks"), "{log}");
    }
}

#[test]
fn a_second_signal_does_not_wait_for_a_handler_that_blocks_its_thread() {
    let supervisor = Supervisor::new("blocked-twice");
    let mut service = TestService::start(1, SERVE, &[("NOTIFY_SOCKET", supervisor.path())]);
    supervisor.expect("READY=1");
    let mut client = service.connect_and_ask();
    service.block(&mut client);
    service.signal(Signal::TERM);
    supervisor.expect("STOPPING=1");
    let start = Instant::now();
    assert!(service.signal_until_ended(Signal::TERM).success());
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

/// A server whose `/stop` stops it, and says how that failed; `/block` says that it begins, and blocks its thread.
struct SelfStopping {
    running: Arc<Mutex<Option<Running>>>,
    address: SocketAddr,
    blocks: channel::Receiver<()>,
    _release: mpsc::Sender<()>,
}

fn self_stopping(workers: usize) -> SelfStopping {
    let (_release, released) = mpsc::channel();
    let released = Mutex::new(released);
    let (blocking, blocks) = channel::unbounded();
    let this = Arc::new(Mutex::new(None));
    let running = this.clone();
    let server = serve(async move |req: Request| match req.path() {
        "/stop" => {
            let running: Running = running.lock().unwrap().take().unwrap();
            format!("{:?}", running.stop().unwrap_err().kind())
        }
        "/block" => {
            blocking.try_send(()).unwrap();
            block(&released);
            String::new()
        }
        _ => format!("{:?}", thread::current().name()),
    });
    let running = server.listen("tcp://127.0.0.1:0").unwrap().workers(workers).limits(limits()).start().unwrap();
    let address = running.addr().unwrap();
    *this.lock().unwrap() = Some(running);
    SelfStopping { running: this, address, blocks, _release }
}

#[test]
fn a_handler_that_stops_its_own_server_fails_at_once() {
    for workers in [1, 2] {
        let server = self_stopping(workers);
        let mut client = connect_to(server.address);
        let start = Instant::now();
        client.write_all(b"GET /stop HTTP/1.0\r\n\r\n").unwrap();
        let mut answer = String::new();
        // The server is cut, so there may be no answer.
        let read = client.read_to_string(&mut answer);
        assert!(start.elapsed() < AT_ONCE, "{:?} {read:?}", start.elapsed());
        assert!(answer.is_empty() || answer.ends_with("Deadlock"), "{answer}");
    }
}

#[test]
fn a_handler_that_stops_its_own_server_does_not_wait_for_one_that_blocks_its_thread() {
    let server = self_stopping(2);
    let mut blocked = connect_to(server.address);
    let worker = ask(&mut blocked, "/");
    blocked.write_all(get("/block").as_bytes()).unwrap();
    server.blocks.recv_blocking().unwrap();
    let mut client = connect_to(server.address);
    client.set_read_timeout(Some(AT_ONCE)).unwrap();
    assert_ne!(ask(&mut client, "/"), worker);
    let start = Instant::now();
    client.write_all(b"GET /stop HTTP/1.0\r\n\r\n").unwrap();
    let _ = client.read_to_end(&mut Vec::new());
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[test]
fn half_a_head_does_not_hold_a_stop() {
    for half in ["GET / HT", "GET / HTTP/1.1\r\nhost: a\r\nx-half: ", "\r\n", ""] {
        let server = listen(async |_req: Request| "hello").unwrap();
        let mut client = connect_to(server.addr().unwrap());
        assert_eq!(ask(&mut client, "/"), "hello");
        client.write_all(half.as_bytes()).unwrap();
        let start = Instant::now();
        server.stop().unwrap();
        assert!(start.elapsed() < AT_ONCE, "{half:?}: {:?}", start.elapsed());
    }
}

#[test]
fn a_refused_peer_that_goes_on_sending_does_not_hold_a_stop() {
    let server = serve(async |_req: Request| "hello").listen("tcp://127.0.0.1:0").unwrap();
    let running = server.workers(1).limits(limits()).start().unwrap();
    let mut client = connect_to(running.addr().unwrap());
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n").unwrap();
    assert!(read_response(&mut client).starts_with("HTTP/1.1 400 "));
    let sending = thread::spawn(move || while client.write_all(&[b'x'; 1000]).is_ok() {});
    let start = Instant::now();
    let _ = running.stop();
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    sending.join().unwrap();
}

/// A service that streams content whose end is the end of the connection, and the client that reads it.
fn streaming(supervisor: &Supervisor, workers: usize, drain_ms: &str) -> (TestService, TcpStream) {
    let environment = [("NOTIFY_SOCKET", supervisor.path()), ("TEST_SERVICE_DRAIN_MS", drain_ms)];
    let service = TestService::start(workers, SERVE, &environment);
    supervisor.expect("READY=1");
    let mut client = service.connect();
    client.write_all(b"GET /stream HTTP/1.0\r\n\r\n").unwrap();
    let answer = read_until(&mut client, "\r\n\r\ntick\n");
    assert!(!answer.contains("content-length") && !answer.contains("transfer-encoding"), "{answer}");
    (service, client)
}

fn assert_reset(mut client: TcpStream) {
    assert_eq!(client.read_to_end(&mut Vec::new()).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_response_that_a_second_signal_cuts_ends_in_a_reset() {
    let supervisor = Supervisor::new("cut-twice");
    let (mut service, client) = streaming(&supervisor, 2, "60000");
    service.signal(Signal::TERM);
    supervisor.expect("STOPPING=1");
    assert!(service.signal_until_ended(Signal::TERM).success());
    assert_reset(client);
    assert_eq!(service.stderr(), "micro-smol: 1 connection was cut\n");
}

#[test]
fn signals_that_come_together_are_one() {
    for signals in [[Signal::TERM, Signal::TERM], [Signal::INT, Signal::TERM]] {
        let supervisor = Supervisor::new("together");
        let mut service = TestService::start(1, SERVE, &[("NOTIFY_SOCKET", supervisor.path())]);
        let mut client = service.connect_and_ask();
        client.write_all(b"POST /file HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n").unwrap();
        drop(service.connect_and_ask());
        signals.into_iter().for_each(|signal| service.signal(signal));
        supervisor.expect("READY=1");
        supervisor.expect("STOPPING=1");
        client.write_all(b"x").unwrap();
        assert!(read_response(&mut client).ends_with("\r\n\r\nx"));
        assert!(service.ended().success());
        assert_eq!(service.stderr(), "");
    }
}

#[test]
fn a_worker_that_ends_when_the_second_signal_comes_is_not_said_to_be_blocked() {
    for round in 0..10 {
        let supervisor = Supervisor::new(&format!("ends-{round}"));
        let (mut service, client) = streaming(&supervisor, 8, "60000");
        service.signal(Signal::TERM);
        supervisor.expect("STOPPING=1");
        assert!(service.signal_until_ended(Signal::TERM).success());
        assert_reset(client);
        assert_eq!(service.stderr(), "micro-smol: 1 connection was cut\n", "round {round}");
    }
}

#[test]
fn a_response_that_is_cut_at_the_end_of_the_drain_ends_in_a_reset() {
    let supervisor = Supervisor::new("cut-late");
    let (mut service, client) = streaming(&supervisor, 2, "300");
    service.signal(Signal::TERM);
    assert_reset(client);
    assert!(service.ended().success());
    assert_eq!(service.stderr(), "micro-smol: 1 connection was cut\n");
}

#[test]
fn a_response_ends_in_a_reset_when_the_process_is_killed() {
    let supervisor = Supervisor::new("killed");
    let (service, client) = streaming(&supervisor, 2, "60000");
    service.signal(Signal::KILL);
    assert_reset(client);
}

#[test]
fn what_is_cut_is_counted_and_the_exit_code_is_0() {
    let mut service = TestService::start(1, SERVE, &[("TEST_SERVICE_DRAIN_MS", "300")]);
    let mut clients = [service.connect_and_ask(), service.connect_and_ask(), service.connect_and_ask()];
    clients.iter_mut().for_each(|client| client.write_all(get("/wait").as_bytes()).unwrap());
    // Served by the same worker, behind those.
    drop(service.connect_and_ask());
    service.signal(Signal::TERM);
    for mut client in clients {
        assert_eq!(client.read_to_end(&mut Vec::new()).unwrap_or(0), 0);
    }
    assert_eq!(service.ended().code(), Some(0));
    assert_eq!(service.stderr(), "micro-smol: 3 connections were cut\n");
}

#[test]
fn an_idle_client_that_asks_after_sigterm_is_answered_and_told_to_close() {
    let supervisor = Supervisor::new("idle");
    let mut service = TestService::start(1, SERVE, &[("NOTIFY_SOCKET", supervisor.path())]);
    let mut clients = [service.connect_and_ask(), service.connect_and_ask()];
    service.signal(Signal::TERM);
    supervisor.expect("READY=1");
    supervisor.expect("STOPPING=1");
    for client in &mut clients {
        // The worker learns a moment later that it is to end.
        wait_for("a response that closes", || {
            client.write_all(get("/").as_bytes()).unwrap();
            let answer = read_response(client);
            assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
            answer.contains("\r\nconnection: close\r\n").then_some(())
        });
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }
    assert!(service.ended().success());
    assert_eq!(service.stderr(), "");
}

#[test]
fn newcomers_wait_in_the_backlog_of_an_inherited_socket_while_the_service_ends() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut service = TestService::start_on(listener.try_clone().unwrap(), 2, SERVE, &[]);
    let (mut idle, mut busy) = (service.connect_and_ask(), service.connect_and_ask());
    busy.write_all(b"POST /file HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n").unwrap();
    // The handler has begun when there is its file, beside stdout.
    wait_for("the handler's file", || {
        let descriptors = std::fs::read_dir(format!("/proc/{}/fd", service.child.id())).unwrap();
        let files = descriptors.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        (files.filter(|file| file.ends_with("null")).count() > 1).then_some(())
    });
    service.signal(Signal::INT);
    // Idle connections are closed after the listeners.
    assert_eq!(idle.read(&mut [0]).unwrap(), 0);
    let mut newcomer = connect_to(service.address);
    newcomer.write_all(get("/").as_bytes()).unwrap();
    busy.write_all(b"x").unwrap();
    assert!(read_response(&mut busy).ends_with("\r\n\r\nx"));
    assert!(service.ended().success());
    let (mut accepted, peer) = listener.accept().unwrap();
    assert_eq!(peer, newcomer.local_addr().unwrap());
    read_until(&mut accepted, "\r\n\r\n");
    accepted.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
    read_until(&mut newcomer, "\r\n\r\n");
}

#[test]
fn a_service_that_ends_leaves_the_socket_file_of_its_successor() {
    let path = std::env::temp_dir().join(format!("micro-smol-successor-{}", std::process::id()));
    let endpoint = format!("unix:{}", path.display());
    let args = ["-l", "tcp://127.0.0.1:0", "-l", &endpoint];
    let mut first = Service::start(Command::new(example("stream")).args(args));
    let mut busy = TcpStream::connect(&first.address).unwrap();
    busy.write_all(get("/").as_bytes()).unwrap();
    read_until(&mut busy, "3\n");
    first.signal(Signal::TERM);
    // It listens no more, but it still answers.
    let mut second = wait_for("a successor", || {
        let mut second = Command::new(example("hello"));
        let mut second = second.args(["-l", &endpoint]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let is_listening = second.stdout.as_mut().unwrap().read(&mut [0; 100]).unwrap() > 0;
        if !is_listening {
            second.wait().unwrap();
        }
        is_listening.then_some(second)
    });
    busy.read_to_end(&mut Vec::new()).unwrap();
    assert_eq!(first.child.wait().unwrap().code(), Some(0));
    let client = UnixStream::connect(&path);
    let answer = client.and_then(|mut client| {
        client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        client.shutdown(Shutdown::Write)?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).map(|_| answer)
    });
    second.kill().unwrap();
    second.wait().unwrap();
    let _ = std::fs::remove_file(&path);
    assert!(answer.as_ref().is_ok_and(|answer| answer.ends_with("Hello, world")), "{answer:?}");
}
