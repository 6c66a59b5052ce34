//! The wire path alone: `wire get|browser|fields|order COUNT` serves so many keep-alive requests over a stream in memory, for
//! callgrind to count. What a request takes is the difference of two counts.

#[path = "../../../../tests/allocations/src/peer.rs"]
mod peer;
#[path = "peer-micro-smol.rs"]
#[expect(dead_code, reason = "it has a main of its own")]
mod service;

use std::env;
use std::io;

use micro_smol::{Limits, serve_connection, smol};
use peer::{GET, Peer};

const FIELDS: &str = "GET /fields HTTP/1.1\r\nHost: localhost\r\n\r\n";
const ORDER: &str = "POST /order?currency=EUR&express=true HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
    X-User: ann\r\nContent-Length: 34\r\n\r\n{\"item\":\"tea\",\"price\":6,\"count\":7}";

fn main() -> io::Result<()> {
    let mut arguments = env::args().skip(1);
    let request = match arguments.next().as_deref() {
        Some("browser") => format!("GET / HTTP/1.1\n{}\n", include_str!("../browser.txt")).replace('\n', "\r\n").leak(),
        Some("fields") => FIELDS,
        Some("order") => ORDER,
        _ => GET,
    };
    let count = arguments.next().and_then(|count| count.parse().ok()).unwrap_or(1000);
    smol::future::block_on(serve_connection(Peer::new(request, count), &service::answer, &Limits::default()))
}
