//! may_minihttp on may's coroutines. It opens its socket itself, hence without TCP_NODELAY; it answers in one write.

use std::io;
use std::net::TcpListener;

use may_minihttp::{HttpServer, HttpService, Request, Response};
use micro_smol_peers::{HELLO, threads};

#[derive(Clone)]
struct Hello;

impl HttpService for Hello {
    fn call(&mut self, _req: Request<'_, '_, '_>, response: &mut Response<'_>) -> io::Result<()> {
        response.header("Content-Type: text/plain; charset=utf-8").body(HELLO);
        Ok(())
    }
}

fn main() {
    // As in its own example for the TechEmpower benchmark.
    may::config().set_workers(threads()).set_pool_capacity(1000).set_stack_size(0x1000);
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).unwrap();
    let server = HttpServer(Hello).start(free).unwrap();
    println!("http://{free}");
    server.join().unwrap();
}
