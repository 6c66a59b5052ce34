//! Connections that go on in another protocol (RFC 9110, 7.8).

use std::io::{Read, Write};

use crate::support::{answer, connect, converse, ok};
use micro_smol::smol::io::{AsyncReadExt, AsyncWriteExt};
use micro_smol::{Limits, Request, Response, Upgraded, listen, send, upgrade};

/// Speaks `shout`, which is upper case.
async fn handler(req: Request) -> Response {
    upgrade(&req, "shout", async |mut io: Upgraded| {
        let mut bytes = [0; 16];
        while let Ok(count @ 1..) = io.read(&mut bytes).await {
            io.write_all(&bytes[..count].to_ascii_uppercase()).await.unwrap();
        }
        io.write_all(b"!").await.unwrap();
    })
}

const ASK: &str = "GET / HTTP/1.1\r\nhost: a\r\nconnection: keep-alive, Upgrade\r\nupgrade: SHOUT\r\n\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nupgrade: shout\r\nconnection: upgrade\r\n\r\n";

#[test]
fn the_connection_goes_on_in_the_other_protocol() {
    assert_eq!(answer(&handler, ASK), format!("{SWITCHED}!"));
}

#[test]
fn a_list_may_have_several_lines() {
    let ask = ASK
        .replace("keep-alive, Upgrade", "keep-alive\r\nConnection: Upgrade")
        .replace("SHOUT", "h2c\r\nupgrade: SHOUT");
    assert_eq!(answer(&handler, ask), format!("{SWITCHED}!"));
}

#[test]
fn bytes_that_came_with_the_request_are_read_first() {
    let input = format!("{ASK}hello, this is more than one read");
    assert_eq!(answer(&handler, input), format!("{SWITCHED}HELLO, THIS IS MORE THAN ONE READ!"));
}

#[test]
fn an_answer_before_the_switch_leaves_first() {
    async fn switching_at_last(req: Request) -> Response {
        if req.path() == "/first" { send(200, "first").unwrap() } else { handler(req).await }
    }
    let input = format!("GET /first HTTP/1.1\r\nhost: a\r\n\r\n{ASK}x");
    let answer = answer(&switching_at_last, input);
    assert!(answer.contains("\r\n\r\nfirstHTTP/1.1 101 ") && answer.ends_with("\r\n\r\nX!"), "{answer}");
}

#[test]
fn a_request_that_does_not_ask_is_told_to() {
    let asks = [
        "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nupgrade: shout\r\n\r\n",
        "GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: whisper\r\n\r\n",
        "GET / HTTP/1.0\r\nconnection: upgrade\r\nupgrade: shout\r\n\r\n",
    ];
    for ask in asks {
        let (answer, _) = converse(&handler, &Limits::default(), &[ask.as_bytes()], usize::MAX);
        assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
        assert!(answer.contains("\r\nupgrade: shout\r\n"), "{answer}");
        // Upgrade is for the next hop alone (RFC 9110, 7.8).
        let close = if ask.contains("HTTP/1.0") { "close, " } else { "" };
        assert!(answer.contains(&format!("\r\nconnection: {close}upgrade\r\n")), "{answer}");
    }
}

#[test]
fn a_request_with_content_is_refused() {
    let input = ASK.replace("\r\n\r\n", "\r\ncontent-length: 1\r\n\r\nx");
    assert!(answer(&handler, input).starts_with("HTTP/1.1 400 Bad Request\r\n"));
}

#[test]
fn fields_can_be_set_on_the_response() {
    let with_field = async |req: Request| handler(req).await.with_header("sec-websocket-accept", "x");
    let (answer, _) = converse(&with_field, &Limits::default(), &[ASK.as_bytes()], usize::MAX);
    assert!(answer.starts_with("HTTP/1.1 101 ") && answer.contains("\r\nsec-websocket-accept: x\r\n"), "{answer}");
}

#[test]
fn a_handler_may_add_connection_options_of_its_own() {
    let with_option = async |req: Request| handler(req).await.with_header("Connection", "x-hop, Upgrade, keep-alive");
    assert_eq!(
        answer(&with_option, ASK),
        format!("{}!", SWITCHED.replace("upgrade\r\n\r\n", "upgrade, x-hop\r\n\r\n"))
    );
    let hop = async |_req: Request| Response::new(200).with_header("x-hop", "1").with_header("connection", "x-hop");
    let input = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let expected = "HTTP/1.1 200 OK\r\nx-hop: 1\r\ncontent-length: 0\r\nconnection: x-hop\r\n\r\n";
    assert_eq!(answer(&hop, input), expected);
}

#[test]
fn any_response_may_advertise_a_protocol() {
    let advertising = async |_req: Request| Response::new(200).with_header("upgrade", "shout");
    let expected = "HTTP/1.1 200 OK\r\nupgrade: shout\r\ncontent-length: 0\r\nconnection: upgrade\r\n\r\n";
    assert_eq!(answer(&advertising, ASK.repeat(2)), expected.repeat(2));
}

#[test]
fn a_response_that_does_not_switch_hands_nothing_over() {
    let with_invalid_field = async |req: Request| handler(req).await.with_header("x", "a\nb");
    let with_status = async |req: Request| send(200, handler(req).await);
    let next = format!("{ASK}GET / HTTP/1.1\r\nhost: a\r\n\r\n");
    let failed = ok("Internal Server Error").replace("200 OK", "500 Internal Server Error");
    assert_eq!(answer(&with_invalid_field, &next), failed.repeat(2));
    let head = |fields| format!("HTTP/1.1 200 OK\r\n{fields}\r\nconnection: upgrade\r\n\r\n");
    let first = head("upgrade: shout\r\ncontent-length: 0");
    let second = head("content-type: text/plain; charset=utf-8\r\nupgrade: shout\r\ncontent-length: 16");
    assert_eq!(answer(&with_status, &next), format!("{first}{second}Upgrade Required"));
}

#[test]
fn a_server_that_stops_ends_what_is_read_and_waits() {
    let server = listen(handler).unwrap();
    let mut client = connect(&server);
    client.write_all(format!("{ASK}a").as_bytes()).unwrap();
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\nA") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        answer.push(byte[0].into());
    }
    server.stop().unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "!");
}

#[test]
fn the_future_is_dropped_when_the_server_is_cut() {
    async fn patient(req: Request) -> Response {
        upgrade(&req, "shout", async |_io| std::future::pending().await)
    }
    let server = listen(patient).unwrap();
    let mut client = connect(&server);
    client.write_all(ASK.as_bytes()).unwrap();
    let mut head = [0; 12];
    client.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 101");
    drop(server);
    let mut rest = Vec::new();
    let ended = client.read_to_end(&mut rest);
    assert!(ended.is_err() || rest.ends_with(b"\r\n\r\n"));
}
