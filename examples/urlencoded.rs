//! Reads a form.
//!
//! `cargo run --example urlencoded`, or `micro-smol examples/urlencoded.rs`; then
//! `curl localhost:3000 -d name=Ann -d tea=Earl+Grey`.

use micro_smol::{Body, Request, Result, Status, run, text};
use std::{collections::BTreeMap, process::ExitCode};

pub async fn handler(mut req: Request) -> Result<String> {
    let content = Body::from(text(&mut req).limit("10kb").await?);
    let form: BTreeMap<String, String> = content.into_form().await?;
    let name = form.get("name").status(422)?;
    let tea = form.get("tea").map_or("nothing", String::as_str);
    Ok(format!("{tea} for {name}\n"))
}

fn main() -> ExitCode {
    run(handler)
}
