//! What the servers share: how they are started, and what they answer.

#[cfg(feature = "types")]
pub mod catalog;
#[cfg(feature = "types")]
pub mod order;
#[cfg(feature = "types")]
pub mod sum;

use std::hint::spin_loop;
use std::net::TcpListener;
use std::time::{Duration, Instant};

pub const HELLO: &str = "Hello, world";
pub const TEXT: &str = "text/plain; charset=utf-8";

/// Listens on a free port of 127.0.0.1 and prints where. What is accepted has TCP_NODELAY too: Linux hands it on.
pub fn listener() -> TcpListener {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::sockopt::set_tcp_nodelay(&listener, true).unwrap();
    // The standard library lets 128 connections wait, and here 1,000 come at once.
    rustix::net::listen(&listener, 4096).unwrap();
    listener.set_nonblocking(true).unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    listener
}

/// The number of threads that serve: the first argument.
pub fn threads() -> usize {
    std::env::args().nth(1).and_then(|threads| threads.parse().ok()).unwrap_or(1)
}

/// Keeps the thread busy for a millisecond.
pub fn work() -> &'static str {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1) {
        spin_loop();
    }
    "Worked"
}
