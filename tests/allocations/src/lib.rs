//! What a request on a connection that persists allocates, once the connection is warm.
#![cfg(test)]

mod peer;

// Not smol::block_on, which runs the reactor of async-io meanwhile.
use micro_smol::smol::future::block_on;
use micro_smol::{Handler, Json, Limits, Request, Result, buffer, json, serve_connection};

use peer::{GET, Peer};

const POST: &str = "POST / HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nContent-Length: 5\r\n\r\nhello";

/// How many allocations a request costs: what the second thousand adds to the first, without the few of each connection.
fn allocations(handler: impl Handler, request: &'static str) -> f64 {
    let serve = |left| {
        let count = allocation_counter::measure(|| {
            block_on(serve_connection(Peer::new(request, left), &handler, &Limits::default())).unwrap();
        });
        count.count_total as f64
    };
    let thousand = serve(1000);
    ((serve(2000) - thousand) / 1000.0).round()
}

#[test]
fn text_costs_none() {
    assert_eq!(allocations(async |_req: Request| "Hello, world", GET), 0.0);
}

#[test]
fn looking_at_the_request_costs_none() {
    async fn handler(req: Request) -> u16 {
        assert_eq!((req.path(), req.field("accept")), ("/", Some("*/*")));
        204
    }
    let number = allocations(handler, GET);
    assert_eq!(number, 1.0, "the number as JSON");
}

#[test]
fn a_small_json_value_costs_one_beside_the_value_itself() {
    let value = allocation_counter::measure(|| drop(json!({ "hello": "world" }))).count_total as f64;
    assert_eq!(value, 3.0, "serde_json's map, key and string");
    assert_eq!(allocations(async |_req: Request| json!({ "hello": "world" }), GET), value + 1.0);
    assert_eq!(allocations(async |_req: Request| Json(["hello", "world"]), GET), 1.0);
}

#[test]
fn small_content_costs_two() {
    async fn echo(mut req: Request) -> Result<Vec<u8>> {
        buffer(&mut req).await
    }
    assert_eq!(allocations(echo, POST), 2.0, "the content and the handler's copy");
}
