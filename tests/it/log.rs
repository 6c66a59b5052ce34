//! What a service says on stderr: one line a request that the server failed, and none for a fault of the client.

use std::env;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::panic::panic_any;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::get;
use micro_smol::smol::io::AsyncReadExt;
use micro_smol::smol::stream::iter;
use micro_smol::{
    IntoResponse, Request, Response, Result, Status, buffer, chunks, create_error, create_error_from, json, serve,
    stream,
};
use rustix::process::{Pid, Signal, kill_process};

/// Fails in one of the ways that there are, as the path says.
async fn fail_by_path(mut req: Request) -> Result<Response> {
    let invalid = |name: &str, value: &str| Ok(Response::new(200).with_header("x-valid", "1").with_header(name, value));
    match req.path() {
        "/field/space" => invalid("a b", "c"),
        "/field/empty" => invalid("", "c"),
        "/field/colon" => invalid("a:b", "c"),
        "/field/cr" => invalid("x-split", "a\rb: c"),
        "/field/crlf" => invalid("x-split", "a\r\nset-cookie: c"),
        "/field/name-lf" => invalid("a\nb", "c"),
        "/status" => (103, "x").into_response(),
        "/unknown" => (299, "x").into_response(),
        "/io" => Err(std::io::Error::other("the disk is on fire\nand so is\x1b[31m the house").into()),
        "/chain" => Err(create_error_from(502, "Back at noon", "x".parse::<u8>().unwrap_err())),
        "/twice" => Err(create_error_from(500, "Broken", std::io::Error::other("Broken"))),
        "/public" => Err(create_error(503, "Back at noon")),
        "/client" => Err(create_error(404, "No such tea")),
        "/client/from" => Err(create_error_from(400, "No", std::io::Error::other("secret"))),
        "/client/status" => Err(std::io::Error::other("secret")).status(403),
        "/panic" => panic!("a panic that is part of the test"),
        "/panic/formatted" => panic!("a panic at {}", req.path()),
        "/panic/other" => panic_any(3),
        "/buffer" => buffer(&req).await.into_response(),
        "/json" => json::<u8>(&req).await.into_response(),
        "/mirror" => stream(req.take_body()).into_response(),
        "/cut" => {
            let error = std::io::Error::other("the disk is on fire\nand so is\x1b[31m the house");
            chunks(iter([Ok("half"), Err(error)])).into_response()
        }
        _ => {
            let mut content = Vec::new();
            req.take_body().read_to_end(&mut content).await?;
            content.into_response()
        }
    }
}

/// Not a fact, but the service of the others: a process of its own, which listens on its standard input.
#[test]
fn the_service_of_these_tests() {
    if env::var_os("MICRO_SMOL_SERVICE_OF_A_TEST").is_some() {
        serve(fail_by_path).listen("fd:0").unwrap().workers(1).run().unwrap();
    }
}

/// What the service has said on stderr when it has ended, by a signal after this use of it.
fn log_of(mode: &str, use_it: impl FnOnce(SocketAddr)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "log::the_service_of_these_tests", "--nocapture"]);
    command.env("MICRO_SMOL_SERVICE_OF_A_TEST", "yes").env("MICRO_ENV", mode).env("RUST_BACKTRACE", "1");
    command.stdin(OwnedFd::from(listener)).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It is there when it has answered.
    assert!(ask(address, "/client").starts_with("HTTP/1.1 404 "));
    use_it(address);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert!(child.wait().unwrap().success(), "{log}");
    log
}

fn ask(address: SocketAddr, path: &str) -> String {
    send(address, get(path).replace("\r\n\r\n", "\r\nconnection: close\r\n\r\n").as_bytes())
}

/// Sends bytes and their end, and reads to the end.
fn send(address: SocketAddr, input: &[u8]) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    client.write_all(input).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    // A stream that was cut may end in a reset.
    let _ = client.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

