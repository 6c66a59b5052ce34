//! Nothing that runs out ends a service: descriptors, room in a pipe, threads.

use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use micro_smol::smol::channel;
use micro_smol::{Request, serve};
use rustix::process::{Pid, Signal, kill_process};

use crate::process::{Service, example};
use crate::support::get;
use crate::test_service::{PATIENCE, Supervisor, TestService, ask, connect_to, read_response, wait_for};

const SERVE: &str = r#"exec "$0" "$@""#;

/// The processor time that a process has used, in hundredths of a second.
fn ticks(process: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let behind_name = stat.rsplit_once(") ").unwrap().1;
    behind_name.split(' ').skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}

/// Whether there is something to read; a connection that is not open any more fails.
fn is_answered(client: &TcpStream) -> bool {
    client.set_nonblocking(true).unwrap();
    let peeked = client.peek(&mut [0]);
    client.set_nonblocking(false).unwrap();
    let would_block = peeked.as_ref().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    assert!(would_block || peeked.as_ref().is_ok_and(|count| *count > 0), "{peeked:?}");
    !would_block
}

/// Takes those off `waiting` that were answered.
fn answered(waiting: &mut Vec<TcpStream>) -> Vec<TcpStream> {
    let is_served = |client: &mut TcpStream| is_answered(client) && read_response(client).ends_with("Hello, world");
    waiting.extract_if(.., is_served).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn out_of_descriptors_newcomers_wait_and_cost_nothing() {
    let runs = [(64, 1), (128, 2)].map(|(descriptors, workers)| {
        thread::spawn(move || {
            let script = format!("ulimit -n {descriptors}; exec {} -p 0 -w {workers}", example("hello").display());
            let mut service = Service::start(Command::new("sh").args(["-c", &script]));
            let address = service.address.parse().unwrap();
            let connect_and_ask = |_| {
                let mut client = connect_to(address);
                client.write_all(get("/").as_bytes()).unwrap();
                client
            };
            let mut waiting: Vec<_> = (0..descriptors + 20).map(connect_and_ask).collect();
            let mut served = Vec::new();
            wait_for("the first answers", || {
                served.extend(answered(&mut waiting));
                (served.len() >= descriptors / 2).then_some(())
            });
            let before = ticks(service.child.id());
            thread::sleep(Duration::from_secs(1));
            let used = ticks(service.child.id()) - before;
            assert!(used < 6, "{used} hundredths of a second of processor time in a second");
            served.extend(answered(&mut waiting));
            assert!(served.len() < descriptors && !waiting.is_empty(), "{} of {descriptors}", served.len());
            assert_eq!(ask(&mut served[0], "/"), "Hello, world");
            drop(served);
            for client in &mut waiting {
                assert!(read_response(client).ends_with("Hello, world"));
            }
            drop(waiting);
            service.signal(Signal::INT);
            assert_eq!(service.child.wait().unwrap().code(), Some(0));
            let log = service.stderr();
            assert!(log.lines().count() < 5, "{log}");
            assert!(log.lines().all(|line| line.contains("they wait in the backlog")), "{log}");
        })
    });
    runs.into_iter().for_each(|run| run.join().unwrap());
}

#[test]
fn a_supervisor_is_told_of_a_stop_when_there_is_no_descriptor() {
    let supervisor = Supervisor::new("running-out");
    let environment = [("NOTIFY_SOCKET", supervisor.path())];
    let mut service = TestService::start(1, &format!("ulimit -n 64; {SERVE}"), &environment);
    supervisor.expect("READY=1");
    let mut clients: Vec<_> = (0..80).map(|_| service.connect()).collect();
    clients.iter_mut().for_each(|client| client.write_all(get("/").as_bytes()).unwrap());
    let mut line = String::new();
    BufReader::new(service.child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("Too many open files"), "{line}");
    service.signal(Signal::INT);
    supervisor.expect("STOPPING=1");
    assert!(service.ended().success());
}

#[test]
fn a_handler_that_finds_no_descriptor_fails_alone() {
    let service = TestService::start(1, &format!("ulimit -n 64; {SERVE}"), &[]);
    // There are few descriptors left beside those of the connections.
    let mut clients: Vec<_> = (0..40).map(|_| service.connect_and_ask()).collect();
    let post = "POST /file HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n";
    clients.iter_mut().for_each(|client| client.write_all(post.as_bytes()).unwrap());
    // A handler that has its file waits for the content.
    wait_for("handlers without a file", || {
        let count = clients.iter().filter(|client| is_answered(client)).count();
        (count > 10).then_some(())
    });
    clients.iter_mut().for_each(|client| client.write_all(b"x").unwrap());
    let answers: Vec<_> = clients.iter_mut().map(read_response).collect();
    let count = |status: &str| answers.iter().filter(|answer| answer.starts_with(status)).count();
    assert_eq!(count("HTTP/1.1 200 ") + count("HTTP/1.1 500 "), clients.len(), "{answers:?}");
    assert!(count("HTTP/1.1 200 ") > 0 && count("HTTP/1.1 500 ") > 10, "{answers:?}");
    drop(clients);
    service.connect_and_ask();
}

/// Whether a service that says where it listens answers there.
fn is_served(line: &str) -> bool {
    let url = line.trim_end().strip_prefix("micro-smol: Accepting connections on http://");
    let answer = url.map(|address| {
        let mut client = TcpStream::connect(address)?;
        client.set_read_timeout(Some(Duration::from_secs(2)))?;
        client.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).map(|_| answer)
    });
    answer.is_some_and(|answer| answer.is_ok_and(|answer| answer.ends_with("Hello, world")))
}

