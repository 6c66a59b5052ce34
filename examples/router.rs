//! A router: a list of routes and handlers. A `*` in a route stands for one segment of the path.
//!
//! `cargo run --example router`, or `micro-smol examples/router.rs`; then `curl localhost:3000/teas/oolong`.

use micro_smol::{Handler, Method, Request, Result, Status, create_error, run};
use std::process::ExitCode;

/// The segments of the path that the `*` of the route stand for.
pub struct Segments(Vec<String>);

/// Calls the first handler whose route fits the method and the path.
pub fn router(routes: Vec<(&'static str, Box<dyn Handler>)>) -> impl Handler {
    async move |mut req: Request| {
        let method = if req.method() == Method::Head { Method::Get } else { req.method() };
        let target = format!("{method} {}", req.path());
        for (route, handler) in &routes {
            if let Some(segments) = segments(route, &target) {
                req.ext_mut().insert(segments);
                return handler.call(req).await;
            }
        }
        Err(create_error(404, "Not found\n"))
    }
}

fn segments(route: &str, target: &str) -> Option<Segments> {
    let (parts, given): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), target.split('/').collect());
    let pairs = || parts.iter().zip(&given);
    let fits = parts.len() == given.len() && pairs().all(|(part, segment)| *part == "*" || part == segment);
    fits.then(|| Segments(pairs().filter(|(part, _)| **part == "*").map(|(_, segment)| segment.to_string()).collect()))
}

pub async fn tea(req: Request) -> Result<String> {
    let Segments(segments) = req.ext().get().status(500)?;
    Ok(format!("A cup of {}\n", segments.concat()))
}

fn main() -> ExitCode {
    run(router(vec![("GET /teas/*", Box::new(tea))]))
}
