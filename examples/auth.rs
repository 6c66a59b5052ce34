//! A wrapper finds out who asks, and hands that user to the handler.
//!
//! `cargo run --example auth`, or `micro-smol examples/auth.rs`; then
//! `curl -i localhost:3000 -H 'authorization: Bearer sesame'`.

use micro_smol::{Handler, IntoResponse, Request, Result, Status, run};
use std::{collections::HashMap, process::ExitCode};

#[derive(Clone)]
pub struct User {
    name: &'static str,
}

/// Calls the handler for requests with a known token; answers the others with 401.
pub fn with_user(users: HashMap<&'static str, User>, handler: impl Handler) -> impl Handler {
    async move |mut req: Request| {
        let token = req.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
        match token.and_then(|token| users.get(token)).cloned() {
            Some(user) => {
                req.ext_mut().insert(user);
                handler.call(req).await
            }
            None => (401, [("www-authenticate", "Bearer")], "Who is it?\n").into_response(),
        }
    }
}

/// Without the wrapper there is no user, and the status is 500.
pub async fn greet(req: Request) -> Result<String> {
    let user: &User = req.ext().get().status(500)?;
    Ok(format!("Hello, {}\n", user.name))
}

pub fn users() -> HashMap<&'static str, User> {
    HashMap::from([("sesame", User { name: "Ann" })])
}

fn main() -> ExitCode {
    run(with_user(users(), greet))
}
