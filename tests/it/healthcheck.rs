//! `healthcheck`, of the command and of a service's own executable.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::Instant;

use micro_smol::{Request, listen, serve};

use crate::cli::{directory, micro_smol, text};
use crate::process::example;
use crate::support::stale_socket;

/// What the command and a service's own executable say, which is the same, with the exit code.
fn check(args: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let args = [&["healthcheck"], args].concat();
    let run = |mut command: Command| {
        let command = command.args(&args).env_remove("HOST").env_remove("PORT").envs(environment.iter().copied());
        let Output { status, stdout, stderr } = command.output().unwrap();
        assert_eq!(text(&stdout), "");
        (status.code().unwrap(), text(&stderr).to_owned())
    };
    let said = run(micro_smol(Path::new("/"), &[]));
    assert_eq!(run(Command::new(example("hello"))), said);
    said
}

/// Answers with the status that the path names.
async fn status(req: Request) -> (u16, &'static str) {
    (req.path().trim_start_matches('/').parse().unwrap_or(200), "as you wish")
}

#[test]
fn a_service_is_well_below_500() {
    let server = listen(status).unwrap();
    let url = server.url();
    for path in ["", "/", "/200", "/204", "/404", "/451"] {
        assert_eq!(check(&[&format!("{url}{path}")], &[]), (0, String::new()), "{path}");
    }
    for path in ["/500", "/503"] {
        let message = format!("micro-smol: {url}{path}: the status is {}\n", &path[1..]);
        assert_eq!(check(&[&format!("{url}{path}")], &[]), (1, message));
    }
}

#[test]
fn an_endpoint_is_asked_as_it_is_listened_on() {
    let socket = directory("healthcheck_endpoint").join("socket");
    let socket = format!("unix:{}", socket.display());
    let running = serve(status).listen(&socket).unwrap().listen("tcp://localhost:0").unwrap();
    let running = running.listen("tcp://0.0.0.0:0").unwrap().workers(1).start().unwrap();
    for url in running.urls() {
        assert_eq!(check(&[&url.replace("http://", "tcp://")], &[]), (0, String::new()), "{url}");
    }
    if let Ok(six) = serve(status).listen("tcp://[::]:0") {
        let six = six.workers(1).start().unwrap();
        assert_eq!(check(&[six.url()], &[]), (0, String::new()));
    }
}

#[test]
fn without_an_argument_the_environment_says_where() {
    let server = listen(status).unwrap();
    let port = server.url().rsplit(':').next().unwrap();
    assert_eq!(check(&[], &[("PORT", port)]), (0, String::new()));
    assert_eq!(check(&[], &[("PORT", port), ("HOST", "localhost")]), (0, String::new()));
    // Another address of this machine, on which it does not listen.
    let (code, said) = check(&[], &[("PORT", port), ("HOST", "127.0.0.2")]);
    assert_eq!(code, 1);
    assert!(said.starts_with(&format!("micro-smol: http://127.0.0.2:{port}/: Connection refused")), "{said}");
    let message = "micro-smol: PORT: \"tea\" is not a port: give a number from 0 to 65535";
    assert!(check(&[], &[("PORT", "tea")]).1.starts_with(message));
}

#[test]
fn a_server_that_is_gone_is_not_well() {
    let socket = directory("healthcheck_gone").join("socket");
    stale_socket(&socket);
    let (code, said) = check(&[&format!("unix:{}", socket.display())], &[]);
    assert_eq!(code, 1);
    assert!(said.starts_with(&format!("micro-smol: unix:{}/: Connection refused", socket.display())), "{said}");
}

#[test]
fn two_seconds_are_enough() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let uri = format!("tcp://{}", silent.local_addr().unwrap());
    let start = Instant::now();
    let said = check(&[&uri], &[]);
    assert_eq!(said, (1, format!("micro-smol: http://{}/: no answer within 2 seconds\n", &uri["tcp://".len()..])));
    assert!(start.elapsed().as_secs_f64() >= 4.0, "twice two seconds");
}