#[test]
fn a_worker_that_cannot_start_ends_the_process_with_1() {
    let mut failures = 0;
    for descriptors in 8..22 {
        let script = format!("ulimit -n {descriptors}; exec {} -H 127.0.0.1 -p 0 -w 2", example("hello").display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let is_served = is_served(&line);
        let ended = (0..500).find_map(|_| {
            thread::sleep(Duration::from_millis(u64::from(!is_served)));
            child.try_wait().unwrap()
        });
        child.kill().unwrap();
        child.wait().unwrap();
        let mut log = String::new();
        child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        match ended {
            Some(status) => {
                assert_eq!(status.code(), Some(1), "{descriptors} descriptors: {log}");
                assert!(log.contains("micro-smol: Too many open files"), "{descriptors} descriptors: {log}");
                failures += 1;
            }
            // Without a descriptor for a connection, it can only say so.
            None => assert!(is_served || log.contains("they wait in the backlog"), "{descriptors} descriptors: {log}"),
        }
    }
    assert!(failures > 2, "{failures}");
}

#[test]
fn a_full_stderr_keeps_no_worker_and_no_signal_waiting() {
    let mut service = TestService::start(1, SERVE, &[]);
    let mut client = service.connect_and_ask();
    // Four times as much as a pipe holds.
    for _ in 0..64 {
        assert_eq!(ask(&mut client, "/fail"), "Internal Server Error");
    }
    assert_eq!(ask(&mut client, "/"), "hello");
    drop(client);
    service.signal(Signal::TERM);
    assert!(service.ended().success());
}

#[test]
fn a_panic_with_a_full_stderr_keeps_no_worker_waiting() {
    let mut service = TestService::start(1, SERVE, &[]);
    let mut client = service.connect_and_ask();
    for _ in 0..64 {
        assert_eq!(ask(&mut client, "/fail"), "Internal Server Error");
    }
    client.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    assert_eq!(ask(&mut client, "/panic"), "Internal Server Error");
    assert_eq!(ask(&mut client, "/"), "hello");
    drop(client);
    service.signal(Signal::TERM);
    assert!(service.ended().success());
}

#[test]
fn lines_that_were_dropped_are_counted_in_the_next_one() {
    const FAILURES: usize = 1500;
    let mut service = TestService::start(1, SERVE, &[]);
    let mut client = service.connect_and_ask();
    for _ in 0..FAILURES / 10 {
        client.write_all(get("/fail").repeat(10).as_bytes()).unwrap();
        (0..10).for_each(|_| assert!(read_response(&mut client).starts_with("HTTP/1.1 500 ")));
    }
    // Now the pipe is read.
    let (sender, lines) = mpsc::channel();
    let stderr = BufReader::new(service.child.stderr.take().unwrap());
    let reading = thread::spawn(move || stderr.lines().for_each(|line| sender.send(line.unwrap()).unwrap()));
    let (mut count, mut dropped, mut failures) = (0, 0, FAILURES);
    while dropped == 0 {
        assert_eq!(ask(&mut client, "/fail"), "Internal Server Error");
        failures += 1;
        for line in lines.try_iter() {
            assert!(line.starts_with("micro-smol: GET /fail: 500: long long "), "{line}");
            count += 1;
            let said = line.strip_suffix(')').and_then(|line| line.split_once(" (lines dropped before it: "));
            dropped += said.map_or(0, |(_, count)| count.parse::<usize>().unwrap());
        }
    }
    drop(client);
    service.signal(Signal::TERM);
    assert!(service.ended().success());
    reading.join().unwrap();
    count += lines.try_iter().count();
    assert_eq!(count + dropped, failures, "{dropped} dropped");
}

/// A pipe that nobody reads and that has no room left.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    (reader, writer)
}

