//! Peers that are gone, or have said that they send no more.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::Duration;

use micro_smol::smol::Timer;
use micro_smol::smol::channel::{self, Sender};
use micro_smol::smol::stream::{self, StreamExt};
use micro_smol::{Handler, IntoResponse, Limits, Request, Response, Result, Running, chunks, listen, serve};
use rustix::net::sockopt;

use crate::support::{get, read_to_end};
use crate::test_service::{connect_to, read_until, wait_for};

const SHORT: Duration = Duration::from_millis(100);

fn listen_within(handler: impl Handler, write_timeout: Duration) -> Running {
    let limits = Limits { write_timeout, ..Limits::default() };
    serve(handler).listen("tcp://127.0.0.1:0").unwrap().workers(1).limits(limits).start().unwrap()
}

/// Tells when it is dropped.
struct Dropped(Sender<()>);

impl Drop for Dropped {
    fn drop(&mut self) {
        let _ = self.0.try_send(());
    }
}

/// How a client goes away.
#[derive(Clone, Copy)]
enum Leaving {
    /// It sends no more, but would still read.
    Half,
    /// It is gone, which no packet says but the next one that it gets.
    Whole,
}

/// Starts 20 event streams that fall silent, has the clients leave, and waits until their readers are dropped.
fn leave_silent_streams(leaving: Leaving, head_is_read: bool) {
    let (sender, dropped) = channel::unbounded();
    let events = async move |_req: Request| -> Result<Response> {
        let told = Dropped(sender.clone());
        let events = stream::once(std::io::Result::Ok("data: hello\n\n")).chain(stream::pending());
        let events = events.inspect(move |_| {
            let _ = &told;
        });
        (200, [("content-type", "text/event-stream")], chunks(events)).into_response()
    };
    let server = listen_within(events, SHORT);
    let mut clients: Vec<_> = (0..20).map(|_| connect_to(server.addr().unwrap())).collect();
    for client in &mut clients {
        client.write_all(get("/").as_bytes()).unwrap();
        if head_is_read {
            read_until(client, "data: hello\n\n\r\n");
        }
    }
    match leaving {
        Leaving::Half => clients.iter().for_each(|client| client.shutdown(Shutdown::Write).unwrap()),
        Leaving::Whole => clients.clear(),
    }
    wait_for("the drop of 20 readers", || (dropped.len() == 20).then_some(()));
    // The one that would still read sees that the response is cut.
    for mut client in clients {
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        assert!(!answer.ends_with(b"0\r\n\r\n"));
    }
}

#[test]
fn a_silent_event_stream_whose_client_has_gone_is_let_go() {
    leave_silent_streams(Leaving::Whole, true);
}

#[test]
fn a_silent_event_stream_whose_client_sends_no_more_is_let_go() {
    leave_silent_streams(Leaving::Half, true);
}

#[test]
fn a_silent_event_stream_with_the_end_right_behind_its_request_is_let_go() {
    leave_silent_streams(Leaving::Half, false);
}

#[test]
fn a_handler_that_waits_for_ever_for_a_client_that_sends_no_more_is_dropped() {
    let (sender, dropped) = channel::bounded(1);
    let handler = async move |_req: Request| {
        let _dropped = Dropped(sender.clone());
        std::future::pending::<()>().await
    };
    let server = listen_within(handler, SHORT);
    let mut client = connect_to(server.addr().unwrap());
    client.write_all(get("/").as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    dropped.recv_blocking().unwrap();
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    assert!(answer.is_empty());
}

#[test]
fn a_handler_that_answers_in_time_answers_a_client_that_sends_no_more() {
    let handler = async |_req: Request| {
        Timer::after(SHORT).await;
        "in time"
    };
    let server = listen_within(handler, 100 * SHORT);
    let mut client = connect_to(server.addr().unwrap());
    client.write_all(get("/").as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(client).ends_with("in time"));
}

#[test]
fn a_stream_that_makes_progress_is_not_cut_for_a_client_that_sends_no_more() {
    // In all, it takes twice as long as the time for a piece.
    let ticks = async |_req: Request| {
        let ticks = Timer::interval(SHORT).take(10).map(|_| std::io::Result::Ok("tick "));
        chunks(ticks)
    };
    let server = listen_within(ticks, 5 * SHORT);
    let mut client = connect_to(server.addr().unwrap());
    client.write_all(get("/").as_bytes()).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let answer = read_to_end(client);
    assert!(answer.ends_with("0\r\n\r\n"), "{answer}");
    assert_eq!(answer.matches("tick ").count(), 10, "{answer}");
}

#[test]
fn a_listening_socket_asks_whether_silent_peers_are_still_there() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let ours = listener.try_clone().unwrap();
    let _running = serve(async |_req: Request| ()).listen_on(listener).unwrap().workers(1).start().unwrap();
    assert!(sockopt::socket_keepalive(&ours).unwrap());
    assert_eq!(sockopt::tcp_keepidle(&ours).unwrap(), Duration::from_secs(60));
    assert_eq!(sockopt::tcp_keepintvl(&ours).unwrap(), Duration::from_secs(10));
    assert_eq!(sockopt::tcp_keepcnt(&ours).unwrap(), 6);
    assert!(sockopt::tcp_nodelay(&ours).unwrap());
}

/// The timer of a server's socket as the kernel has it: its kind, and when it ends, in hundredths of a second.
#[cfg(target_os = "linux")]
fn timer_of_peer(client: &TcpStream) -> Option<(u8, u64)> {
    let ports = (client.peer_addr().unwrap().port(), client.local_addr().unwrap().port());
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let of_peer = sockets.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let port = |field: &str| u16::from_str_radix(field.rsplit_once(':')?.1, 16).ok();
        let is_peer = (port(fields[1]), port(fields[2])) == (Some(ports.0), Some(ports.1));
        is_peer.then(|| fields[5].to_owned())
    })?;
    let (kind, when) = of_peer.split_once(':')?;
    Some((kind.parse().ok()?, u64::from_str_radix(when, 16).ok()?))
}

#[test]
#[cfg(target_os = "linux")]
fn an_accepted_socket_asks_whether_its_silent_peer_is_still_there() {
    let inherited = TcpListener::bind("127.0.0.1:0").unwrap();
    let servers = [
        listen(async |_req: Request| ()).unwrap(),
        serve(async |_req: Request| ()).listen_on(inherited).unwrap().workers(1).start().unwrap(),
    ];
    for server in servers {
        let mut client = connect_to(server.addr().unwrap());
        client.write_all(get("/").as_bytes()).unwrap();
        client.read_exact(&mut [0; 12]).unwrap();
        // 2 is the kind of keep-alive. There is none before the response is acknowledged.
        let end = wait_for("the timer", || timer_of_peer(&client).filter(|(kind, _)| *kind == 2)).1;
        assert!((5000..=6000).contains(&end), "{end}");
    }
}