/// What both say of a peer that answers so.
fn check_answer(answer: &'static str) -> (i32, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let peer = thread::spawn(move || {
        for _ in 0..2 {
            let mut client = listener.accept().unwrap().0;
            client.read_exact(&mut [0; 16]).unwrap();
            client.write_all(answer.as_bytes()).unwrap();
            // It may have read enough, and be gone.
            let _ = client.shutdown(std::net::Shutdown::Write);
            // Until it hangs up: what is unread would reset the connection.
            let _ = client.read_to_end(&mut Vec::new());
        }
    });
    let (code, said) = check(&[&format!("http://{address}")], &[]);
    peer.join().unwrap();
    (code, said, format!("micro-smol: http://{address}/: "))
}

#[test]
fn what_is_no_status_line_is_not_well() {
    for answer in [
        "",
        "SSH-2.0-tea and more",
        "HTTP/1.1 ok!",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/2 200 \r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "HTTP/1.xx200 \r\n\r\n",
        "HTTP/1.1.200 OK\r\n\r\n",
        "HTTP/1.1 +20 OK\r\n\r\n",
        "HTTP/1.1 -20 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1\t200 OK\r\n\r\n",
        " HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 000 \r\n\r\n",
        "HTTP/1.1 099 \r\n\r\n",
        "HTTP/1.1 600 \r\n\r\n",
        "HTTP/1.1 200",
        // None of these is final.
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n",
    ] {
        let (code, said, start) = check_answer(answer);
        let message = format!("{start}it does not answer with a status line of HTTP/1\n");
        assert_eq!((code, said), (1, message), "{answer:?}");
    }
}

#[test]
fn a_status_line_says_whether_it_is_well() {
    for answer in [
        "HTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 200 \r\n\r\n",
        "HTTP/1.1 299 Fine\r\n\r\n",
        "HTTP/1.1 301 Moved\r\n\r\n",
        "HTTP/1.1 404 Not Found\r\n\r\n",
        "HTTP/1.1 499 Odd\r\n\r\n",
    ] {
        let (code, said, _) = check_answer(answer);
        assert_eq!((code, said.as_str()), (0, ""), "{answer:?}");
    }
    for answer in ["HTTP/1.1 500 Oh\r\n\r\n", "HTTP/1.1 503 No\r\n\r\n", "HTTP/1.1 599 Odd\r\n\r\n"] {
        let (code, said, start) = check_answer(answer);
        assert_eq!((code, said), (1, format!("{start}the status is {}\n", &answer[9..12])));
    }
}

#[test]
fn http_without_a_port_has_port_80() {
    // No TCP connection can be made to the address.
    for (uri, url) in [
        ("http://255.255.255.255", "http://255.255.255.255:80/"),
        ("http://255.255.255.255/ready?now", "http://255.255.255.255:80/ready?now"),
        ("http://255.255.255.255:9/", "http://255.255.255.255:9/"),
        ("http://[ff02::1%1]", "http://[ff02::1%1]:80/"),
    ] {
        let (code, said) = check(&[uri], &[]);
        assert_eq!(code, 1);
        assert!(said.starts_with(&format!("micro-smol: {url}: ")), "{said}");
    }
}

#[test]
fn a_malformed_target_is_wrong_use() {
    for (uri, message) in [
        ("https://a", "\"https://a\" is not an endpoint: give tcp://HOST:PORT"),
        ("http://", "\"http://\" is not a URL: give http://HOST:PORT/PATH"),
        ("http://:80/x", "\"http://:80/x\" is not a URL: give http://HOST:PORT/PATH"),
        ("http://a:b/c", "\"http://a:b/c\" is not a URL: give http://HOST:PORT/PATH"),
        ("http://a:65536", "\"http://a:65536\" is not a URL: give http://HOST:PORT/PATH"),
        ("http://[::x]/", "\"http://[::x]/\" is not a URL: give http://HOST:PORT/PATH"),
        ("tcp://a", "\"tcp://a\" is not an endpoint: give tcp://HOST:PORT"),
        ("unix:", "\"unix:\" is not an endpoint: give tcp://HOST:PORT"),
        ("tea", "\"tea\" is not an endpoint: give tcp://HOST:PORT"),
        ("tcp://a:b", "tcp://a:b: \"b\" is not a port: give a number"),
    ] {
        let (code, said) = check(&[uri], &[]);
        assert_eq!(code, 2);
        assert!(said.starts_with(&format!("micro-smol: {message}")), "{said}");
    }
    assert_eq!(check(&["unix:/a", "unix:/b"], &[]).0, 2);
    assert_eq!(check(&["-p", "1"], &[]).0, 2);
}
