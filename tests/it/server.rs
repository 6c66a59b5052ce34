//! Servers: endpoints, workers, stopping.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::Duration;

use crate::support::{connect, exchange, get, stale_socket};
use micro_smol::smol::{self, channel};
use micro_smol::{Limits, Request, listen, serve};

async fn hello(_req: Request) -> &'static str {
    "Hello, world"
}

/// A directory that is removed when it is dropped.
struct Directory(std::path::PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("micro-smol-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Directory(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

fn exchange_unix(path: &std::path::Path) -> String {
    let mut client = UnixStream::connect(path).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_listens_on_several_endpoints() {
    let directory = Directory::new("several");
    let path = directory.0.join("socket");
    let server = serve(hello).listen("tcp://127.0.0.1:0").unwrap().listen("tcp://[::1]:0");
    let server = server.unwrap().listen(&format!("unix:{}", path.display())).unwrap();
    let running = server.workers(2).start().unwrap();
    assert_eq!(running.urls()[0], running.url());
    assert!(running.urls()[1].starts_with("http://[::1]:"));
    assert_eq!(running.urls()[2], format!("unix:{}", path.display()));
    assert!(exchange(&running, b"GET / HTTP/1.0\r\n\r\n").ends_with("Hello, world"));
    let mut client = TcpStream::connect(running.urls()[1].trim_start_matches("http://")).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(crate::support::read_to_end(client).ends_with("Hello, world"));
    assert!(exchange_unix(&path).ends_with("Hello, world"));
    drop(running);
    assert!(!path.exists(), "the socket file is removed");
}

#[test]
fn localhost_needs_no_resolver() {
    let running = serve(hello).listen("tcp://localhost:0").unwrap().workers(1).start().unwrap();
    assert!(running.url().starts_with("http://localhost:"));
    assert_eq!(running.urls().len(), 1);
    let port = running.url().rsplit_once(':').unwrap().1.to_owned();
    let mut client = TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    assert!(crate::support::read_to_end(client).ends_with("Hello, world"));
}

#[test]
fn the_socket_file_of_a_server_that_is_gone_is_replaced() {
    let directory = Directory::new("stale");
    let path = directory.0.join("socket");
    stale_socket(&path);
    assert!(path.exists());
    let endpoint = format!("unix:{}", path.display());
    let running = serve(hello).listen(&endpoint).unwrap().workers(1).start().unwrap();
    assert!(exchange_unix(&path).ends_with("Hello, world"));
    let error = serve(hello).listen(&endpoint).unwrap_err();
    assert!(error.to_string().contains("a server answers there"), "a live one is not: {error}");
    assert!(exchange_unix(&path).ends_with("Hello, world"));
    drop(running);
}

#[test]
fn of_two_that_start_at_once_over_a_stale_socket_exactly_one_lives() {
    use crate::process::example;
    use std::process::{Child, Command, Stdio};
    let directory = Directory::new("two");
    let path = directory.0.join("socket");
    let start = || {
        let mut command = Command::new(example("hello"));
        let command = command.args(["-w", "1", "-l", &format!("unix:{}", path.display())]).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    // All that it says on stdout, up to the first line or its end.
    let said = |child: &mut Child| {
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        line
    };
    for round in 0..20 {
        // Killed, a server leaves its file. The first one finds none.
        let mut children = [start(), start()];
        let said = children.each_mut().map(said);
        assert_eq!(said.iter().filter(|line| line.is_empty()).count(), 1, "round {round}: {said:?}");
        assert!(exchange_unix(&path).ends_with("Hello, world"), "round {round}");
        for (mut child, said) in children.into_iter().zip(said) {
            if said.is_empty() {
                let output = child.wait_with_output().unwrap();
                let stderr = String::from_utf8(output.stderr).unwrap();
                assert_eq!(output.status.code(), Some(1), "round {round}: {stderr}");
                assert!(stderr.contains("a server answers there"), "round {round}: {stderr}");
            } else {
                child.kill().unwrap();
                child.wait().unwrap();
            }
        }
        assert!(path.exists());
    }
}

#[test]
fn of_many_that_start_at_once_over_a_stale_socket_exactly_one_lives() {
    let directory = Directory::new("many");
    for round in 0..50 {
        let path = directory.0.join(format!("socket-{round}"));
        stale_socket(&path);
        let endpoint = format!("unix:{}", path.display());
        let start = || serve(hello).listen(&endpoint).and_then(|server| server.workers(1).start());
        let outcomes = std::thread::scope(|scope| {
            let starts: Vec<_> = (0..4).map(|_| scope.spawn(start)).collect();
            starts.into_iter().map(|start| start.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "round {round}: {outcomes:?}");
        assert!(exchange_unix(&path).ends_with("Hello, world"), "round {round}");
        let errors = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
        assert!(errors.map(ToString::to_string).all(|error| error.contains("a server answers there")));
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_server_that_is_stopped_with_a_full_backlog_does_not_hold_the_next_start() {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketType};
    use rustix::process::Signal;
    let directory = Directory::new("stopped");
    let path = directory.0.join("socket");
    let endpoint = format!("unix:{}", path.display());
    let mut command = std::process::Command::new(crate::process::example("hello"));
    let service = crate::process::Service::start(command.args(["-w", "1", "-l", &endpoint]));
    service.signal(Signal::STOP);
    // A connection stays in the backlog when its client has closed it.
    let is_full = (0..100_000).any(|_| {
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None).unwrap();
        rustix::io::ioctl_fionbio(&socket, true).unwrap();
        rustix::net::connect(&socket, &SocketAddrUnix::new(&path).unwrap()).is_err()
    });
    assert!(is_full);
    let (sender, receiver) = std::sync::mpsc::channel();
    let start = endpoint.clone();
    std::thread::spawn(move || sender.send(serve(hello).listen(&start).map(drop).unwrap_err().to_string()));
    let error = receiver.recv_timeout(Duration::from_secs(10)).expect("it does not hang");
    assert!(error.contains("a server answers there"), "{error}");
    service.signal(Signal::CONT);
    assert!(exchange_unix_when_there_is_room(&path).ends_with("Hello, world"));
}

/// Connects once the server has taken the others off its backlog.
#[cfg(target_os = "linux")]
fn exchange_unix_when_there_is_room(path: &std::path::Path) -> String {
    crate::test_service::wait_for("room in the backlog", || {
        let mut client = UnixStream::connect(path).ok()?;
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        client.read_to_string(&mut answer).ok()?;
        Some(answer)
    })
}

#[test]
fn a_lock_of_somebody_else_does_not_hold_a_start() {
    let directory = Directory::new("locked");
    let path = directory.0.join("socket");
    stale_socket(&path);
    // Whoever may read a directory may lock it, and never let it go.
    let locked = std::fs::File::open(&directory.0).unwrap();
    rustix::fs::flock(&locked, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let endpoint = format!("unix:{}", path.display());
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(serve(hello).listen(&endpoint).map(drop)));
    receiver.recv_timeout(Duration::from_secs(5)).expect("it starts, or says why not").unwrap();
}

#[test]
fn a_peer_of_ipv4_has_an_address_of_ipv4_on_a_socket_for_both() {
    let server = serve(async |req: Request| format!("{:?}", req.peer_addr()));
    let running = server.listen("tcp://[::]:0").unwrap().workers(1).start().unwrap();
    for host in ["127.0.0.1", "::1"] {
        let mut client = TcpStream::connect((host, running.addr().unwrap().port())).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        let expected = format!("{:?}", Some(client.local_addr().unwrap()));
        assert!(crate::support::read_to_end(client).ends_with(&expected), "{expected}");
    }
}

#[test]
fn a_file_that_is_no_socket_is_not_replaced() {
    let directory = Directory::new("file");
    let path = directory.0.join("file");
    std::fs::write(&path, "precious").unwrap();
    serve(hello).listen(&format!("unix:{}", path.display())).unwrap_err();
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_server_listens_on_sockets_that_the_caller_has_opened() {
    let directory = Directory::new("opened");
    let path = directory.0.join("socket");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let unix = UnixListener::bind(&path).unwrap();
    let of_smol = smol::block_on(smol::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let addresses = [tcp.local_addr().unwrap(), of_smol.local_addr().unwrap()];
    let server = serve(hello).listen_on(tcp).unwrap().listen_on(unix).unwrap();
    let server = server.listen_on(of_smol.as_fd().try_clone_to_owned().unwrap()).unwrap();
    let running = server.listen("tcp://127.0.0.1:0").unwrap().workers(2).start().unwrap();
    let [first, second, third, fourth] = running.urls() else { panic!("four URLs: {:?}", running.urls()) };
    assert_eq!([first, third], [&format!("http://{}", addresses[0]), &format!("http://{}", addresses[1])]);
    assert_eq!(second, &format!("unix:{}", path.display()));
    for url in [first, third, fourth] {
        let mut client = TcpStream::connect(url.trim_start_matches("http://")).unwrap();
        client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
        assert!(crate::support::read_to_end(client).ends_with("Hello, world"), "{url}");
    }
    assert!(exchange_unix(&path).ends_with("Hello, world"));
    running.stop().unwrap();
    assert!(path.exists(), "the file is the caller's");
}

#[test]
fn a_socket_that_the_caller_still_has_goes_on_listening() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let running = serve(hello).listen_on(tcp.try_clone().unwrap()).unwrap().workers(1).start().unwrap();
    assert!(exchange(&running, b"GET / HTTP/1.0\r\n\r\n").ends_with("Hello, world"));
    running.stop().unwrap();
    let again = serve(hello).listen_on(tcp).unwrap().workers(1).start().unwrap();
    assert!(exchange(&again, b"GET / HTTP/1.0\r\n\r\n").ends_with("Hello, world"));
}

#[test]
fn a_socket_without_a_path_is_served() {
    let directory = Directory::new("removed");
    let path = directory.0.join("socket");
    let unix = UnixListener::bind(&path).unwrap();
    let mut client = UnixStream::connect(&path).unwrap();
    let running = serve(hello).listen_on(unix).unwrap().workers(1).start().unwrap();
    client.write_all(b"GET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("Hello, world"), "the backlog of before is served: {answer}");
    assert_eq!(running.addr(), None);
}

#[test]
fn a_descriptor_that_does_not_listen_is_invalid_input() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let descriptors: [OwnedFd; 5] = [
        TcpStream::connect(listener.local_addr().unwrap()).unwrap().into(),
        UdpSocket::bind("127.0.0.1:0").unwrap().into(),
        UnixStream::pair().unwrap().0.into(),
        UnixDatagram::unbound().unwrap().into(),
        std::fs::File::open("/dev/null").unwrap().into(),
    ];
    for descriptor in descriptors {
        let error = serve(hello).listen_on(descriptor).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{error}");
        assert_eq!(error.to_string(), "it is not a listening socket");
    }
}

#[test]
fn a_running_server_has_the_address_of_its_first_tcp_endpoint() {
    let directory = Directory::new("addr");
    let unix = format!("unix:{}", directory.0.join("socket").display());
    let running = serve(hello).listen(&unix).unwrap().workers(1).start().unwrap();
    assert_eq!(running.addr(), None);
    drop(running);
    let server = serve(hello).listen(&unix).unwrap().listen("tcp://127.0.0.1:0").unwrap();
    let running = server.listen("tcp://127.0.0.1:0").unwrap().workers(1).start().unwrap();
    assert_eq!(running.urls()[1], format!("http://{}", running.addr().unwrap()));
    assert!(TcpStream::connect(running.addr().unwrap()).is_ok());
    let running = serve(hello).listen("tcp://localhost:0").unwrap().workers(1).start().unwrap();
    assert!(running.addr().unwrap().ip().is_loopback());
}

#[test]
fn an_endpoint_that_is_malformed_is_named() {
    for endpoint in [
        "",
        "3000",
        "localhost:3000",
        "http://localhost:3000",
        "tcp://localhost",
        "tcp://:80",
        "tcp://a:b",
        "tcp://a:65536",
        "tcp://a:-1",
        "tcp://::1:80",
        "tcp://[x]:80",
        "tcp://a/b:80",
        "unix:",
        "fd:1",
        "pipe:x",
    ] {
        let error = serve(hello).listen(endpoint).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{endpoint}");
        assert!(error.to_string().contains(endpoint), "{error}");
    }
}

#[test]
fn an_address_may_name_an_interface() {
    let running = serve(hello).listen("tcp://[::1%1]:0").unwrap().workers(1).start().unwrap();
    assert!(running.url().starts_with("http://[::1%1]:"), "{}", running.url());
    assert!(exchange(&running, b"GET / HTTP/1.0\r\n\r\n").ends_with("Hello, world"));
}

#[test]
fn a_port_in_use_is_named() {
    let running = listen(hello).unwrap();
    let endpoint = running.url().replace("http", "tcp");
    let error = serve(hello).listen(&endpoint).unwrap_err();
    let advice = "the address is in use: stop what listens there, or choose another port; more: micro-smol explain address-in-use";
    assert_eq!(error.to_string(), format!("cannot listen on {endpoint}: {advice}"));
}

#[test]
fn a_worker_that_is_busy_leaves_the_others_to_serve() {
    let (sender, receiver) = channel::unbounded();
    let server = serve(async move |req: Request| {
        let _ = sender.try_send(std::thread::current().name().map(str::to_owned));
        // Blocks its worker until the other one has answered.
        while req.path() == "/first" && !sender.is_closed() {
            std::thread::yield_now();
        }
    });
    let running = server.listen("tcp://127.0.0.1:0").unwrap().workers(2).start().unwrap();
    let mut first = connect(&running);
    first.write_all(get("/first").as_bytes()).unwrap();
    let busy = receiver.recv_blocking().unwrap();
    assert!(exchange(&running, b"GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 204 "));
    assert_ne!(receiver.recv_blocking().unwrap(), busy);
    receiver.close();
    first.read_exact(&mut [0; 12]).unwrap();
}

#[test]
fn stopping_answers_what_is_in_flight_and_closes_what_is_idle() {
    let (started, starts) = channel::unbounded();
    let (finish, finishes) = channel::unbounded::<()>();
    let server = listen(async move |req: Request| {
        if req.path() == "/slow" {
            let _ = started.try_send(());
            let _ = finishes.recv().await;
        }
        "done"
    })
    .unwrap();
    let address = server.url().trim_start_matches("http://").to_owned();
    let (mut never_used, mut idle, mut busy) = (connect(&server), connect(&server), connect(&server));
    idle.write_all(get("/").as_bytes()).unwrap();
    let mut first = [0; 12];
    idle.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    busy.write_all(get("/slow").as_bytes()).unwrap();
    starts.recv_blocking().unwrap();
    let stopping = std::thread::spawn(|| server.stop());
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    never_used.read_to_end(&mut rest).unwrap();
    assert!(TcpStream::connect(&address).is_err(), "nothing is accepted any more");
    finish.try_send(()).unwrap();
    let answer = crate::support::read_to_end(busy);
    assert!(answer.contains("\r\nconnection: close\r\n") && answer.ends_with("done"), "{answer}");
    stopping.join().unwrap().unwrap();
}

#[test]
fn stopping_cuts_what_is_not_done_in_time() {
    let limits = Limits { drain_timeout: std::time::Duration::from_millis(1), ..Limits::default() };
    let (started, starts) = channel::unbounded();
    let server = serve(async move |_req: Request| {
        let _ = started.try_send(());
        std::future::pending::<()>().await
    });
    let running = server.listen("tcp://127.0.0.1:0").unwrap().workers(1).limits(limits).start().unwrap();
    let mut client = connect(&running);
    client.write_all(get("/").as_bytes()).unwrap();
    starts.recv_blocking().unwrap();
    assert_eq!(running.stop().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(answer.is_empty());
}

#[test]
fn stopping_cuts_a_stream_that_goes_on_and_on() {
    let limits = Limits { drain_timeout: std::time::Duration::from_millis(50), ..Limits::default() };
    let server = serve(async |_req: Request| micro_smol::stream(futures_lite::io::repeat(b'x')));
    let running = server.listen("tcp://127.0.0.1:0").unwrap().workers(1).limits(limits).start().unwrap();
    let mut client = connect(&running);
    client.write_all(get("/").as_bytes()).unwrap();
    let reading = std::thread::spawn(move || {
        let mut last = Vec::new();
        let mut buffer = [0; 65536];
        while let Ok(count @ 1..) = client.read(&mut buffer) {
            last = buffer[..count].to_vec();
        }
        last
    });
    assert_eq!(running.stop().unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert!(!reading.join().unwrap().ends_with(b"0\r\n\r\n"));
}

#[test]
fn dropping_a_server_cuts_its_connections() {
    let server = listen(hello).unwrap();
    let mut client = connect(&server);
    client.write_all(get("/").as_bytes()).unwrap();
    let mut answer = [0; 12];
    client.read_exact(&mut answer).unwrap();
    drop(server);
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert!(rest.ends_with(b"Hello, world"));
}

#[test]
fn a_worker_that_only_sockets_have_woken_for_long_is_woken_by_all_else() {
    async fn handler(req: Request) -> String {
        match req.path() {
            "/timer" => drop(smol::Timer::after(Duration::from_millis(1)).await),
            "/thread" => smol::unblock(|| {}).await,
            _ => {}
        }
        req.path().to_owned()
    }
    let server = listen(handler).unwrap();
    let mut client = connect(&server);
    for path in ["/timer", "/thread", "/timer"] {
        for path in ["/"].repeat(100).into_iter().chain([path]) {
            client.write_all(get(path).as_bytes()).unwrap();
            let mut answer = String::new();
            while !answer.ends_with(&format!("\r\n\r\n{path}")) {
                let mut bytes = [0; 1024];
                let count = client.read(&mut bytes).unwrap();
                assert_ne!(count, 0, "{answer}");
                answer.push_str(str::from_utf8(&bytes[..count]).unwrap());
            }
        }
    }
    server.stop().unwrap();
}
