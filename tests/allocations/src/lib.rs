//! What a request on a connection that persists allocates, once the connection is warm.
#![cfg(test)]

mod peer;

// Not smol::block_on, which runs the reactor of async-io meanwhile.
use micro_smol::smol::future::block_on;
use micro_smol::{Handler, IntoResponse, Json, Limits, Request, Response, Result, buffer, json, serve_connection};

use peer::{GET, Peer};

const POST: &str = "POST /?page=2 HTTP/1.1\r\nHost: 127.0.0.1:3000\r\nContent-Length: 5\r\n\r\n[1,2]";

/// What each request costs: the box that its handler's future lives in.
const FUTURE: f64 = 1.0;

/// What content costs that comes with the head: its bytes.
const CONTENT: f64 = 1.0;

/// What fields cost: their bytes and their places.
const FIELDS: f64 = 2.0;

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

async fn hello(_req: Request) -> &'static str {
    "Hello, world"
}

#[test]
fn text_costs_the_future() {
    assert_eq!(allocations(hello, GET), FUTURE);
    assert_eq!(allocations(async |_req: Request| (), GET), FUTURE);
}

#[test]
fn looking_at_the_request_costs_nothing() {
    async fn handler(req: Request) {
        assert_eq!((req.path(), req.query_string()), ("/", None));
        assert_eq!((req.header("accept"), req.host()), (Some("*/*"), Some("127.0.0.1:3000")));
        assert_eq!(req.headers().count(), 3);
    }
    assert_eq!(allocations(handler, GET), FUTURE);
}

#[test]
fn a_query_costs_what_it_becomes() {
    async fn handler(req: Request) -> Result<()> {
        let pairs: Vec<(String, u8)> = req.query()?;
        assert_eq!((pairs[0].0.as_str(), pairs[0].1), ("page", 2));
        Ok(())
    }
    assert_eq!(allocations(handler, POST), FUTURE + CONTENT + 2.0, "the list and the name");
}

#[test]
fn a_wrapper_costs_its_own_future() {
    fn wrap(handler: impl Handler) -> impl Handler {
        async move |req: Request| handler.call(req).await
    }
    assert_eq!(allocations(wrap(wrap(hello)), GET), 3.0 * FUTURE);
    assert_eq!(allocations(Box::new(hello) as Box<dyn Handler>, GET), FUTURE);
}

#[test]
fn a_small_json_value_costs_one_beside_the_value_itself() {
    let value = allocation_counter::measure(|| drop(json!({ "hello": "world" }))).count_total as f64;
    assert_eq!(value, 3.0, "serde_json's map, key and string");
    assert_eq!(allocations(async |_req: Request| json!({ "hello": "world" }), GET), FUTURE + value + 1.0);
    assert_eq!(allocations(async |_req: Request| Json(["hello", "world"]), GET), FUTURE + 1.0);
    assert_eq!(allocations(async |_req: Request| 7, GET), FUTURE + 1.0, "a number");
}

#[test]
fn a_read_of_small_content_costs_the_handlers_copy() {
    assert_eq!(allocations(hello, POST), FUTURE + CONTENT, "not read");
    async fn echo(req: Request) -> Result<Vec<u8>> {
        buffer(&req).await
    }
    assert_eq!(allocations(echo, POST), FUTURE + CONTENT + 1.0);
}

#[test]
fn json_in_and_out_costs_the_content_of_both() {
    async fn sum(req: Request) -> Result<Json<u32>> {
        let numbers: [u32; 2] = micro_smol::json(&req).await?;
        Ok(Json(numbers.iter().sum()))
    }
    assert_eq!(allocations(sum, POST), FUTURE + CONTENT + 1.0, "the content of the response");
}

#[test]
fn five_fields_cost_no_more_than_one() {
    async fn one(_req: Request) -> Result<Response> {
        (201, [("location", "/tea/1")], "made").into_response()
    }
    assert_eq!(allocations(one, GET), FUTURE + FIELDS);
    async fn five(_req: Request) -> Result<Response> {
        let fields = [
            ("cache-control", "no-store"),
            ("content-security-policy", "default-src 'self'"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("x-request-id", "7f1c2d3e4b5a69788796a5b4c3d2e1f0"),
        ];
        (200, fields, "Hello, world").into_response()
    }
    assert_eq!(allocations(five, GET), FUTURE + FIELDS);
}