/// The log of requests for these paths, and what they were answered.
fn log_of_paths(mode: &str, paths: &[&str]) -> (String, Vec<String>) {
    let mut answers = Vec::new();
    let log = log_of(mode, |address| answers.extend(paths.iter().map(|path| ask(address, path))));
    (log, answers)
}

#[test]
fn a_field_that_cannot_be_sent_is_a_500_and_named_in_the_log() {
    let names = [
        ("/field/space", r#""a b""#),
        ("/field/empty", r#""""#),
        ("/field/colon", r#""a:b""#),
        ("/field/cr", r#""x-split""#),
        ("/field/crlf", r#""x-split""#),
        ("/field/name-lf", r#""a\nb""#),
    ];
    let (log, answers) = log_of_paths("", &names.map(|(path, _)| path));
    for answer in answers {
        assert!(answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"), "{answer}");
        assert!(answer.ends_with("\r\n\r\nInternal Server Error") && !answer.contains("set-cookie"), "{answer}");
    }
    let line = |(path, name)| format!("micro-smol: GET {path}: 500: the response field {name} cannot be sent\n");
    assert_eq!(log, names.map(line).concat());
}

#[test]
fn a_failed_request_is_one_line_with_the_causes() {
    let (log, answers) = log_of_paths("", &["/io", "/chain", "/twice", "/public", "/status", "/unknown"]);
    let expected = [
        r"GET /io: 500: the disk is on fire\nand so is\u{1b}[31m the house",
        "GET /chain: 502: Back at noon: invalid digit found in string",
        "GET /twice: 500: Broken",
        "GET /public: 503: Back at noon",
        "GET /status: 500: 103 is no final status",
        "GET /unknown: 500: http-types knows no status 299",
    ];
    assert_eq!(log, expected.map(|line| format!("micro-smol: {line}\n")).concat());
    let contents: Vec<_> = answers.iter().map(|answer| answer.split_once("\r\n\r\n").unwrap().1).collect();
    let failed = "Internal Server Error";
    assert_eq!(contents, [failed, "Back at noon", "Broken", "Back at noon", failed, failed]);
}

#[test]
fn a_response_that_is_cut_is_one_line_with_method_and_path() {
    let (log, answers) = log_of_paths("", &["/cut?a=b", "/cut"]);
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200 OK\r\n")), "{answers:?}");
    assert!(answers.iter().all(|answer| !answer.ends_with("0\r\n\r\n")), "{answers:?}");
    assert_eq!(log.lines().count(), 2, "{log}");
    for line in log.lines() {
        assert!(line.starts_with("micro-smol: GET /cut: "), "{line}");
        assert!(line.ends_with(r"the disk is on fire\nand so is\u{1b}[31m the house"), "{line}");
    }
}

#[test]
fn a_fault_of_the_client_is_not_logged() {
    let (log, answers) = log_of_paths("", &["/client", "/client/from", "/client/status", "/json"]);
    let statuses: Vec<_> = answers.iter().map(|answer| &answer[9..12]).collect();
    assert_eq!((log.as_str(), statuses), ("", vec!["404", "400", "403", "400"]));
}

#[test]
fn a_panic_is_one_line() {
    let (log, answers) = log_of_paths("", &["/panic"]);
    assert!(answers[0].starts_with("HTTP/1.1 500 ") && answers[0].ends_with("Internal Server Error"), "{}", answers[0]);
    assert!(log.starts_with("micro-smol: panicked at tests/it/log.rs:"), "{log}");
    assert!(log.ends_with("\\na panic that is part of the test\n") && log.lines().count() == 1, "{log}");
}

/// Requests whose bodies are abandoned half-way, or malformed.
const UPLOADS: [&str; 4] = [
    "content-length: 1000\r\n\r\nhalf",
    "content-length: 9000000\r\n\r\nhalf",
    "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    "transfer-encoding: chunked\r\n\r\n4\r\nhalf\r\nx\r\n",
];

#[test]
fn an_upload_that_the_client_abandons_is_neither_a_500_nor_logged() {
    let log = log_of("", |address| {
        for path in ["/take", "/buffer", "/json"] {
            for upload in UPLOADS {
                let answer = send(address, format!("POST {path} HTTP/1.1\r\nhost: a\r\n{upload}").as_bytes());
                let is_refused = path != "/take" && upload.contains("9000000");
                let status = if is_refused { "HTTP/1.1 413 " } else { "HTTP/1.1 400 " };
                assert!(answer.starts_with(status), "{path} {upload:?}: {answer}");
            }
        }
    });
    assert_eq!(log, "");
}

#[test]
fn an_upload_that_is_streamed_back_and_abandoned_is_cut_and_not_logged() {
    let log = log_of("", |address| {
        for upload in UPLOADS {
            let answer = send(address, format!("POST /mirror HTTP/1.1\r\nhost: a\r\n{upload}").as_bytes());
            assert!(!answer.ends_with("0\r\n\r\n"), "{upload:?}: {answer}");
        }
    });
    assert_eq!(log, "");
}

#[test]
fn an_upload_that_is_reset_is_not_logged() {
    let log = log_of("", |address| {
        for path in ["/take", "/buffer", "/json", "/mirror"] {
            for upload in UPLOADS {
                let mut client = TcpStream::connect(address).unwrap();
                client.write_all(format!("POST {path} HTTP/1.1\r\nhost: a\r\n{upload}").as_bytes()).unwrap();
                rustix::net::sockopt::set_socket_linger(&client, Some(Duration::ZERO)).unwrap();
            }
        }
        // The server has seen those before.
        assert!(ask(address, "/client").starts_with("HTTP/1.1 404 "));
    });
    assert_eq!(log, "");
}

#[test]
fn development_logs_each_error_with_its_causes_indented() {
    let (log, answers) = log_of_paths("development", &["/chain"]);
    let expected = "micro-smol: GET /chain: 502: Back at noon\n    caused by: invalid digit found in string\n";
    assert!(log.contains(expected), "{log}");
    assert!(answers[0].ends_with("\r\n\r\nBack at noon\ncaused by: invalid digit found in string"), "{}", answers[0]);
    assert!(log.contains("micro-smol: GET /client: 404: No such tea\n"), "{log}");
}

#[test]
fn the_client_reads_the_message_of_a_panic_in_development_only() {
    let cases = [
        ("/panic", "a panic that is part of the test"),
        ("/panic/formatted", "a panic at /panic/formatted"),
        ("/panic/other", "a panic without a message"),
    ];
    for mode in ["", "development"] {
        let (_, answers) = log_of_paths(mode, &cases.map(|(path, _)| path));
        for (answer, (_, message)) in answers.iter().zip(cases) {
            let cause = if mode.is_empty() { String::new() } else { format!("\ncaused by: {message}") };
            assert!(answer.ends_with(&format!("\r\n\r\nInternal Server Error{cause}")), "{answer}");
        }
    }
}

#[test]
fn an_error_made_by_create_error_is_said_once_and_without_backtrace() {
    for mode in ["", "development"] {
        let (log, answers) = log_of_paths(mode, &["/client", "/twice", "/client/from", "/public", "/chain"]);
        assert!(answers[0].ends_with("\r\n\r\nNo such tea"), "{}", answers[0]);
        assert!(answers[1].ends_with("\r\n\r\nBroken"), "{}", answers[1]);
        assert!(!log.contains("stack backtrace") && !log.contains("   0: "), "{log}");
        assert!(answers.iter().all(|answer| !answer.contains("   0: ")), "{answers:?}");
    }
}

#[test]
fn a_test_logs_nothing() {
    assert_eq!(log_of_paths("test", &["/io", "/public", "/field/space"]).0, "");
}