/// Starts an example on a socket of this process, and calls for an error that is logged.
fn fail_with(command: &mut Command) -> Child {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let child = command.stdin(OwnedFd::from(listener)).spawn().unwrap();
    let mut client = connect_to(address);
    assert_eq!(ask(&mut client, "/secret"), "Internal Server Error");
    assert!(ask(&mut client, "/").starts_with("Try "));
    child
}

/// Expects a signal to end a service at once, with 0.
fn assert_ends(mut child: Child) {
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let status = wait_for("the end of the process", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_full_stdout_keeps_nothing_waiting() {
    let (_reader, writer) = full_pipe();
    let child = fail_with(Command::new(example("errors")).args(["-l", "fd:0"]).stdout(writer).stderr(Stdio::null()));
    assert_ends(child);
}

#[test]
fn a_pipe_that_its_reader_has_closed_is_survived() {
    let closed = || pipe().unwrap().1;
    let child = fail_with(Command::new(example("errors")).args(["-l", "fd:0"]).stdout(closed()).stderr(closed()));
    assert_ends(child);
}

/// How a command that ends by itself has ended; `None` if it has not within a few seconds.
fn exit_code_of(args: &[&str], output: &PipeWriter) -> Option<Option<i32>> {
    let mut command = Command::new(example("hello"));
    command.args(args).stdin(Stdio::null());
    command.stdout(output.try_clone().unwrap()).stderr(output.try_clone().unwrap());
    let mut child = command.spawn().unwrap();
    let status = (0..2000).find_map(|_| {
        thread::sleep(Duration::from_millis(2));
        child.try_wait().unwrap()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    status.map(|status| status.code())
}

#[test]
fn an_exit_code_needs_no_room_for_its_message() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (_reader, full) = full_pipe();
    assert_eq!(exit_code_of(&["-H", "127.0.0.1", "-p", &port], &full), Some(Some(1)));
    assert_eq!(exit_code_of(&["-p", "tea"], &full), Some(Some(2)));
}

#[test]
fn an_exit_code_needs_no_reader_of_its_message() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (_, closed) = pipe().unwrap();
    assert_eq!(exit_code_of(&["-H", "127.0.0.1", "-p", &port], &closed), Some(Some(1)));
    assert_eq!(exit_code_of(&["-p", "tea"], &closed), Some(Some(2)));
    assert_eq!(exit_code_of(&["--help"], &closed), Some(Some(0)));
    assert_eq!(exit_code_of(&["--version"], &closed), Some(Some(0)));
}

#[test]
fn closed_descriptors_for_output_are_survived() {
    let script = format!("exec {} -l fd:0 >&- 2>&-", example("errors").display());
    assert_ends(fail_with(Command::new("sh").args(["-c", &script])));
}

#[test]
fn a_handler_that_blocks_its_thread_leaves_other_workers_to_serve() {
    let (release, released) = mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let (started, starts) = channel::unbounded();
    let server = serve(async move |req: Request| {
        if req.path() == "/block" {
            started.try_send(()).unwrap();
            let _ = released.lock().unwrap().recv_timeout(PATIENCE);
        }
        thread::current().name().unwrap().to_owned()
    });
    let running = server.listen("tcp://127.0.0.1:0").unwrap().workers(2).start().unwrap();
    let address = running.addr().unwrap();
    let mut first = connect_to(address);
    let worker = ask(&mut first, "/");
    let mut block = || {
        first.write_all(get("/block").as_bytes()).unwrap();
        starts.recv_blocking().unwrap();
        first.try_clone().unwrap()
    };
    // While the first worker is blocked, all new connections are the other's.
    let mut blocked = block();
    let mut others: Vec<_> = (0..10).map(|_| connect_to(address)).collect();
    others.iter_mut().for_each(|client| assert_ne!(ask(client, "/"), worker));
    release.send(()).unwrap();
    assert!(read_response(&mut blocked).ends_with(&worker));
    // Those go on being served when it is blocked again, and so are new ones.
    let mut blocked = block();
    others.extend((0..10).map(|_| connect_to(address)));
    others.iter_mut().for_each(|client| assert_ne!(ask(client, "/"), worker));
    release.send(()).unwrap();
    assert!(read_response(&mut blocked).ends_with(&worker));
    running.stop().unwrap();
}
