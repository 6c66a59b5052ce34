//! Reads a form.
//!
//! `cargo run --example urlencoded`, or `micro-smol examples/urlencoded.rs`; then
//! `curl localhost:3000 -d name=Ann -d tea=Earl+Grey`.

use micro_smol::{Request, Result, Status, form, run};
use std::{collections::BTreeMap, process::ExitCode};

pub async fn handler(req: Request) -> Result<String> {
    let fields: BTreeMap<String, String> = form(&req).limit("10kb").await?;
    let name = fields.get("name").status(422)?;
    let tea = fields.get("tea").map_or("nothing", String::as_str);
    Ok(format!("{tea} for {name}\n"))
}

fn main() -> ExitCode {
    run(handler)
}
